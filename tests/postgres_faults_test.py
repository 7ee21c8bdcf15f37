"""PostgreSQL that is slow, full, read-only, or behind a pooler that hides what happens to it: devices are told that they should come again, the server's
log says why, /ready says no where no server could do better, and when it is over everything goes on by itself. (That it goes away, restarts, goes back
to a backup or has no connection left: postgres_command_line_test.py; all of it under load: two_nodes_test.py.)"""

import os
import subprocess
import sys
import threading
import unittest

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__))]
import postgres_command_line_test as base  # noqa: E402
from http_peer import wait_for  # noqa: E402
from pgbouncer import PgBouncer  # noqa: E402
from private_postgres import Session  # noqa: E402
from support import REJOIN, Run, Server, rows  # noqa: E402


def setUpModule():
    base.setUpModule(initdb=["--wal-segsize=1"])  # so that a limit of files' sizes stops no log


tearDownModule = base.tearDownModule


class FaultsTest(base.PostgresTest):
    write, log_of, ready = base.ServeTest.write, base.ServeTest.log_of, base.ServeTest.ready

    def forget_sessions(self):
        """What was set for new sessions is for all of them now."""
        base.PG.psql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'app'")

    def limit_files(self, size):
        pid = str(base.PG.process.pid)
        subprocess.run(base.PG.as_user("prlimit", "--pid", pid, f"--fsize={size}:unlimited"), check=True)
        self.forget_sessions()

    def told_to_come_again(self, server, phone, words, code=5, token=None):
        told = Run("sync", phone, server.url, "--token", token or self.token, "--retries", "0")
        self.assertEqual(told.code, code, told)
        self.assertIn(words, told.err)
        self.discreet(told.out + told.err)

    def start(self, server, phone):
        self.token = server.token("phone", tenant="main")
        self.ok("sync", phone, server.url, "--token", self.token)
        self.write(phone, "UPDATE todos SET title = 'offline' WHERE id = 't1'")

    def goes_on(self, server, phone, db):
        """The device has kept its write, and it arrives."""
        self.assertEqual(self.ready(server), 200)
        told = self.ok("sync", phone, server.url, "--token", self.token, "--json").json
        self.assertEqual((told["pending"], told["rejected"]), (0, 0))
        self.assertEqual(self.todos(db)[0], ("t1", "offline", 0))
        self.assertEqual(self.todos(db), [r[:3] for r in rows(phone)])
        self.pg(db, "doctor")

    def test_statements_that_take_too_long(self):
        db = self.fresh()
        phone = self.device()
        with self.serve(db) as server:
            self.start(server, phone)
            base.PG.psql("ALTER ROLE app SET statement_timeout = '200ms'")
            self.addCleanup(base.PG.psql, "ALTER ROLE app RESET ALL")
            self.forget_sessions()
            with Session(base.PG.psql_command("service", db)) as other:
                other.run("BEGIN; UPDATE todos SET done = true WHERE id = 't1';")
                self.told_to_come_again(server, phone, "took longer", code=4)
                self.assertIn("57014", self.log_of(server))
                base.PG.psql("ALTER ROLE app SET statement_timeout = 0; ALTER ROLE app SET lock_timeout = '200ms'")
                self.forget_sessions()
                self.told_to_come_again(server, phone, "busy with other writers")
                self.assertIn("55P03", self.log_of(server))
                other.run("ROLLBACK;")
            self.goes_on(server, phone, db)

    def test_a_request_that_takes_too_long(self):
        db = self.fresh()
        phone = self.device()
        with self.serve(db, "--request-timeout", "1s") as server:
            self.start(server, phone)
            with Session(base.PG.psql_command("service", db)) as other:
                other.run("BEGIN; UPDATE todos SET done = true WHERE id = 't1';")
                self.told_to_come_again(server, phone, "longer than this server allows", code=4)
                # Nothing of it goes on in the database.
                self.assertEqual(base.PG.psql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'"), "0")
                other.run("ROLLBACK;")
            self.goes_on(server, phone, db)

    def waiting(self):
        return int(base.PG.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))

    def lose_the_standby(self):
        """From now on commits wait for one that does not come."""
        base.PG.psql("ALTER ROLE admin SET synchronous_commit = local; CREATE TABLE IF NOT EXISTS probe(n integer); "
                     "ALTER SYSTEM SET synchronous_standby_names = 'away'; SELECT pg_reload_conf()")
        self.addCleanup(self.need_no_standby)
        # PostgreSQL takes it up a little later.
        while True:
            with subprocess.Popen(base.PG.psql_command(), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as probe:
                probe.stdin.write("SET synchronous_commit = on; INSERT INTO probe VALUES(1);")
                probe.stdin.close()
                wait_for(lambda p=probe: p.poll() is not None or self.waiting())
                if probe.poll() is None:
                    base.PG.psql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
                    return

    def need_no_standby(self):
        base.PG.psql("ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()")
        wait_for(lambda: not self.waiting())

    def test_a_synchronous_standby_that_is_away(self):
        """Nothing is acknowledged that it does not have, and retries do not use up PostgreSQL's connections."""
        db = self.fresh()
        phone = self.device()
        with self.serve(db, "--request-timeout", "1s", "--postgres-connections", "2") as server:
            self.start(server, phone)
            self.lose_the_standby()
            while not self.waiting():  # it may not even come to the COMMIT in time
                self.told_to_come_again(server, phone, "longer than this server allows", code=4)
            self.assertEqual(self.todos(db)[0], ("t1", "buy milk", 0))  # nobody is shown it
            self.assertIn("standby", self.log_of(server))
            other = self.device("other.db")
            theirs = ("sync", other, server.url, "--token", server.token("other", tenant="other"))
            while self.waiting() < 2:
                self.assertEqual(Run(*theirs, "--retries", "0").code, 4)
            self.told_to_come_again(server, phone, "takes no more requests")
            self.assertIn("2 of them by a COMMIT", self.log_of(server))
            self.assertEqual(self.waiting(), 2)
            self.need_no_standby()
            self.goes_on(server, phone, db)
            self.ok(*theirs)

    def test_a_connection_that_breaks_while_a_synchronous_standby_is_away(self):
        """Those that wait for the standby still count."""
        db = self.fresh()
        names = ("main", "second", "third")
        phones = {name: self.device(name + ".db") for name in names}
        with self.serve(db, "--request-timeout", "1s", "--postgres-connections", "2") as server:
            def sync(name):
                return Run("sync", phones[name], server.url, "--token", server.token("phone", tenant=name), "--retries", "0")

            for name in names:
                self.assertEqual(sync(name).code, 0)
                self.write(phones[name], "INSERT INTO todos VALUES('p', 'by the phone', 0)")
            self.lose_the_standby()
            while not self.waiting():
                sync("main")
            with Session(base.PG.psql_command("admin", db)) as other:
                other.run("BEGIN; SELECT FROM rejoin.tenant WHERE name = 'second' FOR UPDATE;")
                broken = False
                while not broken:
                    pusher = threading.Thread(target=sync, args=("second",))
                    pusher.start()
                    while pusher.is_alive() and not broken:
                        broken = base.PG.psql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app' AND wait_event_type = 'Lock'") != "0"
                    pusher.join()
                other.run("ROLLBACK;")
            self.assertEqual(self.waiting(), 1)
            while self.waiting() < 2:
                sync("second")
            self.assertEqual(sync("third").code, 5)
            self.assertEqual(self.waiting(), 2)
            self.need_no_standby()
            self.ok("sync", phones["main"], server.url)
        self.pg(db, "doctor")

    def test_readers_and_other_tenants_while_a_synchronous_standby_is_away(self):
        """Devices that read get the news that are there, plain SQL's too, whatever waits; retries for a new tenant wait in one COMMIT, and cost
        nobody else a connection."""
        db = self.fresh()
        phone, laptop = self.device("phone.db"), self.device("laptop.db")
        with self.serve(db, "--request-timeout", "1s", "--postgres-lock-timeout", "200ms", "--postgres-connections", "4") as server:
            self.start(server, phone)
            read = ("sync", laptop, server.url, "--token", server.token("laptop", tenant="main"))
            self.ok(*read)
            self.write(laptop, "INSERT INTO todos VALUES('l', 'of the laptop', 0)")
            self.ok(*read)  # the server keeps where it has read to
            self.write(phone, "UPDATE todos SET title = 'for the laptop' WHERE id = 't2'")
            self.ok("sync", phone, server.url, "--token", self.token)
            base.PG.psql("INSERT INTO todos VALUES('s1', 'of plain SQL', false)", "service", db)
            self.lose_the_standby()
            self.ok(*read)
            self.assertEqual(rows(laptop), self.todos(db))
            self.assertEqual(len(rows(laptop)), 4)
            self.assertEqual(self.waiting(), 0)
            # The same behind a push that waits, and has the tenant; plain SQL that comes then comes later.
            base.PG.psql("ALTER ROLE service SET synchronous_commit = local")
            self.addCleanup(base.PG.psql, "ALTER ROLE service RESET ALL")
            base.PG.psql("UPDATE todos SET done = true WHERE id = 's1'", "service", db)
            self.ok(*read)
            self.assertEqual(rows(laptop), self.todos(db))
            self.write(phone, "UPDATE todos SET title = 'waits' WHERE id = 't1'")
            while not self.waiting():
                self.told_to_come_again(server, phone, "longer than this server allows", code=4)
            base.PG.psql("INSERT INTO todos VALUES('s2', 'of plain SQL', false)", "service", db)
            self.ok(*read)
            # A new tenant takes one connection more, however often it tries.
            other = self.device("other.db")
            theirs = ("sync", other, server.url, "--token", server.token("other", tenant="other"))
            while self.waiting() < 2:
                self.assertEqual(Run(*theirs, "--retries", "0").code, 4)
            for _ in range(3):
                self.assertIn(Run(*theirs, "--retries", "0").code, (4, 5))
                self.ok(*read)
            self.assertEqual(self.waiting(), 2)
            self.need_no_standby()
            for sync in (("sync", phone, server.url, "--token", self.token), read, theirs):
                self.ok(*sync)
            self.assertEqual(rows(laptop), self.todos(db))
            self.assertEqual(rows(phone), self.todos(db))
            self.assertEqual(len(self.todos(db)), 5)
        self.pg(db, "doctor")

    def test_a_row_that_plain_sql_holds_does_not_keep_pushes_of_other_rows_waiting(self):
        """For as long as the transaction is open, which here has no end; what a request may take is far more than the test waits."""
        db = self.fresh()
        phone, laptop = self.device("phone.db"), self.device("laptop.db")
        over = threading.Event()
        with self.serve(db, "--postgres-lock-timeout", "300ms", "--request-timeout", "10m") as server, Session(base.PG.psql_command("service", db)) as other:
            self.start(server, phone)
            token = server.token("laptop", tenant="main")
            self.ok("sync", laptop, server.url, "--token", token)
            other.run("BEGIN; UPDATE todos SET done = true WHERE id = 't1';")

            def push_the_row_that_is_held():
                while not over.is_set():
                    Run("sync", phone, server.url, "--token", self.token, "--retries", "0")

            pusher = threading.Thread(target=push_the_row_that_is_held)
            pusher.start()
            try:
                wait_for(lambda: base.PG.psql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND wait_event_type = 'Lock'") != "0")
                for n in range(3):
                    self.write(laptop, f"INSERT INTO todos VALUES('u{n}', 'of the laptop', 0)")
                    self.ok("sync", laptop, server.url, "--token", token)
                    self.assertIn((f"u{n}", "of the laptop", 0), self.todos(db))
                # One device's batch of rows, of which one is held, waits as a whole.
                self.write(laptop, "UPDATE todos SET done = 1, title = replace(title, 'call', 'of the laptop:')")
                self.told_to_come_again(server, laptop, "busy with other writers", token=token)
                self.assertIn(("t2", "call Ada", 1), self.todos(db))
            finally:
                over.set()
                pusher.join()
            other.run("ROLLBACK;")
            self.ok("sync", laptop, server.url, "--token", token)
            self.assertIn(("t2", "of the laptop: Ada", 1), self.todos(db))
            self.ok("sync", phone, server.url, "--token", self.token)
        self.assertEqual(self.todos(db)[0], ("t1", "offline", 1))
        self.assertEqual(rows(phone), self.todos(db))
        self.pg(db, "doctor")

    def test_a_statement_that_takes_longer_than_the_server_allows(self):
        db = self.fresh(base.SOME + "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN NEW; END';")
        phone = self.device()
        with self.serve(db, "--postgres-statement-timeout", "300ms", "--request-timeout", "10m") as server:
            self.start(server, phone)
            base.PG.psql("CREATE TRIGGER slow BEFORE UPDATE ON todos FOR EACH ROW EXECUTE FUNCTION dawdle()", "owner", db)
            self.told_to_come_again(server, phone, "took longer", code=4)
            self.assertIn("57014", self.log_of(server))
            base.PG.psql("DROP TRIGGER slow ON todos", "owner", db)
            self.goes_on(server, phone, db)

    def test_a_database_that_is_read_only(self):
        db = self.fresh()
        phone = self.device()
        with self.serve(db) as server:
            self.start(server, phone)
            base.PG.psql(f"ALTER DATABASE {db} SET default_transaction_read_only = on")
            self.forget_sessions()
            self.told_to_come_again(server, phone, "read-only at present")
            self.assertEqual(self.ready(server), 503)
            self.assertIn("read-only", self.log_of(server))
            base.PG.psql(f"ALTER DATABASE {db} RESET ALL")
            self.forget_sessions()
            self.goes_on(server, phone, db)

    def test_files_that_cannot_grow(self):
        """As on a full disk: PostgreSQL can write what it has, and extend nothing."""
        db = self.fresh()
        phone = self.device()
        with self.serve(db) as server:
            self.start(server, phone)
            self.write(phone, "INSERT INTO todos WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 60) SELECT 'z' || i, hex(randomblob(50000)), 0 FROM n")
            self.limit_files(3 << 20)
            self.told_to_come_again(server, phone, "no space left")
            self.assertEqual(self.todos(db)[0], ("t1", "buy milk", 0))
            self.limit_files("unlimited")
            self.goes_on(server, phone, db)


class PoolerTest(FaultsTest):
    """The same, and more, with PgBouncer in transaction mode between the server and PostgreSQL."""

    test_a_connection_that_breaks_while_a_synchronous_standby_is_away = None  # the pooler's are not ours to count

    def setUp(self):
        super().setUp()
        self.bouncer = PgBouncer(base.PG)
        self.bouncer.__enter__()
        self.addCleanup(lambda: self.bouncer.__exit__())

    def serve(self, database, *arguments, name="server", role="app"):
        return Server(self.path(name), "--postgres", self.bouncer.url(role, database), "--postgres-unprepared", *arguments)

    def test_pg_and_admin_do_not_meet_what_others_have_prepared(self):
        db = self.fresh()
        url = ("--postgres", self.bouncer.url("owner", db))
        for _ in range(2):
            self.ok("pg", "init", "--role", "app", *url)
            self.ok("pg", "track", "todos", *url)
            for action in ("status", "doctor", "compact"):
                self.ok("pg", action, *url)
            self.ok("admin", "tenants", *url)
            self.ok("admin", "devices", "--tenant", "main", *url)
        self.ok("pg", "untrack", "todos", *url)

    def test_a_node_does_not_take_its_own_notifications_for_those_of_others(self):
        """With one connection to PostgreSQL for all, what a node tells itself always comes back to it, and nothing else does."""
        self.bouncer.reload("default_pool_size = 1")
        db = self.fresh()
        phone, laptop = self.device("phone.db"), self.device("laptop.db")
        with self.serve(db, "--live-poll", "1s") as here, self.serve(db, "--secret-file", self.path("server", "secret"), name="there") as there:
            token = here.token("phone", tenant="main")
            with open(self.path("token"), "w", encoding="ascii") as file:
                file.write(token)
            with open(self.path("out"), "wb") as out:
                watch = subprocess.Popen([REJOIN, "sync", phone, here.url, "--token-file", self.path("token"), "--watch"], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            self.addCleanup(watch.wait)
            self.addCleanup(watch.kill)
            wait_for(lambda: rows(phone) == [r for r in self.todos(db)])
            wait_for(lambda: "live_polls" in self.log_of(here))
            self.ok("sync", laptop, there.url, "--token", here.token("laptop", tenant="main"))
            for n in range(2):
                self.write(laptop, f"INSERT INTO todos VALUES('u{n}', 'over there', 0)")
                self.ok("sync", laptop, there.url)
                wait_for(lambda: rows(phone) == self.todos(db))

    def test_the_pooler_goes_away_and_comes_back(self):
        db = self.fresh()
        phone = self.device()
        with self.serve(db) as server:
            self.start(server, phone)
            self.bouncer.kill()
            self.told_to_come_again(server, phone, "cannot be reached", code=4)
            self.assertEqual(self.ready(server), 503)
            self.bouncer = PgBouncer(base.PG)
            self.bouncer.__enter__()
            self.goes_on(server, phone, db)

    def test_what_is_behind_it_goes_back_to_a_backup(self):
        """The server's connections are never cut: that the database is an older one it must see by itself."""
        db = self.fresh()
        paths = {name: self.device(name + ".db") for name in ("phone", "laptop", "tablet", "watch", "late")}
        with self.serve(db, "--postgres-connections", "1") as server:
            def sync(name, *sql):
                for statement in sql:
                    self.write(paths[name], statement)
                return self.ok("sync", paths[name], server.url, "--token", server.token(name, tenant="main"), "--json").json

            sync("phone", "INSERT INTO todos VALUES('p', 'by the phone', 0)")
            base.PG.stop()
            base.PG.back_up()
            base.PG.start()
            sync("laptop", "INSERT INTO todos VALUES('l', 'by the laptop', 0)")
            sync("tablet", "INSERT INTO todos VALUES('t', 'by the tablet', 0)")
            base.PG.stop()
            base.PG.go_back()
            base.PG.start()
            sync("watch", "INSERT INTO todos VALUES('w', 'by the watch', 0)")
            for _ in range(2):
                for name in ("phone", "tablet", "laptop", "watch"):
                    sync(name)
            sync("late")
        for path in paths.values():
            self.assertEqual(rows(path), self.todos(db))
        self.assertEqual([r[0] for r in self.todos(db)], ["l", "p", "t", "t1", "t2", "w"])
        for key, name in (("l", "laptop"), ("p", "phone"), ("t", "tablet"), ("w", "watch")):
            written = self.ok("explain", paths["late"], "todos", key, "--json").json["columns"]["title"]["written"]["site"]
            self.assertEqual(written, self.ok("status", paths[name], "--json").json["site"])
        self.pg(db, "doctor")

    def test_what_is_behind_it_goes_back_and_meets_its_devices_in_another_order(self):
        """One of two servers sees nothing of it: the device that was the last is the last again, made by a transaction of the same number. It took one
        device for another."""
        db = self.fresh()
        names = ("phone", "laptop", "tablet", "watch")
        paths = {name: self.device(name + ".db") for name in names}
        with self.serve(db, "--postgres-connections", "1") as here, self.serve(db, "--secret-file", self.path("server", "secret"), name="there") as there:
            tokens = {name: here.token(name, tenant="main") for name in names}

            def sync(name, server, title=None):
                if title:
                    self.write(paths[name], f"REPLACE INTO todos VALUES('{name}', '{title}', 0)")
                self.ok("sync", paths[name], server.url, "--token", tokens[name])

            def meet(server, title, *devices):
                """The number of the transaction that made the last one's site."""
                for name in devices:
                    sync(name, server, title)
                base.PG.psql(f"DO $$ BEGIN WHILE txid_current() < {number} LOOP COMMIT; END LOOP; END $$")
                sync("watch", server, title)
                return base.PG.psql("SELECT xmin FROM rejoin.site ORDER BY id DESC LIMIT 1", database=db)

            sync("phone", here, "x")
            base.PG.stop()
            base.PG.back_up()
            base.PG.start(autovacuum="off")  # it takes numbers
            number = int(base.PG.psql("SELECT txid_current()")) + 500
            was = meet(here, "is lost", "laptop", "tablet")
            base.PG.stop()
            base.PG.go_back()
            base.PG.start(autovacuum="off")
            self.assertEqual(meet(there, "comes again", "tablet", "laptop"), was)
            sync("phone", here)
        for name in ("tablet", "laptop"):
            written = self.ok("explain", paths["phone"], "todos", name, "--json").json["columns"]["title"]["written"]["site"]
            self.assertEqual(written, self.ok("status", paths[name], "--json").json["site"])
        self.pg(db, "doctor")


if __name__ == "__main__":
    unittest.main(verbosity=2)
