"""`rejoin contract`: what differs and whether devices can go on; and a contract that a server gives out and devices follow."""

import json
import os
import subprocess
import sys
import unittest
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "interop"))
from http_peer import wait_for  # noqa: E402
from support import REJOIN, FolderTest, Run, Server, extended, plain, rows  # noqa: E402

V1 = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)"
V2 = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER NOT NULL DEFAULT 0); CREATE TABLE lists(id TEXT PRIMARY KEY, name TEXT)"


class ContractCommandTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.v1 = self.database("v1.db", V1, ("todos",))
        self.v2 = self.database("v2.db", V2, ("todos", "lists"))

    def run_contract(self, *arguments):
        return Run("contract", *arguments)

    def test_show_and_files_of_it(self):
        shown = self.ok("contract", "show", self.v2, "--json")
        self.assertEqual([t["name"] for t in shown.json["contract"]["tables"]], ["lists", "todos"])
        path = self.path("v2.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(shown.out)
        again = self.ok("contract", "show", path, "--json").json
        self.assertEqual(again["fingerprint"], shown.json["fingerprint"])
        with open(path, "w", encoding="utf-8") as file:
            json.dump(shown.json["contract"], file)
        self.assertEqual(self.ok("contract", "show", path, "--json").json["fingerprint"], shown.json["fingerprint"])
        self.assertIn(shown.json["fingerprint"], self.ok("contract", "show", path).out)
        with open(path, "w", encoding="utf-8") as file:
            file.write('{"tables":7}')
        self.assertEqual(self.run_contract("show", path).code, 2)
        self.assertEqual(self.run_contract("show", self.path("nowhere.db")).code, 6)
        self.assertEqual(self.run_contract("show").code, 2)

    def test_diff_and_check(self):
        self.assertEqual(self.ok("contract", "diff", self.v1, self.v2, "--json").json["differences"],
                         [{"kind": "table_added", "table": "lists"}, {"kind": "column_added", "table": "todos", "column": "done"}])
        self.assertIn("the same contract", self.ok("contract", "diff", self.v1, self.v1).out)
        self.ok("contract", "check", self.v2, self.v1)
        back = self.run_contract("check", self.v1, self.v2, "--json")
        self.assertEqual(back.code, 3)
        self.assertFalse(back.json["additive"])
        self.assertEqual(len(back.json["not_additive"]), 2)
        self.assertEqual(self.run_contract("check", self.v1).code, 6)  # it knows no server

    def token(self, server, device, *more):
        return self.ok("token", "--data", server.data, "--tenant", "acme", "--device", device, *more).out.strip()

    def test_devices_follow_what_a_server_gives_out(self):
        with Server(self.path("server")) as server:
            admin = self.token(server, "admin", "--schema")
            phone, tablet = self.token(server, "phone"), self.token(server, "tablet")
            self.ok("sync", self.v1, server.url, "--token", admin)
            follower, old = self.database("phone.db", V1, ("todos",)), self.database("tablet.db", V1, ("todos",))
            db = extended(follower)
            db.execute("SELECT rejoin_connect(?, ?, '{\"migrate\":true}')", (server.url, phone))
            db.execute("INSERT INTO todos VALUES('p', 'from the phone')")
            self.assertEqual(json.loads(db.execute("SELECT rejoin_sync()").fetchone()[0])["migrated"], 0)
            self.ok("sync", old, server.url, "--token", tablet)

            self.assertEqual(self.run_contract("push", server.url, self.v2, "--token", phone).code, 3)
            self.ok("contract", "check", self.v2, server.url, "--token", admin)
            pushed = self.ok("contract", "push", server.url, self.v2, "--token", admin, "--json").json["published"]
            self.assertEqual(self.ok("contract", "show", server.url, "--token", phone, "--json").json["fingerprint"], pushed)

            told = json.loads(db.execute("SELECT rejoin_sync()").fetchone()[0])
            self.assertEqual((told["migrated"], told["error"]), (2, None))
            self.assertEqual(db.execute("SELECT id, title, done FROM todos").fetchall(), [("p", "from the phone", 0)])
            db.execute("UPDATE todos SET done = 1")
            db.execute("INSERT INTO lists VALUES('l', 'made on the phone')")
            told = json.loads(db.execute("SELECT rejoin_sync()").fetchone()[0])
            self.assertEqual((told["migrated"], told["pushed"], told["rejected"]), (0, 2, 0))
            self.ok("contract", "check", follower)

            # One that does not allow it carries on as an old version, and catches up when it does.
            self.ok("sync", old)
            self.assertEqual(rows(old), [("p", "from the phone")])
            self.assertEqual(self.ok("sync", old, "--migrate", "--json").json["migrated"], 2)
            self.assertEqual(rows(old), [("p", "from the phone", 1)])
            self.assertEqual(rows(old, "lists"), [("l", "made on the phone")])
            self.assertEqual(extended(old).execute("SELECT rejoin_doctor()").fetchone()[0], "[]")

            # What is not additive is refused with all that is wrong.
            refused = self.run_contract("push", server.url, self.v1, "--token", admin)
            self.assertEqual(refused.code, 3)
            self.assertIn('"lists" was removed', refused.err)
            self.assertIn('"done"', refused.err)

    def test_what_stands_in_the_way_stops_no_sync(self):
        with Server(self.path("server")) as server:
            admin = self.token(server, "admin", "--schema")
            self.ok("contract", "push", server.url, self.v2, "--token", admin)
            path = self.database("other.db", V1 + "; CREATE TABLE lists(mine TEXT)", ("todos",))
            db = plain(path)
            db.execute("INSERT INTO todos VALUES('1', 'goes on')")
            db.close()
            done = self.ok("sync", path, server.url, "--token", admin, "--migrate")
            self.assertIn("lists", done.err)
            self.assertEqual(rows(path), [("1", "goes on")])  # all or nothing: no column either
            self.assertEqual(self.ok("sync", path, "--json").json["pending"], 0)
            # Nor a connection that stays; both of them say so.
            db = extended(path)
            db.execute("PRAGMA busy_timeout=10000")
            db.execute("SELECT rejoin_connect(?, ?, '{\"migrate\":true}')", (server.url, admin))
            db.execute("SELECT rejoin_live()")
            live = lambda: json.loads(db.execute("SELECT rejoin_status()").fetchone()[0])["live"]  # noqa: E731
            wait_for(lambda: live()["state"] == "connected")
            self.assertIn("lists", live()["not_migrated"])
            self.assertIsNone(live()["error"])
            db.close()
            watch = subprocess.Popen([REJOIN, "sync", path, "--watch", "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            self.addCleanup(watch.stdout.close)
            self.addCleanup(watch.wait)
            self.addCleanup(watch.kill)
            connected = json.loads(watch.stdout.readline())
            self.assertEqual((connected["event"], connected["migrated"]), ("connected", 0))
            self.assertIn("lists", connected["not_migrated"]["message"])

    def test_a_connection_that_stays_follows_too(self):
        with Server(self.path("server")) as server:
            admin = self.token(server, "admin", "--schema")
            self.ok("contract", "push", server.url, self.v2, "--token", admin)
            process = subprocess.Popen([REJOIN, "sync", self.v1, server.url, "--token", self.token(server, "phone"), "--migrate", "--watch"],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            wait_for(lambda: plain(self.v1).execute("SELECT count(*) FROM sqlite_schema WHERE name = 'lists__rejoin'").fetchone()[0])

    def test_a_server_that_makes_no_tables_says_so(self):
        with Server(self.path("server"), "--schema", "fixed") as server:
            admin = self.token(server, "admin", "--schema")
            refused = self.run_contract("push", server.url, self.v2, "--token", admin)
            self.assertEqual(refused.code, 3)
            self.assertIn("--schema auto", refused.err)

    def test_by_hand(self):
        with Server(self.path("server"), "--dev") as server:
            text = self.ok("contract", "show", self.v2, "--json").json["contract"]
            put = urllib.request.Request(server.url + "/v1/contract", method="PUT", data=json.dumps(text).encode())
            with urllib.request.urlopen(put) as answer:
                self.assertTrue(json.load(answer)["published"])
            with urllib.request.urlopen(server.url + "/v1/contract") as answer:
                self.assertEqual(json.load(answer)["contract"], text)
            for method, status in (("DELETE", 405), ("POST", 405)):
                with self.assertRaises(urllib.error.HTTPError) as error:
                    urllib.request.urlopen(urllib.request.Request(server.url + "/v1/contract", method=method, data=b"{}"))
                self.assertEqual(error.exception.code, status)


if __name__ == "__main__":
    unittest.main()
