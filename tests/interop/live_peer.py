"""WebSocket (RFC 6455) as strangers speak it: frames made by hand, of the standard library."""

import base64
import json
import os
import struct

from http_peer import connect, head, read_reply


def upgrade(server, token=None, buffer=None, **headers):
    """(socket, reply): the socket is None when the server did not take it. `buffer`: bytes that the kernel keeps for who does not read."""
    peer = connect(server, buffer)
    fields = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
              "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(), **headers}
    peer.sendall(head("/v1/live", "GET", token, **fields))
    reply = read_reply(peer)
    if reply.status == 101:
        return peer, reply
    peer.close()
    return None, reply


def frame(payload, opcode=1, first=None, masked=True, length=None):
    """A frame; `first` replaces its first byte, `length` what it says of its length."""
    size = len(payload) if length is None else length
    out = bytes([0x80 | opcode if first is None else first])
    bit = 0x80 if masked else 0
    out += bytes([bit | size]) if size < 126 else bytes([bit | 126]) + struct.pack(">H", size) if size < 65536 else bytes([bit | 127]) + struct.pack(">Q", size)
    if not masked:
        return out + payload
    key = os.urandom(4)
    return out + key + bytes(b ^ key[i % 4] for i, b in enumerate(payload))


def read_exactly(peer, size):
    out = b""
    while len(out) < size:
        part = peer.recv(size - len(out))
        if not part:
            return None
        out += part
    return out


def read_piece(peer):
    """(opcode, payload, whether it is the last piece of its message), or None when the connection is gone."""
    try:
        start = read_exactly(peer, 2)
        if start is None:
            return None
        size = start[1] & 127
        if size >= 126:
            size = int.from_bytes(read_exactly(peer, 2 if size == 126 else 8), "big")
        payload = read_exactly(peer, size)
        return None if payload is None else (start[0] & 15, payload, start[0] >= 0x80)
    except ConnectionResetError:
        return None


def read_frame(peer):
    """(opcode, payload), or None when the connection is gone."""
    got = read_piece(peer)
    return got and got[:2]


class Live:
    """A live connection in JSON. Answers pings."""

    def __init__(self, server, token, buffer=None, **headers):
        self.peer, self.reply = upgrade(server, token, buffer, **headers)
        self.closed = None

    def send(self, message):
        self.peer.sendall(frame(json.dumps({"protocol": 1, **message}).encode()))

    def next(self):
        """The next message; None when the connection has ended: then `closed` is the code, if one was given."""
        text = []
        while got := read_piece(self.peer):
            opcode, payload, last = got
            if opcode == 8:
                self.closed = int.from_bytes(payload[:2], "big")
                return None
            if opcode == 9:
                self.peer.sendall(frame(payload, 10))
            elif opcode in (0, 1, 2):
                text.append(payload)
                if last:
                    return self.decode(b"".join(text))
        return None

    @staticmethod
    def decode(message):
        return json.loads(message)

    def follow(self, cursor="", site=b"0123456789abcdef"):
        self.send({"sync": {"protocol": 1, "hello": {"site": base64.b64encode(site).decode()}, "pull": {"cursor": cursor}}})
        while message := self.next():
            if "response" in message:
                return message["response"]
        return None

    def close(self):
        self.peer.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.peer:
            self.close()
