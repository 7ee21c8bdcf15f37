"""What /metrics says of PostgreSQL and of live connections behind it: how long work waited for it, and how late changes reach those who follow."""

import os
import sys
import threading
import time
import unittest

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), *f) for f in (("interop",), ("..", "scripts", "lib"))]
from http_peer import metrics, wait_for  # noqa: E402
from live_peer import Live  # noqa: E402
from private_postgres import Session  # noqa: E402
from support import PostgresStoreTest, Server, plain  # noqa: E402

TABLE = "CREATE TABLE todos(id text PRIMARY KEY, title text)"
LAG, CAPTURED = "rejoin_live_lag_seconds", "rejoin_postgres_captured_age_seconds"
HOLD_S = 0.4


def waited(told, kind):
    """How often work of this kind waited for PostgreSQL, how long altogether, in how many round trips."""
    return tuple(told[name + f'{{kind="{kind}"}}'] for name in ("rejoin_postgres_seconds_count", "rejoin_postgres_seconds_sum", "rejoin_postgres_round_trips_total"))


class PostgresMetricsTest(PostgresStoreTest):
    def setUp(self):
        super().setUp()
        self.tracked(TABLE, "public.todos", "--tenant", "acme")
        self.server = Server(self.path("server"), *self.at_store(), "--audit", "--live-outbox-poll", "10ms")
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)
        self.phone = self.database("phone.db", TABLE)
        self.token = self.server.token("phone")

    def session(self):
        session = Session(self.postgres.psql_command(database=self.name))
        self.addCleanup(session.__exit__)
        return session

    def push(self, *ids):
        db = plain(self.phone)
        db.executemany("INSERT INTO todos VALUES(?, 'x')", [(i,) for i in ids])
        db.close()
        self.ok("sync", self.phone, self.server.url, "--token", self.token)

    def waits_for_a_lock(self):
        return self.postgres.psql(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{self.name}' AND wait_event_type = 'Lock'") != "0"

    def follow(self):
        """A reader that has all that there is."""
        reader = Live(self.server, self.server.token("reader"))
        self.addCleanup(reader.close)
        page = reader.follow()["page"]
        while page.get("more"):
            page = self.page(reader)
        return reader

    @staticmethod
    def page(reader):
        while True:
            told = reader.next()
            if told is None:
                raise AssertionError("the connection has ended")
            if "page" in told:
                return told["page"]["page"]

    def lag(self):
        """(how many pages, their lags altogether): counted right behind the sending."""
        told = metrics(self.server)
        return told[LAG + "_count"], told[LAG + "_sum"]

    def test_what_waits_for_postgres_is_counted_by_kind(self):
        before = metrics(self.server)
        self.assertEqual([waited(before, kind)[0] for kind in ("push", "pull", "contract", "audit")], [0] * 4)
        self.push("a", "b")
        told = metrics(self.server)
        pushes, seconds, trips = waited(told, "push")
        self.assertEqual(pushes, 1)
        self.assertGreater(seconds, 0)
        self.assertGreaterEqual(trips, 3)
        for kind in ("pull", "contract", "audit"):
            times, seconds, trips = waited(told, kind)
            self.assertGreaterEqual(trips, times)
            self.assertGreater(times, 0)
            self.assertGreater(seconds, 0)
        spent = sum(waited(told, kind)[1] - waited(before, kind)[1] for kind in ("push", "pull", "contract", "audit"))
        self.assertLessEqual(spent, told["rejoin_sync_store_seconds_sum"])
        for kind in ("push", "merge"):
            self.assertEqual(told[f'rejoin_store_seconds_count{{kind="{kind}"}}'], 1)
        # A push is its merge, which waits for PostgreSQL, and what it waits for before.
        self.assertLessEqual(waited(told, "push")[1], told['rejoin_store_seconds_sum{kind="merge"}'])
        self.assertLessEqual(told['rejoin_store_seconds_sum{kind="merge"}'], told['rejoin_store_seconds_sum{kind="push"}'])
        self.assertGreaterEqual(told['rejoin_store_seconds_count{kind="pull"}'], waited(told, "pull")[0])
        connects = waited(told, "connect")
        self.postgres.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()", database=self.name)
        self.push("c")
        after = waited(metrics(self.server), "connect")
        self.assertGreater(after[0], connects[0])
        self.assertGreater(after[1], connects[1])
        self.assertEqual(after[2], 0)

    def test_a_wait_for_somebodys_lock_is_time_of_postgres(self):
        self.push("a")
        before = waited(metrics(self.server), "push")
        other = self.session()
        other.run("BEGIN; INSERT INTO todos VALUES('b', 'mine');")
        pusher = threading.Thread(target=self.push, args=("b",))
        pusher.start()
        wait_for(self.waits_for_a_lock)
        blocked = time.monotonic()
        time.sleep(HOLD_S)
        held = time.monotonic() - blocked
        other.run("ROLLBACK;")
        pusher.join()
        after = waited(metrics(self.server), "push")
        self.assertEqual(after[0], before[0] + 1)
        self.assertGreaterEqual(after[1] - before[1], held)

    def test_the_lag_of_a_push_is_from_its_commit(self):
        reader = self.follow()
        self.assertEqual(self.lag(), (0, 0))
        began = time.monotonic()
        self.push("a")
        self.assertEqual(self.page(reader)["rows"], 1)
        wait_for(lambda: self.lag()[0] == 1)
        self.assertLessEqual(self.lag()[1], time.monotonic() - began)

    def test_the_lag_of_plain_sql_is_from_its_statement_on(self):
        reader = self.follow()
        other = self.session()
        began = time.monotonic()
        other.run("BEGIN; INSERT INTO todos VALUES('a', 'late');")
        written = time.monotonic()
        time.sleep(HOLD_S)
        held = time.monotonic() - written
        other.run("COMMIT;")
        self.assertEqual(self.page(reader)["rows"], 1)
        wait_for(lambda: self.lag()[0] == 1)
        self.assertGreaterEqual(self.lag()[1], held)
        self.assertLessEqual(self.lag()[1], time.monotonic() - began + 0.002)  # the database tells milliseconds, rounded down

    def test_one_who_reads_a_backlog_does_not_lag(self):
        self.push(*(f"old{i}" for i in range(10)))
        self.postgres.psql("INSERT INTO todos VALUES('older', 'x')", database=self.name)
        self.follow()
        self.assertEqual(self.lag(), (0, 0))

    def test_captured_writes_that_nothing_folds_grow_older(self):
        reader = self.follow()
        self.assertEqual(metrics(self.server)[CAPTURED], 0)
        other = self.session()
        other.run("BEGIN; SELECT FROM rejoin.tenant FOR UPDATE;")
        self.postgres.psql("INSERT INTO todos VALUES('a', 'stuck')", database=self.name)
        wait_for(lambda: metrics(self.server)[CAPTURED] >= HOLD_S)
        self.assertEqual(self.lag(), (0, 0))
        other.run("ROLLBACK;")
        self.assertEqual(self.page(reader)["rows"], 1)
        wait_for(lambda: metrics(self.server)[CAPTURED] == 0)
        self.assertGreaterEqual(wait_for(lambda: self.lag()[1]), HOLD_S)


if __name__ == "__main__":
    unittest.main(verbosity=2)
