"""Real devices and a real server: many at once, and whatever breaks between them."""

import http.client
import http.server
import json
import os
import random
import signal
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from http_peer import metrics  # noqa: E402
from support import REJOIN, FolderTest, Run, Server, extended, plain, rows  # noqa: E402


class Between:
    """A proxy that forwards each POST and does what `fate(number)` says: "pass", "drop request" or "drop reply". The callback may do more,
    like killing the server before the reply is passed on: after(number)."""

    def __init__(self, server, fate=lambda n: "pass", after=lambda n: None):
        self.server, self.fate, self.after, self.count = server, fate, after, 0
        between = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                between.count += 1
                number = between.count
                fate = between.fate(number)
                self.close_connection = True
                if fate == "drop request":
                    return
                try:
                    upstream = http.client.HTTPConnection("127.0.0.1", between.server.port, timeout=120)
                    upstream.request("POST", self.path, body, dict(self.headers))
                    reply = upstream.getresponse()
                    content = reply.read()
                    upstream.close()
                except (OSError, http.client.HTTPException):
                    return
                between.after(number)
                if fate == "drop reply":
                    return
                self.send_response(reply.status)
                for name, value in reply.getheaders():
                    if name.lower() not in ("connection", "server"):
                        self.send_header(name, value)
                self.send_header("Connection", "close")
                try:
                    self.end_headers()
                    self.wfile.write(content)
                except ConnectionError:
                    pass  # the device is gone

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


class ManyDevicesTest(FolderTest):
    DEVICES = 8
    SQL = """CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT NOT NULL, done INTEGER DEFAULT 0, priority INTEGER);
             CREATE TABLE notes(list TEXT, n INTEGER, body BLOB, weight REAL, PRIMARY KEY(list, n)) WITHOUT ROWID"""

    def edit(self, path, rng, name):
        db = plain(path)
        db.execute("PRAGMA busy_timeout = 60000")
        for _ in range(rng.randrange(1, 4)):
            db.execute("BEGIN IMMEDIATE")
            for _ in range(rng.randrange(1, 20)):
                what, key = rng.randrange(6), f"shared{rng.randrange(30)}"
                if what == 0:
                    db.execute("INSERT OR REPLACE INTO todos VALUES(?, ?, ?, ?)", (key, f"{name} {rng.random()}", rng.randrange(2), rng.randrange(9)))
                elif what == 1:
                    db.execute(f"UPDATE todos SET {rng.choice(['title', 'done', 'priority'])} = ? WHERE id = ?", (rng.randrange(1000), key))
                elif what == 2:
                    db.execute("DELETE FROM todos WHERE id = ?", (key,))
                elif what == 3:
                    db.execute("INSERT OR IGNORE INTO todos(id, title) VALUES(?, 'of its own')", (f"{name}{rng.randrange(1000)}",))
                elif what == 4:
                    db.execute("INSERT OR REPLACE INTO notes VALUES(?, ?, ?, ?)", (key, rng.randrange(5), rng.randbytes(rng.randrange(3000)), rng.random()))
                else:
                    db.execute("UPDATE notes SET weight = ? WHERE list = ?", (rng.random(), key))
            db.execute("COMMIT" if rng.randrange(5) else "ROLLBACK")
        db.close()

    def test_two_tenants_with_eight_devices_each_converge(self):
        seed = int(os.environ.get("REJOIN_SEED", random.SystemRandom().randrange(1 << 32)))
        print(f"REJOIN_SEED={seed}", flush=True)
        devices = {t: [self.database(f"{t}{i}.db", self.SQL, ("todos", "notes")) for i in range(self.DEVICES)] for t in ("red", "blue")}
        failures = []
        with Server(self.path("s")) as server:
            start = threading.Barrier(2 * self.DEVICES)

            def live(tenant, number, path):
                """Edits and syncs in turn, half of the devices from the command line and half from SQL, while all others do the same."""
                rng, name = random.Random(f"{seed} {tenant} {number}"), f"{tenant}{number}"
                try:
                    token = server.token(name, "--schema", tenant=tenant)
                    start.wait(60)
                    for _ in range(6):
                        self.edit(path, rng, name)
                        if number % 2:
                            done = Run("sync", path, server.url, "--token", token, "--json", "--retries", "20")
                            if done.code:
                                failures.append(done)
                        else:
                            db = extended(path)
                            db.execute("SELECT rejoin_connect(?, ?)", (server.url, token))
                            told = json.loads(db.execute("SELECT rejoin_sync()").fetchone()[0])
                            db.close()
                            if told["error"]:
                                failures.append(told)
                except Exception as error:  # a thread's failure is the test's
                    failures.append(repr(error))
                    start.abort()

            threads = [threading.Thread(target=live, args=(t, i, path)) for t in devices for i, path in enumerate(devices[t])]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(failures, [])
            for paths in devices.values():
                for path in paths + paths:  # what the last one brought reaches the first in the second round
                    self.ok("sync", path)
                for path in paths:
                    told = self.ok("sync", path, "--json").json
                    self.assertEqual((told["pushed"], told["pulled"], told["pending"], told["rejected"], told["parked"]), (0, 0, 0, 0, 0))
            self.assertEqual(metrics(server).get('rejoin_errors_total{error="internal"}', 0), 0)
        for tenant, paths in devices.items():
            for table in ("todos", "notes"):
                expected = rows(self.path("s", "tenants", tenant + ".db"), table, "1, 2")
                self.assertGreater(len(expected), 20)
                for path in paths:
                    self.assertEqual(rows(path, table, "1, 2"), expected, path)
            self.assertTrue(self.ok("doctor", paths[0], "--json").json["sound"])


class InterruptionTest(FolderTest):
    def backlog(self, name="a.db", count=20_000):
        """A device with several chunks to send: 20,000 rows of 200 bytes make four of a mebibyte."""
        path = self.database(name)
        db = plain(path)
        db.execute("BEGIN")
        db.executemany("INSERT INTO todos(id, title) VALUES(?, ?)", ((f"{i:06}", os.urandom(100).hex()) for i in range(count)))
        db.execute("COMMIT")
        db.close()
        return path

    def restart(self, server):
        """The server on the same data, on a port of its own."""
        server.process.communicate()
        server.__enter__()

    def kill_at(self, when, fate):
        """The server is killed without warning at the given requests; the device goes on when it is back."""
        a, b = self.backlog(), self.database("b.db")
        with Server(self.path("s")) as server:
            killed = []

            def kill(number):
                if number in when:
                    server.process.kill()
                    killed.append(number)
                    self.restart(server)

            def choose(number):
                if fate == "drop request":
                    kill(number)  # before it saw anything
                return fate if number in when else "pass"

            with Between(server, choose, kill if fate == "drop reply" else lambda n: None) as between:
                token = server.token("a", "--schema")
                told = self.ok("sync", a, between.url, "--token", token, "--retries", "50", "--json").json
                self.assertEqual(killed, sorted(when))
                self.assertEqual((told["pending"], told["rejected"]), (0, 0))
                self.assertGreaterEqual(told["retries"], len(when))
                self.ok("sync", b, between.url, "--token", server.token("b"))
            repeated = metrics(server).get("rejoin_sync_repeated_pushes_total", 0)
        self.assertEqual(len(rows(a)), 20_000)
        self.assertEqual(rows(b), rows(a))
        self.assertEqual(rows(self.path("s", "tenants", "acme.db")), rows(a))
        return repeated

    def test_a_server_that_is_killed_before_it_answers(self):
        # The chunk was taken, the acknowledgement was lost: it is sent again, and known.
        self.assertEqual(self.kill_at({2, 3, 5}, "drop reply"), 1)

    def test_a_server_that_is_killed_between_requests(self):
        self.kill_at({1, 2, 4}, "drop request")

    def test_a_server_that_is_killed_at_work(self):
        a = self.backlog()
        with Server(self.path("s")) as server:
            token = server.token("a", "--schema")
            rng, kills = random.Random(7), 0
            with Between(server) as between:
                process = subprocess.Popen([REJOIN, "sync", a, between.url, "--token", token, "--retries", "100", "--json"],
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
                try:
                    while process.poll() is None and kills < 3:
                        seen = between.count
                        while between.count == seen and process.poll() is None:
                            threading.Event().wait(0.001)
                        threading.Event().wait(rng.random() * 0.02)  # somewhere in the middle of the work
                        server.process.kill()
                        kills += 1
                        self.restart(server)
                    out, err = process.communicate(timeout=300)
                finally:
                    process.kill()
                self.assertEqual(process.returncode, 0, (out, err))
                self.assertGreater(kills, 0)
                self.ok("sync", a, between.url, "--token", token)
            server.stop()
        self.assertEqual(rows(self.path("s", "tenants", "acme.db")), rows(a))
        db = plain(self.path("s", "tenants", "acme.db"))
        self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        db.close()

    def test_requests_and_replies_that_are_lost(self):
        a, b = self.backlog(), self.backlog("b.db", 0)
        with Server(self.path("s")) as server:
            fates = ["pass", "drop request", "drop reply"]
            with Between(server, lambda n: fates[n % 3]) as between:
                for path, name in ((a, "a"), (b, "b")):
                    self.ok("sync", path, between.url, "--token", server.token(name, "--schema"), "--retries", "50")
            self.assertGreater(metrics(server)["rejoin_sync_repeated_pushes_total"], 0)
        self.assertEqual(rows(b), rows(a))

    def test_a_device_that_is_killed_goes_on(self):
        a = self.backlog()
        with Server(self.path("s")) as server:
            token = server.token("a", "--schema")
            victim = []
            killed = []

            def kill(number):
                if number in (2, 3, 5):
                    victim[-1].send_signal(signal.SIGKILL)
                    victim[-1].wait()
                    killed.append(number)

            with Between(server, after=kill) as between:
                for _ in range(4):
                    started = threading.Event()
                    between.fate = lambda n, started=started: started.wait(60) and "pass"
                    victim.append(subprocess.Popen([REJOIN, "sync", a, between.url, "--token", token], stdout=subprocess.DEVNULL,
                                                   stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL))
                    started.set()
                    victim[-1].wait(timeout=120)
            self.assertEqual(killed, [2, 3, 5])
            self.assertEqual([v.returncode for v in victim], [-signal.SIGKILL] * 3 + [0])
            self.assertGreater(metrics(server)["rejoin_sync_repeated_pushes_total"], 0)
        self.assertEqual(rows(self.path("s", "tenants", "acme.db")), rows(a))


if __name__ == "__main__":
    unittest.main(verbosity=2)
