#!/usr/bin/env python3
"""Symptom: rejoin_discard() left a row in its table, without a record, where a TEMP trigger ignored the deletion."""

import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from support import Run, Server, extended  # noqa: E402


class DiscardBesideTriggers(unittest.TestCase):
    def test_the_row_goes(self):
        with tempfile.TemporaryDirectory() as folder, Server(os.path.join(folder, "server")) as server:
            for number, does in enumerate(("RAISE(IGNORE)", "RAISE(ABORT, 'no')", "RAISE(ROLLBACK, 'no')")):
                with self.subTest(does):
                    path = os.path.join(folder, f"{number}.db")
                    db = extended(path)
                    db.execute("CREATE TABLE t(id TEXT PRIMARY KEY, v)")
                    db.execute("SELECT rejoin_track('t')").fetchall()
                    db.execute("INSERT INTO t VALUES('1', 1)")
                    db.close()
                    done = Run("sync", path, server.url, "--token", server.token("d", tenant=f"t{number}"))
                    self.assertEqual(done.code, 3, done)  # the server has no such table
                    db = extended(path)
                    db.execute(f"CREATE TEMP TRIGGER no BEFORE DELETE ON t BEGIN SELECT {does}; END")
                    self.assertEqual(db.execute("SELECT rejoin_discard('t', '1')").fetchone()[0], 1)
                    self.assertEqual(db.execute("SELECT count(*) FROM t").fetchone()[0], 0)
                    self.assertEqual(db.execute("SELECT count(*) FROM rejoin_rejections").fetchone()[0], 0)
                    self.assertEqual(db.execute("SELECT rejoin_doctor()").fetchone()[0], "[]")
                    db.close()


if __name__ == "__main__":
    unittest.main()
