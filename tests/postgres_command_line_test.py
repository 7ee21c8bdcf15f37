"""`rejoin pg` and `rejoin serve --postgres` as a user meets them, mistakes and mishaps included. One PostgreSQL for the file; each test has
databases of its own in it, owned by `owner`, and a runtime role `app` that may only read and write."""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
import unittest
import urllib.request

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), *f) for f in (("interop",), ("..", "scripts", "lib"))]
from http_peer import call, wait_for  # noqa: E402
from private_postgres import ADMIN, PrivatePostgres, Session  # noqa: E402
from support import FolderTest, Run, Server, extended, plain, rows  # noqa: E402
from sync_over_http_test import Between  # noqa: E402

TODOS = "CREATE TABLE todos(id text PRIMARY KEY, title text NOT NULL, done boolean NOT NULL DEFAULT false);"
SOME = TODOS + "INSERT INTO todos VALUES('t1', 'buy milk', false), ('t2', 'call Ada', true);"
ON_DEVICE = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT NOT NULL, done INTEGER DEFAULT 0)"


def setUpModule(**how):
    global PG
    PG = PrivatePostgres(**how)
    PG.__enter__()
    PG.psql("CREATE ROLE owner LOGIN; CREATE ROLE app LOGIN; CREATE ROLE service LOGIN; CREATE ROLE guarded LOGIN PASSWORD 'correct horse'")
    os.environ.pop("REJOIN_POSTGRES", None)


def tearDownModule():
    PG.__exit__()


class PostgresTest(FolderTest):
    count = 0

    def fresh(self, sql=SOME, track=("public.todos",), name=None):
        """A database with these tables, tracked; returns its name."""
        PostgresTest.count += 1
        name = name or f"db{PostgresTest.count}"
        PG.psql(f"CREATE DATABASE {name} OWNER owner")
        # Rights on tables that come later too.
        PG.psql("ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app, service;" + sql, "owner", name)
        if track is not None:
            self.ok("pg", "init", "--role", "app", "--postgres", PG.url("owner", name))
        if track:
            self.ok("pg", "track", *track, "--postgres", PG.url("owner", name))
        return name

    def pg(self, database, *arguments, role="owner"):
        return self.ok("pg", *arguments, "--postgres", PG.url(role, database))

    def pg_refused(self, code, database, *arguments, role="owner"):
        return self.refused(code, "pg", *arguments, "--postgres", PG.url(role, database))

    def serve(self, database, *arguments, name="server", role="app"):
        return Server(self.path(name), "--postgres", PG.url(role, database), *arguments)

    def device(self, name="phone.db", sql=ON_DEVICE):
        return self.database(name, sql)

    def run_on(self, path, sql):
        db = extended(path)
        db.execute(sql)
        db.commit()
        db.close()

    def todos(self, database):
        return [tuple(r) for r in PG.rows("SELECT id, title, done::int FROM todos ORDER BY 1", database=database)]

    def discreet(self, text):
        """Of the server's own affairs nothing is told."""
        for word in (PG.folder, "/tmp", ".s.PGSQL", "socket", "postgres://", "PostgreSQL", "role", "owner", "FATAL"):
            self.assertNotIn(word, text)


class CommandTest(PostgresTest):
    def test_init_track_status_untrack(self):
        db = self.fresh(track=None)
        told = self.pg(db, "init", "--role", "app")
        self.assertRegex(told.out, r"installed schema rejoin, version \d+\n.*GRANT.*\"app\"\n")
        self.assertIn("there already", self.pg(db, "init").out)
        self.assertIn("no table is synced yet", self.pg(db, "status").err)
        told = self.pg(db, "track", "public.todos")
        self.assertEqual(told.out, "tracking public.todos (2 rows)\n")
        self.assertIn("--tenant main", told.err)
        self.assertEqual(self.pg(db, "track", "todos").out, "tracked already: todos (0 new rows)\n")
        told = self.pg(db, "status").out
        self.assertIn("1 tenant, 0 devices, 0 captured writes waiting", told)
        self.assertIn("public.todos: 2 rows, 0 deleted, of tenant main", told)
        PG.psql("DELETE FROM todos WHERE id = 't1'", "service", db)
        self.assertIn("1 captured write waiting", self.pg(db, "status").out)
        self.assertIn("sound", self.pg(db, "doctor").out)
        self.assertEqual(self.pg(db, "untrack", "public.todos").out, "no longer synced: public.todos\n")
        self.assertEqual(self.todos(db), [("t2", "call Ada", 1)])
        self.assertEqual(PG.psql("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'rejoin%'", database=db), "0")

    def test_json_of_each_action(self):
        db = self.fresh(track=None)
        version = self.pg(db, "init", "--json").json
        self.assertEqual(version["installed"], True)
        self.assertEqual(self.pg(db, "init", "--json").json, {**version, "installed": False})
        self.assertEqual(self.pg(db, "track", "public.todos", "--as", "tasks", "--json").json,
                         {"tracked": [{"relation": "public.todos", "table": "tasks", "rows": 2, "columns": 0, "already": False}]})
        told = self.pg(db, "status", "--json").json
        self.assertEqual(told["tables"], [{"table": "tasks", "relation": "public.todos", "tenant_column": "", "tenant": "main", "alive": 2, "records": 2, "unborn": 0, "unannounced": []}])
        self.assertEqual((told["tenants"], told["devices"], told["outbox"]), (1, 0, 0))
        self.assertEqual(self.pg(db, "doctor", "--json").json, {"sound": True, "findings": []})
        self.assertEqual(self.pg(db, "untrack", "tasks", "--json").json, {"untracked": ["tasks"]})
        error = self.pg_refused(6, db, "untrack", "tasks", "--json").json["error"]
        self.assertEqual((error["code"], error["exit"]), ("not_tracked", 6))
        for arguments in (("status",), ("frobnicate",), ("status", "--postgres", "what is this")):
            self.assertEqual(self.refused(2, "pg", *arguments, "--json").json["error"]["code"], "bad_argument")

    def test_the_address_may_come_from_the_environment(self):
        db = self.fresh()
        self.assertIn("public.todos", self.ok("pg", "status", env={"REJOIN_POSTGRES": PG.url("owner", db)}).out)

    def test_without_the_schema_every_action_names_the_cure(self):
        db = self.fresh(track=None)
        for arguments in (("status",), ("doctor",), ("track", "public.todos"), ("untrack", "public.todos")):
            self.assertIn("rejoin pg init", self.pg_refused(6, db, *arguments).err)
        self.assertIn("rejoin pg init", self.refused(6, "serve", "--data", self.path("s"), "--postgres", PG.url("app", db)).err)

    def test_an_address_that_leads_nowhere(self):
        db = self.fresh()
        for code, url, word in ((2, "bogus", "postgres://USER@HOST:PORT/DATABASE"), (2, "postgres://u@h/d?nonsense=1", "nonsense"),
                                (4, "postgres://owner@127.0.0.1:1/app", "Connection refused"), (4, "postgres://owner@%2Fnowhere/app", "/nowhere"),
                                (4, "postgres://owner@nowhere.invalid/app", "nowhere.invalid"), (6, PG.url("owner", "none"), '"none" does not exist'),
                                (3, PG.url("stranger", db), '"stranger" does not exist'), (3, PG.url("guarded", db), "password"),
                                (3, PG.url("guarded", db, "wrong"), "password authentication failed")):
            commands = [("pg", "status")]
            if code != 4:  # a server waits for a database that is not there yet
                commands.append(("serve", "--data", self.path("s"), "--listen", "127.0.0.1:0"))
            for command in commands:
                done = self.refused(code, *command, "--postgres", url)
                self.assertIn(word, done.err)
                self.assertNotIn("token", done.err)  # of these roles and passwords Rejoin's tokens are no part
                self.assertNotIn("\\t", done.err)
        self.assertEqual(Run("pg", "status", "--postgres", PG.url("guarded", db, "correct horse")).code, 3)  # it gets in, but may not look

    def test_a_role_without_rights_is_told_who_may(self):
        db = self.fresh()
        for arguments in (("init",), ("track", "public.todos"), ("untrack", "public.todos")):
            told = self.pg_refused(3, db if arguments != ("init",) else self.fresh(track=None), *arguments, role="app").err
            self.assertEqual(told.count("owns the database"), 1, told)
        self.assertIn("pg init", self.pg_refused(3, db, "status", role="service").err)
        told = self.refused(3, "serve", "--data", self.path("s"), "--listen", "127.0.0.1:0", "--postgres", PG.url("service", db))
        self.assertIn("--role", told.err)
        told = self.pg_refused(6, db, "init", "--role", "nobody_here")
        self.assertIn('CREATE ROLE "nobody_here"', told.err)

    def test_what_cannot_be_tracked_is_refused_by_name(self):
        db = self.fresh('''CREATE VIEW a_view AS SELECT 1 AS id; CREATE MATERIALIZED VIEW seen AS SELECT 1 AS id; CREATE TABLE places(id text PRIMARY KEY, at point);
                        CREATE TABLE no_key(a integer); CREATE TABLE odd_key(id numeric PRIMARY KEY); CREATE SEQUENCE counter;
                        CREATE TABLE parts(id integer PRIMARY KEY) PARTITION BY RANGE(id); CREATE UNLOGGED TABLE fast(id text PRIMARY KEY);
                        CREATE TABLE "Odd Name"(id text PRIMARY KEY);''' + SOME, track=())
        for code, table, word in ((3, "public.a_view", "view"), (3, "seen", "view"), (3, "public.places", "point"), (3, "no_key", "PRIMARY KEY"),
                                  (3, "odd_key", "numeric"), (3, "counter", "no table"), (3, "parts", "partitioned"), (3, "fast", "unlogged"),
                                  (3, "rejoin.meta", "itself"), (6, "public.nothing", "public.nothing"), (6, "nowhere.todos", "nowhere.todos"),
                                  (2, "public.Odd Name", "double quotes"), (2, "other.public.todos", "SCHEMA.TABLE"), (2, "", "SCHEMA.TABLE")):
            self.assertIn(word, self.pg_refused(code, db, "track", table).err)
        # One that cannot be: none is.
        self.assertIn("point", self.pg_refused(3, db, "track", "todos", "places").err)
        self.assertEqual(self.pg(db, "status", "--json").json["tables"], [])
        self.pg(db, "track", 'public."Odd Name"')
        self.pg(db, "untrack", "Odd Name")

    def test_a_mistyped_table_is_told_which_one_may_be_meant(self):
        name = self.fresh(TODOS + "CREATE TABLE lists(id text PRIMARY KEY)")
        owner = ("--postgres", PG.url("owner", name))
        self.assertIn("Did you mean 'todos'?", self.refused(6, "pg", "track", "todo", *owner).err)
        self.assertIn("Did you mean 'public.lists'?", self.refused(6, "pg", "track", "public.list", *owner).err)
        self.assertIn("Did you mean 'todos'?", self.refused(6, "pg", "untrack", "tods", *owner).err)
        self.assertNotIn("mean", self.refused(6, "pg", "untrack", "lists", *owner).err)

    def test_options_of_other_actions_are_mistakes(self):
        db = self.fresh()
        for arguments, word in ((("status", "todos"), "a table's name"), (("status", "--role", "x"), "--role"), (("doctor", "--as", "x"), "--as"),
                                (("untrack", "todos", "--tenant", "x"), "--tenant"), (("init", "--tenant-column", "x"), "--tenant-column"), (("track",), "name the tables"),
                                (("track", "todos", "lists", "--as", "x"), "--as"), (("track", "todos", "--tenant", "a", "--tenant-column", "b"), "--tenant"),
                                (("track", "todos", "--tenant", "x" * 70), "tenant"), (("untrack",), "name the tables")):
            self.assertIn(word, self.pg_refused(2, db, *arguments).err)

    def test_what_is_synced_keeps_its_name_and_its_tenant(self):
        db = self.fresh()
        for arguments in (("--as", "tasks"), ("--tenant", "other"), ("--tenant-column", "title")):
            self.assertIn("untrack it first", self.pg_refused(3, db, "track", "public.todos", *arguments).err)
        self.pg(db, "track", "public.todos", "--as", "todos", "--tenant", "main")
        PG.psql("CREATE SCHEMA other; CREATE TABLE other.todos(id text PRIMARY KEY)", "owner", db)
        self.assertIn("--as", self.pg_refused(3, db, "track", "other.todos").err)
        self.pg(db, "track", "other.todos", "--as", "other_todos")

    # Symptom: the command that a device's refusal names was refused itself, and its cure, untrack, forgets all versions.
    def test_the_name_of_a_renamed_table_is_said_by_the_command_that_the_refusal_names(self):
        db = self.fresh(TODOS, track=("public.todos", "--as", "tasks"))
        phone = self.device()
        self.run_on(phone, "INSERT INTO todos(id, title) VALUES('1', 'x')")
        with self.serve(db) as server:
            token = server.token("phone", tenant="main")
            self.assertEqual(Run("sync", phone, server.url, "--token", token).code, 3)
            reason = plain(phone).execute("SELECT reason FROM rejoin_rejections").fetchone()[0]
            command = reason[reason.index("rejoin pg track") :].split()[1:]
            self.assertEqual(command, ["pg", "track", "public.todos", "--as", "todos"])
            self.assertIn("still tasks on devices, which may call it todos too", self.pg(db, *command[1:]).out)
            self.assertEqual(self.pg(db, *command[1:], "--json").json["tracked"][0]["table"], "tasks")
            self.run_on(phone, "SELECT rejoin_retry()")
            self.ok("sync", phone, server.url, "--token", token)
        self.assertEqual(self.todos(db), [("1", "x", 0)])
        # Another name is still another name.
        self.pg_refused(3, db, "track", "public.todos", "--as", "other")
        self.pg(db, "doctor")

    # Symptom: the cures named public.My Todos, which no shell and no PostgreSQL takes.
    def test_cures_name_odd_tables_as_they_are_typed(self):
        db = self.fresh("CREATE TABLE \"My 'odd' Todos\"(id text PRIMARY KEY)", track=('public."My \'odd\' Todos"',))
        PG.psql("ALTER TABLE \"My 'odd' Todos\" ADD COLUMN due text", "owner", db)
        for change, commands in (("ADD COLUMN more text", 1), ('DROP CONSTRAINT "My \'odd\' Todos_pkey", ADD PRIMARY KEY (due)', 2)):
            PG.psql(f"ALTER TABLE \"My 'odd' Todos\" {change}", "owner", db)
            finding = json.loads(Run("pg", "doctor", "--json", "--postgres", PG.url("owner", db)).out)["findings"][-1]
            cures = re.findall(r"rejoin (pg (?:un)?track (?:'(?:[^']|'\\'')*'))", finding)
            self.assertEqual(len(cures), commands, finding)
            for cure in cures:
                self.pg(db, *shlex.split(cure)[1:])
            self.pg(db, "doctor")

    # Symptom: pushes under the name were refused with a command that changed nothing.
    def test_a_table_that_took_the_name_of_a_dropped_one_is_told_how_to_get_it(self):
        db = self.fresh(TODOS + "CREATE TABLE tasks(id text PRIMARY KEY, title text NOT NULL, done boolean)", track=("public.todos", "public.tasks"))
        PG.psql("DROP TABLE todos; ALTER TABLE tasks RENAME TO todos", "owner", db)
        phone = self.device()
        self.run_on(phone, "INSERT INTO todos(id, title) VALUES('1', 'x')")
        with self.serve(db) as server:
            token = server.token("phone", tenant="main")
            self.assertEqual(Run("sync", phone, server.url, "--token", token).code, 3)
            reason = plain(phone).execute("SELECT reason FROM rejoin_rejections").fetchone()[0]
            self.assertIn("run rejoin pg untrack todos", reason)
            self.pg(db, "untrack", "todos")
            self.run_on(phone, "SELECT rejoin_retry()")
            self.ok("sync", phone, server.url, "--token", token)
        self.assertEqual(self.todos(db), [("1", "x", 0)])
        self.pg(db, "doctor")

    def test_a_table_that_is_locked_is_no_reason_to_wait_for_ever_nor_to_keep_its_writers_waiting(self):
        """One transaction with a row lock is open; whoever else writes goes on, while track and untrack want the table."""
        db = self.fresh(SOME + "CREATE TABLE lists(id text PRIMARY KEY); CREATE TABLE notes(id text PRIMARY KEY)", track=("todos", "notes"))
        told = {}
        written = 0
        with Session(PG.psql_command("service", db)) as session:
            session.run("BEGIN; LOCK TABLE todos, lists, notes IN ROW EXCLUSIVE MODE;")
            threads = [threading.Thread(target=lambda a=a: told.__setitem__(a[1], Run("pg", *a, "--postgres", PG.url("owner", db))))
                       for a in (("track", "lists"), ("track", "todos"), ("untrack", "notes"))]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                for table, values in (("todos", "'new {}', 'x'"), ("lists", "'{}'"), ("notes", "'{}'")):
                    PG.psql(f"SET lock_timeout = '2s'; INSERT INTO {table} VALUES({values.format(written)})", "service", db)
                    written += 1
            for thread in threads:
                thread.join()
        self.assertGreater(written, 3)
        for what, done in told.items():
            self.assertEqual(done.code, 5, done)
            self.assertIn(what, done.err)
            self.assertIn("locked by others", done.err)
        self.assertEqual([t["table"] for t in self.pg(db, "status", "--json").json["tables"]], ["todos", "notes"])
        self.pg(db, "track", "lists")
        self.assertIn("sound", self.pg(db, "doctor").out)

    def test_a_database_that_lacks_characters_of_devices_is_refused_before_one_is_stuck(self):
        """A '€' would never get into LATIN1: all that its device has yet to send would wait behind it."""
        dump = [PG.program("pg_dump"), "--schema=rejoin", PG.url(database=self.fresh(track=()))]
        installed = subprocess.run(dump, capture_output=True, check=True, text=True).stdout
        for encoding in ("LATIN1", "SQL_ASCII"):
            name = "in_" + encoding.lower()
            PG.psql(f"CREATE DATABASE {name} OWNER owner ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
            PG.psql(SOME, "owner", name)
            refused = [self.pg_refused(7, name, "init", "--role", "app")]
            self.assertEqual(PG.psql("SELECT count(*) FROM pg_namespace WHERE nspname = 'rejoin'", database=name), "0")
            PG.psql(installed, database=name)  # as an earlier build made it
            refused.append(self.pg_refused(7, name, "track", "todos"))
            refused.append(self.refused(7, "serve", "--data", self.path("s"), "--listen", "127.0.0.1:0", "--postgres", PG.url("owner", name)))
            for told in refused:
                self.assertIn(f"database {name} is encoded in {encoding}", told.err)
                self.assertIn("ENCODING 'UTF8'", told.err)

    def test_a_new_column_is_noticed_and_taken_up(self):
        db = self.fresh()
        PG.psql("ALTER TABLE todos ADD COLUMN priority integer; UPDATE todos SET priority = 3 WHERE id = 't1'", "owner", db)
        self.assertIn("rejoin pg track public.todos", self.pg(db, "status").err)
        self.assertIn("priority", self.pg_refused_quietly(7, db, "doctor").out)
        self.assertEqual(self.pg(db, "track", "public.todos").out, "tracked already: public.todos (0 new rows, 1 new column)\n")
        self.assertEqual(self.pg(db, "doctor", "--json").json, {"sound": True, "findings": []})
        phone = self.device(sql="CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER, priority INTEGER)")
        with self.serve(db) as server:
            self.ok("sync", phone, server.url, "--token", server.token("phone", tenant="main"))
        self.assertEqual(rows(phone), [("t1", "buy milk", 0, 3), ("t2", "call Ada", 1, None)])

    def pg_refused_quietly(self, code, db, *arguments):
        done = Run("pg", *arguments, "--postgres", PG.url("owner", db))
        self.assertEqual(done.code, code, done)
        return done

    def test_doctor_finds_what_went_unseen(self):
        db = self.fresh()
        PG.psql("ALTER TABLE todos DISABLE TRIGGER ALL; INSERT INTO todos VALUES('t3', 'unseen'); ALTER TABLE todos ENABLE TRIGGER ALL", "admin", db)
        self.assertIn("rejoin pg track", self.pg_refused_quietly(7, db, "doctor").out)
        self.assertIn("1 new row", self.pg(db, "track", "public.todos").out)
        self.pg(db, "doctor")
        PG.psql("DROP TRIGGER rejoin_capture_update ON todos", "owner", db)
        self.assertIn("lacks capture triggers", self.pg_refused_quietly(7, db, "doctor").out)
        self.pg(db, "track", "public.todos")
        self.pg(db, "doctor")

    def test_a_read_only_database_is_named_as_such(self):
        db = self.fresh(SOME + "CREATE TABLE lists(id text PRIMARY KEY)")
        phone = self.device()
        with self.serve(db) as server:
            token = server.token("phone", tenant="main")
            self.ok("sync", phone, server.url, "--token", token)
            PG.psql(f"ALTER DATABASE {db} SET default_transaction_read_only = on")
            PG.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{db}'")
            self.assertIn("default_transaction_read_only", self.pg_refused(3, db, "track", "lists").err)
            self.assertIn("public.todos", self.pg(db, "status").out)
            done = plain(phone)
            done.execute("UPDATE todos SET title = 'offline' WHERE id = 't1'")
            done.close()
            told = Run("sync", phone, server.url, "--token", token, "--retries", "0")
            self.assertEqual(told.code, 5, told)
            self.assertIn("database is read-only", told.err)
            self.discreet(told.out + told.err)
            PG.psql(f"ALTER DATABASE {db} SET default_transaction_read_only = off")
            PG.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{db}'")
            self.ok("sync", phone, server.url, "--token", token)
        self.assertEqual(self.todos(db)[0], ("t1", "offline", 0))

class ServeTest(PostgresTest):
    def log_of(self, server):
        with open(server.log_path, encoding="utf-8") as file:
            return file.read()

    def write(self, path, sql):
        db = plain(path)
        db.execute(sql)
        db.close()

    def ready(self, server):
        reply = call(server, "GET", "/ready")
        self.discreet(reply.body.decode())
        return reply.status

    def test_devices_and_plain_sql_meet_in_one_table(self):
        db = self.fresh()
        phone, laptop = self.device("phone.db"), self.device("laptop.db")
        with self.serve(db) as server:
            tokens = {p: server.token(os.path.basename(p), tenant="main") for p in (phone, laptop)}
            for path in (phone, laptop):
                self.ok("sync", path, server.url, "--token", tokens[path])
            self.write(phone, "INSERT INTO todos VALUES('t3', 'from the phone', 0)")
            self.ok("sync", phone)
            self.write(laptop, "UPDATE todos SET done = 1 WHERE id = 't1'")
            PG.psql("UPDATE todos SET title = title || '!' WHERE id = 't3'; DELETE FROM todos WHERE id = 't2'", "service", db)
            for path in (laptop, phone):
                self.ok("sync", path)
            self.ok("sync", phone)
            code, out = server.stop()
        self.assertEqual(code, 0)
        self.assertIn("data in PostgreSQL", out)
        expected = [("t1", "buy milk", 1), ("t3", "from the phone!", 0)]
        self.assertEqual([rows(phone), rows(laptop), self.todos(db)], [expected] * 3)
        told = self.pg(db, "status", "--json").json
        self.assertEqual((told["devices"], told["outbox"], told["tables"][0]["alive"]), (2, 0, 2))
        self.pg(db, "doctor")

    def test_another_name_on_devices(self):
        db = self.fresh(track=("public.todos", "--as", "tasks"))
        phone = self.database("phone.db", ON_DEVICE.replace("todos", "tasks"), ["tasks"])
        with self.serve(db) as server:
            self.ok("sync", phone, server.url, "--token", server.token("phone", tenant="main"))
        self.assertEqual(len(rows(phone, "tasks")), 2)

    def test_tenants_by_a_column_see_their_own_rows(self):
        sql = """CREATE TABLE todos(org text, id text, title text, PRIMARY KEY(org, id));
                 INSERT INTO todos VALUES('red', '1', 'launch codes'), ('blue', '1', 'shopping list')"""
        db = self.fresh(sql, track=("public.todos", "--tenant-column", "org"))
        on_device = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)"
        red, blue = self.device("red.db", on_device), self.device("blue.db", on_device)
        with self.serve(db) as server:
            for path, tenant in ((red, "red"), (blue, "blue")):
                self.ok("sync", path, server.url, "--token", server.token("phone", tenant=tenant))
                self.write(path, f"INSERT INTO todos VALUES('2', 'written by {tenant}')")
                self.ok("sync", path)
        self.assertEqual(rows(red), [("1", "launch codes"), ("2", "written by red")])
        self.assertEqual(rows(blue), [("1", "shopping list"), ("2", "written by blue")])
        self.assertEqual(PG.rows("SELECT org, id, title FROM todos ORDER BY 1, 2", database=db),
                         [["blue", "1", "shopping list"], ["blue", "2", "written by blue"], ["red", "1", "launch codes"], ["red", "2", "written by red"]])
        self.assertEqual(self.pg(db, "status", "--json").json["tables"][0]["tenant_column"], "org")

    def test_a_database_for_each_tenant(self):
        names = [f"shop_{i}" for i in range(4)]
        for name in names:
            self.fresh(track=("public.todos", "--tenant", name), name=name)
        with self.serve("{tenant}", "--postgres-connections", "2") as server:
            for name in names:
                path = self.device(name + ".db")
                self.ok("sync", path, server.url, "--token", server.token("till", tenant=name))
                self.write(path, f"UPDATE todos SET title = 'of {name}' WHERE id = 't1'")
                self.ok("sync", path)
            # Idle connections to all of them together are bounded; one more tells other nodes of changes.
            wait_for(lambda: int(PG.psql("SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'shop%'")) <= 3)
            told = Run("sync", self.device("x.db"), server.url, "--token", server.token("till", tenant="none"), "--retries", "0")
            self.assertEqual(told.code, 4, told)
            self.discreet(told.out + told.err)
            self.assertIn('database \\"none\\" does not exist', self.log_of(server))
            self.assertEqual(self.ready(server), 200)
        for name in names:
            self.assertEqual(self.todos(name)[0], ("t1", f"of {name}", 0))

    def test_postgres_goes_away_and_comes_back(self):
        db = self.fresh()
        phone = self.device()
        with self.serve(db) as server:
            token = server.token("phone", tenant="main")
            self.ok("sync", phone, server.url, "--token", token)
            for stop in (PG.stop, PG.crash):
                stop()
                self.write(phone, f"UPDATE todos SET title = title || '.' WHERE id = 't1'")
                told = Run("sync", phone, "--retries", "0")
                self.assertEqual(told.code, 4, told)
                self.assertIn("database cannot be reached", told.err)
                self.discreet(told.out + told.err)
                self.assertEqual(self.ready(server), 503)
                self.assertEqual(call(server, "GET", "/health").status, 200)
                PG.start()
                self.assertEqual(self.ready(server), 200)
                self.assertEqual(self.ok("sync", phone, "--json").json["pushed"], 1)
            self.assertIn(".s.PGSQL", self.log_of(server))  # who runs the server is told all
        self.assertEqual(self.todos(db)[0], ("t1", "buy milk..", 0))
        self.pg(db, "doctor")

    def test_postgres_restarts_in_the_middle_of_a_sync(self):
        db = self.fresh()
        phone, laptop = self.device("phone.db"), self.device("laptop.db")
        device = plain(phone)
        with device:
            device.execute("BEGIN")
            device.executemany("INSERT INTO todos VALUES(?, ?, 0)", [(f"r{i}", os.urandom(1000).hex()) for i in range(2_000)])
        device.close()
        with self.serve(db) as server:
            restarts = []

            def restart(number):
                if number in (2, 4):
                    PG.crash()
                    restarts.append(threading.Timer(0.3, PG.start))
                    restarts[-1].start()

            with Between(server, after=restart) as between:
                told = self.ok("sync", phone, between.url, "--token", server.token("phone", tenant="main"), "--json").json
                for restarted in restarts:
                    restarted.join()
            self.assertEqual((told["pending"], told["rejected"], len(restarts)), (0, 0, 2), told)
            self.ok("sync", laptop, server.url, "--token", server.token("laptop", tenant="main"))
        self.assertEqual(len(rows(phone)), 2_002)
        self.assertEqual(rows(laptop), rows(phone))
        self.assertEqual(self.todos(db), rows(phone))

    def test_postgres_goes_back_to_a_backup_while_the_server_runs(self):
        db = self.fresh()
        paths = {name: self.device(name + ".db") for name in ("phone", "laptop", "tablet", "watch", "late")}
        with self.serve(db) as server:
            def sync(name, *sql):
                for statement in sql:
                    self.write(paths[name], statement)
                return self.ok("sync", paths[name], server.url, "--token", server.token(name, tenant="main"), "--json").json

            sync("phone", "INSERT INTO todos VALUES('p', 'by the phone', 0)")
            PG.stop()
            PG.back_up()
            PG.start()
            # These are new to the tenant, and are forgotten with the backup.
            PG.psql("INSERT INTO todos(id, title) VALUES('s', 'by SQL'); UPDATE todos SET title = 'by SQL, too' WHERE id = 't1'", database=db)
            sync("laptop", "INSERT INTO todos VALUES('l', 'by the laptop', 0)")
            sync("tablet", "INSERT INTO todos VALUES('t', 'by the tablet', 0)")
            sync("phone", "INSERT INTO todos VALUES('p2', 'by the phone, too', 0)")
            PG.stop()
            PG.go_back()
            PG.start()
            sync("watch", "INSERT INTO todos VALUES('w', 'by the watch', 0)")
            for _ in range(2):
                for name in ("phone", "tablet", "laptop", "watch"):
                    sync(name)
            sync("late")
        # Sites are told apart by small numbers without a gap, also by a server that starts anew.
        numbers = PG.rows("SELECT array_agg(id ORDER BY id) FROM rejoin.site", database=db)
        self.assertEqual(numbers[0][0], list(range(len(numbers[0][0]))))
        self.assertEqual([r[0] for r in rows(paths["late"])], ["l", "p", "p2", "s", "t", "t1", "t2", "w"])
        self.assertIn(("t1", "by SQL, too"), [r[:2] for r in self.todos(db)])
        for path in paths.values():
            self.assertEqual(rows(path), self.todos(db))
        writers = {key: self.ok("explain", paths["late"], "todos", key, "--json").json["columns"]["title"]["written"]["site"] for key in ("l", "p", "t", "w")}
        for key, name in (("l", "laptop"), ("p", "phone"), ("t", "tablet"), ("w", "watch")):
            self.assertEqual(writers[key], self.ok("status", paths[name], "--json").json["site"])
        self.pg(db, "doctor")

    def test_a_server_that_starts_before_postgres_waits_for_it(self):
        db = self.fresh()
        phone = self.device()
        self.write(phone, "INSERT INTO todos VALUES('t3', 'written meanwhile', 0)")
        PG.stop()
        self.addCleanup(lambda: PG.process or PG.start())
        with self.serve(db) as server:
            self.assertIn("cannot connect to PostgreSQL", self.log_of(server))
            self.assertEqual(self.ready(server), 503)
            self.assertEqual(call(server, "GET", "/health").status, 200)
            token = server.token("phone", tenant="main")
            told = Run("sync", phone, server.url, "--token", token, "--retries", "0")
            self.assertEqual(told.code, 4, told)
            self.discreet(told.out + told.err)
            PG.start()
            self.assertEqual(self.ready(server), 200)
            self.ok("sync", phone, server.url, "--token", token)
        self.assertEqual(self.todos(db)[-1], ("t3", "written meanwhile", 0))

    def test_a_server_that_started_before_postgres_still_looks_whether_it_can_serve_it(self):
        db = self.fresh(track=None)
        PG.stop()
        self.addCleanup(lambda: PG.process or PG.start())
        with self.serve(db) as server:
            PG.start()
            self.assertEqual(self.ready(server), 503)
            self.assertIn("rejoin pg init", self.log_of(server))
            self.pg(db, "init", "--role", "app")
            self.assertEqual(self.ready(server), 200)

    def test_one_connection_is_enough_for_several_tenants(self):
        db = self.fresh("""CREATE TABLE todos(org text, id text, title text, PRIMARY KEY(org, id));
                           INSERT INTO todos SELECT org, n::text, 'x' FROM unnest(ARRAY['a', 'b', 'c']) AS org, generate_series(1, 500) AS n""",
                        track=("todos", "--tenant-column", "org"))
        paths = {t: self.device(t + ".db", "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)") for t in "abc"}
        with self.serve(db, "--postgres-connections", "1") as server:
            told = {}

            def sync(tenant):
                told[tenant] = Run("sync", paths[tenant], server.url, "--token", server.token("d", tenant=tenant))

            with Session(PG.psql_command("service", db)) as session:
                session.run("BEGIN; UPDATE todos SET title = 'held' WHERE id = '1';")
                for path in paths.values():
                    self.write(path, "INSERT INTO todos VALUES('1', 'mine')")  # each push waits for that transaction
                threads = [threading.Thread(target=sync, args=(t,)) for t in paths]
                for thread in threads:
                    thread.start()
                wait_for(lambda: PG.psql("SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'app' AND wait_event_type = 'Lock'") == "t")
                session.run("COMMIT;")
                for thread in threads:
                    thread.join()
            for tenant, path in paths.items():
                self.assertEqual(told[tenant].code, 0, told[tenant])
                self.ok("sync", path)
                self.assertEqual(len(rows(path)), 500)
                self.assertEqual(sorted(map(tuple, PG.rows(f"SELECT id, title FROM todos WHERE org = '{tenant}'", database=db))), rows(path))
            # And one that tells other nodes of changes.
            self.assertLessEqual(int(PG.psql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'")), 2)

    def test_postgres_has_no_connection_left(self):
        db = self.fresh()
        phone = self.device()
        with self.serve(db) as server:
            token = server.token("phone", tenant="main")
            PG.psql("ALTER ROLE app CONNECTION LIMIT 0; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
            try:
                told = Run("sync", phone, server.url, "--token", token, "--retries", "0")
                self.assertEqual(told.code, 5, told)
                self.assertIn("takes no more requests", told.err)
                self.discreet(told.out + told.err)
                self.assertEqual(self.ready(server), 503)
                self.assertIn("too many connections", self.log_of(server))
            finally:
                PG.psql("ALTER ROLE app CONNECTION LIMIT -1")
            self.ok("sync", phone, server.url, "--token", token)

    def test_a_password_that_changes_is_no_reason_for_another_token(self):
        db = self.fresh()
        self.pg(db, "init", "--role", "guarded")
        PG.psql("GRANT SELECT, INSERT, UPDATE, DELETE ON todos TO guarded", "owner", db)
        phone = self.device()
        with Server(self.path("server"), "--postgres", PG.url("guarded", db, "correct horse")) as server:
            token = server.token("phone", tenant="main")
            self.ok("sync", phone, server.url, "--token", token)
            PG.psql("ALTER ROLE guarded PASSWORD 'another'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'guarded'")
            try:
                told = Run("sync", phone, "--retries", "0")
                self.assertEqual(told.code, 4, told)
                self.assertNotIn("token", told.err)
                self.discreet(told.out + told.err)
            finally:
                PG.psql("ALTER ROLE guarded PASSWORD 'correct horse'")
            self.ok("sync", phone)
            self.assertNotIn("correct horse", self.log_of(server))

    def test_rights_that_are_taken_away(self):
        db = self.fresh()
        phone = self.device()
        with self.serve(db) as server:
            token = server.token("phone", tenant="main")
            PG.psql("REVOKE ALL ON todos FROM app", "owner", db)
            told = Run("sync", phone, server.url, "--token", token, "--retries", "0")
            self.assertEqual(told.code, 4, told)
            self.discreet(told.out + told.err)
            self.assertIn("permission denied", self.log_of(server))
            PG.psql("GRANT SELECT, INSERT, UPDATE, DELETE ON todos TO app; DROP SCHEMA rejoin CASCADE", "owner", db)
            told = Run("sync", phone, server.url, "--token", token, "--retries", "0")
            self.assertEqual(told.code, 4, told)
            self.discreet(told.out + told.err)
            self.assertEqual(self.ready(server), 503)
            self.assertIn("rejoin pg init", self.log_of(server))

    def test_a_refused_row_shows_nothing_that_devices_do_not_have(self):
        db = self.fresh("""CREATE TABLE todos(org text, id text, title text NOT NULL CHECK(title <> 'bad'), PRIMARY KEY(org, id));
                           INSERT INTO todos VALUES('secret-org', '1', 'x')""", track=("todos", "--tenant-column", "org"))
        PG.psql("ALTER TABLE todos ADD COLUMN note text DEFAULT 'secret note'", "owner", db)
        phone = self.device(sql="CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)")
        with self.serve(db) as server:
            self.ok("sync", phone, server.url, "--token", server.token("phone", tenant="secret-org"))
            self.write(phone, "UPDATE todos SET title = 'bad' WHERE id = '1'")
            self.write(phone, "INSERT INTO todos VALUES('2', NULL)")
            self.assertEqual(Run("sync", phone).code, 3)
            told = self.ok("status", phone).out
            self.assertIn("todos_title_check", told)
            self.assertIn("not-null", told)
            self.assertNotIn("secret", told)
            # Another tenant's token: nothing is there for it, and that is what it is told.
            lost = self.database("lost.db", ON_DEVICE.replace("todos", "notes"), ["notes"])
            self.write(lost, "INSERT INTO notes VALUES('1', 'x', 0)")
            self.assertEqual(Run("sync", lost, server.url, "--token", server.token("lost", tenant="other")).code, 3)
            self.assertIn("for this tenant", self.ok("status", lost).out)

    def test_damage_in_the_database_is_not_the_devices(self):
        db = self.fresh()
        with self.serve(db) as server:
            PG.psql("UPDATE rejoin.record SET rec = 'x'", database=db)
            told = Run("sync", self.device(), server.url, "--token", server.token("phone", tenant="main"), "--retries", "0")
            self.assertEqual(told.code, 4, told)
            self.discreet(told.out + told.err)
            self.assertIn("damaged", self.log_of(server))

    def test_a_superuser_is_warned_of(self):
        db = self.fresh()
        for role, warned in ((ADMIN, True), ("app", False)):
            with self.serve(db, name=role, role=role) as server:
                self.assertEqual('"event":"superuser"' in self.log_of(server), warned)

    def test_a_policy_that_fails_is_for_the_log_and_the_metrics(self):
        db = self.fresh()
        PG.psql("CREATE ROLE caller; GRANT caller TO app")
        PG.psql("""GRANT SELECT ON todos TO caller; ALTER TABLE todos ENABLE ROW LEVEL SECURITY;
                   CREATE POLICY server ON todos TO app USING (true) WITH CHECK (true);
                   CREATE POLICY own ON todos TO caller USING (1 / (length(title) - length('buy milk')) > 0)""", "owner", db)
        with self.serve(db, "--impersonate", "--impersonate-role", "caller") as server:
            told = self.ok("sync", self.device(), server.url, "--token", server.token("phone", tenant="main"))
            self.discreet(told.out + told.err)
            self.assertIn("a policy of table public.todos fails for a row", self.log_of(server))
            with urllib.request.urlopen(server.url + "/metrics", timeout=10) as answer:
                self.assertRegex(answer.read().decode(), r"\nrejoin_tables_left_out_total [1-9]")

    def test_devices_switch_between_two_nodes(self):
        db = self.fresh()
        with self.serve(db, name="one") as one, Server(self.path("two"), "--secret-file", self.path("one", "secret"), "--postgres", PG.url("app", db)) as two:
            nodes = [one, two]
            between = Between(one)
            between.fate = lambda number: setattr(between, "server", nodes[number % 2]) or "pass"
            with between:
                paths = [self.device(f"{i}.db") for i in range(3)]
                tokens = {p: one.token(os.path.basename(p), tenant="main") for p in paths}
                for turn in range(4):
                    for i, path in enumerate(paths):
                        self.write(path, f"INSERT INTO todos VALUES('d{i}-{turn}', 'new', 0)")
                        self.write(path, f"INSERT INTO todos VALUES('t1', 'by {i} in {turn}', 1) ON CONFLICT(id) DO UPDATE SET title = excluded.title")
                        self.ok("sync", path, between.url, "--token", tokens[path])
                    PG.psql(f"UPDATE todos SET done = NOT done WHERE id = 't2'; INSERT INTO todos VALUES('s{turn}', 'by sql')", "service", db)
                # A device that calls a node by another address begins anew with it, and loses nothing.
                self.ok("sync", paths[0], two.url, "--token", tokens[paths[0]])
                for _ in range(2):
                    for path in paths:
                        told = self.ok("sync", path, between.url, "--token", tokens[path], "--json").json
                self.assertEqual((told["pushed"], told["rejected"], told["parked"]), (0, 0, 0))
        self.assertEqual(len(self.todos(db)), 2 + 12 + 4)
        for path in paths:
            self.assertEqual(rows(path), self.todos(db))
        self.pg(db, "doctor")

    def test_tables_are_made_from_a_contract_only_when_told_to(self):
        db = self.fresh("", track=())
        # As everybody may up to PostgreSQL 14.
        PG.psql("GRANT CREATE ON SCHEMA public TO app", database=db)
        phone, laptop = self.device("phone.db"), self.device("laptop.db")
        self.write(phone, "INSERT INTO todos VALUES('1', 'x', 0)")
        for role, options in (("app", ()), ("app", ("--schema", "auto")), ("owner", ()), ("owner", ("--schema", "auto"))):
            with self.serve(db, *options, role=role) as server:
                for claim in ((), ("--schema",)):
                    told = Run("sync", phone, server.url, "--token", server.token("phone", *claim, tenant="main"), "--json")
                    self.discreet(told.out + told.err)
                    made = (role, options, claim) == ("owner", ("--schema", "auto"), ("--schema",))
                    self.assertEqual((told.json["rejected"], told.json["pending"]), (0 if made else 1, 0), (role, options, claim, told))
                    self.assertNotIn("error", told.json)
                if made:
                    self.ok("sync", laptop, server.url, "--token", server.token("laptop", tenant="main"))
        self.assertEqual(rows(laptop), [("1", "x", 0)])
        self.assertEqual(PG.rows("SELECT id, title, done FROM todos", database=db), [["1", "x", 0]])
        self.pg(db, "doctor")


if __name__ == "__main__":
    unittest.main(verbosity=2)
