"""A device that is made anew with the names of today shows what was written under those of before, if the application says what they were."""

import json
import os
import sqlite3
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from support import FolderTest, Server, extended  # noqa: E402

OLD = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT NOT NULL, due TEXT)"
NEW = "CREATE TABLE tasks(id TEXT PRIMARY KEY, what TEXT NOT NULL, due TEXT)"
FORMER = {"former_names": ["todos"], "former_columns": {"what": ["title"]}}
SHOWN = [("1", "by the lost one", "today"), ("2", "changed by a", None), ("3", "by b", None), ("4", "late", None)]


class FormerNamesTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.server = Server(self.path("server"))
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)

    def device(self, name, sql, table, options=None):
        db = extended(self.path(name + ".db"))
        self.addCleanup(db.close)
        db.execute(sql)
        db.execute("SELECT rejoin_track(?, ?)", (table, json.dumps(options or {})))
        db.execute("SELECT rejoin_connect(?, ?)", (self.server.url, self.server.token(name, "--schema")))
        return db

    def sync(self, *devices):
        for db in devices:
            self.assertIsNone(json.loads(db.execute("SELECT rejoin_sync()").fetchone()[0])["error"])

    def renamed_while_one_is_lost(self):
        """Three devices; one writes a row, and a part of another's, and is never seen again. The others rename the table and a column."""
        lost, a, b = (self.device(name, OLD, "todos") for name in ("lost", "a", "b"))
        lost.execute("INSERT INTO todos VALUES('1', 'by the lost one', NULL)")
        a.execute("INSERT INTO todos VALUES('2', 'by a', NULL)")
        b.execute("INSERT INTO todos VALUES('3', 'by b', NULL)")
        self.sync(lost, a, b, lost, a)
        a.execute("UPDATE todos SET due = 'today' WHERE id = '1'")
        lost.execute("UPDATE todos SET title = 'changed by the lost one' WHERE id = '2'")
        self.sync(lost, a, b, a)
        for db in (a, b):
            db.execute("SELECT rejoin_alter('ALTER TABLE todos RENAME TO tasks')")
            db.execute("SELECT rejoin_alter('ALTER TABLE tasks RENAME COLUMN title TO what')")
        a.execute("UPDATE tasks SET what = 'changed by a' WHERE id = '2'")
        b.execute("INSERT INTO tasks VALUES('4', 'late', NULL)")
        self.sync(a, b, a, b)
        for db in (a, b):
            self.assertEqual(self.shown(db), SHOWN)
        return a, b

    @staticmethod
    def shown(db):
        return db.execute("SELECT * FROM tasks ORDER BY id").fetchall()

    @staticmethod
    def waiting(db):
        return db.execute("SELECT table_name, key FROM rejoin_parked ORDER BY 1, 2").fetchall()

    def test_a_new_device_has_what_was_written_under_the_old_names(self):
        a, b = self.renamed_while_one_is_lost()
        new = self.device("new", NEW, "tasks", FORMER)
        self.sync(new)
        self.assertEqual(self.shown(new), SHOWN)
        self.assertEqual(self.waiting(new), [])
        new.execute("UPDATE tasks SET what = 'by the new one' WHERE id = '1'")
        self.sync(new, a, b)
        for db in (a, b, new):
            self.assertEqual(self.shown(db)[0], ("1", "by the new one", "today"))
            self.assertEqual(json.loads(db.execute("SELECT rejoin_doctor()").fetchone()[0]), [])

    def test_what_waited_for_want_of_the_names_comes_when_they_are_given(self):
        self.renamed_while_one_is_lost()
        new = self.device("new", NEW, "tasks")
        self.sync(new)
        self.assertNotEqual(self.shown(new), SHOWN)
        self.assertNotEqual(self.waiting(new), [])
        new.execute("SELECT rejoin_track('tasks', ?)", (json.dumps(FORMER),))
        self.assertEqual(self.shown(new), SHOWN)
        self.assertEqual(self.waiting(new), [])
        # Once more changes nothing.
        seq = new.execute("SELECT rejoin_seq()").fetchone()
        new.execute("SELECT rejoin_track('tasks', ?)", (json.dumps(FORMER),))
        self.assertEqual(new.execute("SELECT rejoin_seq()").fetchone(), seq)

    def test_a_device_that_left_a_version_out_names_the_name_in_between(self):
        """A column was title, then body, and is what now."""
        a, b = (self.device(name, OLD, "todos") for name in ("a", "b"))
        a.execute("INSERT INTO todos VALUES('1', 'by a', NULL), ('2', 'by a', NULL)")
        self.sync(a, b)
        b.execute("SELECT rejoin_alter('ALTER TABLE todos RENAME COLUMN title TO body')")
        b.execute("UPDATE todos SET body = 'of version 2' WHERE id = '1'")
        self.sync(b, a)
        a.execute("SELECT rejoin_alter('ALTER TABLE todos RENAME COLUMN title TO what')")
        self.sync(a)
        self.assertEqual(a.execute("SELECT what FROM todos ORDER BY id").fetchall(), [("by a",), ("by a",)])
        a.execute("SELECT rejoin_track('todos', ?)", (json.dumps({"former_columns": {"what": ["body"]}}),))
        b.execute("SELECT rejoin_alter('ALTER TABLE todos RENAME COLUMN body TO what')")
        self.sync(a, b)
        for db in (a, b):
            self.assertEqual(db.execute("SELECT what FROM todos ORDER BY id").fetchall(), [("of version 2",), ("by a",)])
            self.assertEqual(self.waiting(db), [])

    def test_the_command_takes_them_too(self):
        self.renamed_while_one_is_lost()
        new = self.device("new", NEW, "tasks")
        self.sync(new)
        self.ok("track", self.path("new.db"), "tasks", "--former-name", "todos", "--former-column", "what=title")
        self.assertEqual(self.shown(new), SHOWN)

    def test_names_that_cannot_be_former_ones_are_refused_and_change_nothing(self):
        db = self.device("new", NEW, "tasks")
        db.execute("CREATE TABLE other(id TEXT PRIMARY KEY, v)")
        db.execute("SELECT rejoin_track('other')")
        before = db.execute("SELECT * FROM rejoin_former").fetchall()
        for options, text in (
                ({"former_names": ["other"]}, "a synced table is called so here"),
                ({"former_columns": {"what": ["due"]}}, "the table has a column that is called so"),
                ({"former_names": ["todos"], "former_columns": {"who": ["owner"]}}, 'has no column "who"'),
                ({"former_names": "todos"}, "must be an array of names"),
                ({"former_columns": {"what": "title"}}, "former names of columns"),
                ({"former": []}, "former_names and former_columns")):
            with self.assertRaises(sqlite3.OperationalError, msg=options) as caught:
                db.execute("SELECT rejoin_track('tasks', ?)", (json.dumps(options),))
            self.assertIn(text, str(caught.exception))
            self.assertTrue(str(caught.exception).endswith("[bad_argument]"), caught.exception)
        self.assertEqual(db.execute("SELECT * FROM rejoin_former").fetchall(), before)
        self.refused(2, "track", self.path("new.db"), "tasks", "--former-column", "what")
        self.refused(2, "track", self.path("new.db"), "tasks", "other", "--former-name", "todos")


if __name__ == "__main__":
    unittest.main()
