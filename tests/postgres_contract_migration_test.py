"""A contract that `rejoin serve --postgres` gives out: devices that allow it follow at their next sync, all of it or nothing; the others go on as they are."""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "interop"), os.path.join(HERE, "..", "scripts", "lib")]
from support import PostgresStoreTest, Server, extended, plain, rows  # noqa: E402

V1 = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)"
V2 = ("CREATE TABLE alerts(id TEXT PRIMARY KEY, at TEXT); CREATE TABLE lists(id TEXT PRIMARY KEY, name TEXT);"
      "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER NOT NULL DEFAULT 0, due TEXT)")
SCHEMA = "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE '%rejoin%' AND name NOT LIKE 'sqlite%' ORDER BY 1, 2"


class PostgresContractMigrationTest(PostgresStoreTest):
    def setUp(self):
        super().setUp()
        self.tracked("CREATE TABLE todos(id text PRIMARY KEY, title text)", "public.todos")
        self.server = Server(self.path("server"), "--postgres", self.postgres.url("owner", self.name), "--schema", "auto")
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)
        self.v2 = self.database("v2.db", V2, ("alerts", "lists", "todos"))
        self.admin = self.server.token("administrator", "--schema", tenant="main")

    def psql(self, sql):
        return self.postgres.psql(sql, "owner", self.name)

    def device(self, name, migrate, more=""):
        """Connected, with a row of its own that the server has."""
        path = self.database(name + ".db", V1 + ";" + more)
        db = extended(path)
        db.execute("SELECT rejoin_connect(?, ?, ?)", (self.server.url, self.server.token(name, tenant="main"), '{"migrate":%s}' % str(migrate).lower()))
        db.execute("INSERT INTO todos(id, title) VALUES(?, 'of version 1')", (name,))
        db.close()
        self.sync(path)
        return path

    def sync(self, path, migrated=0):
        told = self.ok("sync", path, "--json").json
        self.assertEqual((told["migrated"], told["rejected"], told["pending"]), (migrated, 0, 0), told)
        return told

    def write(self, path, sql):
        db = plain(path)
        db.executescript(sql)
        db.close()

    def test_who_allows_it_follows_and_the_others_go_on(self):
        phone, old = self.device("phone", True), self.device("old", False)
        self.refused(3, "contract", "push", self.server.url, self.v2, "--token", self.server.token("nobody", tenant="main"))
        self.sync(phone)
        before = plain(old).execute(SCHEMA).fetchall()
        self.ok("contract", "push", self.server.url, self.v2, "--token", self.admin)
        self.write(phone, "UPDATE todos SET title = 'offline' WHERE id = 'phone'")
        self.assertEqual(self.sync(phone, 4)["pushed"], 1)
        self.write(phone, "UPDATE todos SET done = 1, due = 'today'; INSERT INTO lists VALUES('l', 'made on the phone')")
        self.assertEqual(self.sync(phone)["pushed"], 3)
        self.assertEqual(self.psql("SELECT name FROM lists"), "made on the phone")
        self.psql("UPDATE todos SET due = 'tomorrow' WHERE id = 'old'; INSERT INTO alerts VALUES('a', 'noon')")
        self.write(old, "UPDATE todos SET title = 'of version 1 still' WHERE id = 'old'")
        self.sync(old)
        self.assertEqual(plain(old).execute(SCHEMA).fetchall(), before)
        self.assertEqual(rows(old), [("old", "of version 1 still"), ("phone", "offline")])
        self.sync(phone)
        both = [("old", "of version 1 still", 1, "tomorrow"), ("phone", "offline", 1, "today")]
        self.assertEqual(rows(phone), both)
        self.assertEqual(self.psql("SELECT * FROM todos ORDER BY id"), "old|of version 1 still|1|tomorrow\nphone|offline|1|today")
        # It catches up when it does allow it.
        extended(old).execute("SELECT rejoin_connect(?, NULL, '{\"migrate\":true}')", (self.server.url,))
        self.sync(old, 4)
        for path in (phone, old):
            self.assertEqual((rows(path), rows(path, "lists"), rows(path, "alerts")), (both, [("l", "made on the phone")], [("a", "noon")]))
            self.assertEqual(extended(path).execute("SELECT rejoin_doctor()").fetchone()[0], "[]")

    def test_nothing_is_made_where_a_part_cannot_be(self):
        in_the_way = {
            "CREATE VIEW lists AS SELECT 1 AS id": "DROP VIEW lists",
            "CREATE TABLE lists(mine TEXT)": "DROP TABLE lists",
            "CREATE INDEX lists ON todos(title)": "DROP INDEX lists",
            "ALTER TABLE todos ADD COLUMN due TEXT AS (upper(title))": None,
        }
        devices = {self.device(f"device{n}", True, sql): (sql, cure) for n, (sql, cure) in enumerate(in_the_way.items())}
        self.ok("contract", "push", self.server.url, self.v2, "--token", self.admin)
        self.psql("UPDATE todos SET due = 'tomorrow'; INSERT INTO alerts VALUES('a', 'noon')")
        for path, (sql, cure) in devices.items():
            with self.subTest(sql):
                before = plain(path).execute(SCHEMA).fetchall()
                own = os.path.basename(path)[:-3]
                self.write(path, f"UPDATE todos SET title = 'goes on' WHERE id = '{own}'")
                told = self.sync(path)
                self.assertEqual(told["not_migrated"]["code"], "schema_refused")
                self.assertIn("todos" if cure is None else "lists", told["not_migrated"]["message"])
                self.assertEqual(plain(path).execute(SCHEMA).fetchall(), before)
                self.assertEqual(extended(path).execute("SELECT rejoin_doctor()").fetchone()[0], "[]")
                if cure:
                    self.write(path, cure)
                    self.assertNotIn("not_migrated", self.sync(path, 4))
                    self.assertEqual(rows(path, "alerts"), [("a", "noon")])
                    self.assertEqual(plain(path).execute("SELECT * FROM todos WHERE id = ?", (own,)).fetchall(), [(own, "goes on", 0, "tomorrow")])
        self.assertEqual(self.psql("SELECT DISTINCT title FROM todos"), "goes on")

    def test_a_column_that_is_there_with_another_type_is_in_nobodys_way(self):
        phone = self.device("phone", True)
        self.write(phone, "ALTER TABLE todos ADD COLUMN done TEXT")
        self.ok("contract", "push", self.server.url, self.v2, "--token", self.admin)
        self.sync(phone, 3)
        self.psql("UPDATE todos SET done = 7")
        self.sync(phone)
        self.assertEqual(plain(phone).execute("SELECT done, due FROM todos").fetchall(), [("7", None)])
        self.write(phone, "UPDATE todos SET done = '8'")
        self.sync(phone)
        self.assertEqual(self.psql("SELECT done FROM todos"), "8")


if __name__ == "__main__":
    unittest.main()
