"""`rejoin serve --audit`: every push that was acknowledged is written down, row by row, with what was refused and what those who run the server did."""

import glob
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from support import FolderTest, PostgresStoreTest, Run, Server, plain  # noqa: E402
from sync_over_http_test import Between  # noqa: E402

ON_DEVICE = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0); CREATE TABLE extra(id TEXT PRIMARY KEY)"


class AuditOfFilesTest(FolderTest):
    def serve(self, *arguments):
        self.store = ("--data", self.path("server"))
        return Server(self.path("server"), "--audit", *arguments)

    def entries(self):
        out = []
        for path in sorted(glob.glob(self.path("server", "audit", "*.jsonl"))):
            self.assertEqual(os.stat(path).st_mode & 0o077, 0)
            with open(path, encoding="utf-8") as file:
                out += [json.loads(line) for line in file]
        return out

    def phone(self, server, *sql):
        path = self.path("phone.db")
        if not os.path.exists(path):
            self.database("phone.db", ON_DEVICE, ("todos",))
        db = plain(path)
        for statement in sql:
            db.execute(statement)
        db.close()
        return path, server.token("phone", "--schema")

    def told(self, entry):
        return {k: v for k, v in entry.items() if k not in ("time", "written", "nonce", "reason")}

    def test_each_row_of_a_push_is_written_down(self):
        with self.serve() as server:
            path, token = self.phone(server, "INSERT INTO todos VALUES('t1', 'secret words', 0), ('t2', 'x', 1)")
            self.ok("sync", path, server.url, "--token", token)
            first = self.entries()
            self.phone(server, "UPDATE todos SET done = 1 WHERE id = 't1'", "DELETE FROM todos WHERE id = 't2'")
            self.ok("sync", path)
            self.ok("sync", path)  # without news, without an entry
            entries = self.entries()
        base = {"tenant": "acme", "device": "phone", "event": "push", "table": "todos"}
        self.assertEqual([self.told(e) for e in first], [{**base, "op": "insert", "key": [k], "columns": ["title", "done"]} for k in ("t1", "t2")])
        self.assertCountEqual([self.told(e) for e in entries[2:]], [{**base, "op": "update", "key": ["t1"], "columns": ["done"]},
                                                                    {**base, "op": "delete", "key": ["t2"], "columns": entries[-1]["columns"] if entries[-1]["op"] == "delete" else entries[-2]["columns"]}])
        self.assertEqual(len({e["nonce"] for e in entries}), 2)
        for entry in entries:
            self.assertRegex(entry["nonce"], r"^[0-9a-f]{32}$")
            self.assertRegex(entry["written"], r"^20\d\d-\d\d-\d\dT")
        self.assertNotIn("secret words", json.dumps(entries))

    def test_a_push_that_is_repeated_is_written_again(self):
        with self.serve() as server:
            path, token = self.phone(server, "INSERT INTO todos VALUES('t1', 'x', 0)")
            # The first one asks for the contract.
            with Between(server, lambda number: "drop reply" if number == 2 else "pass") as between:
                self.ok("sync", path, between.url, "--token", token)
        nonces = [e["nonce"] for e in self.entries()]
        self.assertGreater(len(nonces), 1)
        self.assertEqual(len(set(nonces)), 1)

    def test_what_is_refused_and_who_was_forgotten(self):
        with self.serve("--max-value", "1000") as server:
            path, token = self.phone(server, "INSERT INTO todos VALUES('ok', 'x', 0)")
            self.ok("sync", path, server.url, "--token", token)
            db = self.path("guest.db")
            self.database("guest.db", ON_DEVICE, ("todos", "extra"))
            guest = plain(db)
            guest.execute("INSERT INTO extra VALUES('e')")
            guest.close()
            Run("sync", db, server.url, "--token", server.token("guest"))
            self.ok("admin", "device", "forget", "phone", "--tenant", "acme", *self.store)
            entries = self.entries()
        refused = [e for e in entries if e["event"] == "refused"]
        self.assertEqual([(e["device"], e["table"], e["key"], e["code"]) for e in refused], [("guest", "extra", ["e"], "schema_refused")])
        self.assertIn("extra", refused[0]["reason"])
        self.assertEqual([(e["event"], e["device"]) for e in entries][-1], ("device_forgotten", "phone"))

    def test_it_is_opt_in(self):
        with Server(self.path("server")) as server:
            path, token = self.phone(server, "INSERT INTO todos VALUES('t1', 'x', 0)")
            self.ok("sync", path, server.url, "--token", token)
        self.assertEqual(self.entries(), [])
        self.assertIn("--audit", self.refused(2, "serve", "--data", self.path("x"), "--audit-keep", "1d").err)

    def test_the_oldest_files_go_by_age_and_size(self):
        folder = self.path("server", "audit")
        os.makedirs(folder)
        for day in ("2020-01-01", "2026-01-01"):
            with open(os.path.join(folder, f"{day}-0001.jsonl"), "w", encoding="utf-8"):
                pass
        with self.serve("--audit-max-size", "8K", "--audit-keep", "36500d") as server:
            for n in range(40):
                path, token = self.phone(server, f"INSERT INTO todos VALUES('t{n}', 'x', 0)")
                self.ok("sync", path, server.url, "--token", token)
        files = sorted(os.listdir(folder))
        self.assertLessEqual(sum(os.path.getsize(os.path.join(folder, f)) for f in files), 9 << 10)
        self.assertGreater(len(files), 3)
        self.assertEqual(self.entries()[-1]["key"], ["t39"])
        with self.serve("--audit-keep", "1d") as server:
            path, token = self.phone(server, "INSERT INTO todos VALUES('last', 'x', 0)")
            self.ok("sync", path, server.url, "--token", token)
        self.assertEqual([f for f in os.listdir(folder) if f.startswith("2020")], [])


class AuditOfPostgresTest(PostgresStoreTest, AuditOfFilesTest):
    test_the_oldest_files_go_by_age_and_size = None  # its partitions: postgres_upgrade_test.cc

    def setUp(self):
        super().setUp()
        self.tracked("CREATE TABLE todos(id text PRIMARY KEY, title text, done integer)", "todos", "--tenant", "acme")

    def serve(self, *arguments):
        self.store = self.at_store()
        return Server(self.path("server"), *self.store, "--audit", *arguments)

    def entries(self):
        out = []
        for row in self.postgres.rows("SELECT row_to_json(a) FROM (SELECT to_char(at, 'YYYY') AS time, tenant, device, event, encode(nonce, 'hex') AS nonce, op, tbl AS table, "
                                      "key::json AS key, columns, to_json(written) AS written, code, reason FROM rejoin.audit AS e ORDER BY at, e.key) AS a", database=self.name):
            out.append({k: v for k, v in row[0].items() if v is not None})
        return out

    def test_it_is_opt_in(self):
        with Server(self.path("server"), *self.at_store()) as server:
            path, token = self.phone(server, "INSERT INTO todos VALUES('t1', 'x', 0)")
            self.ok("sync", path, server.url, "--token", token)
        self.assertEqual(self.entries(), [])
        self.assertIn("audit_days", self.refused(2, "serve", "--data", self.path("x"), "--audit", "--audit-keep", "1d", *self.at_store()).err)

    def test_without_the_table_the_server_does_not_start(self):
        self.postgres.psql("DROP TABLE rejoin.audit; DROP FUNCTION rejoin.audit_partitions(); ALTER TABLE rejoin.meta DROP COLUMN audit_days; UPDATE rejoin.meta SET version = 1",
                           database=self.name)
        self.assertIn("rejoin pg init", self.refused(6, "serve", "--data", self.path("x"), "--listen", "127.0.0.1:0", "--audit", *self.at_store()).err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
