"""A transaction of a million rows goes from device to device through a server, while everybody dies or is stopped in the middle: it goes on where it was, nobody ever
sees a part of it, other writers of the devices' files get their turn, and all that takes bounded memory. With PostgreSQL it has a quarter of the rows.

REJOIN_LARGE_ROWS (1,000,000).
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from http_peer import peak_memory, wait_for  # noqa: E402
from support import REJOIN, FolderTest, PostgresStoreTest, Server, extended, plain  # noqa: E402

ROWS = int(os.environ.get("REJOIN_LARGE_ROWS", "1000000"))
TABLES = "CREATE TABLE big(id TEXT PRIMARY KEY, name TEXT, n BIGINT, body TEXT); CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT)"
FILL = """INSERT INTO big WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < ?)
          SELECT printf('row%08d', i), 'name ' || i, i, hex(randomblob(12)) FROM c"""
# Is there anything of it, and the last of it.
LOOK = "SELECT (SELECT count(*) FROM (SELECT 1 FROM big LIMIT 1) AS one) AS part, (SELECT n FROM big ORDER BY id DESC LIMIT 1) AS last"
# docs/performance.md: the page, the fold's chunk and the page cache, whatever the size of the transaction.
DEVICE = 96 << 20


class Beside(threading.Thread):
    """Reads and writes a device's file beside everything else. What it saw of the large table, how long its longest write took and how many there were."""

    def __init__(self, path):
        super().__init__()
        self.path, self.seen, self.longest, self.writes, self.stopping, self.failure = path, set(), 0.0, 0, threading.Event(), None

    def run(self):
        try:
            db = plain(self.path)
            db.execute("PRAGMA busy_timeout=120000")
            while not self.stopping.wait(0.02):
                begun = time.monotonic()
                db.execute("INSERT INTO notes VALUES(hex(randomblob(16)), 'beside')")
                self.longest = max(self.longest, time.monotonic() - begun)
                self.writes += 1
                self.seen.add(db.execute(LOOK).fetchone())
            db.close()
        except BaseException as error:
            self.failure = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.join()


class LargeTransactionTest(FolderTest):
    rows = ROWS
    step = 6  # pieces between two mishaps
    server_peak = 96 << 20

    def setUp(self):
        super().setUp()
        self.prepare()
        self.server = Server(self.path("server"), *self.store)
        self.server.__enter__()
        self.addCleanup(lambda: self.server.__exit__())
        self.peak = {}

    def prepare(self):
        self.store = ()

    def device(self, name):
        path = self.path(name + ".db")
        db = extended(path)
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(TABLES)
        for table in ("big", "notes"):
            db.execute("SELECT rejoin_track(?)", (table,))
        db.close()
        return path

    def pieces(self, name, what):
        """The bytes of each chunk ("received") or page ("sent") of this device so far, of those that can count."""
        with open(self.server.log_path, encoding="utf-8") as log:
            lines = [json.loads(line) for line in log if '"route":"sync"' in line]
        return [line[what] for line in lines if line["device"] == name and line[what] > 100_000]

    def begin(self, name):
        return subprocess.Popen([REJOIN, "sync", self.path(name + ".db"), self.server.url, "--token", self.tokens[name], "--json"],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def end(self, name, process):
        """Its exit status, signal, and what it told."""
        out = process.stdout.read()
        process.stdout.close()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.peak[name] = max(self.peak.get(name, 0), used.ru_maxrss * 1024)
        return process.returncode, out and json.loads(out)

    def restart(self):
        self.peak["server"] = max(self.peak.get("server", 0), peak_memory(self.server.process))
        self.server.wanted_port = self.server.port
        self.server.stop(signal.SIGKILL)
        self.server.__enter__()

    def sync_with_mishaps(self, name, what):
        """Killed, stopped by Ctrl-C, and its server killed, each when some more of it has gone through."""
        fatal = [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
        at = 0
        for how, code in fatal:
            process = self.begin(name)
            at += self.step
            wait_for(lambda: len(self.pieces(name, what)) >= at)
            process.send_signal(how)
            self.assertEqual(self.end(name, process)[0], code)
        process = self.begin(name)
        at += self.step
        wait_for(lambda: len(self.pieces(name, what)) >= at)
        self.restart()
        code, told = self.end(name, process)
        self.assertEqual((code, told["rejected"]), (0, 0), told)

    def test_it_goes_on_where_it_was_and_is_seen_as_a_whole(self):
        a, b, _ = (self.device(name) for name in "abc")
        self.tokens = {name: self.server.token(name, "--schema") for name in "abc"}
        db = plain(a)
        db.execute(FILL, (self.rows,))
        db.close()
        with Beside(a) as at_a, self.watch_server() as at_server:
            self.sync_with_mishaps("a", "received")
        with Beside(b) as at_b:
            self.sync_with_mishaps("b", "sent")
        # One to whom nothing happened, to compare with: each mishap may cost the piece that was under way.
        self.assertEqual(self.end("c", self.begin("c"))[0], 0)
        whole, chunks, pages = self.pieces("c", "sent"), self.pieces("a", "received"), self.pieces("b", "sent")
        print(f"{len(chunks)} chunks, {sum(chunks):,} bytes; {len(pages)} pages, {sum(pages):,} bytes; without mishaps {len(whole)}, {sum(whole):,}", flush=True)
        self.assertLessEqual(sum(pages), sum(whole) + 4 * max(whole))
        self.assertLessEqual(sum(chunks), sum(whole) * 1.1 + 4 * max(chunks))
        self.peak["server"] = max(self.peak["server"], peak_memory(self.server.process))
        for which in (at_a, at_b, at_server):
            self.assertIsNone(which.failure)
            self.assertLessEqual(which.seen, {(0, None), (1, self.rows)})
        self.assertIn((0, None), at_b.seen & at_server.seen)
        print(f"longest wait of another writer: {at_a.longest:.2f} s of {at_a.writes} while it was pushed, {at_b.longest:.2f} s of {at_b.writes} while it was pulled", flush=True)
        print("peaks: " + ", ".join(f"{k} {v / (1 << 20):.0f} MiB" for k, v in self.peak.items()), flush=True)
        self.assertLess(max(self.peak["a"], self.peak["b"]), DEVICE)
        self.assertLess(self.peak["server"], self.server_peak)
        for name in "ab":
            self.assertEqual(self.end(name, self.begin(name))[0], 0)
        self.assertEqual(self.end("a", self.begin("a"))[0], 0)
        one = plain(a)
        one.execute("ATTACH ? AS other", (b,))
        for table in ("big", "notes"):
            self.assertEqual(one.execute(f"SELECT count(*) FROM (SELECT * FROM main.{table} EXCEPT SELECT * FROM other.{table})").fetchone(), (0,))
        self.assertEqual(one.execute("SELECT (SELECT count(*) FROM big), (SELECT count(*) FROM other.big)").fetchone(), (self.rows, self.rows))
        one.close()

    def watch_server(self):
        """Who reads what the server has meanwhile."""
        return Watch(self.on_server, 0.05)

    def on_server(self):
        path = self.path("server", "tenants", "acme.db")
        if not os.path.exists(path):
            return (0, None)
        db = plain(path)
        try:
            return db.execute(LOOK).fetchone() if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'big'").fetchone() else (0, None)
        finally:
            db.close()


class Watch(threading.Thread):
    def __init__(self, look, seconds):
        super().__init__()
        self.look, self.seconds, self.seen, self.failure, self.stopping = look, seconds, set(), None, threading.Event()

    def run(self):
        try:
            while not self.stopping.wait(self.seconds):
                self.seen.add(self.look())
        except BaseException as error:
            self.failure = error

    __enter__, __exit__ = Beside.__enter__, Beside.__exit__


class LargeTransactionOfPostgresTest(LargeTransactionTest, PostgresStoreTest):
    rows = ROWS // 4
    step = 2
    server_peak = 160 << 20  # with what several connections keep

    def prepare(self):
        self.tracked(TABLES, "big", "notes", "--tenant", "acme")
        self.store = self.at_store()

    def watch_server(self):
        return Watch(self.on_server, 0.5)  # each look is a process

    def on_server(self):
        return tuple(self.postgres.rows(LOOK, database=self.name)[0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
