"""HTTP as strangers speak it: raw sockets, hand-made tokens, zstd frames and Protocol Buffers, all of the standard library."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import re
import socket
import sqlite3
import time

PROTOBUF = "application/x-protobuf"
JSON = "application/json"


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.headers}\n{self.body[:2000]!r}"


def call(server, method, path, body=None, headers=None, token=None):
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    try:
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
    finally:
        connection.close()


def sync_json(server, message, token=None, **headers):
    """POST /v1/sync in JSON."""
    body = message if isinstance(message, (bytes, str)) else json.dumps(message)
    return call(server, "POST", "/v1/sync", body, {"Content-Type": JSON, **headers}, token)


def connect(server, buffer=None):
    peer = socket.socket()
    try:
        if buffer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        peer.settimeout(120)
        peer.connect(("127.0.0.1", server.port))
    except BaseException:
        peer.close()
        raise
    return peer


def head(path="/v1/sync", method="POST", token=None, **headers):
    """The bytes of a request's head."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_reply(peer):
    """The next response on a raw socket."""
    reply = http.client.HTTPResponse(peer)
    reply.begin()
    return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())


def raw(server, data):
    """Sends bytes as they are, ends the sending half, and returns all that comes back."""
    with connect(server) as peer:
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server has hung up already; what it said can still be read
        out = b""
        try:
            while part := peer.recv(65536):
                out += part
        except ConnectionResetError:
            pass
        return out


def metrics(server):
    """{'name{labels}': value}"""
    text = call(server, "GET", "/metrics").body.decode()
    return {name: float(value) for name, value in re.findall(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.M)}


def counted(server, wanted):
    """The metrics, once those in `wanted` are as it says: much is counted right behind the answer that a peer has seen."""
    told = {}

    def look():
        told.update(metrics(server))
        return all(told.get(name, 0) == value for name, value in wanted.items())

    try:
        wait_for(look)
    except AssertionError as error:
        raise AssertionError(f"the server counts {({name: told.get(name, 0) for name in wanted})}, not {wanted}") from error
    return told


def wait_for(what, seconds=60):
    """Asks until the answer is true; for what another process does in its own time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := what():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"it did not come about within {seconds} s")


# ---- tokens


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(secret, claims, header=None, digest=hashlib.sha256):
    """A JWT with any header and any claims, the text of them included."""
    parts = [p if isinstance(p, str) else json.dumps(p) for p in (header or {"alg": "HS256", "typ": "JWT"}, claims)]
    text = ".".join(base64url(p.encode()) for p in parts)
    return text + "." + base64url(hmac.new(secret.encode(), text.encode(), digest).digest())


def claims(tenant="acme", device="d", valid_s=3600, **more):
    return {"tenant": tenant, "sub": device, "exp": int(time.time()) + valid_s, **more}


def secret_of(server):
    with open(os.path.join(server.data, "secret"), encoding="ascii") as file:
        return file.read().strip()


# ---- messages


def site_of(path):
    """A database's site id, in base64."""
    db = sqlite3.connect(path)
    try:
        return base64.b64encode(db.execute("SELECT s.site FROM rejoin_site s JOIN rejoin_state t ON t.site = s.id").fetchone()[0]).decode()
    finally:
        db.close()


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(tag, value):
    """One field of a message: bytes are length-delimited, numbers are varints."""
    if isinstance(value, int):
        return varint(tag << 3) + varint(value)
    return varint(tag << 3 | 2) + varint(len(value)) + value


def fields(message):
    """{tag: [values]} of a message in Protocol Buffers, varints and length-delimited fields only."""
    out, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = number()
        if key & 7 == 0:
            value = number()
        else:
            assert key & 7 == 2, f"wire type {key & 7}"
            size = number()
            value = message[at:at + size]
            at += size
        out.setdefault(key >> 3, []).append(value)
    return out


# ---- zstd (RFC 8878) without a library: blocks that are stored, and blocks that repeat one byte

ZSTD_HEAD = bytes.fromhex("28b52ffd") + bytes([0, 7 << 3])  # magic, no checksum and no size, a window of 128 KiB


def zstd_block(kind, size, content, last):
    return (int(last) | kind << 1 | size << 3).to_bytes(3, "little") + content


def zstd_stored(data):
    step = 1 << 17
    parts = [data[i:i + step] for i in range(0, len(data), step)] or [b""]
    return ZSTD_HEAD + b"".join(zstd_block(0, len(p), p, i == len(parts) - 1) for i, p in enumerate(parts))


def zstd_bomb(mebibytes):
    blocks = mebibytes * 8
    return ZSTD_HEAD + b"".join(zstd_block(1, 1 << 17, b"0", i == blocks - 1) for i in range(blocks))


def peak_memory(process):
    """Of a process so far, in bytes."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmHWM:\s+(\d+) kB", file.read()).group(1)) * 1024
