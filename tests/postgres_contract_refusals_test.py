"""A contract that PostgreSQL cannot make is refused with what is in the way, and nothing of it is made."""

import os
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "interop"), os.path.join(HERE, "..", "scripts", "lib")]
from private_postgres import PrivatePostgres, Session  # noqa: E402
from support import FolderTest, Run, Server, extended  # noqa: E402

COLUMNS = "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1"


# Symptom: a server with PostgreSQL answered such a contract with "cannot use its database at present, try again later".
class PostgresContractRefusalsTest(FolderTest):
    def test_a_refusal_names_what_is_in_the_way(self):
        with PrivatePostgres() as pg:
            pg.psql("CREATE ROLE owner LOGIN; CREATE DATABASE app OWNER owner")
            pg.psql("GRANT ALL ON SCHEMA public TO owner", database="app")
            url = pg.url("owner", "app")
            self.ok("pg", "init", "--postgres", url)
            pg.psql("CREATE TABLE todos(id text PRIMARY KEY); CREATE TABLE unsynced(id text PRIMARY KEY, mine integer)", "owner", "app")
            self.ok("pg", "track", "public.todos", "--postgres", url)
            with Server(self.path("server"), "--postgres", url, "--schema", "auto") as server:
                token = server.token("administrator", "--schema", tenant="main")

                def push(name, **tables):
                    schema = ";".join(f"CREATE TABLE {table}(id TEXT PRIMARY KEY{more})" for table, more in tables.items())
                    return Run("contract", "push", server.url, self.database(name, schema, tuple(tables)), "--token", token)

                before = pg.psql(COLUMNS, "owner", "app")
                taken = push("taken.db", another="", todos=", due TEXT", unsynced="")
                self.assertEqual(taken.code, 3)
                self.assertIn('"unsynced" already exists', taken.err)
                self.assertNotIn("hint", taken.err)
                default = push("default.db", todos=", due JSONB DEFAULT '{\"a\":1}'")
                self.assertEqual(default.code, 3)
                self.assertIn('default of column "due" of table "todos"', default.err)
                self.assertEqual(pg.psql(COLUMNS, "owner", "app"), before)
                self.assertEqual(push("good.db", todos=", due TEXT").code, 0)

    def served(self, pg, *options):
        """A server that makes tables, over a database of its own with a table "todos"."""
        pg.psql("CREATE ROLE owner LOGIN; CREATE DATABASE app OWNER owner")
        pg.psql("GRANT ALL ON SCHEMA public TO owner", database="app")
        url = pg.url("owner", "app")
        self.ok("pg", "init", "--postgres", url)
        pg.psql("CREATE TABLE todos(id text PRIMARY KEY)", "owner", "app")
        self.ok("pg", "track", "public.todos", "--postgres", url)
        return Server(self.path("server"), "--postgres", url, "--schema", "auto", *options)

    def run_on(self, path, sql):
        db = extended(path)
        db.execute(sql)
        db.commit()
        db.close()

    def push_at_once(self, server, schemas):
        token = server.token("administrator", "--schema", tenant="main")
        files = {}
        for schema in set(schemas):
            tables = tuple(part.split("(")[0].split()[-1] for part in schema.split(";"))
            files[schema] = self.database(f"{abs(hash(schema))}.db", schema, tables)
        with ThreadPoolExecutor(len(schemas)) as pool:
            return list(pool.map(lambda schema: Run("contract", "push", server.url, files[schema], "--token", token), schemas))

    # Symptom: one of them was refused, though all of it was there.
    def test_the_same_contract_that_is_pushed_several_times_at_once_is_taken_each_time(self):
        with PrivatePostgres() as pg, self.served(pg) as server:
            for columns in ("a TEXT", "a TEXT, b TEXT"):
                schema = f"CREATE TABLE todos(id TEXT PRIMARY KEY, {columns})"
                schema += "".join(f";CREATE TABLE t{i}(id TEXT PRIMARY KEY, x TEXT)" for i in range(len(columns)))
                for told in self.push_at_once(server, [schema] * 3):
                    self.assertEqual(told.code, 0, told)
            self.ok("pg", "doctor", "--postgres", pg.url("owner", "app"))

    # Symptom: tables of those that were refused stayed, and were synced.
    def test_of_contracts_that_do_not_follow_each_other_only_one_makes_tables(self):
        with PrivatePostgres() as pg, self.served(pg) as server:
            told = self.push_at_once(server, [f"CREATE TABLE todos(id TEXT PRIMARY KEY);CREATE TABLE own{i}(id TEXT PRIMARY KEY)" for i in range(4)])
            self.assertEqual(sorted(t.code for t in told), [0, 3, 3, 3], told)
            taken = [t.code for t in told].index(0)
            self.assertEqual(pg.psql("SELECT name FROM rejoin.tracked ORDER BY 1", "owner", "app").split(), [f"own{taken}", "todos"])
            self.assertEqual(pg.psql("SELECT relname FROM pg_class WHERE relname LIKE 'own_'", "owner", "app").split(), [f"own{taken}"])

    # Symptom: each sync of a device asked for an ACCESS EXCLUSIVE lock, and waited for readers, for a column that nobody had to make.
    def test_a_column_that_is_there_and_not_synced_locks_nobody_out(self):
        with PrivatePostgres(log_statement="all") as pg, self.served(pg) as server:
            pg.psql("ALTER TABLE todos ADD COLUMN due TEXT", "owner", "app")
            told = self.push_at_once(server, ["CREATE TABLE todos(id TEXT PRIMARY KEY, due TEXT)"])[0]
            self.assertEqual(told.code, 3)
            self.assertIn('its public.todos has a column "due" that is not synced; run rejoin pg track public.todos', told.err)
            device = self.database("device.db", "CREATE TABLE todos(id TEXT PRIMARY KEY, due TEXT)", ("todos",))
            with Session(pg.psql_command("owner", "app")) as reader:
                reader.run("BEGIN; SELECT * FROM todos;")
                for row in "12":
                    self.run_on(device, f"INSERT INTO todos VALUES('{row}', 'x')")
                    told = Run("sync", device, server.url, "--token", server.token("device", "--schema", tenant="main"))
                    self.assertEqual(told.code, 3, told)  # for the column; the rest of the row is taken
                reader.run("COMMIT;")
            with open(pg.log, encoding="utf-8") as log:
                self.assertNotIn("LOCK TABLE public.todos", log.read())
            self.assertEqual(pg.psql("SELECT id FROM todos ORDER BY id", "owner", "app").split(), ["1", "2"])


if __name__ == "__main__":
    unittest.main()
