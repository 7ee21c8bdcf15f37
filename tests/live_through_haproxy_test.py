"""Devices that watch through HAProxy, as deploy/haproxy.cfg configures it, in front of two servers on one PostgreSQL: rows reach them at once, from
other devices and from plain SQL, and go on reaching them when the server that holds their connection is killed."""

import os
import signal
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "interop")]
import live_connection_test  # noqa: E402
from haproxy import Haproxy  # noqa: E402
from http_peer import call, metrics, wait_for  # noqa: E402
from support import PostgresStoreTest, Server  # noqa: E402

TABLE = "CREATE TABLE todos(id text PRIMARY KEY, title text, done bigint, priority bigint)"


class LiveThroughHaproxyTest(PostgresStoreTest, live_connection_test.LiveTest):
    def setUp(self):
        super().setUp()
        self.tracked(TABLE, "public.todos", "--tenant", "acme")
        self.nodes = [Server(self.path("server"), *self.at_store()) for _ in range(2)]
        for node in self.nodes:
            node.__enter__()
            self.addCleanup(node.__exit__)
        self.front = Haproxy(self.folder, self.nodes)
        self.front.__enter__()
        self.addCleanup(self.front.__exit__)
        wait_for(lambda: call(self.front, "GET", "/health").status == 200)

    def connections(self, node):
        return metrics(node)["rejoin_live_connections"] if node.process.poll() is None else 0

    def test_rows_come_through_and_go_on_when_a_server_is_killed(self):
        a, b = self.database("a.db"), self.database("b.db")
        for path, name in ((a, "a"), (b, "b")):
            self.watch(path, self.front, self.nodes[0].token(name))
        # The proxy gives each server one of them.
        wait_for(lambda: [self.connections(node) for node in self.nodes] == [1, 1])
        self.write(a, "INSERT INTO todos VALUES('1', 'of a device', 0, 1)")
        self.comes_to(b, [("1", "of a device", 0, 1)])
        self.postgres.psql("INSERT INTO todos VALUES('2', 'by SQL', 0, 1)", "owner", self.name)
        for path in (a, b):
            self.comes_to(path, [("1", "of a device", 0, 1), ("2", "by SQL", 0, 1)])
        self.nodes[0].stop(signal.SIGKILL)
        wait_for(lambda: self.connections(self.nodes[1]) == 2)
        self.write(b, "UPDATE todos SET title = 'of the other server'")
        for path in (a, b):
            self.comes_to(path, [("1", "of the other server", 0, 1), ("2", "of the other server", 0, 1)])


del live_connection_test  # its own tests are not run here

if __name__ == "__main__":
    unittest.main(verbosity=2)
