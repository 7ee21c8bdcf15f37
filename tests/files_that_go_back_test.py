"""Files that are put back from a backup by writing it over them, and then merge with others without a server."""

import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from support import FolderTest, plain, rows  # noqa: E402


class FilesThatGoBackTest(FolderTest):
    def write(self, path, *keys):
        db = plain(path)
        for key in keys:
            db.execute("INSERT INTO todos(id, title) VALUES(?, 'x')", (key,))
        db.close()

    def put_back(self, path):
        """The same file in the same place: its inode tells nothing."""
        inode = os.stat(path).st_ino
        shutil.copyfile(path + ".bak", path)
        self.assertEqual(os.stat(path).st_ino, inode)

    def site(self, path):
        return self.ok("status", path, "--json").json["site"]

    def keys(self, path):
        return "".join(row[0] for row in rows(path))

    def all_have(self, keys, *paths):
        for path in paths:
            self.assertEqual(self.keys(path), keys, path)
            self.ok("doctor", path)

    def test_a_file_restored_over_itself_stayed_different_for_good(self):
        for order in ((0, 1), (1, 0)):
            with self.subTest(order):
                pair = [self.database(f"{side}{order[0]}.db") for side in "ab"]
                a, b = pair
                merge = ("merge", pair[order[0]], pair[order[1]])
                self.write(a, "a")
                self.ok(*merge)
                shutil.copyfile(a, a + ".bak")
                self.write(a, "b")
                self.write(b, "x")
                self.ok(*merge)
                site = self.site(a)
                self.put_back(a)
                self.write(a, "c")
                self.assertIn("put back from a backup", self.ok(*merge).err)
                self.all_have("abcx", a, b)
                self.assertNotEqual(self.site(a), site)
                self.assertIn("nothing new", self.ok(*merge).out)

    def test_a_restored_file_that_had_outgrown_its_past_was_not_noticed(self):
        a, b = self.database("a.db"), self.database("b.db")
        self.write(a, "a")
        self.ok("merge", a, b)
        shutil.copyfile(a, a + ".bak")
        self.write(a, "b")
        self.ok("merge", a, b)
        self.put_back(a)
        self.write(a, *"cdefgh")
        self.ok("merge", a, b)
        self.all_have("abcdefgh", a, b)

    def test_what_only_a_stranger_still_had_did_not_come_back(self):
        a, between, stranger = (self.database(name) for name in ("a.db", "between.db", "stranger.db"))
        self.write(a, "a")
        shutil.copyfile(a, a + ".bak")
        self.write(a, "b")
        self.ok("merge", a, between)
        self.ok("merge", between, stranger)
        self.put_back(a)
        self.write(a, "c")
        self.ok("merge", a, stranger)
        self.all_have("abc", a, stranger)

    def test_a_restored_file_that_was_compacted_since_gets_back_what_it_lost(self):
        a, b = self.database("a.db"), self.database("b.db")
        self.write(a, "a")
        self.ok("merge", a, b)
        shutil.copyfile(a, a + ".bak")
        self.write(a, "b")
        self.ok("merge", a, b)
        self.put_back(a)
        self.write(a, *"cdefgh")
        self.ok("compact", a)
        self.ok("merge", a, b)
        self.all_have("abcdefgh", a, b)


if __name__ == "__main__":
    unittest.main()
