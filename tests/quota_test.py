"""What a device may push in a while is bounded: beyond it the device keeps its writes, reads on, and is told when there is room again."""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "interop")]
from http_peer import metrics, wait_for  # noqa: E402
from support import FolderTest, Run, Server, plain, rows  # noqa: E402


class QuotaTest(FolderTest):
    def device(self, name, count=0):
        path = self.path(name + ".db")
        if not os.path.exists(path):
            self.database(name + ".db", "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)")
        db = plain(path)
        first = db.execute("SELECT count(*) FROM todos").fetchone()[0]
        db.executemany("INSERT INTO todos VALUES(?, ?)", [(f"{name}{first + i}", "x" * 50) for i in range(count)])
        db.close()
        return path

    def sync(self, server, name, count=0):
        return Run("sync", self.device(name, count), server.url, "--token", server.token(name, "--schema"), "--json")

    def test_a_device_that_pushed_its_fill_keeps_its_writes_and_reads_on(self):
        with Server(self.path("server"), "--quota-device-rows", "100/h") as server:
            self.assertEqual(self.sync(server, "eager", 150).code, 0)  # one push, which is taken whole
            told = self.sync(server, "eager", 5)
            self.assertEqual(told.code, 5, told)
            error = told.json["error"]
            self.assertEqual(error["code"], "quota")
            for word in ("100 rows an hour", "--quota-device-rows", "room again in"):
                self.assertIn(word, error["message"])
            self.assertEqual((told.json["pending"], told.json["rejected"]), (5, 0))
            # Others are not concerned, and it still hears of them.
            self.assertEqual(self.sync(server, "other", 3).code, 0)
            told = self.sync(server, "eager")
            self.assertEqual((told.code, told.json["pulled"], told.json["pending"]), (5, 3, 5))
            self.assertEqual(metrics(server)['rejoin_rate_limited_total{scope="device"}'], 2)
        with Server(self.path("server")) as server:
            self.assertEqual(self.sync(server, "eager").code, 0)
            self.assertEqual(self.sync(server, "other").code, 0)
        self.assertEqual(rows(self.path("eager.db")), rows(self.path("other.db")))
        self.assertEqual(len(rows(self.path("other.db"))), 158)

    def test_time_makes_room_again(self):
        with Server(self.path("server"), "--quota-tenant-bytes", "4K/s") as server:
            self.assertEqual(self.sync(server, "a", 200).code, 0)
            done = wait_for(lambda: (told := self.sync(server, "a", 1)).code == 0 and told, 30)
            self.assertEqual(done.json["pending"], 0)

    def test_mistakes(self):
        for flag in ("device-rows", "device-bytes", "tenant-rows", "tenant-bytes"):
            told = self.refused(2, "serve", "--data", self.path("s"), f"--quota-{flag}", "lots")
            self.assertIn(f"--quota-{flag}", told.err)
            self.assertIn("100000/h", told.err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
