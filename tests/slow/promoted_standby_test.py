"""PostgreSQL's primary is killed and its standby promoted, while the server runs with the addresses of both: docs/operations.md, Failover. Behind a synchronous
standby nothing that was acknowledged is lost, under load, and without it nothing is acknowledged; behind one that lagged, devices bring back what they have, and plain SQL that nobody had heard of is
run again."""

import os
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from http_peer import call, wait_for  # noqa: E402
from support import REJOIN, FolderTest, Run, Server, plain, rows  # noqa: E402
from private_postgres import PrivatePostgres, Session, Standby  # noqa: E402

TABLE = "CREATE TABLE todos(id text PRIMARY KEY, title text)"
LOAD_S = 2.5


class PromotedStandbyTest(FolderTest):
    def start(self, *options):
        self.primary = PrivatePostgres(fsync="on")
        self.primary.__enter__()
        self.addCleanup(self.primary.__exit__)
        self.standby = Standby(self.primary, fsync="on")
        self.primary.psql("CREATE ROLE owner LOGIN; CREATE ROLE app LOGIN; CREATE DATABASE app OWNER owner")
        self.primary.psql(TABLE + "; GRANT SELECT, INSERT, UPDATE, DELETE ON todos TO app", "owner", "app")
        for arguments in (("init", "--role", "app"), ("track", "todos", "--tenant", "acme")):
            self.ok("pg", *arguments, "--postgres", self.primary.url("owner", "app"))
        self.standby.__enter__()
        self.addCleanup(self.standby.__exit__)
        both = f"postgres://app@{self.primary.host},{self.standby.host}/app?target_session_attrs=read-write"
        self.server = Server(self.path("server"), "--postgres", both, *options)
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)

    def write(self, name, *sql):
        path = self.path(name + ".db")
        if not os.path.exists(path):
            self.database(name + ".db", TABLE)
        db = plain(path)
        db.execute("PRAGMA busy_timeout=10000")
        for statement in sql:
            db.execute(statement)
        db.close()
        return path

    def sync(self, name, *sql):
        return Run("sync", self.write(name, *sql), self.server.url, "--token", self.server.token(name), "--retries", "0", "--json")

    def synced(self, name, *sql):
        told = self.sync(name, *sql)
        self.assertEqual((told.code, told.json["pending"], told.json["rejected"]), (0, 0, 0), told)

    def shown(self, postgres):
        return [tuple(r) for r in postgres.rows("SELECT id, title FROM todos ORDER BY 1", database="app")]

    def ready(self):
        return call(self.server, "GET", "/ready").status

    def make_synchronous(self):
        self.primary.psql("ALTER SYSTEM SET synchronous_standby_names = 'standby'; SELECT pg_reload_conf()")
        wait_for(lambda: self.primary.psql("SELECT sync_state FROM pg_stat_replication") == "sync")

    def test_behind_a_synchronous_one_nothing_acknowledged_is_lost(self):
        self.start()
        self.make_synchronous()
        names = ("a", "b", "c")
        acknowledged, killed = {"sql"}, threading.Event()
        self.primary.psql("INSERT INTO todos VALUES('sql', 'x')", database="app")

        def work(name):
            for n in range(10_000):
                keys = [f"{name}{n}.{i}" for i in range(3)]
                told = self.sync(name, "INSERT INTO todos VALUES" + ", ".join(f"('{k}', 'x')" for k in keys))
                if told.code == 0 and told.json["pending"] == 0:
                    acknowledged.update(keys)
                elif killed.is_set():
                    return

        def work_by_sql():
            with Session(self.primary.psql_command(database="app")) as session:
                try:
                    for n in range(100_000):
                        session.run(f"INSERT INTO todos VALUES('sql{n}', 'x');")
                        acknowledged.add(f"sql{n}")
                except (EOFError, BrokenPipeError):
                    pass

        watcher = self.write("watcher")
        with open(watcher + ".token", "w", encoding="ascii") as file:
            file.write(self.server.token("watcher"))
        process = subprocess.Popen([REJOIN, "sync", watcher, self.server.url, "--token-file", watcher + ".token", "--watch"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        threads = [threading.Thread(target=work, args=(name,)) for name in names] + [threading.Thread(target=work_by_sql)]
        for thread in threads:
            thread.start()
        time.sleep(LOAD_S)
        self.primary.kill()
        killed.set()
        for thread in threads:
            thread.join(60)
        self.assertEqual(self.ready(), 503)
        # Before any device could bring it back.
        wait_for(lambda: self.standby.psql("SELECT pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()") == "t")
        there = {k for k, _ in self.shown(self.standby)}
        self.assertEqual(acknowledged - there, set())
        print(f"{len(acknowledged)} acknowledged, {len(there)} there", flush=True)
        self.assertGreater(len(acknowledged), 20)
        self.standby.promote()
        wait_for(lambda: self.ready() == 200)
        self.standby.psql("INSERT INTO todos VALUES('after', 'x')", database="app")
        for _ in range(2):
            for name in names:
                self.synced(name)
        wanted = self.shown(self.standby)
        self.assertLessEqual(acknowledged | {"after"}, {k for k, _ in wanted})
        for name in names:
            self.assertEqual(rows(self.path(name + ".db")), wanted)
        wait_for(lambda: rows(watcher) == wanted)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 130)
        self.ok("pg", "doctor", "--postgres", self.standby.url("owner", "app"))

    def test_without_the_synchronous_one_nothing_is_acknowledged(self):
        self.start("--request-timeout", "1s")
        self.make_synchronous()
        self.synced("phone", "INSERT INTO todos VALUES('p', 'x')")
        self.standby.stop()
        self.write("phone", "INSERT INTO todos VALUES('p2', 'x')")
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        while self.primary.psql(waits) == "0":  # it may not even come to the COMMIT in time
            self.assertEqual(self.sync("phone").code, 4)
        self.assertEqual(self.shown(self.primary), [("p", "x")])
        # Somebody loses patience: now the primary shows it, and nobody else has it.
        self.primary.psql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        wait_for(lambda: self.shown(self.primary) == [("p", "x"), ("p2", "x")])
        self.assertEqual(self.sync("phone").code, 4)
        self.primary.kill()
        self.standby.start()
        self.standby.promote()
        wait_for(lambda: self.ready() == 200)
        self.assertEqual(self.shown(self.standby), [("p", "x")])
        self.synced("phone")
        self.assertEqual(self.shown(self.standby), [("p", "x"), ("p2", "x")])
        self.ok("pg", "doctor", "--postgres", self.standby.url("owner", "app"))

    def test_behind_one_that_lagged_devices_bring_back_what_they_have(self):
        self.start()
        self.synced("phone", "INSERT INTO todos VALUES('p', 'by the phone')")
        self.synced("laptop", "INSERT INTO todos VALUES('l', 'by the laptop')")
        self.synced("tablet")
        wait_for(lambda: self.primary.psql("SELECT sent_lsn = replay_lsn FROM pg_stat_replication") == "t")
        self.standby.stop()
        # What it does not hear of any more.
        by_sql = "INSERT INTO todos VALUES('s', 'by SQL'); UPDATE todos SET title = 'by SQL, too' WHERE id = 'p'"
        self.primary.psql(by_sql, database="app")
        self.synced("phone", "INSERT INTO todos VALUES('p2', 'by the phone')")
        self.synced("laptop", "UPDATE todos SET title = 'by the laptop, too' WHERE id = 'l'")
        self.synced("tablet")
        unheard = "INSERT INTO todos VALUES('u', 'by SQL')"
        self.primary.psql(unheard, database="app")
        self.primary.kill()
        self.assertEqual(self.ready(), 503)
        self.standby.start()
        # While it is not promoted it takes nothing.
        self.assertEqual(self.sync("phone", "INSERT INTO todos VALUES('p3', 'meanwhile')").code, 4)
        self.standby.promote()
        wait_for(lambda: self.ready() == 200)
        self.assertEqual(self.shown(self.standby), [("l", "by the laptop"), ("p", "by the phone")])
        for _ in range(2):
            for name in ("phone", "laptop", "tablet"):
                self.synced(name)
        # Plain SQL comes back from those who had heard of it, the rest is run again.
        everything = [("l", "by the laptop, too"), ("p", "by SQL, too"), ("p2", "by the phone"), ("p3", "meanwhile"), ("s", "by SQL")]
        self.assertEqual(self.shown(self.standby), everything)
        self.standby.psql(unheard, database="app")
        everything.append(("u", "by SQL"))
        for name in ("phone", "laptop", "tablet", "late"):
            self.synced(name)
            self.assertEqual(rows(self.path(name + ".db")), everything)
        self.ok("pg", "doctor", "--postgres", self.standby.url("owner", "app"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
