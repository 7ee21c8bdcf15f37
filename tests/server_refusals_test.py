"""What strangers send: every refusal of `rejoin serve` has its status, its body and its bounds, and the server goes on."""

import base64
import gzip
import json
import os
import re
import select
import socket
import sqlite3
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from http_peer import (JSON, PROTOBUF, call, connect, field, fields, head, metrics, peak_memory, raw, read_reply, sync_json,  # noqa: E402
                       wait_for, zstd_bomb, zstd_stored)
from support import ROOT, FolderTest, Run, Server, extended  # noqa: E402

SITE = b"0123456789abcdef"
HELLO = {"protocol": 1, "hello": {"site": base64.b64encode(SITE).decode()}, "pull": {}}
HELLO_BYTES = field(1, 1) + field(2, field(1, SITE)) + field(4, b"")


class RefusalTest(FolderTest):
    def serve(self, *arguments):
        server = Server(self.path("s"), *arguments)
        server.__enter__()
        self.addCleanup(server.__exit__)
        self.token = server.token("a", "--schema")
        return server

    def assert_alive(self, server):
        self.assertEqual(sync_json(server, HELLO, self.token).status, 200)

    def assert_error(self, reply, status, name):
        """A refusal in JSON, as docs/http.md describes it."""
        self.assertEqual(reply.status, status, reply)
        error = reply.json["error"]
        self.assertEqual(error["name"], name, reply)
        self.assertGreater(len(error["message"]), 20)
        return error


class MessageTest(RefusalTest):
    def test_both_forms_say_the_same(self):
        server = self.serve()
        told = sync_json(server, HELLO, self.token)
        self.assertEqual((told.status, told.headers["content-type"], told.headers["cache-control"]), (200, JSON, "no-store"))
        self.assertEqual(told.json["protocol"], 1)
        self.assertLess(abs(told.json["now_ms"] / 1000 - time.time()), 600)
        reply = call(server, "POST", "/v1/sync", HELLO_BYTES, {"Content-Type": PROTOBUF}, self.token)
        self.assertEqual((reply.status, reply.headers["content-type"]), (200, PROTOBUF))
        message = fields(reply.body)
        self.assertEqual(message[1], [1])
        facts = fields(message[3][0])
        self.assertEqual([facts[2][0], facts[3][0]], [told.json["facts"]["max_frame_bytes"], told.json["facts"]["max_value_bytes"]])
        self.assertIn(6, message)  # the page
        # Accept chooses the form of the answer.
        for sent, accept, got in ((HELLO_BYTES, JSON, JSON), (json.dumps(HELLO), PROTOBUF, PROTOBUF)):
            content = PROTOBUF if isinstance(sent, bytes) else JSON
            reply = call(server, "POST", "/v1/sync", sent, {"Content-Type": content + "; charset=utf-8", "Accept": accept}, self.token)
            self.assertEqual((reply.status, reply.headers["content-type"]), (200, got))

    def test_the_example_of_the_docs_works(self):
        with open(os.path.join(ROOT, "docs", "http.md"), encoding="utf-8") as file:
            example = re.search(r"^```sh\n(.*?)^```", file.read(), re.M | re.S).group(1)
        body = re.search(r"-d '(.*?)'", example).group(1)
        content = re.search(r"-H 'Content-Type: (.*?)'", example).group(1)
        self.assertRegex(example, r"rejoin serve .*--dev")
        self.assertIn("/v1/sync", example)
        with Server(self.path("dev"), "--dev") as server:
            reply = call(server, "POST", "/v1/sync", body, {"Content-Type": content, "Accept": "*/*"})
        self.assertEqual(reply.status, 200, reply)
        self.assertEqual(list(reply.json), ["protocol", "now_ms", "facts", "page"])
        facts = reply.json["facts"]
        self.assertEqual((facts["may_relay"], facts["max_frame_bytes"], facts["max_value_bytes"]), (False, 16777216, 8388608))

    def test_malformed_json(self):
        server = self.serve()
        site = HELLO["hello"]["site"]
        for text in ("", "{", "null", "[]", "1", "{}", '{"protocol":1}', json.dumps(HELLO) + "x", json.dumps(HELLO) * 2, '{"protocol":1,"hello":{}}',
                     '{"protocol":1,"protocol":1,"hello":{"site":"' + site + '"}}', '{"protocol":1,"hello":{"site":"' + site[:-2] + '"}}',
                     '{"protocol":1,"hello":{"site":7}}', '{"protocol":1.5,"hello":{"site":"' + site + '"}}', "[" * 100_000, '{"a":' * 100_000,
                     json.dumps({**HELLO, "push": {}}), json.dumps({**HELLO, "push": {"nonce": site, "frame": ""}}),
                     json.dumps({**HELLO, "pull": {"cursor": "not base64"}}), json.dumps({**HELLO, "pull": {"max_bytes": -1}}), "\xff", "\ufeff{}",
                     '{"protocol":1,"hello":{"site":"' + site + '","client_version":"\\ud800"}}', "NaN", json.dumps(HELLO).replace(":", "="),
                     '{"protocol":1,"hello":{"site":"' + site + '","contract_fingerprint":"ABC"}}'):
            self.assert_error(sync_json(server, text.encode("utf-8", "replace") if text != "\xff" else b"\xff", self.token), 400, "corrupt")
        self.assert_error(sync_json(server, {**HELLO, "protocol": 2}, self.token), 400, "unsupported")
        self.assert_error(sync_json(server, {**HELLO, "hello": {**HELLO["hello"], "contract_json": "{}"}}, self.token), 400, "bad_argument")
        self.assert_alive(server)

    def test_malformed_protobuf(self):
        server = self.serve()
        post = {"Content-Type": PROTOBUF}
        for body in (b"", b"\0", b"\xff" * 100, HELLO_BYTES[:-1], HELLO_BYTES[:5], field(1, 1), field(2, field(1, SITE)), field(1, 1) + field(2, 7),
                     field(1, 1) + field(2, field(1, SITE[:15])), HELLO_BYTES + field(2, field(1, SITE)), HELLO_BYTES + b"\x1a\xff\xff\xff\xff\x0f",
                     HELLO_BYTES + field(3, field(2, SITE)), HELLO_BYTES + field(3, field(2, SITE) + field(3, b"RJC1" + b"\0" * 100))):
            reply = call(server, "POST", "/v1/sync", body, post, self.token)
            self.assertEqual((reply.status, reply.headers["content-type"]), (400, PROTOBUF), (body, reply))
            error = fields(fields(reply.body)[7][0])
            self.assertEqual((error[1], error[4]), ([6], [b"corrupt"]), (body, reply))
        reply = call(server, "POST", "/v1/sync", field(1, 7), post, self.token)
        self.assertEqual(fields(fields(reply.body)[7][0])[4], [b"unsupported"])
        # Every single-bit flip of a push is refused or harmless; none is a server's failure.
        reply = call(server, "POST", "/v1/sync", HELLO_BYTES + field(99, b"a later protocol's field"), post, self.token)
        self.assertEqual(reply.status, 200)
        self.assert_alive(server)

    def test_no_bit_flip_of_a_push_gets_in(self):
        server = self.serve()
        path = self.database("a.db")
        db = extended(path)
        db.execute("INSERT INTO todos(id, title) VALUES('1', 'milk')")
        frame = db.execute("SELECT rejoin_changeset(0)").fetchone()[0]
        db.close()
        self.ok("sync", path, server.url, "--token", self.token)  # so that the server has the table
        tenant = self.path("s", "tenants", "acme.db")
        before = sqlite3.connect(tenant).execute("SELECT * FROM todos").fetchall()
        self.assertEqual(len(before), 1)
        token = server.token("b", "--relay")
        for at in range(len(frame)):
            bad = frame[:at] + bytes([frame[at] ^ 1 << at % 8]) + frame[at + 1:]
            body = field(1, 1) + field(2, field(1, SITE)) + field(3, field(2, os.urandom(16)) + field(3, bad))
            reply = call(server, "POST", "/v1/sync", body, {"Content-Type": PROTOBUF}, token)
            self.assertEqual(reply.status, 400, (at, reply))
        self.assertEqual(sqlite3.connect(tenant).execute("SELECT * FROM todos").fetchall(), before)
        body = field(1, 1) + field(2, field(1, SITE)) + field(3, field(2, os.urandom(16)) + field(3, frame))
        self.assertEqual(call(server, "POST", "/v1/sync", body, {"Content-Type": PROTOBUF}, token).status, 200)  # unchanged it is welcome
        self.assert_alive(server)

    def test_wrong_path_method_media_type_and_encoding(self):
        server = self.serve()
        post = {"Content-Type": JSON}
        body = json.dumps(HELLO)
        for path in ("/", "/v1", "/v1/sync/", "/v2/sync", "//v1/sync", "/v1/../v1/sync", "/V1/SYNC", "/health/x", "/%76%31/sync"):
            self.assert_error(call(server, "POST", path, body, post, self.token), 404, "not_found")
        for method, path, allowed in (("GET", "/v1/sync", "POST"), ("PUT", "/v1/sync", "POST"), ("DELETE", "/v1/sync", "POST"), ("OPTIONS", "/v1/sync", "POST"),
                                      ("POST", "/health", "GET"), ("POST", "/metrics", "GET"), ("PATCH", "/ready", "GET"), ("BREW", "/v1/sync", "POST")):
            reply = call(server, method, path, body if method != "GET" else None, post, self.token)
            self.assert_error(reply, 405, "method")
            self.assertEqual(reply.headers["allow"], allowed)
        for content in ("text/plain", "", "application/jsonx", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "application/xml"):
            self.assert_error(call(server, "POST", "/v1/sync", body, {"Content-Type": content}, self.token), 415, "media_type")
        for encoding in ("gzip", "br", "deflate", "zstd, zstd", "gzip, zstd", "unknown"):
            self.assert_error(call(server, "POST", "/v1/sync", gzip.compress(body.encode()), {**post, "Content-Encoding": encoding}, self.token), 415, "media_type")
        self.assertEqual(call(server, "POST", "/v1/sync?x=1", body, {**post, "Content-Encoding": "identity"}, self.token).status, 200)

    def test_broken_http(self):
        server = self.serve()
        for data, status in ((b"GARBAGE\r\n\r\n", b"400"), (b"GET /health HTTP/9.9\r\n\r\n", b"400"), (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"400"),
                             (b"GET /health HTTP/1.1\r\nA B: c\r\n\r\n", b"400"), (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
                             (b"POST /v1/sync HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", b"400"),
                             (head(token=self.token, Content_Type=JSON, Content_Length=2, Transfer_Encoding="chunked") + b"{}", b"400"),
                             (head(token=self.token, Content_Type=JSON).replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), b"400"),
                             (head(token=self.token, Content_Type=JSON, Transfer_Encoding="chunked") + b"zz\r\n", b"400"),
                             (b"GET /health HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", b"431")):
            self.assertEqual(raw(server, data)[:12], b"HTTP/1.1 " + status, data[:200])
        for data in (b"", b"G", b"POST /v1/sync HTTP/1.1\r\n", head(token=self.token, Content_Type=JSON, Content_Length=100) + b"half"):
            self.assertNotIn(b" 200 ", raw(server, data))
        self.assert_alive(server)


class SizeTest(RefusalTest):
    def test_bodies_above_the_limit(self):
        server = self.serve("--max-body", "1M", "--max-value", "100K")
        large = b" " * (1 << 20) + json.dumps(HELLO).encode()
        error = self.assert_error(sync_json(server, large, self.token), 413, "too_large")
        self.assertIn(str(1 << 20), error["message"])
        # Refused by its head, before a byte of it is there.
        with connect(server) as peer:
            peer.sendall(head(token=self.token, Content_Type=JSON, Content_Length=1 << 40))
            self.assert_error(read_reply(peer), 413, "too_large")
        # And in chunks, whose sum nobody told before.
        with connect(server) as peer:
            peer.sendall(head(token=self.token, Content_Type=JSON, Transfer_Encoding="chunked"))
            chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
            try:
                for _ in range(64):
                    peer.sendall(chunk)
            except ConnectionError:
                pass
            self.assert_error(read_reply(peer), 413, "too_large")
        exact = json.dumps(HELLO).encode()
        exact += b" " * ((1 << 20) - len(exact))
        self.assertEqual(sync_json(server, exact, self.token).status, 200)
        # Without a token nothing is read at all.
        with connect(server) as peer:
            peer.sendall(head(Content_Type=JSON, Content_Length=1 << 40))
            self.assert_error(read_reply(peer), 401, "unauthorized")

    def test_frames_and_fields_above_their_limits(self):
        server = self.serve("--max-body", "1M", "--max-value", "100K")
        facts = sync_json(server, HELLO, self.token).json["facts"]
        self.assertEqual((facts["max_frame_bytes"], facts["max_value_bytes"]), (512 << 10, 100 << 10))
        site = HELLO["hello"]["site"]
        frame = base64.b64encode(b"x" * ((512 << 10) + 1)).decode()
        self.assert_error(sync_json(server, {**HELLO, "push": {"nonce": site, "frame": frame}}, self.token), 413, "too_large")
        self.assert_error(sync_json(server, {**HELLO, "hello": {"site": site, "client_version": "x" * 5000}}, self.token), 413, "too_large")
        self.assert_error(sync_json(server, {**HELLO, "push": {"nonce": site, "frame": site, "chain_token": "A" * 8000}}, self.token), 413, "too_large")

    def test_rows_with_values_above_the_limit_do_not_hold_up_the_others(self):
        server = self.serve("--max-value", "10K")
        path = self.database("a.db")
        db = extended(path)
        db.executemany("INSERT INTO todos(id, title) VALUES(?, ?)", [(str(i), "x" * (20_000 if i == 5 else 10)) for i in range(10)])
        db.close()
        told = Run("sync", path, server.url, "--token", self.token, "--json")
        self.assertEqual(told.code, 3, told)  # refused rows are worth knowing
        self.assertEqual((told.json["pending"], told.json["rejected"]), (0, 1))
        db = extended(path)
        self.assertEqual(db.execute("SELECT table_name, key, code FROM rejoin_rejections").fetchall(), [("todos", '["5"]', "too_large")])
        tenant = sqlite3.connect(self.path("s", "tenants", "acme.db"))
        self.assertEqual([r[0] for r in tenant.execute("SELECT id FROM todos ORDER BY id")], [str(i) for i in range(10) if i != 5])

    def test_a_limit_of_rows_makes_chunks_smaller_and_holds_nothing_up(self):
        server = self.serve("--max-rows", "10")
        path = self.database("a.db")
        db = extended(path)
        db.execute("BEGIN")
        db.executemany("INSERT INTO todos(id, title) VALUES(?, 'x')", [(str(i),) for i in range(50)])
        db.execute("COMMIT")
        db.close()
        told = self.ok("sync", path, server.url, "--token", self.token, "--json").json
        self.assertEqual((told["pending"], told["rejected"]), (0, 0))
        self.assertGreater(told["round_trips"], 5)
        tenant = sqlite3.connect(self.path("s", "tenants", "acme.db"))
        self.assertEqual(tenant.execute("SELECT count(*) FROM todos").fetchone(), (50,))

    def test_bombs_take_no_more_memory_than_the_limit(self):
        server = self.serve()
        self.assertEqual(sync_json(server, zstd_stored(json.dumps(HELLO).encode()), self.token, **{"Content-Encoding": "zstd"}).status, 200)
        start = peak_memory(server.process)
        bomb = zstd_bomb(8192)  # 8 GiB in 256 KiB
        self.assertLess(len(bomb), 300_000)
        numbers = b"[0" + b",0" * (15 << 20) + b"]"
        replies = []

        def throw(body, encoding):
            replies.append(sync_json(server, body, self.token, **({"Content-Encoding": encoding} if encoding else {})))

        threads = [threading.Thread(target=throw, args=bad) for bad in [(bomb, "zstd")] * 8 + [(numbers, None)] * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for reply in replies:
            self.assert_error(reply, 413, "too_large")
        # The bodies themselves are 32 MiB each at most, and not all at once: 4 workers.
        self.assertLess(peak_memory(server.process) - start, 400 << 20)
        for bad in (bomb[:1000], b"", b"\x28\xb5\x2f\xfd", zstd_stored(b"{}")[:-1], zstd_stored(b"{}") + b"x",
                    bytes.fromhex("28b52ffd") + bytes([0, 31 << 3]) + zstd_bomb(1)[6:]):  # the last: a window of 2 TiB
            self.assert_error(sync_json(server, bad, self.token, **{"Content-Encoding": "zstd"}), 400, "corrupt")
        self.assert_alive(server)


class LoadTest(RefusalTest):
    def test_peers_that_send_too_slowly_are_told_and_let_go(self):
        server = self.serve("--request-timeout", "1s")
        body = json.dumps(HELLO).encode()
        for start, rest in ((b"POST /v1/sync HTTP/1.1\r\n", b"X: y\r\n" * 100_000),
                            (head(token=self.token, Content_Type=JSON, Content_Length=1 << 20), b" " * (1 << 20))):
            peers = [connect(server) for _ in range(10)]
            for peer in peers:
                peer.sendall(start)
            waiting, at = list(peers), 0
            while waiting:  # a byte now and then, until each is told; so few that no other limit is met
                told, _, _ = select.select(waiting, [], [], 0.02 if at < 100 else 0.5)
                for peer in told:
                    self.assert_error(read_reply(peer), 408, "timeout")
                    waiting.remove(peer)
                for peer in waiting:
                    peer.sendall(rest[at:at + 1])
                at += 1
                self.assertLess(at, len(rest))
                if at == 5:
                    self.assertEqual(call(server, "GET", "/health").status, 200)
            for peer in peers:
                peer.close()
        self.assertEqual(sync_json(server, body, self.token).status, 200)

    def test_peers_that_read_too_slowly_are_cut(self):
        server = self.serve("--request-timeout", "3s")
        path = self.database("a.db")
        db = extended(path)
        db.executemany("INSERT INTO todos(id, title) VALUES(?, ?)", [(str(i), os.urandom(100_000).hex()) for i in range(40)])
        db.close()
        self.ok("sync", path, server.url, "--token", self.token)
        want = json.dumps({"protocol": 1, "hello": {"site": base64.b64encode(b"another replica!").decode()}, "pull": {"max_bytes": 4 << 20}}).encode()
        page = sync_json(server, want, self.token)
        self.assertGreater(len(page.body), 4 << 20)
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.connect(("127.0.0.1", server.port))
            peer.sendall((head(token=self.token, Content_Type=JSON, Content_Length=len(want)) + want) * 20)
            # Nobody reads; in the end the metrics' own connection is the only one that remains.
            wait_for(lambda: metrics(server)["rejoin_http_connections"] == 1)
            received = 0
            try:
                while part := peer.recv(1 << 20):
                    received += len(part)
            except ConnectionResetError:
                pass
            self.assertLess(received, 20 * len(page.body))
        self.assert_alive(server)

    def test_too_many_connections_are_told_when_to_come_back(self):
        server = self.serve("--max-connections", "4")
        peers = [connect(server) for _ in range(4)]
        for peer in peers:
            peer.sendall(head("/health", "GET"))
            self.assertEqual(read_reply(peer).status, 200)
        for _ in range(3):
            with connect(server) as peer:
                reply = read_reply(peer)
            self.assert_error(reply, 503, "overloaded")
            self.assertGreaterEqual(int(reply.headers["retry-after"]), 1)
        for peer in peers:
            peer.close()
        wait_for(lambda: call(server, "GET", "/health").status == 200)

    def test_more_requests_of_a_tenant_than_may_wait_are_told_when_to_come_back(self):
        server = self.serve()
        self.ok("sync", self.database("a.db"), server.url, "--token", self.token)
        other = server.token("x", "--schema", tenant="other")
        frame = self.frame()
        writer = sqlite3.connect(self.path("s", "tenants", "acme.db"), isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        peers = [connect(server) for _ in range(80)]
        try:
            for peer in peers:
                body = field(1, 1) + field(2, field(1, os.urandom(16))) + field(3, field(2, os.urandom(16)) + field(3, frame))
                peer.sendall(head(token=self.token, Content_Type=PROTOBUF, Accept=JSON, Content_Length=len(body)) + body)
            # One is at work and waits for the writer, 64 wait for that one; the others are told at once.
            told = wait_for(lambda: (ready := select.select(peers, [], [], 0)[0]) and len(ready) >= 15 and ready)
            for peer in told:
                reply = read_reply(peer)
                self.assertEqual(reply.status, 503, reply)
                self.assertIn(reply.json["error"]["name"], ("overloaded", "busy"))
                self.assertGreaterEqual(int(reply.headers["retry-after"]), 1)
                self.assertGreater(reply.json["error"]["retry_after_ms"], 0)
            # Another tenant does not wait.
            self.assertEqual(sync_json(server, HELLO, other).status, 200)
            writer.execute("ROLLBACK")
            for peer in peers:
                if peer not in told:
                    self.assertIn(read_reply(peer).status, (200, 403, 409, 503))
        finally:
            writer.close()
            for peer in peers:
                peer.close()
        self.assert_alive(server)

    def frame(self):
        db = extended(self.database("f.db"))
        db.execute("INSERT INTO todos(id, title) VALUES('f', 'x')")
        out = db.execute("SELECT rejoin_changeset(0)").fetchone()[0]
        db.close()
        return out


if __name__ == "__main__":
    unittest.main(verbosity=2)
