"""Rejoin from Debian's python3: the sqlite3 module with rejoin.so loaded."""

import json
import math
import os
import sqlite3
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from support import FolderTest, extended, plain, rows  # noqa: E402


def exchange(a, b):
    """Everything of each to the other. a, b: connections with the extension."""
    for source, target in ((a, b), (b, a)):
        changeset = source.execute("SELECT rejoin_changeset(0)").fetchone()[0]
        if changeset is not None:
            target.execute("SELECT rejoin_apply(?)", (changeset,))


class PythonTest(FolderTest):
    def test_two_files_converge_column_by_column(self):
        a = extended(self.database("a.db"))
        b = extended(self.database("b.db"))
        a.execute("INSERT INTO todos VALUES('1', 'milk', 0, 3)")
        exchange(a, b)
        a.execute("UPDATE todos SET title = 'oat milk' WHERE id = '1'")
        b.execute("UPDATE todos SET done = 1 WHERE id = '1'")
        exchange(a, b)
        for db in (a, b):
            self.assertEqual(db.execute("SELECT * FROM todos").fetchall(), [("1", "oat milk", 1, 3)])

    def test_a_writer_without_the_extension_is_captured(self):
        path = self.database()
        db = plain(path)
        db.execute("INSERT INTO todos(id, title) VALUES('1', 'from a plain connection')")
        db.close()
        a, b = extended(path), extended(self.database("b.db"))
        self.assertEqual(b.execute("SELECT rejoin_apply(?)", a.execute("SELECT rejoin_changeset(0)").fetchone()).fetchone(), (1,))
        self.assertEqual(rows(self.path("b.db")), [("1", "from a plain connection", 0, None)])

    def test_every_value_type_survives_to_the_last_bit(self):
        sql = "CREATE TABLE v(id TEXT PRIMARY KEY, a)"
        a = extended(self.database("a.db", sql, ("v",)))
        b = extended(self.database("b.db", sql, ("v",)))
        values = [None, 0, 1, -1, 2**63 - 1, -(2**63), 0.0, -0.0, 1.0, 0.1, 5e-324, 1.7976931348623157e308, math.inf, -math.inf,
                  "", "ü\U0001f6f3", "a\0b", "x" * 100_000, b"", b"\0\xff" * 5]
        for i, value in enumerate(values):
            a.execute("INSERT INTO v VALUES(?, ?)", (f"{i:03}", value))
        exchange(a, b)
        got = [r[0] for r in b.execute("SELECT a FROM v ORDER BY id")]
        self.assertEqual(len(got), len(values))
        for sent, received in zip(values, got):
            self.assertIs(type(received), type(sent))
            self.assertEqual(received, sent)
            if isinstance(sent, float):
                self.assertEqual(math.copysign(1, received), math.copysign(1, sent))

    def test_a_damaged_changeset_is_an_error_and_changes_nothing(self):
        a, b = extended(self.database("a.db")), extended(self.database("b.db"))
        a.execute("INSERT INTO todos(id, title) VALUES('1', 'milk')")
        changeset = bytearray(a.execute("SELECT rejoin_changeset(0)").fetchone()[0])
        for at in range(len(changeset)):
            changeset[at] ^= 1 << (at % 8)
            with self.assertRaises(sqlite3.Error, msg=f"bit flip in byte {at}"):
                b.execute("SELECT rejoin_apply(?)", (bytes(changeset),)).fetchone()
            changeset[at] ^= 1 << (at % 8)
        with self.assertRaises(sqlite3.Error):
            b.execute("SELECT rejoin_apply(?)", (bytes(changeset[:1]),)).fetchone()
        self.assertEqual(rows(self.path("b.db")), [])
        self.assertEqual(b.execute("SELECT rejoin_apply(?)", (bytes(changeset),)).fetchone(), (1,))

    def test_pages_bring_everything_and_a_transaction_whole(self):
        a, b = extended(self.database("a.db")), extended(self.database("b.db"))
        with_text = [(f"{i:04}", "x" * 200) for i in range(500)]
        a.execute("BEGIN")
        a.executemany("INSERT INTO todos(id, title) VALUES(?, ?)", with_text)
        a.execute("COMMIT")
        pages = a.execute("SELECT changeset, through, final FROM rejoin_changesets(0, 10000)").fetchall()
        self.assertGreater(len(pages), 5)
        self.assertEqual([p[2] for p in pages], [0] * (len(pages) - 1) + [1])
        for changeset, _, final in pages:
            b.execute("SELECT rejoin_apply(?)", (changeset,)).fetchone()
            self.assertEqual(b.execute("SELECT count(*) FROM todos").fetchone()[0], 500 if final else 0)

    def test_merging_the_same_again_is_no_news(self):
        a, b = extended(self.database("a.db")), extended(self.database("b.db"))
        a.execute("INSERT INTO todos(id, title) VALUES('1', 'milk')")
        changeset = a.execute("SELECT rejoin_changeset(0)").fetchone()[0]
        b.execute("SELECT rejoin_apply(?)", (changeset,)).fetchone()
        position = b.execute("SELECT rejoin_seq()").fetchone()[0]
        self.assertEqual(b.execute("SELECT rejoin_apply(?)", (changeset,)).fetchone(), (0,))
        self.assertEqual(b.execute("SELECT rejoin_changeset(?)", (position,)).fetchone(), (None,))

    def test_deleted_edited_restored(self):
        a, b = extended(self.database("a.db")), extended(self.database("b.db"))
        a.execute("INSERT INTO todos VALUES('1', 'milk', 0, 1)")
        exchange(a, b)
        a.execute("DELETE FROM todos")
        b.execute("UPDATE todos SET title = 'oat milk'")
        exchange(a, b)
        for db in (a, b):
            self.assertEqual(db.execute("SELECT count(*) FROM todos").fetchone(), (0,))
        a.execute("SELECT rejoin_restore('todos', '1')").fetchone()
        exchange(a, b)
        for db in (a, b):
            self.assertEqual(db.execute("SELECT * FROM todos").fetchall(), [("1", "oat milk", 0, 1)])

    def test_explain_says_who_and_what_lost(self):
        a, b = extended(self.database("a.db")), extended(self.database("b.db"))
        a.execute("INSERT INTO todos VALUES('1', 'milk', 0, 1)")
        exchange(a, b)
        a.execute("UPDATE todos SET title = 'early'")
        time.sleep(0.01)  # the later write wins, by milliseconds
        b.execute("UPDATE todos SET title = 'late'")
        exchange(a, b)
        told = json.loads(a.execute("SELECT rejoin_explain('todos', '1')").fetchone()[0])
        title = told["columns"]["title"]
        self.assertEqual(title["value"], "late")
        self.assertEqual(title["written"]["site"], b.execute("SELECT rejoin_site()").fetchone()[0])
        self.assertFalse(title["written"]["mine"])
        self.assertEqual([lost["value"] for lost in title["won_against"]], ["early"])

    def test_changes_are_readable(self):
        a = extended(self.database("a.db"))
        a.execute("INSERT INTO todos VALUES('1', 'milk', 0, 1)")
        a.execute("UPDATE todos SET done = 1")
        found = a.execute("SELECT table_name, key, column_name, value, alive FROM rejoin_changes WHERE column_name = 'done'").fetchall()
        self.assertEqual(found, [("todos", '["1"]', "done", 1, 1)])

    def test_rollback_and_savepoints_leave_no_trace(self):
        a, b = extended(self.database("a.db")), extended(self.database("b.db"))
        a.execute("BEGIN")
        a.execute("INSERT INTO todos(id, title) VALUES('1', 'kept')")
        a.execute("SAVEPOINT s")
        a.execute("INSERT INTO todos(id, title) VALUES('2', 'gone')")
        a.execute("ROLLBACK TO s")
        with self.assertRaises(sqlite3.Error):  # what may still be rolled back must not travel
            a.execute("SELECT rejoin_changeset(0)").fetchone()
        a.execute("COMMIT")
        a.execute("BEGIN")
        a.execute("INSERT INTO todos(id, title) VALUES('3', 'gone too')")
        a.execute("ROLLBACK")
        exchange(a, b)
        self.assertEqual([r[0] for r in rows(self.path("b.db"))], ["1"])

    def test_awkward_names_and_composite_keys(self):
        sql = ('CREATE TABLE "order"("group" TEXT, "näme ""x""" INTEGER, "a b" TEXT, PRIMARY KEY("group", "näme ""x""")) WITHOUT ROWID;'
               "CREATE TABLE \"it's\"(id BLOB PRIMARY KEY, v)")
        a = extended(self.database("a.db", sql, ("order", "it's")))
        b = extended(self.database("b.db", sql, ("order", "it's")))
        a.execute('INSERT INTO "order" VALUES(\'g\', 7, \'text\')')
        a.execute("INSERT INTO \"it's\" VALUES(x'00ff', 1.5)")
        exchange(a, b)
        self.assertEqual(rows(self.path("b.db"), "order"), [("g", 7, "text")])
        self.assertEqual(rows(self.path("b.db"), "it's"), [(b"\0\xff", 1.5)])

    def test_uuid_site_and_version(self):
        a = extended(self.database("a.db"))
        uuid, other, site, version = a.execute("SELECT rejoin_uuid(), rejoin_uuid(), rejoin_site(), rejoin_version()").fetchone()
        self.assertRegex(uuid, r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
        self.assertLess(uuid, other)
        self.assertRegex(site, "^[0-9a-f]{32}$")
        self.assertEqual(json.loads(version)["rejoin"], "0.1.0")

    def test_refusals_name_the_cause(self):
        a = extended(self.database("a.db", "CREATE TABLE n(a); CREATE TABLE i(id INTEGER PRIMARY KEY, a);"
                                           "CREATE TABLE c(id TEXT COLLATE NOCASE PRIMARY KEY); CREATE VIEW w AS SELECT 1", ()))
        for table, word in (("n", "PRIMARY KEY"), ("i", "INTEGER PRIMARY KEY"), ("c", "NOCASE"), ("w", "view"), ("gone", "gone")):
            with self.assertRaisesRegex(sqlite3.Error, word):
                a.execute("SELECT rejoin_track(?)", (table,)).fetchone()
        with self.assertRaises(sqlite3.Error):
            a.execute("SELECT rejoin_track('i', '{\"allow\":1}')").fetchone()
        a.execute("SELECT rejoin_track('i', '{\"allow_integer_key\":true}')").fetchone()

    def test_untrack_leaves_nothing_behind(self):
        path = self.database()
        a = extended(path)
        a.execute("INSERT INTO todos(id, title) VALUES('1', 'milk')")
        a.execute("SELECT rejoin_untrack('todos')").fetchone()
        names = [r[0] for r in a.execute("SELECT name FROM sqlite_schema WHERE name LIKE '%todos%' AND type != 'index'")]
        self.assertEqual(names, ["todos"])
        self.assertEqual(len(rows(path)), 1)

    def test_many_connections_open_and_close(self):
        path = self.database()
        for i in range(20):
            db = extended(path)
            db.execute("INSERT INTO todos(id, title) VALUES(?, 'x')", (str(i),))
            db.execute("SELECT rejoin_changeset(0)").fetchone()
            db.execute("SELECT count(*) FROM rejoin_changes").fetchone()
            db.close()
        self.assertEqual(len(rows(path)), 20)


if __name__ == "__main__":
    unittest.main(verbosity=2)
