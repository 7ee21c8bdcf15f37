"""`rejoin admin` beside a running server, with either store: what it lists is there, and a device that was forgotten comes back without a loss."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from support import FolderTest, PostgresStoreTest, Server, plain, rows  # noqa: E402

ON_DEVICE = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)"


class AdminOfFilesTest(FolderTest):
    TENANTS = ("acme", "Zoë & Co")

    def serve(self):
        self.store = ("--data", self.path("server"))
        return Server(self.path("server"))

    def admin(self, *arguments):
        return self.ok("admin", *arguments, *self.store)

    def sync(self, server, tenant, device, *sql):
        path = self.path(f"{tenant}-{device}.db")
        if not os.path.exists(path):
            self.database(os.path.basename(path), ON_DEVICE)
        db = plain(path)
        for statement in sql:
            db.execute(statement)
        db.close()
        return self.ok("sync", path, server.url, "--token", server.token(device, "--schema", tenant=tenant), "--json").json, path

    def test_tenants_and_devices(self):
        with self.serve() as server:
            self.assertEqual(self.admin("tenants", "--json").json, {"tenants": []})
            for i, tenant in enumerate(self.TENANTS):
                self.sync(server, tenant, "phone", *(f"INSERT INTO todos VALUES('{tenant}{n}', 'x')" for n in range(i + 2)))
            self.sync(server, "acme", "phone", "DELETE FROM todos WHERE id = 'acme0'")
            told = self.admin("tenants", "--json").json["tenants"]
            self.assertEqual([(t["tenant"], t["devices"], t["rows"], t["deleted"]) for t in told], [("acme", 1, 1, 1), ("Zoë & Co", 1, 3, 0)][::self.ORDER])
            for tenant in told:
                self.assertRegex(tenant["last_seen"], r"^20\d\d-.*Z$")
                self.assertGreater(tenant["bytes"], 10)
                self.assertGreater(tenant["log_rows"], 0)
            self.assertRegex(self.admin("tenants").out, r"TENANT +DEVICES +ROWS +DELETED +LOG +SIZE +LAST SEEN\n")
            told = self.admin("devices", "--tenant", "Zoë & Co", "--json").json["devices"]
            self.assertEqual([(d["device"], d["staged_bytes"]) for d in told], [("phone", 0)])
            self.assertEqual(told[0]["site"].replace("-", ""), self.ok("status", self.path("Zoë & Co-phone.db"), "--json").json["site"].replace("-", ""))
            self.assertIn("phone", self.admin("devices", "--tenant", "Zoë & Co").out)

    def test_a_device_is_forgotten_while_the_server_runs(self):
        with self.serve() as server:
            _, phone = self.sync(server, "acme", "phone", "INSERT INTO todos VALUES('p', 'by the phone')")
            _, laptop = self.sync(server, "acme", "laptop", "INSERT INTO todos VALUES('l', 'by the laptop')")
            self.assertIn("forgot device phone", self.admin("device", "forget", "phone", "--tenant", "acme").out)
            self.assertEqual([d["device"] for d in self.admin("devices", "--tenant", "acme", "--json").json["devices"]], ["laptop"])
            self.refused(6, "admin", "device", "forget", "phone", "--tenant", "acme", *self.store)
            self.sync(server, "acme", "laptop", "UPDATE todos SET title = 'while it was away' WHERE id = 'p'", "DELETE FROM todos WHERE id = 'l'")
            told, _ = self.sync(server, "acme", "phone", "INSERT INTO todos VALUES('unsent', 'not lost')")
            self.assertEqual((told["pending"], told["rejected"]), (0, 0))
            self.sync(server, "acme", "laptop")
        for path in (phone, laptop):
            self.assertEqual(rows(path), [("p", "while it was away"), ("unsent", "not lost")])

    def test_what_is_not_there_and_mistakes(self):
        with self.serve() as server:
            self.sync(server, "acme", "phone")
        for code, arguments, word in ((6, ("devices", "--tenant", "nobody"), "nobody"), (6, ("device", "forget", "d", "--tenant", "nobody"), "nobody"),
                                      (2, ("devices",), "--tenant"), (2, ("device", "forget"), "device forget"), (2, ("tenants", "--tenant", "x"), "--tenant"),
                                      (2, ("tenants", "more"), "rejoin admin")):
            self.assertIn(word, self.refused(code, "admin", *arguments, *self.store).err)
        self.assertIn("--data", self.refused(2, "admin", "tenants").err)
        self.assertIn("--data", self.refused(2, "admin", "tenants", "--data", "x", "--postgres", "postgres://y").err)
        self.refused(6, "admin", "tenants", "--data", self.path("nowhere"))
        self.assertFalse(os.path.exists(self.path("nowhere")))

    ORDER = -1  # file names are sorted as names are: capitals first


class AdminOfPostgresTest(PostgresStoreTest, AdminOfFilesTest):
    def serve(self):
        self.tracked("CREATE TABLE todos(org text, id text, title text, PRIMARY KEY(org, id))", "todos", "--tenant-column", "org")
        self.store = self.at_store()
        return Server(self.path("server"), *self.store)

    def test_what_is_not_there_and_mistakes(self):
        with self.serve() as server:
            self.sync(server, "acme", "phone")
        url = self.postgres.url("app", "{tenant}")
        self.assertIn("database for each tenant", self.refused(2, "admin", "tenants", "--postgres", url).err)
        self.refused(6, "admin", "devices", "--tenant", "nobody", "--postgres", url)
        self.refused(6, "admin", "devices", "--tenant", "nobody", *self.store)
        self.refused(6, "admin", "device", "forget", "d", "--tenant", "nobody", *self.store)
        self.assertEqual([t["tenant"] for t in self.admin("tenants", "--json").json["tenants"]], ["acme"])  # none was made


if __name__ == "__main__":
    unittest.main(verbosity=2)
