#!/usr/bin/env python3
"""`rejoin doctor` looks at what it can: an index on a function of the application's is no damage, and hides none."""

import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from support import Run, TODOS, extended, plain  # noqa: E402


class DoctorGoesOn(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "app.db")
        app = extended(self.path)
        app.create_function("shout", 1, lambda text: text and text.upper(), deterministic=True)
        app.executescript(TODOS + "; CREATE TABLE notes(id TEXT PRIMARY KEY, v)")
        for table in ("todos", "notes"):
            app.execute("SELECT rejoin_track(?)", (table,)).fetchall()
        app.executescript("INSERT INTO todos(id, title) VALUES('1', 'milk'); INSERT INTO notes VALUES('1', 1);"
                          "CREATE INDEX loud ON todos(shout(title))")
        self.assertEqual(app.execute("SELECT rejoin_doctor()").fetchone()[0], "[]")
        app.close()

    def test_it_names_what_it_could_not_look_at(self):
        done = Run("doctor", self.path)
        self.assertEqual(done.code, 0, done)
        self.assertIn("not checked: todos: ", done.out, done)
        self.assertIn("shout", done.out, done)
        self.assertNotIn("damaged", done.out, done)
        self.assertNotIn("notes", done.out, done)

    def test_it_finds_damage_elsewhere(self):
        db = plain(self.path)
        db.execute("DELETE FROM notes__rejoin")
        db.close()
        done = Run("doctor", "--json", self.path)
        self.assertEqual(done.code, 7, done)
        self.assertEqual(done.json["sound"], False)
        self.assertEqual([f["kind"] for f in done.json["findings"] if f["table"] == "notes"], ["unrecorded"], done)
        self.assertIn("unchecked", [f["kind"] for f in done.json["findings"] if f["table"] == "todos"], done)


if __name__ == "__main__":
    unittest.main()
