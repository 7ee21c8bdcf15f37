"""`rejoin pg compact` as whoever looks after the database meets it, and killed at any moment."""

import os
import random
import signal
import subprocess
import sys
import time
import unittest

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop")]
from http_peer import counted  # noqa: E402
from support import PostgresStoreTest, REJOIN, Run, Server, plain, rows  # noqa: E402

TODOS = "CREATE TABLE todos(id text PRIMARY KEY, title text);"


class CompactTest(PostgresStoreTest):
    def setUp(self):
        super().setUp()
        self.url = self.postgres.url("owner", self.name)

    def sql(self, text):
        self.postgres.psql(text, "owner", self.name)

    def compact(self, *arguments):
        return self.pg("compact", *arguments, "--json").json

    def status(self):
        return self.pg("status", "--json").json

    def test_deletions_go_when_they_are_old_enough(self):
        self.tracked(TODOS + "INSERT INTO todos VALUES('a', 'x'), ('b', 'x'), ('c', 'x')", "public.todos")
        self.sql("DELETE FROM todos WHERE id <> 'b'")
        self.assertEqual(self.compact()["deletions"], 0)
        self.assertEqual((self.status()["keep_days"], self.status()["horizon"]), (30, None))
        self.assertIn("deletions are kept for 30 days\n", self.pg("status").out)
        self.assertEqual(self.compact("--keep-days", 0, "--dry-run"), {"tenants": 1, "log_rows": 0, "deletions": 2, "dry_run": True})
        self.assertIn("would forget 2 deletions and 0 log rows of 1 tenant\n", self.pg("compact", "--keep-days", 0, "--dry-run").out)
        self.assertEqual((self.status()["keep_days"], self.status()["tables"][0]["records"]), (30, 3))
        self.assertEqual(self.pg("compact", "--keep-days", 0).out, "forgot 2 deletions and 0 log rows of 1 tenant\n")
        told = self.status()
        self.assertEqual((told["keep_days"], told["tables"][0]["records"], told["tables"][0]["alive"]), (0, 1, 1))
        self.assertRegex(told["horizon"], r"^20\d\d-")
        self.assertIn("some until " + told["horizon"] + " are forgotten", self.pg("status").out)
        self.sql("INSERT INTO todos VALUES('a', 'anew')")
        self.assertEqual(self.compact("--tenant", "main"), {"tenants": 1, "log_rows": 1, "deletions": 0, "dry_run": False})
        self.assertIn("sound", self.pg("doctor").out)

    def test_a_server_forgets_by_itself_and_counts(self):
        self.tracked(TODOS + "INSERT INTO todos VALUES('a', 'x'), ('b', 'x'), ('c', 'x')", "public.todos", "--tenant", "acme")
        phone = self.database("phone.db", TODOS)
        with Server(self.path("server"), *self.at_store()) as server:
            token = server.token("phone")

            def sync(title):
                db = plain(phone)
                db.execute("INSERT OR REPLACE INTO todos VALUES('mine', ?)", (title,))
                db.close()
                self.ok("sync", phone, server.url, "--token", token)

            sync("first")
            self.sql("DELETE FROM todos WHERE id IN ('a', 'b')")
            # Deletions are old at once, and the day that the servers wait after an upgrade is over.
            self.sql("SET rejoin.all_tenants = 'on'; UPDATE rejoin.meta SET keep_days = 0; UPDATE rejoin.tenant SET looked = 0")
            for title in ("second", "third", "fourth"):
                sync(title)
            self.assertEqual(rows(phone), [("c", "x"), ("mine", "fourth")])
            self.assertEqual((self.status()["tables"][0]["records"], self.status()["tables"][0]["alive"]), (2, 2))
            counted(server, {"rejoin_postgres_deletions_forgotten_total": 2})
        self.assertIn("sound", self.pg("doctor").out)

    def test_who_comes_late_after_a_restore_keeps_what_the_server_lost_and_forgot(self):
        self.tracked(TODOS + "INSERT INTO todos VALUES('gone', 'x')", "public.todos")
        device, other = (self.database(name, TODOS, ("todos",)) for name in ("device.db", "other.db"))

        def sync(server, path, *sql):
            for statement in sql:
                db = plain(path)
                db.execute(statement)
                db.close()
            return Run("sync", path, server.url, "--token", server.token(os.path.basename(path), tenant="main"))

        def serve():
            return Server(self.path("server"), *self.at_store())

        with serve() as server:
            sync(server, device, "INSERT INTO todos VALUES('before', 'x')")
            sync(server, other, "INSERT INTO todos VALUES('other', 'x')")
        self.postgres.stop()
        self.postgres.back_up()
        self.postgres.start()
        with serve() as server:
            self.sql("INSERT INTO todos VALUES('by SQL', 'x')")
            sync(server, device)
            sync(server, device, "INSERT INTO todos VALUES('by the device', 'x')")
            sync(server, device)
        self.postgres.stop()
        self.postgres.go_back()
        self.postgres.start()
        with serve() as server:
            self.sql("DELETE FROM todos WHERE id = 'gone'")
            sync(server, other)
            time.sleep(0.1)  # deletions of this very moment are kept
            self.compact("--keep-days", 0)
            for _ in range(2):
                sync(server, device)
        shown = [row[0] for row in rows(device)]
        for key in ("by SQL", "by the device"):
            self.assertIn(key, shown)
        self.assertNotIn("gone", shown)
        db = plain(device)
        listed = db.execute("SELECT key, code FROM rejoin_rejections ORDER BY key").fetchall()
        db.close()
        self.assertEqual(listed, [('["by SQL"]', "before_horizon"), ('["by the device"]', "before_horizon")])

    def test_what_makes_no_sense_is_refused(self):
        self.tracked(TODOS, "public.todos")
        for code, arguments in ((2, ("compact", "--keep-days", "-1")), (2, ("compact", "--keep-days", "36601")), (2, ("status", "--dry-run")),
                                (2, ("status", "--keep-days", "1")), (2, ("compact", "--keep-days", "1", "--tenant", "main")),
                                (6, ("compact", "--tenant", "nobody")), (2, ("compact", "public.todos"))):
            self.refused(code, "pg", *arguments, "--postgres", self.url)

    def test_killed_at_any_moment_it_goes_on_where_it_was(self):
        count = 25_000
        self.tracked(TODOS + f"INSERT INTO todos SELECT 'r' || i, 'x' FROM generate_series(1, {count}) AS i; INSERT INTO todos VALUES('stays', 'x')",
                     "public.todos")
        self.sql("DELETE FROM todos WHERE id <> 'stays'")
        rng, kills = random.Random(11), 0
        while kills < 6:
            process = subprocess.Popen([REJOIN, "pg", "compact", "--keep-days", "0", "--postgres", self.url], stdout=subprocess.DEVNULL)
            time.sleep(rng.uniform(0.01, 0.4))
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
            self.assertIn("sound", self.pg("doctor").out)
            if self.status()["tables"][0]["records"] == 1:
                break
        self.compact("--keep-days", 0)
        told = self.status()
        self.assertEqual((told["tables"][0]["records"], told["tables"][0]["alive"]), (1, 1))
        self.assertIsNotNone(told["horizon"])
        self.assertIn("sound", self.pg("doctor").out)


if __name__ == "__main__":
    unittest.main()
