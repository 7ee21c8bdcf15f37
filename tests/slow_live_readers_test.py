"""Readers of GET /v1/live that stop reading, through real sockets: they cost the server bounded memory and nobody else a page, get everything when they
read on, on the same connection or with a pull at their cursor, and are cut when they don't. (That one who is there, but takes nothing for a minute, is cut:
slow/live_stall_test.py.)"""

import os
import socket
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from http_peer import PROTOBUF, call, counted, field, fields, metrics, peak_memory, wait_for  # noqa: E402
from live_peer import Live, frame  # noqa: E402
from support import FolderTest, PostgresStoreTest, Server, plain  # noqa: E402

ON_DEVICE = "CREATE TABLE files(id TEXT PRIMARY KEY, body BLOB)"
FIRST, EACH_TIME = 8, 1  # MiB: before them, and before each of them
ROWS, BYTES = 64, 16 << 10  # of a transaction of one MiB
# What a reader may have on its way, docs/live.md: --live-queue and a page of 1 MiB.
EACH = (256 << 10) + (1 << 20) + (64 << 10)
# What pushes and pages under way take, beside what is on its way to anybody.
WORK = 32 << 20


def request(cursor):
    """A SyncRequest that pulls."""
    return field(1, 1) + field(2, field(1, b"0123456789abcdef")) + field(4, field(1, cursor))


class Reader(Live):
    """One who follows from there on, in Protocol Buffers. Counts the rows of the pages that it reads."""

    def __init__(self, server, name, cursor, rows, buffer):
        super().__init__(server, server.token(name), buffer)
        self.cursor, self.rows = cursor, rows
        self.peer.sendall(frame(field(1, 1) + field(2, request(cursor)), 2))
        self.read(2)

    @staticmethod
    def decode(message):
        return fields(message)

    def take(self, response):
        """True when more of it waits."""
        page = fields(fields(response)[6][0])
        self.cursor = page[2][0]
        self.rows += page.get(5, [0])[0]
        return 3 in page

    def read(self, kind=3):
        """The next page, or the answer with its."""
        while message := self.next():
            if kind in message:
                return self.take(message[kind][0])
        raise AssertionError(f"the connection has ended: {self.closed}")

    def read_all(self, total):
        while self.rows < total:
            self.read()


class SlowReadersTest(FolderTest):
    SLOW, THEN = 8, 48  # how many, and MiB that come while they stand still

    def serve(self, *arguments):
        server = Server(self.path("server"), *arguments)
        server.__enter__()
        self.addCleanup(server.__exit__)
        return server

    def push(self, server, mebibytes):
        path = self.path("writer.db")
        if not os.path.exists(path):
            self.database("writer.db", ON_DEVICE, ("files",))
        db = plain(path)
        at = db.execute("SELECT count(*) FROM files").fetchone()[0]
        for _ in range(mebibytes):
            db.execute("BEGIN")
            db.executemany("INSERT INTO files VALUES(?, ?)", [(f"{at + i}", os.urandom(BYTES)) for i in range(ROWS)])
            db.execute("COMMIT")
            at += ROWS
        db.close()
        self.ok("sync", path, server.url, "--token", server.token("writer", "--schema"))

    def reader(self, server, name, at=None, buffer=None):
        """At the place of another."""
        live = Reader(server, name, at.cursor if at else b"", at.rows if at else 0, buffer)
        self.addCleanup(live.close)
        return live

    def test_they_cost_bounded_memory_and_nobody_a_page(self):
        server = self.serve()
        quick = self.reader(server, "quick")
        self.push(server, FIRST)
        quick.read_all(ROWS * FIRST)
        start = peak_memory(server.process)
        # Places of their own, so that they have no page in common.
        slow = []
        for i in range(self.SLOW):
            self.push(server, EACH_TIME)
            quick.read_all(ROWS * (FIRST + (i + 1) * EACH_TIME))
            slow.append(self.reader(server, f"slow{i}", quick, 4096))
        total = ROWS * (FIRST + self.SLOW * EACH_TIME + self.THEN)
        failures = []

        def go_on():
            try:
                quick.read_all(total)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=go_on)
        thread.start()
        self.push(server, self.THEN)
        thread.join(120)
        self.assertEqual((failures, thread.is_alive(), quick.rows), ([], False, total))
        self.assertEqual(metrics(server)["rejoin_live_connections"], self.SLOW + 1)
        wait_for(lambda: metrics(server)["rejoin_live_slow_readers_total"] >= self.SLOW)
        self.memory(peak_memory(server.process) - start)

        # One reads on where it is. Another is gone, and pulls with what it has.
        for live in slow[:2]:
            live.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        slow[0].read_all(total)
        self.assertEqual(slow[0].rows, total)
        self.assertEqual(slow[0].cursor, quick.cursor)
        slow[1].read()
        slow[1].close()
        while slow[1].take(call(server, "POST", "/v1/sync", request(slow[1].cursor), {"Content-Type": PROTOBUF}, server.token("slow1")).body):
            pass
        self.assertEqual(slow[1].rows, total)

    def memory(self, grown):
        bound = self.SLOW * EACH + WORK
        print(f"{self.SLOW} readers, {self.THEN} MiB: grown by {grown / (1 << 20):.1f} MiB, bound {bound / (1 << 20):.1f}", flush=True)
        self.assertLess(bound, self.THEN << 20)  # even if all had the same bytes on their way
        self.assertLess(grown, bound)

    def test_who_never_reads_is_cut(self):
        server = self.serve("--live-heartbeat", "1s")
        self.push(server, 1)
        gone = [self.reader(server, f"gone{i}", buffer=4096) for i in range(3)]
        quick = self.reader(server, "quick")
        thread = threading.Thread(target=quick.read_all, args=(ROWS * 13,))
        thread.start()
        self.push(server, 12)
        thread.join(60)
        while metrics(server).get('rejoin_live_closed_total{code="1006"}') != len(gone):
            quick.peer.settimeout(0.1)  # it answers pings
            try:
                quick.next()
            except TimeoutError:
                pass
        counted(server, {"rejoin_live_connections": 1})


class SlowReadersOfPostgresTest(PostgresStoreTest, SlowReadersTest):
    SLOW, THEN = 2, 8
    test_who_never_reads_is_cut = None

    def setUp(self):
        super().setUp()
        self.tracked("CREATE TABLE files(id text PRIMARY KEY, body bytea)", "files", "--tenant", "acme")

    def serve(self, *arguments):
        return super().serve(*self.at_store(), *arguments)

    def memory(self, grown):
        """What merges take there is more than what so few readers could."""


if __name__ == "__main__":
    unittest.main(verbosity=2)
