"""Who may do what with `rejoin serve`: tokens, and tenants that never see each other."""

import base64
import hashlib
import json
import os
import sqlite3
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from http_peer import (JSON, PROTOBUF, base64url, call, claims, connect, field, head, read_reply, secret_of, signed, site_of,  # noqa: E402
                       sync_json)
from support import FolderTest, Run, Server, extended, plain, rows  # noqa: E402

SITE = b"0123456789abcdef"
HELLO = {"protocol": 1, "hello": {"site": base64.b64encode(SITE).decode()}, "pull": {"max_bytes": 1 << 22}}


class TokenTest(FolderTest):
    def test_only_a_token_of_this_server_gets_in(self):
        with Server(self.path("s")) as server:
            secret = secret_of(server)
            good = signed(secret, claims())
            self.assertEqual(sync_json(server, HELLO, good).status, 200)
            now = int(time.time())
            none = base64url(b'{"alg":"none","typ":"JWT"}') + "." + good.split(".")[1] + "."
            bad = {
                "nothing": None,
                "empty": "",
                "garbage": "garbage",
                "two parts": ".".join(good.split(".")[:2]),
                "four parts": good + ".x",
                "alg none": none,
                "alg None": signed(secret, claims(), {"alg": "None"}),
                "alg nOnE and a signature": signed(secret, claims(), {"alg": "nOnE", "typ": "JWT"}),
                "no alg": signed(secret, claims(), {"typ": "JWT"}),
                "HS512": signed(secret, claims(), {"alg": "HS512"}, hashlib.sha512),
                "HS512 signed with SHA-256": signed(secret, claims(), {"alg": "HS512"}),
                "RS256": signed(secret, claims(), {"alg": "RS256"}),
                "crit": signed(secret, claims(), {"alg": "HS256", "crit": ["exp"]}),
                "alg twice": signed(secret, claims(), '{"alg":"HS256","alg":"HS256"}'),
                "another secret": signed("y" * 64, claims()),
                "an empty secret": signed("", claims()),
                "the payload of another": good.split(".")[0] + "." + signed(secret, claims("other")).split(".")[1] + "." + good.split(".")[2],
                "cut": good[:-1],
                "padding": good + "=",
                "expired": signed(secret, claims(valid_s=-3600)),
                "no expiry": signed(secret, {"tenant": "acme", "sub": "d"}),
                "an endless expiry": signed(secret, '{"tenant":"acme","sub":"d","exp":1e300}'),
                "an expiry of text": signed(secret, {**claims(), "exp": str(now + 100)}),
                "not valid yet": signed(secret, claims(nbf=now + 3600)),
                "issued in the future": signed(secret, claims(iat=now + 3600)),
                "no tenant": signed(secret, {"sub": "d", "exp": now + 100}),
                "no device": signed(secret, {"tenant": "acme", "exp": now + 100}),
                "two devices": signed(secret, claims(device="a") | {"device": "b"}),
                "tenant twice": signed(secret, '{"tenant":"a","tenant":"b","sub":"d","exp":%d}' % (now + 100)),
                "relay of text": signed(secret, claims(relay="true")),
                "claims are no object": signed(secret, "[]"),
                "very long": signed(secret, claims(more="x" * 9000)),
            }
            for what, token in bad.items():
                reply = sync_json(server, HELLO, token)
                self.assertEqual((reply.status, reply.json["error"]["name"]), (401, "unauthorized"), (what, reply))
                self.assertEqual(reply.headers["www-authenticate"], 'Bearer realm="rejoin"', what)
                self.assertNotIn("now_ms", reply.json, what)  # a stranger learns nothing
                self.assertNotIn(secret, reply.body.decode())
            for header in (f"Basic {good}", good, f"Bearer{good}", "Bearer", "Bearer ", f"bearer: {good}"):
                self.assertEqual(call(server, "POST", "/v1/sync", json.dumps(HELLO), {"Content-Type": JSON, "Authorization": header}).status, 401, header)
            self.assertEqual(call(server, "POST", "/v1/sync", json.dumps(HELLO), {"Content-Type": JSON, "Authorization": f"bearer  {good}"}).status, 200)
            # Not in the query, where logs would keep it; and a kept connection is not a session.
            self.assertEqual(call(server, "POST", f"/v1/sync?token={good}", json.dumps(HELLO), {"Content-Type": JSON}).status, 401)
            with connect(server) as peer:
                body = json.dumps(HELLO).encode()
                for token, status in ((good, 200), (None, 401)):
                    peer.sendall(head(token=token, Content_Type=JSON, Content_Length=len(body)) + (body if status == 200 else b""))
                    self.assertEqual(read_reply(peer).status, status)

    def test_a_clock_that_is_a_little_off_is_forgiven(self):
        with Server(self.path("s")) as server:
            secret, now = secret_of(server), int(time.time())
            for token in (signed(secret, claims(valid_s=-20)), signed(secret, claims(nbf=now + 20)), signed(secret, claims(iat=now + 20))):
                self.assertEqual(sync_json(server, HELLO, token).status, 200)

    def test_dev_answers_as_localhost_only(self):
        with Server(self.path("s"), "--dev") as server:
            def ask(host):
                return call(server, "POST", "/v1/sync", json.dumps(HELLO), {"Content-Type": JSON, "Host": host})

            for host in ("127.0.0.1", "localhost:80", "LOCALHOST", "[::1]:8427"):
                self.assertEqual(ask(host).status, 200, host)
            # A web page whose name points to 127.0.0.1 is not the developer.
            for host in ("evil.example", "evil.example:8427", "127.0.0.1.evil.example", "localhost.evil.example", "[::2]", "[", "[]", ":80"):
                reply = ask(host)
                self.assertEqual((reply.status, reply.json["error"]["name"]), (403, "forbidden"), host)


class TenantTest(FolderTest):
    def todo(self, name, *titles):
        path = self.database(name)
        db = plain(path)
        db.executemany("INSERT INTO todos(id, title) VALUES(?, ?)", [(f"{name}{i}", title) for i, title in enumerate(titles)])
        db.close()
        return path

    def test_no_request_sees_another_tenants_data(self):
        a, b = self.todo("a", "the launch codes"), self.todo("b", "b's shopping list")
        with Server(self.path("s")) as server:
            self.ok("sync", a, server.url, "--token", server.token("dev", "--schema", tenant="red"))
            self.ok("sync", b, server.url, "--token", server.token("dev", "--schema", tenant="blue"))
            self.assertEqual([r[1] for r in rows(b)], ["b's shopping list"])

            # What only red's device knows: its site, its chain token, its cursor.
            db = plain(a)
            chain, cursor = (base64.b64encode(v).decode() for v in db.execute("SELECT chain_token, pull_cursor FROM rejoin_peer").fetchone())
            db.close()
            red, blue = (server.token("dev", "--relay", tenant=t) for t in ("red", "blue"))
            nonce = base64.b64encode(b"n" * 16).decode()
            db = extended(b)
            frame = base64.b64encode(db.execute("SELECT rejoin_changeset(0)").fetchone()[0]).decode()
            db.close()
            for message in (HELLO, {**HELLO, "hello": {"site": site_of(a)}}, {**HELLO, "pull": {"cursor": cursor}},
                            {**HELLO, "hello": {"site": site_of(a)}, "pull": {"cursor": cursor}},
                            {**HELLO, "hello": {"site": site_of(a)}, "push": {"chain_token": chain, "nonce": nonce, "frame": frame}},
                            {**HELLO, "tenant": "red", "hello": {**HELLO["hello"], "tenant": "red", "device": "dev"}}):
                reply = sync_json(server, message, blue, **{"X-Tenant": "red", "X-Rejoin-Tenant": "red"})
                self.assertNotIn(b"launch", base64.b64decode(reply.json.get("page", {}).get("frame", "")), message)
                self.assertNotIn(b"launch", reply.body)
            # The same question by red itself shows that it is there to be seen.
            self.assertIn(b"launch codes", base64.b64decode(sync_json(server, HELLO, red).json["page"]["frame"]))
        tenants = self.path("s", "tenants")
        self.assertEqual(sorted(n for n in os.listdir(tenants) if n.endswith(".db")), ["blue.db", "red.db"])
        self.assertEqual([r[1] for r in rows(os.path.join(tenants, "red.db"))], ["the launch codes"])
        self.assertEqual([r[1] for r in rows(os.path.join(tenants, "blue.db"))], ["b's shopping list"])

    def test_hostile_tenant_names_stay_in_the_data_folder(self):
        names = ["../escape", "../../escape", "..", ".", "/etc/passwd", "a/b", "a\\b", "A", "a", "con", "CON", ".db", "a.db", "a.db-wal", "-", "--help", "%2e%2e",
                 "%41", "ünïcode", "u\u0308", "\u00fc", "\U0001f6f3" * 16, "x" * 64, "X" * 64, " ", "'; DROP TABLE x", "$(touch x)", "\u202e", "a\u0085b", "~", "*"]
        refused = ["", "x" * 65, "\U0001f6f3" * 17, "a\0b", "\0", "a\nb", "\x1b[31m", "\x7f", 1, None, ["a"], {"a": 1}, True]
        with Server(self.path("s")) as server:
            secret = secret_of(server)
            for name in names:
                token = signed(secret, claims(name, schema=True))
                reply = sync_json(server, HELLO, token)
                self.assertEqual(reply.status, 200, (name, reply))
            for name in refused:
                reply = sync_json(server, HELLO, signed(secret, claims(name)))
                self.assertEqual((reply.status, reply.json["error"]["name"]), (401, "unauthorized"), (name, reply))
            lone = '{"tenant":"\\ud800","sub":"d","exp":%d}' % (time.time() + 100)
            self.assertEqual(sync_json(server, HELLO, signed(secret, lone)).status, 401)
            server.stop()
        found = [os.path.join(where, name) for where, _, files in os.walk(self.path("s")) for name in files]
        databases = [f for f in found if os.path.dirname(f) == self.path("s", "tenants")]
        self.assertEqual(len(databases), len(names), databases)  # each has its own, also where case is ignored
        self.assertEqual(len({os.path.basename(f).lower() for f in databases}), len(names))
        self.assertEqual(len(found), len(names) + 1)  # and the secret
        for path in databases:
            self.assertRegex(os.path.basename(path), r"^(?:[a-z0-9_-]|%[0-9a-f]{2})+\.db$")
        self.assertEqual(sorted(set(os.listdir(self.folder)) - {"s", "s.port", "s.log"}), [])
        self.assertEqual([n for n in os.listdir(os.path.dirname(self.folder)) if "escape" in n], [])

    def test_tokens_for_names_that_no_server_takes_are_not_minted(self):
        for name in ("", "x" * 65, "a\nb", "\x7f"):
            self.refused(2, "token", "--data", self.path("s"), "--tenant", name, "--device", "d")
        self.ok("token", "--data", self.path("s"), "--tenant", "../x", "--device", "../y")

    def test_a_device_cannot_push_in_the_name_of_others(self):
        a, b = self.todo("a", "mine"), self.todo("b", "theirs")
        with Server(self.path("s")) as server:
            self.ok("sync", a, server.url, "--token", server.token("a", "--schema"))
            db = extended(b)
            frame = db.execute("SELECT rejoin_changeset(0)").fetchone()[0]
            db.close()
            headers = {"Content-Type": PROTOBUF, "Accept": JSON}

            def push(site, token):
                body = field(1, 1) + field(2, field(1, site)) + field(3, field(2, os.urandom(16)) + field(3, frame))
                return call(server, "POST", "/v1/sync", body, headers, token)

            reply = push(SITE, server.token("c"))
            self.assertEqual(reply.status, 200, reply)  # refused row by row: the rest of a chunk would have been taken
            self.assertEqual([r["code"] for r in reply.json["ack"]["refused"]], [14])
            # Nor under the site of another device, with or without the claim.
            for token in (server.token("e"), server.token("e", "--relay")):
                reply = push(base64.b64decode(site_of(a)), token)
                self.assertEqual((reply.status, reply.json["error"]["name"]), (409, "stale_chain"), reply)
            self.assertEqual([r[1] for r in rows(self.path("s", "tenants", "acme.db"))], ["mine"])
            # With the claim it may bring what others wrote.
            reply = push(os.urandom(16), server.token("d", "--relay"))
            self.assertEqual((reply.status, reply.json["ack"].get("refused")), (200, None), reply)
            self.assertEqual([r[1] for r in rows(self.path("s", "tenants", "acme.db"))], ["mine", "theirs"])

    def test_creating_tables_needs_the_claim_and_may_come_later(self):
        a = self.todo("a", "x")
        with Server(self.path("s")) as server:
            told = Run("sync", a, server.url, "--token", server.token("a"), "--json")
            self.assertEqual((told.code, told.json["pending"], told.json["rejected"]), (3, 0, 1), told)
            db = plain(a)
            table, code, reason = db.execute("SELECT table_name, code, reason FROM rejoin_rejections").fetchone()
            db.close()
            self.assertEqual((table, code), ("todos", "schema_refused"))
            self.assertIn("todos", reason)
            tenant = sqlite3.connect(self.path("s", "tenants", "acme.db"))
            self.assertEqual(tenant.execute("SELECT name FROM sqlite_schema WHERE name = 'todos'").fetchall(), [])
            # Another device with the same contract and the claim creates them, whoever came first.
            b = self.todo("b", "y")
            told = self.ok("sync", b, server.url, "--token", server.token("b", "--schema"), "--json").json
            self.assertEqual((told["rejected"], told["pending"]), (0, 0))
            self.assertEqual([r[1] for r in rows(self.path("s", "tenants", "acme.db"))], ["y"])
            # And the first brings again what was refused, now that there is a place for it.
            told = self.ok("sync", a, server.url, "--token", server.token("a"), "--json").json
            self.assertEqual((told["rejected"], told["pending"]), (0, 0))
            self.assertEqual([r[1] for r in rows(self.path("s", "tenants", "acme.db"))], ["x", "y"])

    def test_schema_fixed_creates_no_table_for_anybody(self):
        a = self.todo("a", "x")
        with Server(self.path("s"), "--schema", "fixed") as server:
            told = Run("sync", a, server.url, "--token", server.token("a", "--schema"), "--json")
            self.assertEqual((told.code, told.json["pending"], told.json["rejected"]), (3, 0, 1), told)
        db = plain(a)
        table, key, code, reason = db.execute("SELECT table_name, key, code, reason FROM rejoin_rejections").fetchone()
        db.close()
        self.assertEqual((table, key, code), ("todos", '["a0"]', "schema_refused"))
        self.assertIn("todos", reason)
        tenant = sqlite3.connect(self.path("s", "tenants", "acme.db"))
        self.assertEqual(tenant.execute("SELECT name FROM sqlite_schema WHERE name = 'todos'").fetchall(), [])
        tenant.close()
        # The local row stays, and goes to a server that may create the table.
        self.assertEqual([r[1] for r in rows(a)], ["x"])
        with Server(self.path("s"), "--schema", "auto") as server:
            db = plain(a)
            db.execute("INSERT INTO todos(id, title) VALUES('later', 'y')")
            db.close()
            self.ok("sync", a, server.url, "--token", server.token("a", "--schema"))
            self.assertEqual([r[1] for r in rows(self.path("s", "tenants", "acme.db"))], ["x", "y"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
