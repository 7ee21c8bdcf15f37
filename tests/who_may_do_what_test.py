"""What tokens and the server let a device do, through the real command line: rights of tables, the caller's role in PostgreSQL with its row-level
security, what was refused and given up."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from http_peer import claims, secret_of, signed, wait_for  # noqa: E402
from support import FolderTest, PostgresStoreTest, Run, Server, extended, plain  # noqa: E402

ON_DEVICE = "CREATE TABLE todos(id TEXT PRIMARY KEY, owner TEXT, title TEXT); CREATE TABLE audit(id TEXT PRIMARY KEY, line TEXT)"
IN_POSTGRES = """
CREATE TABLE todos(id text PRIMARY KEY, owner text, title text CHECK (title <> 'bad'));
CREATE TABLE audit(id text PRIMARY KEY, line text);
CREATE TABLE friends(one text, other text);
CREATE FUNCTION me() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('request.jwt.claims', true)::json ->> 'user' $$;
ALTER TABLE todos ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON todos TO app_user USING (owner = me() OR EXISTS (SELECT FROM friends WHERE one = owner AND other = me())) WITH CHECK (owner = me());
CREATE POLICY rejoin ON todos TO app USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON todos, audit TO app_user; GRANT SELECT ON friends TO app_user;
INSERT INTO todos VALUES('a', 'ann', 'hers'), ('b', 'bob', 'his');
"""


class DeviceTest(FolderTest):
    def device(self, name):
        return self.database(name, ON_DEVICE, ("todos", "audit"))

    def sync(self, server, file, token, code=0):
        path = self.path("token")
        with open(path, "w", encoding="ascii") as out:
            out.write(token)
        done = Run("sync", file, server.url, "--token-file", path)
        self.assertEqual(done.code, code, done)
        return done

    def write(self, file, sql):
        db = extended(file)
        try:
            db.executescript(sql)
        finally:
            db.close()

    def rows(self, file, sql):
        db = plain(file)
        self.addCleanup(db.close)
        return db.execute(sql).fetchall()

    def ids(self, file, table="todos"):
        return [r[0] for r in self.rows(file, f"SELECT id FROM {table} ORDER BY id")]

    def rejections(self, file):
        return self.rows(file, "SELECT table_name, key, code, server FROM rejoin_rejections ORDER BY table_name, key")


class RightsOfTables(DeviceTest):
    def test_a_token_that_may_read_and_one_that_may_nothing(self):
        with Server(self.path("server")) as server:
            full, guest = self.device("full.db"), self.device("guest.db")
            self.write(full, "INSERT INTO todos VALUES('t', 'x', 'y'); INSERT INTO audit VALUES('l', 'x')")
            self.sync(server, full, server.token("full", "--schema"))
            reader = server.token("guest", "--table", "todos=read,audit=none")
            self.write(guest, "INSERT INTO todos VALUES('g', 'x', 'y'); DELETE FROM todos WHERE id = 't'")
            told = self.sync(server, guest, reader, 3)
            self.assertIn("refused", told.out + told.err)
            self.assertEqual(self.rejections(guest), [("todos", '["g"]', "forbidden", "null")])
            self.assertEqual((self.ids(guest), self.ids(guest, "audit")), (["g", "t"], []))
            self.assertIn("the server has none", self.ok("status", guest).out)
            self.write(guest, "SELECT rejoin_discard('todos', 'g')")
            self.sync(server, guest, server.token("guest"))
            self.assertEqual((self.ids(guest), self.ids(guest, "audit"), self.rejections(guest)), (["t"], ["l"], []))
            self.sync(server, guest, server.token("guest", "--table", "*=none", "--table", "audit=write"))
            self.assertEqual((self.ids(guest), self.ids(guest, "audit")), ([], ["l"]))
            self.sync(server, full, server.token("full"))
            self.assertEqual(self.ids(full), ["t"])

    def test_a_direction_that_no_token_changes(self):
        with Server(self.path("server"), "--table", "audit=push,todos=pull") as server:
            one, two = self.device("one.db"), self.device("two.db")
            self.write(one, "INSERT INTO todos VALUES('t', 'x', 'y'); INSERT INTO audit VALUES('l', 'x')")
            self.sync(server, one, server.token("one", "--schema"), 3)
            self.assertEqual(self.rejections(one), [("todos", '["t"]', "forbidden", "null")])
            self.sync(server, two, server.token("two", "--table", "todos=write"))
            self.assertEqual((self.ids(two), self.ids(two, "audit"), self.ids(one, "audit")), ([], [], ["l"]))

    def test_words_that_are_none(self):
        with Server(self.path("server")):
            pass
        for value in ("todos", "todos=maybe", "=read", "todos=pull"):
            self.assertIn("write, read, none", self.refused(2, "token", "--data", self.path("server"), "--tenant", "t", "--device", "d", "--table", value).err)
        self.assertIn("both, pull, push", self.refused(2, "serve", "--data", self.path("server"), "--table", "todos=read").err)
        self.assertIn("--postgres", self.refused(2, "serve", "--data", self.path("server"), "--impersonate").err)
        self.assertIn("--impersonate", self.refused(2, "serve", "--data", self.path("s"), "--postgres", "postgres://h/d", "--impersonate-role", "r").err)


class RowLevelSecurity(PostgresStoreTest, DeviceTest):
    ROLES = PostgresStoreTest.ROLES + "; CREATE ROLE app_user; CREATE ROLE app_boss SUPERUSER; GRANT app_user, app_boss TO app"

    def setUp(self):
        super().setUp()
        self.tracked(IN_POSTGRES, "public.todos", "public.audit")

    def sql(self, text):
        self.postgres.psql(text, "owner", self.name)

    def serve(self, *more):
        return Server(self.path("server"), *self.at_store(), "--impersonate", *more)

    def token(self, server, user, **more):
        return signed(secret_of(server), {**claims("main", user + "'s phone"), "role": "app_user", "user": user, **more})

    def test_each_device_has_its_users_rows(self):
        with self.serve("--impersonate-recheck", "1s") as server:
            ann, bob = self.device("ann.db"), self.device("bob.db")
            self.write(ann, "INSERT INTO todos VALUES('n', 'ann', 'new'), ('f', 'bob', 'forged'), ('x', 'ann', 'bad')")
            self.sync(server, ann, self.token(server, "ann"), 3)
            self.sync(server, bob, self.token(server, "bob"))
            self.assertEqual((self.ids(ann), self.ids(bob)), (["a", "f", "n", "x"], ["b"]))
            self.assertEqual(self.rejections(ann), [("todos", '["f"]', "forbidden", "null"), ("todos", '["x"]', "refused", "null")])
            self.write(ann, "SELECT rejoin_discard()")
            self.assertEqual(self.ids(ann), ["a", "n"])
            # Handed over, and shared by a table that no device has.
            self.sql("UPDATE todos SET owner = 'bob' WHERE id = 'n'; INSERT INTO friends VALUES('ann', 'bob')")
            self.sync(server, ann, self.token(server, "ann"))
            self.assertEqual(self.ids(ann), ["a"])
            wait_for(lambda: self.sync(server, bob, self.token(server, "bob")) and self.ids(bob) == ["a", "b", "n"])
            self.sql("DELETE FROM friends")
            wait_for(lambda: self.sync(server, bob, self.token(server, "bob")) and self.ids(bob) == ["b", "n"])
            # The phone is given away.
            self.sync(server, ann, self.token(server, "bob", sub="ann's phone"))
            self.assertEqual(self.ids(ann), ["b", "n"])
            self.assertEqual(self.postgres.rows("SELECT id FROM todos ORDER BY 1", database=self.name), [["a"], ["b"], ["n"]])
            self.assertIn("sound", self.pg("doctor").out)

    def test_roles_that_a_token_may_not_choose(self):
        with self.serve() as server:
            ann = self.device("ann.db")
            for role in ("app_boss", "owner", "app", "nobody", "none", "pg_read_all_data", None, 7):
                told = self.sync(server, ann, self.token(server, "ann", role=role), 3)
                self.assertIn("role", told.err)
                self.assertNotIn("GRANT", told.err)
            self.assertEqual(self.ids(ann), [])
        with open(server.log_path, encoding="utf-8") as log:
            self.assertIn("stands above row-level security", log.read())

    def test_a_default_role(self):
        with self.serve("--impersonate-role", "app_user") as server:
            ann = self.device("ann.db")
            self.sync(server, ann, self.token(server, "ann", role=None))
            self.assertEqual(self.ids(ann), ["a"])
            # Tokens of one's own making can name a role, but no user: nothing is theirs.
            self.sync(server, ann, server.token("ann's phone", "--role", "app_user", tenant="main"))
            self.assertEqual(self.ids(ann), [])


if __name__ == "__main__":
    unittest.main()
