"""GET /v1/live of a running `rejoin serve`: who gets in, what breaks the rules, and what `rejoin sync --watch`, `rejoin live` and
rejoin_live() make of it."""

import base64
import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from http_peer import call, counted, metrics, signed, claims, wait_for  # noqa: E402
from live_peer import Live, frame, read_frame, upgrade  # noqa: E402
from support import EXTENSION, REJOIN, FolderTest, Run, Server, extended, plain, rows  # noqa: E402

APP = "https://app.example.com"


class LiveTest(FolderTest):
    def serve(self, *arguments, port=0):
        server = Server(self.path("s"), *arguments, port=port)
        server.__enter__()
        self.addCleanup(server.__exit__)
        return server

    def watch(self, path, server, token):
        token_file = path + ".token"
        with open(token_file, "w", encoding="ascii") as file:
            file.write(token)
        out = open(path + ".out", "wb+")
        self.addCleanup(out.close)
        process = subprocess.Popen([REJOIN, "sync", path, server.url, "--token-file", token_file, "--watch", "--json"],
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def lines(self, path):
        with open(path + ".out", encoding="utf-8") as file:
            return [json.loads(line) for line in file.read().splitlines()]

    def comes_to(self, path, wanted):
        wait_for(lambda: rows(path) == wanted)

    def write(self, path, sql):
        db = plain(path)
        db.execute("PRAGMA busy_timeout=10000")
        db.execute(sql)
        db.close()


class WhoGetsInTest(LiveTest):
    def test_only_with_a_token_and_from_named_origins(self):
        server = self.serve("--cors-origin", APP)
        token = server.token("a")
        for headers, status in (({}, 401), ({"Authorization": "Bearer x"}, 401), ({"Authorization": "Basic x"}, 401)):
            peer, reply = upgrade(server, **headers)
            self.assertEqual((peer, reply.status), (None, status))
            self.assertEqual(reply.json["error"]["name"], "unauthorized")
            self.assertIn("Bearer", reply.headers["www-authenticate"])
        for origin in ("https://evil.example.com", "null", APP + "/"):
            peer, reply = upgrade(server, token, Origin=origin)
            self.assertEqual((peer, reply.status), (None, 403), origin)
        for headers in ({"Origin": APP}, {}):
            with Live(server, token, **headers) as live:
                self.assertEqual(live.reply.status, 101)
                self.assertIn("page", live.follow())
        # A page's script can set no header but this one.
        with Live(server, None, Origin=APP, **{"Sec-WebSocket-Protocol": f"rejoin.v1, rejoin.token.{token}"}) as live:
            self.assertEqual(live.reply.headers["sec-websocket-protocol"], "rejoin.v1")
            self.assertIn("page", live.follow())
        peer, reply = upgrade(server, None, **{"Sec-WebSocket-Protocol": "rejoin.v1, rejoin.token.x"})
        self.assertEqual(reply.status, 401)

    def test_development_mode_asks_for_no_token(self):
        server = self.serve("--dev")
        with Live(server, None) as live:
            self.assertIn("page", live.follow())
        self.assertEqual(upgrade(server, None, Origin=APP)[1].status, 403)

    def test_what_is_no_websocket_is_told_so(self):
        server = self.serve()
        token = server.token("a")
        reply = call(server, "GET", "/v1/live", None, {}, token)
        self.assertEqual((reply.status, reply.headers["upgrade"]), (426, "websocket"))
        self.assertEqual(call(server, "POST", "/v1/live", b"", {}, token).status, 405)
        peer, reply = upgrade(server, token, **{"Sec-WebSocket-Version": "8"})
        self.assertEqual((peer, reply.status), (None, 426))

    def test_no_more_than_are_allowed(self):
        server = self.serve("--max-live", "2", "--rate-device", "100/h:3")
        for name in "xyz":  # those that turn out to be none don't count
            self.assertEqual(call(server, "GET", "/v1/live", None, {}, server.token(name)).status, 426)
        with Live(server, server.token("a")) as one, Live(server, server.token("b")) as two:
            self.assertEqual((one.reply.status, two.reply.status), (101, 101))
            peer, reply = upgrade(server, server.token("c"))
            self.assertEqual((peer, reply.status, reply.json["error"]["name"]), (None, 503, "overloaded"))
            self.assertIn("retry-after", reply.headers)
        # The places come free a moment later. Each device asks once here: exchanges count as requests do, and three are allowed.
        names = (f"d{i}" for i in range(10_000))
        with wait_for(lambda: (lambda live: live if live.peer else None)(Live(server, server.token(next(names))))) as three:
            self.assertNotIn("error", three.follow())
            self.assertNotIn("error", three.follow())
            self.assertEqual(three.follow()["error"]["name"], "rate_limited")
        none = Server(self.path("none"), "--max-live", "0")
        with none:
            self.assertEqual(upgrade(none, none.token("a"))[1].json["error"]["name"], "unsupported")


class RulesTest(LiveTest):
    def test_hostile_frames_end_their_connection_and_nothing_else(self):
        server = self.serve("--max-body", "1M", "--max-value", "100K")
        token = server.token("a")
        with Live(server, server.token("b")) as witness:
            witness.follow()
            for what, hostile in {
                "unmasked": frame(b"{}", masked=False),
                "reserved bits": frame(b"{}", first=0xF1),
                "compressed, which nobody asked for": frame(b"{}", first=0xC1),
                "an opcode that is none": frame(b"", first=0x83),
                "a continuation of nothing": frame(b"x", 0),
                "a ping in pieces": frame(b"x", first=0x09),
                "a ping that is too long": frame(b"x" * 126, 9),
                "a message above the limit": frame(b"", 2, length=(1 << 20) + 1),
                "a length beyond all": frame(b"", 2, length=(1 << 63) - 1),
                "text that is not UTF-8": frame(b"\xff\xfe"),
                "a close without a code": frame(b"x", 8),
            }.items():
                peer, reply = upgrade(server, token)
                self.assertEqual(reply.status, 101)
                peer.settimeout(60)
                peer.sendall(hostile)
                while got := read_frame(peer):
                    self.assertEqual(got[0], 8, what)
                peer.close()
            # What is a message but not one of ours is answered.
            with Live(server, token) as live:
                for text in (b"", b"{}", b"[]", b'{"protocol":2}', b'{"protocol":1,"sync":{}}', b'{"protocol":1,"listen":{"topics":[1]}}',
                             b'{"protocol":1,"message":{"topic":""}}', b'{"protocol":1,"sync":' + b"[" * 100):
                    live.peer.sendall(frame(text))
                    self.assertIn(live.next()["error"]["name"], ("corrupt", "unsupported", "bad_argument"), text)
                live.peer.sendall(frame(os.urandom(1000), 2))
                self.assertEqual(read_frame(live.peer)[0], 2)
                # In pieces, with a ping between them.
                message = json.dumps({"protocol": 1, "listen": {"topics": ["t"]}}).encode()
                live.peer.sendall(frame(message[:9], first=0x01) + frame(b"hi", 9) + frame(message[9:], 0))
                self.assertEqual(read_frame(live.peer), (10, b"hi"))
                self.assertIn("page", live.follow())
            # Two exchanges at once.
            with Live(server, token) as live:
                hello = {"sync": {"protocol": 1, "hello": {"site": base64.b64encode(b"0123456789abcdef").decode()}, "pull": {}}}
                live.peer.sendall(b"".join(frame(json.dumps({"protocol": 1, **hello}).encode()) for _ in range(200)))
                while live.next():
                    pass
                self.assertEqual(live.closed, 1008)
            self.assertIn("page", witness.follow())
        self.assertEqual(server.stop()[0], 0)

    def test_a_peer_that_is_gone_is_let_go(self):
        server = self.serve("--live-heartbeat", "1s")
        silent, _ = upgrade(server, server.token("silent"))
        with Live(server, server.token("lively")) as lively:
            lively.follow()
            # It is asked, it does not answer, and that was it. Who answers stays.
            lively.peer.settimeout(0.2)
            silent.settimeout(0.2)
            pinged = ended = False

            def look():
                nonlocal pinged, ended
                try:
                    lively.next()
                except TimeoutError:
                    pass
                try:
                    got = read_frame(silent)
                    pinged |= got is not None and got[0] == 9
                    ended |= got is None
                except TimeoutError:
                    pass
                return ended

            wait_for(look)
            self.assertTrue(pinged)
            lively.peer.settimeout(60)
            self.assertIn("page", lively.follow())
            silent.close()
            counted(server, {'rejoin_live_closed_total{code="1006"}': 1})

    def test_messages_to_topics(self):
        server = self.serve("--rate-live-messages", "1/h:3")
        with Live(server, server.token("a")) as a, Live(server, server.token("b")) as b, Live(server, server.token("c", tenant="other")) as c:
            for live in (a, b, c):
                live.send({"listen": {"topics": ["typing", "other"]}})
                live.follow()
            data = base64.b64encode(b"\0hello").decode()
            c.send({"message": {"topic": "typing", "data": data}})
            a.send({"message": {"topic": "typing", "data": data, "from": "somebody else"}})
            self.assertEqual(b.next(), {"protocol": 1, "message": {"topic": "typing", "data": data, "from": "a"}})
            a.send({"message": {"topic": "nobody listens"}})
            a.send({"message": {"topic": "typing", "data": data}})
            error = a.next()["error"]  # and not its own message
            self.assertEqual(error["name"], "rate_limited")
            self.assertGreater(error["retry_after_ms"], 0)
            b.send({"message": {"topic": "typing", "data": base64.b64encode(b"x" * 4097).decode()}})
            self.assertEqual(b.next()["error"]["name"], "too_large")
            # The other tenant's connection is served in its own time.
            counted(server, {'rejoin_live_messages_total{kind="received"}': 3, 'rejoin_live_messages_total{kind="delivered"}': 1})


class WatchTest(LiveTest):
    def test_it_outlives_the_server(self):
        server = self.serve()
        a, b = self.database("a.db"), self.database("b.db")
        watchers = [self.watch(path, server, server.token(name, "--schema")) for path, name in ((a, "a"), (b, "b"))]
        self.write(a, "INSERT INTO todos VALUES('1', 'x', 0, 1)")
        self.comes_to(b, [("1", "x", 0, 1)])
        server.stop(signal.SIGKILL)
        self.write(a, "UPDATE todos SET title = 'while it was down'")
        self.write(b, "INSERT INTO todos VALUES('2', 'here too', 0, 1)")
        wait_for(lambda: any(line["event"] == "waiting" for line in self.lines(b)))
        server = self.serve(port=server.port)
        for path in (a, b):
            self.comes_to(path, [("1", "while it was down", 0, 1), ("2", "here too", 0, 1)])
        for path, process in zip((a, b), watchers):
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(60), 130)
            events = [line["event"] for line in self.lines(path)]
            self.assertEqual(events[0], "connected")
            self.assertEqual(events[-1], "stopped")
        # It remembered where to.
        self.assertEqual(Run("sync", a).code, 0)

    def test_what_another_process_writes_into_the_servers_file_arrives(self):
        server = self.serve("--live-poll", "50ms")
        path = self.database()
        self.write(path, "INSERT INTO todos VALUES('1', 'x', 0, 1)")
        self.watch(path, server, server.token("a", "--schema"))
        wait_for(lambda: any(line["event"] == "synced" for line in self.lines(path)))
        self.write(self.path("s", "tenants", "acme.db"), "UPDATE todos SET title = 'by hand'")
        self.comes_to(path, [("1", "by hand", 0, 1)])
        wait_for(lambda: metrics(server)["rejoin_live_lag_seconds_count"] >= 1)

    def test_what_no_waiting_cures_ends_it(self):
        server = self.serve()
        path = self.database()
        for token, code, name in (("x", 3, "unauthorized"), (server.token("a") + " ", 2, "bad_argument")):
            done = Run("sync", path, server.url, "--token", token, "--watch", "--json")
            self.assertEqual(done.code, code, done)
            self.assertEqual(json.loads(done.out.splitlines()[-1])["error"]["code"], name)
        done = Run("sync", path, server.url, "--token", "x", "--watch", "--timeout", "1s")
        self.assertEqual(done.code, 2, done)

    def test_over_tls(self):
        key, cert = self.path("key.pem"), self.path("cert.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True)
        os.chmod(key, 0o600)
        server = self.serve("--tls-cert", cert, "--tls-key", key)
        path = self.database("a.db")
        other = self.database("b.db")
        url = f"https://127.0.0.1:{server.port}"
        self.write(path, "INSERT INTO todos VALUES('1', 'secret', 0, 1)")
        for name, file in (("a", path), ("b", other)):
            process = subprocess.Popen([REJOIN, "sync", file, url, "--token", server.token(name, "--schema"), "--watch", "--ca-file", cert],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
        self.comes_to(other, [("1", "secret", 0, 1)])
        self.write(other, "UPDATE todos SET title = 'back'")
        self.comes_to(path, [("1", "back", 0, 1)])


class TopicsFromATerminalTest(LiveTest):
    def test_listen_and_send(self):
        server = self.serve()
        listener = subprocess.Popen([REJOIN, "live", "listen", server.url, "typing", "presence", "--json", "--token", server.token("a")],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.addCleanup(listener.stdout.close)
        self.addCleanup(listener.wait)
        self.addCleanup(listener.kill)
        self.assertEqual(json.loads(listener.stdout.readline()), {"event": "listening"})
        token = {"REJOIN_TOKEN": server.token("b")}
        # It may be heard a moment after the other has said that it listens.
        wait_for(lambda: Run("live", "send", server.url, "typing", "ada: ✎", env=token).code == 0
                 and metrics(server).get('rejoin_live_messages_total{kind="delivered"}'))
        self.assertEqual(json.loads(listener.stdout.readline()),
                         {"topic": "typing", "from": "b", "data": base64.b64encode("ada: ✎".encode()).decode(), "text": "ada: ✎"})
        listener.send_signal(signal.SIGINT)
        self.assertEqual(listener.wait(60), 130)
        for arguments, code in ((("send", server.url, "typing"), 2), (("send", server.url, "t", "x" * 4097), 3), (("send", server.url, "", "x"), 2),
                                (("shout", server.url, "t", "x"), 2), (("send", "http://127.0.0.1:1", "t", "x"), 4)):
            self.assertEqual(Run("live", *arguments, env=token).code, code, arguments)
        self.assertEqual(Run("live", "listen", server.url, "t", env={"REJOIN_TOKEN": "x"}).code, 3)


class ExtensionTest(LiveTest):
    def live(self, db):
        return json.loads(db.execute("SELECT rejoin_status()").fetchone()[0])["live"]

    def test_a_file_stays_in_sync_beside_its_application(self):
        server = self.serve()
        a, b = extended(self.database("a.db")), extended(self.database("b.db"))
        self.assertIsNone(self.live(a))
        for db, name in ((a, "a"), (b, "b")):
            db.execute("PRAGMA busy_timeout=10000")
            self.assertIsNone(db.execute("SELECT rejoin_live(?, ?)", (server.url, server.token(name, "--schema"))).fetchone()[0])
        a.execute("INSERT INTO todos VALUES('1', 'x', 0, 1)")
        wait_for(lambda: b.execute("SELECT title FROM todos").fetchall() == [("x",)])
        b.execute("UPDATE todos SET title = 'y'")
        wait_for(lambda: a.execute("SELECT title FROM todos").fetchall() == [("y",)])
        wait_for(lambda: self.live(a)["state"] == "connected" and self.live(a)["pushed"] == 1 and self.live(a)["pulled"] == 1)
        self.assertEqual(a.execute("SELECT rejoin_live_stop()").fetchone()[0], 1)
        self.assertEqual(a.execute("SELECT rejoin_live_stop()").fetchone()[0], 0)
        self.assertIsNone(self.live(a))
        b.execute("UPDATE todos SET title = 'z'")
        a.execute("SELECT rejoin_live()")
        wait_for(lambda: a.execute("SELECT title FROM todos").fetchall() == [("z",)])
        # The thread ends with the connection, and lets go of the file.
        a.close()
        b.close()
        wait_for(lambda: metrics(server)["rejoin_live_connections"] == 0)

    def test_a_fresh_token_that_the_file_gets_in_time_keeps_the_connection(self):
        server = self.serve()
        short = server.token("a", "--schema", "--expires", "6s")
        end = time.time() + 6
        db, writer = extended(self.database("a.db")), self.database("b.db")
        db.execute("PRAGMA busy_timeout=10000")
        db.execute("SELECT rejoin_live(?, ?)", (server.url, short))
        wait_for(lambda: self.live(db)["state"] == "connected")
        other = extended(self.path("a.db"))  # another program's
        other.execute("PRAGMA busy_timeout=10000")
        other.execute("SELECT rejoin_connect(?, ?)", (server.url, server.token("a", "--schema")))
        other.close()
        wait_for(lambda: time.time() > end + 1)
        self.write(writer, "INSERT INTO todos VALUES('1', 'after it', 0, 1)")
        self.ok("sync", writer, server.url, "--token", server.token("b", "--schema"))
        wait_for(lambda: db.execute("SELECT title FROM todos").fetchall() == [("after it",)])
        told = metrics(server)
        self.assertEqual(told["rejoin_live_connections"], 1)
        self.assertEqual([name for name in told if name.startswith("rejoin_live_closed_total")], [])
        db.close()

    def test_what_is_wrong_can_be_seen(self):
        server = self.serve()
        db = extended(self.database())
        for sql, word in (("SELECT rejoin_live()", "not_connected"), ("SELECT rejoin_live('ftp://x')", "bad_argument"), ("SELECT rejoin_live(1)", "bad_argument")):
            with self.assertRaisesRegex(sqlite3.OperationalError, word):
                db.execute(sql)
        db.execute("BEGIN")
        with self.assertRaisesRegex(sqlite3.OperationalError, "in_transaction"):
            db.execute("SELECT rejoin_live(?, 'x')", (server.url,))
        db.execute("COMMIT")
        with self.assertRaisesRegex(sqlite3.OperationalError, "memory"):
            extended(":memory:").execute("SELECT rejoin_live(?, 'x')", (server.url,))
        db.execute("SELECT rejoin_live(?, 'x')", (server.url,))
        wait_for(lambda: self.live(db)["state"] == "stopped")
        self.assertIn("token", self.live(db)["error"])
        server.stop()
        db.execute("SELECT rejoin_live(?, 'x')", (server.url,))
        wait_for(lambda: self.live(db)["state"] == "waiting")
        self.assertIn("could not connect", self.live(db)["error"])
        db.close()

    def test_a_process_ends_as_it_likes(self):
        server = self.serve()
        path = self.database()
        for ending in ("pass", "db.close()", "os._exit(0)", "sys.exit(0)", "db.execute('SELECT rejoin_live_stop()')"):
            for url in (server.url, "https://127.0.0.1:1"):
                program = textwrap.dedent(f"""
                    import os, sqlite3, sys, time
                    db = sqlite3.connect({path!r}, isolation_level=None)
                    db.enable_load_extension(True)
                    db.load_extension({EXTENSION!r})
                    db.execute("SELECT rejoin_live(?, ?)", ({url!r}, {server.token("a", "--schema")!r}))
                    time.sleep(0.1)
                    {ending}
                """)
                done = subprocess.run(["/usr/bin/python3", "-c", program], capture_output=True, text=True, timeout=60)
                self.assertEqual((done.returncode, done.stderr), (0, ""), ending)


if __name__ == "__main__":
    unittest.main(verbosity=2)
