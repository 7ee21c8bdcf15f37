"""A value of 200 MB stays on its device, above the limit of whoever should take it; everything else of its transaction goes on, and the
memory that all this takes is bounded."""

import os
import resource
import sqlite3
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "interop")]
from http_peer import peak_memory  # noqa: E402
from support import FolderTest, Run, Server, extended  # noqa: E402

SIZE = 200_000_000
MIB = 1 << 20


class LargeValueTest(FolderTest):
    def device(self, name):
        db = extended(self.path(name))
        db.execute("PRAGMA synchronous=OFF")
        db.execute("CREATE TABLE files(id TEXT PRIMARY KEY, body BLOB, name TEXT)")
        db.execute("SELECT rejoin_track('files')")
        return db

    def with_the_value(self, name):
        db = self.device(name)
        db.execute("BEGIN")
        db.execute("INSERT INTO files VALUES('before', x'01', 'small')")
        db.execute("INSERT INTO files VALUES('big', zeroblob(?), 'film')", (SIZE,))
        db.execute("INSERT INTO files VALUES('after', x'02', 'small')")
        db.execute("COMMIT")
        return db

    def sync(self, server, name):
        return Run("sync", self.path(name), server.url, "--token", server.token(name, "--schema"), "--json")

    def test_a_server_gets_everything_else(self):
        with Server(self.path("server")) as server:
            db = self.with_the_value("a.db")
            told = self.sync(server, "a.db")
            self.assertEqual((told.json["rejected"], told.json["pending"]), (1, 0), told)
            used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, peak_memory(server.process)
            print("peak: device", used[0] // MIB, "MiB, server", used[1] // MIB, "MiB", file=sys.stderr)
            # The device makes a chunk with the value before it knows the server's limit; the server never takes it in.
            self.assertLess(used[0], 4 * SIZE + 64 * MIB)
            self.assertLess(used[1], SIZE)
            key, code, reason = db.execute("SELECT key, code, reason FROM rejoin_rejections").fetchone()
            self.assertEqual((key, code), ('["big"]', "too_large"))
            self.assertIn("a value of 200000000 bytes is above the receiver's limit of 8388608", reason)
            self.assertEqual(db.execute("SELECT length(body) FROM files WHERE id='big'").fetchone(), (SIZE,))
            other = self.device("b.db")
            self.assertEqual(self.sync(server, "b.db").code, 0)
            self.assertEqual(other.execute("SELECT id, hex(body), name FROM files ORDER BY id").fetchall(),
                             [("after", "02", "small"), ("before", "01", "small"), ("big", "", "film")])
            db.execute("UPDATE files SET body=x'03' WHERE id='big'")
            self.assertEqual(self.sync(server, "a.db").json["rejected"], 0)
            self.assertEqual(self.sync(server, "b.db").code, 0)
            self.assertEqual(other.execute("SELECT hex(body) FROM files WHERE id='big'").fetchone(), ("03",))

    def test_another_file_refuses_the_changeset_and_takes_nothing_of_it(self):
        db, other = self.with_the_value("a.db"), self.device("b.db")
        db.execute("INSERT INTO files VALUES('later', x'04', 'small')")
        changeset = db.execute("SELECT rejoin_changeset(0)").fetchone()[0]
        with self.assertRaisesRegex(sqlite3.OperationalError, r"a value of 200000000 bytes is above the limit of 67108864.*\[too_large\]"):
            other.execute("SELECT rejoin_apply(?)", (changeset,))
        self.assertEqual(other.execute("SELECT count(*) FROM files").fetchone(), (0,))


if __name__ == "__main__":
    unittest.main(verbosity=2)
