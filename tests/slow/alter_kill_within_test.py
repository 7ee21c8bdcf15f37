"""kill -9 within the statements that change a synced table of many rows, later and later: the change is whole or not there, no row or write is lost, the table is
still synced, and a peer that syncs with it agrees. (Between the statements: alter_kill_test.py.)

REJOIN_ALTER_ROWS (300,000), REJOIN_ALTER_KILLS (8, of each script), REJOIN_SEED.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import typing
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from support import FolderTest, extended, plain  # noqa: E402

ROWS = int(os.environ.get("REJOIN_ALTER_ROWS", "300000"))
KILLS = int(os.environ.get("REJOIN_ALTER_KILLS", "8"))
SCHEMA = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0, n INTEGER)"
FILL = "INSERT INTO todos WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < ?) SELECT 'row' || i, hex(randomblob(8)), i % 2, i FROM c"
DROPPED = ("id", "title", "done")


class Shape(typing.NamedTuple):
    table: str
    columns: tuple
    key: tuple = ("id",)
    indexes: tuple = ()


OLD = Shape("todos", ("id", "title", "done", "n"))
# What is run, and the table then.
SCRIPTS = {
    "one call": (["SELECT rejoin_alter('ALTER TABLE todos DROP COLUMN n')"], Shape("todos", DROPPED)),
    "a transaction": (["BEGIN", "SELECT rejoin_alter('ALTER TABLE todos DROP COLUMN n')", "SELECT rejoin_alter('ALTER TABLE todos RENAME TO tasks')", "COMMIT"],
                      Shape("tasks", DROPPED)),
    "built anew": (["SELECT rejoin_alter_begin('todos')", "CREATE TABLE fresh(id TEXT PRIMARY KEY, title TEXT NOT NULL, done INTEGER) WITHOUT ROWID",
                    "INSERT INTO fresh SELECT id, title, done FROM todos", "DROP TABLE todos", "ALTER TABLE fresh RENAME TO todos",
                    "SELECT rejoin_alter_commit('todos')"], Shape("todos", DROPPED)),
    "a new key": (["SELECT rejoin_alter_begin('todos')",
                   "CREATE TABLE fresh(owner TEXT NOT NULL DEFAULT 'me', id TEXT NOT NULL, title TEXT, done INTEGER, n INTEGER, PRIMARY KEY(owner, id))",
                   "INSERT INTO fresh(id, title, done, n) SELECT * FROM todos", "DROP TABLE todos", "ALTER TABLE fresh RENAME TO todos",
                   "SELECT rejoin_alter_commit('todos')"], Shape("todos", ("owner",) + OLD.columns, ("owner", "id"))),
    "an index": (["SELECT rejoin_alter('CREATE UNIQUE INDEX by_title ON todos(title, n)')"], OLD._replace(indexes=("by_title",))),
    # Of what plain SQL has changed Rejoin hears in the last statement.
    "noticed": (["BEGIN", "ALTER TABLE todos ADD COLUMN due TEXT", "UPDATE todos SET due = title WHERE done", "COMMIT", "SELECT rejoin_status()"],
                Shape("todos", OLD.columns + ("due",))),
}


def run(path, statements, begun=None):
    db = extended(path)
    if begun is not None:
        os.write(begun, b"!")
    for sql in statements:
        db.execute(sql).fetchall()
    db.close()


class AlterKillWithinTest(FolderTest):
    def setUp(self):
        super().setUp()
        seed = int(os.environ.get("REJOIN_SEED", time.time_ns() % 1_000_000))
        print(f"REJOIN_SEED={seed}", flush=True)
        self.rng = random.Random(seed)
        self.killed = 0
        self.mine, self.peer = self.path("mine.db"), self.path("peer.db")
        for path in (self.mine, self.peer):
            db = extended(path)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(SCHEMA)
            db.execute("SELECT rejoin_track('todos')")
            if path == self.mine:
                db.execute(FILL, (ROWS,))
                db.execute("INSERT INTO todos VALUES('dead', 'kept', 0, 0)")
                db.execute("SELECT rejoin_status()")
                db.execute("DELETE FROM todos WHERE id = 'dead'")
            db.close()
        self.ok("merge", self.mine, self.peer)
        for path in (self.mine, self.peer):
            self.assertFalse(os.path.exists(path + "-wal"))
            shutil.copyfile(path, path + ".before")

    def as_before(self, path):
        """The same file, so that it is no copy."""
        for end in ("-wal", "-shm"):
            if os.path.exists(path + end):
                os.remove(path + end)
        shutil.copyfile(path + ".before", path)

    def shape(self, db):
        name, = (r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE name IN ('todos', 'tasks', 'fresh') AND type = 'table'"))
        columns = db.execute(f"SELECT name, pk FROM pragma_table_info('{name}')").fetchall()
        indexes = db.execute(f"SELECT name FROM pragma_index_list('{name}') WHERE origin = 'c'")
        return Shape(name, tuple(c[0] for c in columns), tuple(c[0] for c in sorted(columns, key=lambda c: c[1]) if c[1]), tuple(i[0] for i in indexes))

    def kill_after(self, seconds, script):
        """Seconds that it took when it ended by itself."""
        reading, writing = os.pipe()
        process = subprocess.Popen([sys.executable, __file__, self.mine, str(writing), *script], pass_fds=[writing])
        os.read(reading, 1)
        begun = time.monotonic()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(reading)
        os.close(writing)
        self.assertIn(process.returncode, (0, -signal.SIGKILL))
        self.killed += process.returncode != 0
        return time.monotonic() - begun

    def check(self, script, wanted):
        """True when the change is there."""
        # Whoever writes next, without the extension, is captured.
        db = plain(self.mine)
        shape = self.shape(db)
        self.assertIn(shape, (OLD, wanted))
        table = shape.table
        db.execute(f"UPDATE {table} SET title = 'oat milk' WHERE id = 'row1'")
        db.execute(f"DELETE FROM {table} WHERE id = 'row2'")
        db.close()
        db = extended(self.mine)
        self.assertEqual(db.execute("SELECT rejoin_doctor()").fetchone(), ("[]",))
        self.assertEqual(self.shape(db), shape)
        self.assertEqual(db.execute("SELECT count(*) FROM sqlite_master WHERE name LIKE '%fresh%'").fetchone(), (0,))
        # A new key forgets what was deleted.
        kept = [("kept",)] if shape.key == OLD.key else []
        if kept:
            self.assertEqual(db.execute(f"SELECT rejoin_restore('{table}', 'dead')").fetchone(), (1,))
        self.assertEqual(db.execute(f"SELECT count(*) FROM {table}").fetchone(), (ROWS - 1 + len(kept),))
        db.close()
        there = shape == wanted
        if there:
            run(self.peer, [sql for sql in script if not sql.startswith("UPDATE")])
        db = plain(self.peer)
        db.execute(f"UPDATE {table} SET done = 7 WHERE id = 'row1'")
        db.close()
        self.ok("merge", self.mine, self.peer)
        db = plain(self.mine)
        db.execute("ATTACH ? AS peer", (self.peer,))
        for one, other in (("main", "peer"), ("peer", "main")):
            self.assertEqual(db.execute(f"SELECT count(*) FROM (SELECT * FROM {one}.{table} EXCEPT SELECT * FROM {other}.{table})").fetchone(), (0,))
        self.assertEqual(db.execute(f"SELECT title, done FROM {table} WHERE id = 'row1'").fetchone(), ("oat milk", 7))
        self.assertEqual(db.execute(f"SELECT title FROM {table} WHERE id IN ('row2', 'dead')").fetchall(), kept)
        # But for what was written now, all is as it was.
        db.execute("ATTACH ? AS old", (self.mine + ".before",))
        shared = ", ".join(c for c in shape.columns if c in OLD.columns)
        self.assertEqual(db.execute(f"SELECT count(*) FROM (SELECT {shared} FROM old.todos EXCEPT SELECT {shared} FROM main.{table})").fetchone(), (2,))
        if "due" in shape.columns:
            lost = "SELECT count(*) FROM todos AS t JOIN old.todos AS o USING(id) WHERE t.due IS NOT iif(o.done, o.title, NULL)"
            self.assertEqual(db.execute(lost).fetchone(), (0,))
        db.close()
        return there

    def test_whenever_it_dies(self):
        for label, (script, wanted) in SCRIPTS.items():
            with self.subTest(script=label):
                took = self.kill_after(600, script)
                self.assertTrue(self.check(script, wanted))
                there = died = self.killed = 0
                for number in range(KILLS):
                    self.as_before(self.mine)
                    self.as_before(self.peer)
                    seconds = took * 1.1 * (number + self.rng.random()) / KILLS
                    self.kill_after(seconds, script)
                    whole = self.check(script, wanted)
                    there += whole
                    died += not whole
                # And the change can be made after all.
                if not whole:
                    run(self.mine, script)
                    # Python closes what nobody closes some time later: then the file would be another one.
                    db = extended(self.mine)
                    self.assertEqual(db.execute("SELECT rejoin_doctor()").fetchone(), ("[]",))
                    db.close()
                self.as_before(self.mine)
                self.as_before(self.peer)
                print(f"{label}: {took:.2f} s undisturbed; killed {self.killed} times, {died} times it was not there, {there} times whole", flush=True)
                # Most of "noticed" is the noticing of what is there.
                self.assertGreater(self.killed if label == "noticed" else died, 0)


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1].startswith("/"):
        run(sys.argv[1], sys.argv[3:], int(sys.argv[2]))
    else:
        unittest.main(verbosity=2)
