#!/usr/bin/env python3
"""`rejoin sync`, `rejoin merge` and rejoin_live() on a file whose indexes and CHECKs use what only the application has."""

import json
import os
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from support import Run, Server, extended  # noqa: E402

SCHEMA = """
CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT COLLATE mine CHECK(norm(title) <> 'bad'));
CREATE INDEX by_title ON todos(title);
CREATE TABLE notes(id TEXT PRIMARY KEY, v);
"""


def app(path):
    db = extended(path)
    db.create_function("norm", 1, lambda text: text and text.lower(), deterministic=True)
    db.create_collation("mine", lambda a, b: (a.lower() > b.lower()) - (a.lower() < b.lower()))
    return db


def made(path):
    db = app(path)
    db.executescript(SCHEMA)
    for table in ("todos", "notes"):
        db.execute("SELECT rejoin_track(?)", (table,)).fetchall()
    return db


def todos(db):
    return db.execute("SELECT id, title FROM todos ORDER BY id").fetchall()


class MissingFunctionsSync(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.paths = [os.path.join(folder.name, name + ".db") for name in "ab"]

    def test_merge_takes_what_it_can(self):
        for path, row in zip(self.paths, ("1", "2")):
            db = made(path)
            db.execute("INSERT INTO todos VALUES(?, 'Milk')", (row,))
            db.execute("INSERT INTO notes VALUES(?, 1)", (row,))
            db.close()
        for _ in range(2):
            done = Run("merge", *self.paths)
            self.assertEqual(done.code, 0, done)
        for path in self.paths:
            db = app(path)
            self.assertEqual(db.execute("SELECT count(*) FROM notes").fetchone()[0], 2)
            self.assertEqual(db.execute("SELECT count(*) FROM rejoin_parked").fetchone()[0], 1)
            db.execute("SELECT rejoin_status()").fetchall()
            self.assertEqual(todos(db), [("1", "Milk"), ("2", "Milk")])
            self.assertEqual(db.execute("SELECT rejoin_doctor()").fetchone()[0], "[]")
            db.close()

    def test_sync_and_live_take_what_they_can(self):
        with Server(os.path.join(self.folder, "server")) as server:
            a, b = (made(path) for path in self.paths)
            for name, db in (("a", a), ("b", b)):
                db.execute("PRAGMA busy_timeout = 5000")
                db.execute("SELECT rejoin_connect(?, ?)", (server.url, server.token(name, "--schema"))).fetchall()
            a.execute("INSERT INTO todos VALUES('1', 'Milk')")
            a.execute("INSERT INTO notes VALUES('1', 1)")
            a.execute("SELECT rejoin_sync()").fetchall()

            done = Run("sync", self.paths[1])
            self.assertEqual(done.code, 0, done)
            self.assertEqual(b.execute("SELECT id FROM notes").fetchall(), [("1",)])
            self.assertEqual(b.execute("SELECT key FROM rejoin_parked").fetchall(), [('["1"]',)])
            b.execute("SELECT rejoin_status()").fetchall()
            self.assertEqual(todos(b), [("1", "Milk")])

            b.execute("SELECT rejoin_live()").fetchall()
            a.execute("UPDATE todos SET title = 'Bread'")
            a.execute("INSERT INTO notes VALUES('2', 1)")
            b.execute("INSERT INTO todos VALUES('3', 'Oats')")
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                a.execute("SELECT rejoin_sync()").fetchall()
                status = json.loads(b.execute("SELECT rejoin_status()").fetchone()[0])
                if todos(a) == todos(b) == [("1", "Bread"), ("3", "Oats")]:
                    break
                time.sleep(0.1)
            self.assertEqual(todos(b), [("1", "Bread"), ("3", "Oats")], status)
            self.assertEqual(todos(a), todos(b), status)
            self.assertEqual(b.execute("SELECT count(*) FROM notes").fetchone()[0], 2, status)
            self.assertIsNone(status["live"]["error"], status)
            b.execute("SELECT rejoin_live_stop()").fetchall()
            for db in (a, b):
                self.assertEqual(db.execute("SELECT rejoin_doctor()").fetchone()[0], "[]")
                db.close()


class QueryOnly(unittest.TestCase):
    """Symptom: `open the file with write permission`, where reading was all that was asked for."""

    def test_what_reads_works(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "app.db")
            db = made(path)
            db.execute("INSERT INTO notes VALUES('1', 1)")
            db.execute("SELECT rejoin_seq()").fetchall()
            db.close()
            db = app(path)
            db.execute("PRAGMA query_only = ON")
            self.assertIsNotNone(db.execute("SELECT rejoin_changeset(0)").fetchone()[0])
            self.assertEqual(db.execute("SELECT count(*) FROM rejoin_changes").fetchone()[0], 1)
            self.assertIn("site", json.loads(db.execute("SELECT rejoin_status()").fetchone()[0]))
            with self.assertRaisesRegex(Exception, r"query_only=ON.*\[read_only\]"):
                db.execute("SELECT rejoin_compact()").fetchall()
            db.execute("PRAGMA query_only = OFF")
            db.execute("SELECT rejoin_compact()").fetchall()
            db.close()


if __name__ == "__main__":
    unittest.main()
