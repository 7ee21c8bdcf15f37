"""A contract that PostgreSQL cannot make is refused with what is in the way, and nothing of it is made."""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "interop"), os.path.join(HERE, "..", "scripts", "lib")]
from private_postgres import PrivatePostgres  # noqa: E402
from support import FolderTest, Run, Server  # noqa: E402

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


if __name__ == "__main__":
    unittest.main()
