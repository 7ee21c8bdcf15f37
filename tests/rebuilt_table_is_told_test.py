"""A migration that drops a synced table and makes it anew ends its syncing: status, sync and doctor say so until the app decides."""

import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from support import FolderTest, Run, Server, extended, plain  # noqa: E402

TODOS = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0)"
REBUILT = ("BEGIN; CREATE TABLE new(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0, slug TEXT);"
           "INSERT INTO new SELECT *, 'slug-' || id FROM todos; DROP TABLE todos; ALTER TABLE new RENAME TO todos; COMMIT")


class RebuiltTableIsToldTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.server = Server(self.path("server"))
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)
        self.db = self.device("a")

    def device(self, name):
        db = extended(self.path(name + ".db"))
        self.addCleanup(db.close)
        db.execute(TODOS)
        db.execute("CREATE TABLE other(id TEXT PRIMARY KEY)")
        for table in ("todos", "other"):
            db.execute("SELECT rejoin_track(?)", (table,))
        db.execute("SELECT rejoin_connect(?, ?)", (self.server.url, self.server.token(name, "--schema")))
        return db

    def ask(self, sql, db=None):
        return json.loads((db or self.db).execute("SELECT " + sql).fetchone()[0])

    def rebuild(self):
        self.db.execute("INSERT INTO todos VALUES('1', 'one', 0), ('2', 'two', 0)")
        self.assertNotIn("not_synced", self.ask("rejoin_sync()"))
        self.db.execute("UPDATE todos SET title = 'unsent'")
        self.db.execute("DELETE FROM todos WHERE id = '2'")
        db = plain(self.path("a.db"))  # a migration that knows nothing of Rejoin
        db.executescript(REBUILT)
        db.close()

    def test_status_sync_and_doctor_name_it_and_what_was_not_sent(self):
        self.rebuild()
        for told in (self.ask("rejoin_status()"), self.ask("rejoin_sync()"), self.ask("rejoin_status()")):
            (ended,) = told["not_synced"]
            self.assertEqual((ended["table"], ended["unsent"]), ("todos", 3))
            self.assertRegex(ended["message"], r"dropped.* with 3 writes that no server had\. Call rejoin_track\('todos'\)")
        (finding,) = self.ask("rejoin_doctor()")
        self.assertEqual((finding["kind"], finding["table"]), ("not_synced", "todos"))

        file = self.path("a.db")
        self.assertRegex(Run("status", file).out, r"not synced +todos: .*3 writes not sent; sync it: rejoin track \S+ todos")
        synced = Run("sync", file)
        self.assertEqual(synced.code, 0)
        self.assertRegex(synced.err, r"todos: dropped or renamed, and made anew, with 3 writes not sent; sync it: rejoin track \S+ todos")
        self.assertEqual(Run("sync", "--json", file).json["not_synced"][0]["table"], "todos")
        told = Run("doctor", file)
        self.assertEqual(told.code, 0)
        self.assertIn("\nnot synced: ", told.out)

    def test_tracking_it_again_ends_it_and_what_the_migration_filled_in_stays(self):
        self.rebuild()
        self.ask("rejoin_status()")
        self.db.execute("SELECT rejoin_track('todos')")
        self.assertNotIn("not_synced", self.ask("rejoin_sync()"))
        self.assertEqual(self.ask("rejoin_doctor()"), [])
        b = self.device("b")
        b.execute("ALTER TABLE todos ADD COLUMN slug TEXT")
        for db in (self.db, b, self.db):
            self.assertIsNone(self.ask("rejoin_sync()", db)["error"])
        for db in (self.db, b):
            self.assertEqual(db.execute("SELECT id, title, slug FROM todos ORDER BY id").fetchall(), [("1", "one", "slug-1"), ("2", "two", None)])

    def test_untracking_it_says_that_it_is_not_to_be_synced(self):
        self.rebuild()
        self.db.execute("SELECT rejoin_untrack('todos')")
        self.assertNotIn("not_synced", self.ask("rejoin_status()"))
        self.assertEqual(self.ask("rejoin_doctor()"), [])
        with self.assertRaisesRegex(Exception, "not_tracked"):
            self.db.execute("SELECT rejoin_untrack('nothing')")

    def test_the_command_untracks_it_too(self):
        self.rebuild()
        self.ask("rejoin_status()")
        self.assertEqual(Run("untrack", self.path("a.db"), "todos").code, 0)
        self.assertNotIn("not_synced", self.ask("rejoin_status()"))

    def test_a_table_that_takes_the_name_of_a_renamed_one_is_named(self):
        self.db.execute("ALTER TABLE todos RENAME TO archive")
        self.assertNotIn("not_synced", self.ask("rejoin_status()"))
        self.db.execute(TODOS)
        (ended,) = self.ask("rejoin_status()")["not_synced"]
        self.assertEqual((ended["table"], ended["unsent"]), ("todos", 0))
        self.assertIn("renamed", ended["message"])
        self.db.execute("SELECT rejoin_track('todos')")
        self.assertNotIn("not_synced", self.ask("rejoin_status()"))

    def test_one_that_was_untracked_on_purpose_is_not_named(self):
        self.db.execute("SELECT rejoin_untrack('todos')")
        self.assertNotIn("not_synced", self.ask("rejoin_status()"))


if __name__ == "__main__":
    unittest.main()
