"""Files that are put back from a backup by writing it over them, and then merge with others without a server."""

import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from support import FolderTest, Run, plain, rows  # noqa: E402

AMONG_THE_PAGES = "AFTER INSERT ON rejoin_staged WHEN (SELECT count(*) FROM rejoin_staged) > 1"
BEFORE_THE_FIRST_PAGE = "BEFORE UPDATE OF pull_cursor ON rejoin_peer"


class FilesThatGoBackTest(FolderTest):
    def write(self, path, *keys):
        db = plain(path)
        db.execute("BEGIN")
        db.executemany("INSERT INTO todos(id, title) VALUES(?, 'x')", [(key,) for key in keys])
        db.execute("COMMIT")
        db.close()

    def put_back(self, path):
        """The same file in the same place: its inode tells nothing."""
        inode = os.stat(path).st_ino
        shutil.copyfile(path + ".bak", path)
        self.assertEqual(os.stat(path).st_ino, inode)

    def site(self, path):
        return self.ok("status", path, "--json").json["site"]

    def merge_breaks_off(self, a, b, trigger):
        """A merge of small pages, of which `a` refuses one that is on its way to it."""
        db = plain(a)
        db.execute(f"CREATE TRIGGER breaks_off {trigger} BEGIN SELECT RAISE(ABORT, 'broken off'); END")
        broken = Run("merge", a, b, "--page-bytes", "1K")
        self.assertNotEqual(broken.code, 0)
        self.assertIn("broken off", broken.err)
        db.execute("DROP TRIGGER breaks_off")
        db.close()

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

    def outgrows_its_past(self, compact=False):
        a, b = self.database("a.db"), self.database("b.db")
        self.write(a, "a")
        self.ok("merge", a, b)
        shutil.copyfile(a, a + ".bak")
        self.write(a, "b")
        self.ok("merge", a, b)
        self.put_back(a)
        self.write(a, *"cdefgh")
        if compact:
            self.ok("compact", a)
        self.ok("merge", a, b)
        self.all_have("abcdefgh", a, b)

    def test_a_restored_file_that_had_outgrown_its_past_was_not_noticed(self):
        self.outgrows_its_past()

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
        self.outgrows_its_past(compact=True)

    def test_a_merge_that_was_stopped_midway_left_out_the_rest_of_what_was_lost(self):
        a, between, stranger = (self.database(name) for name in ("a.db", "between.db", "stranger.db"))
        lost = [f"b{key:04}" for key in range(3000)]
        self.write(a, "a")
        shutil.copyfile(a, a + ".bak")
        self.write(a, *lost)
        self.ok("merge", a, between)
        self.ok("merge", between, stranger)
        self.put_back(a)
        self.write(a, "c")
        self.merge_breaks_off(a, stranger, AMONG_THE_PAGES)
        self.assertEqual(self.keys(a), "ac")
        self.ok("merge", a, stranger)
        self.all_have("".join(["a", *lost, "c"]), a, stranger)
        self.assertIn("nothing new", self.ok("merge", a, stranger).out)

    def test_a_merge_that_was_stopped_before_its_way_back_left_out_what_was_lost(self):
        for where in (BEFORE_THE_FIRST_PAGE, AMONG_THE_PAGES):
            with self.subTest(where):
                a, b = self.database(f"a{len(where)}.db"), self.database(f"b{len(where)}.db")
                lost = [f"b{key:04}" for key in range(1000)]
                self.write(a, "a")
                self.ok("merge", a, b)
                shutil.copyfile(a, a + ".bak")
                for part in (lost[:500], lost[500:]):
                    self.write(a, *part)
                    self.ok("merge", a, b)
                self.put_back(a)
                new = [f"c{key:04}" for key in range(1500)]
                self.write(a, *new)
                self.ok("compact", a)  # the place up to which the other one has read is gone
                self.merge_breaks_off(a, b, where)
                self.assertEqual(self.keys(a), "".join(["a", *new]))
                self.assertEqual(self.keys(b), "".join(["a", *lost, *new]))
                self.ok("merge", a, b)
                self.all_have("".join(["a", *lost, *new]), a, b)
                self.assertIn("nothing new", self.ok("merge", a, b).out)

    def test_what_had_come_through_a_third_file_did_not_come_back_from_a_compacted_one(self):
        a, b, c = (self.database(name) for name in ("a.db", "b.db", "c.db"))
        self.write(a, "a")
        self.write(b, "x")
        self.ok("merge", a, b)
        shutil.copyfile(a, a + ".bak")
        self.write(a, "b")
        self.ok("merge", a, c)
        self.ok("merge", c, b)
        self.ok("compact", b)
        self.put_back(a)
        self.write(a, "c")
        self.ok("merge", a, b)
        self.all_have("abcx", a, b)
        self.assertIn("nothing new", self.ok("merge", a, b).out)

    def test_json_says_which_file_went_back(self):
        a, b = self.database("a.db"), self.database("b.db")
        self.write(a, "a")
        merged = self.ok("merge", a, b, "--json").json["merged"]
        self.assertEqual([(way["to"], way["restored"]) for way in merged], [(b, False), (a, False)])
        shutil.copyfile(a, a + ".bak")
        self.write(a, "b")
        self.ok("merge", a, b)
        self.put_back(a)
        merged = self.ok("merge", a, b, "--json").json["merged"]
        self.assertEqual([(way["to"], way["restored"]) for way in merged], [(b, False), (a, True)])


if __name__ == "__main__":
    unittest.main()
