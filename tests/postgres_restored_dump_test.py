"""A database that was dumped and restored syncs on, also where PostgreSQL numbers a table's columns anew."""

import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "interop"), os.path.join(HERE, "..", "scripts", "lib")]
from private_postgres import PrivatePostgres  # noqa: E402
from support import FolderTest, Run, Server, plain  # noqa: E402


# Symptom: a table of which a column before the key had been dropped once stood aside after it was restored.
class PostgresRestoredDumpTest(FolderTest):
    def test_it_syncs_on_and_another_key_is_still_noticed(self):
        with PrivatePostgres() as pg:
            pg.psql("CREATE ROLE owner LOGIN; CREATE DATABASE app OWNER owner; CREATE DATABASE anew OWNER owner TEMPLATE template0")
            pg.psql("GRANT ALL ON SCHEMA public TO owner", database="app")
            self.ok("pg", "init", "--postgres", pg.url("owner", "app"))
            pg.psql("CREATE TABLE todos(old integer, id text PRIMARY KEY, title text); ALTER TABLE todos DROP COLUMN old", "owner", "app")
            self.ok("pg", "track", "public.todos", "--postgres", pg.url("owner", "app"))
            device = self.database("d.db", "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)", ("todos",))

            def sync(database, *rows):
                db = plain(device)
                db.executemany("INSERT INTO todos VALUES(?, 'x')", [(row,) for row in rows])
                db.commit()
                db.close()
                with Server(self.path("server"), "--postgres", pg.url("owner", database)) as server:
                    return Run("sync", device, server.url, "--token", server.token("d", tenant="main"))

            self.assertEqual(sync("app", "1").code, 0)
            dump = subprocess.run([pg.program("pg_dump"), "-d", pg.url("admin", "app")], capture_output=True, text=True, check=True, cwd="/")
            subprocess.run(pg.psql_command("admin", "anew"), input=dump.stdout, capture_output=True, text=True, check=True, cwd="/")
            self.ok("pg", "doctor", "--postgres", pg.url("owner", "anew"))
            taken = sync("anew", "2")
            self.assertEqual(taken.code, 0, taken)
            self.assertEqual(pg.psql("SELECT id FROM todos ORDER BY id", "owner", "anew").split(), ["1", "2"])
            # A key column that is renamed stays the key, there too.
            pg.psql("ALTER TABLE todos RENAME COLUMN id TO ident", "owner", "anew")
            self.ok("pg", "doctor", "--postgres", pg.url("owner", "anew"))
            pg.psql("ALTER TABLE todos RENAME COLUMN ident TO id", "owner", "anew")
            pg.psql("ALTER TABLE todos DROP CONSTRAINT todos_pkey, ADD PRIMARY KEY (title, id)", "owner", "anew")
            self.assertIn("the PRIMARY KEY of public.todos is now (title, id)", Run("pg", "doctor", "--postgres", pg.url("owner", "anew")).out)

    # Symptom: what devices had as one row was another one from then on, and doctor found nothing.
    def test_a_column_that_takes_the_place_of_the_key_is_noticed_there_too(self):
        swap = "ALTER TABLE todos DROP CONSTRAINT todos_pkey; ALTER TABLE todos RENAME id TO old_id; ALTER TABLE todos ADD id text; "
        swap += "UPDATE todos SET id = CASE old_id WHEN 'k1' THEN 'k2' ELSE 'k1' END; ALTER TABLE todos ADD PRIMARY KEY(id)"
        changes = (swap, "ALTER TABLE todos DROP COLUMN id; ALTER TABLE todos ADD PRIMARY KEY(title)")
        with PrivatePostgres() as pg:
            pg.psql("CREATE ROLE owner LOGIN; CREATE DATABASE app OWNER owner")
            pg.psql("GRANT ALL ON SCHEMA public TO owner", database="app")
            self.ok("pg", "init", "--postgres", pg.url("owner", "app"))
            pg.psql("CREATE TABLE todos(title text, id text PRIMARY KEY); INSERT INTO todos VALUES('one', 'k1'), ('two', 'k2')", "owner", "app")
            self.ok("pg", "track", "public.todos", "--postgres", pg.url("owner", "app"))
            dump = subprocess.run([pg.program("pg_dump"), "-d", pg.url("admin", "app")], capture_output=True, text=True, check=True, cwd="/")
            for number, change in enumerate(changes):
                name = f"anew{number}"
                pg.psql(f"CREATE DATABASE {name} OWNER owner TEMPLATE template0")
                subprocess.run(pg.psql_command("admin", name), input=dump.stdout, capture_output=True, text=True, check=True, cwd="/")
                self.ok("pg", "doctor", "--postgres", pg.url("owner", name))
                pg.psql(change, "owner", name)
                self.assertIn("the PRIMARY KEY of public.todos is now", Run("pg", "doctor", "--postgres", pg.url("owner", name)).out)


if __name__ == "__main__":
    unittest.main()
