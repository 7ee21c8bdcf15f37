"""kill -9 in the middle of changing a synced table: what was begun is not there, what was done stays, the table is still synced, and nothing that was
written is lost."""

import os
import signal
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "interop"))
from support import FolderTest, extended, plain, rows  # noqa: E402

SCHEMA = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0, n INTEGER)"
# Each statement but the last is a place to die behind.
ONE_BY_ONE = [
    "SELECT rejoin_alter_begin('todos')",
    "ALTER TABLE todos RENAME COLUMN title TO name",
    "ALTER TABLE todos DROP COLUMN n",
    "UPDATE todos SET name = 'changed'",
    "DELETE FROM todos WHERE id = '2'",
    "SELECT rejoin_alter_commit('todos')",
]
REBUILT = [
    "SELECT rejoin_alter_begin('todos')",
    "CREATE TABLE fresh(owner TEXT DEFAULT 'me', id TEXT NOT NULL, title TEXT, done INTEGER, PRIMARY KEY(owner, id))",
    "INSERT INTO fresh(id, title, done) SELECT id, title, done FROM todos",
    "DROP TABLE todos",
    "ALTER TABLE fresh RENAME TO todos",
    "SELECT rejoin_alter_commit('todos')",
]
IN_A_TRANSACTION = ["BEGIN", "SELECT rejoin_alter('ALTER TABLE todos DROP COLUMN n')", "SELECT rejoin_alter('ALTER TABLE todos RENAME TO tasks')", "COMMIT"]
ADDED = ["BEGIN", "SELECT rejoin_alter('ALTER TABLE todos ADD COLUMN due TEXT DEFAULT ''soon''')", "INSERT INTO todos(id, due) VALUES('5', 'now')", "COMMIT"]
INDEXED = ["BEGIN", "SELECT rejoin_alter('CREATE UNIQUE INDEX by_title ON todos(title)')", "REPLACE INTO todos(id, title) VALUES('5', 'bread')",
           "SELECT rejoin_alter('DROP INDEX by_title')", "COMMIT"]
PLAINLY = ["BEGIN", "ALTER TABLE todos ADD COLUMN due TEXT", "UPDATE todos SET due = 'now'", "CREATE UNIQUE INDEX by_title ON todos(title)",
           "ALTER TABLE todos RENAME COLUMN title TO name", "ALTER TABLE todos RENAME TO tasks", "COMMIT"]
# Each is done when the process dies behind it. Those that don't begin with SELECT are run without the extension: Rejoin has not noticed them then.
RENAMED = "ALTER TABLE todos RENAME TO tasks"
DONE = [
    "SELECT rejoin_alter('ALTER TABLE todos ADD COLUMN due TEXT DEFAULT ''soon''')",
    "INSERT INTO todos(id, due) VALUES('4', 'now')",
    "SELECT rejoin_alter('CREATE UNIQUE INDEX by_due ON todos(due) WHERE done = 7')",
    "UPDATE todos SET done = 7 WHERE id = '4'",
    "SELECT rejoin_alter('DROP INDEX by_due')",
    "ALTER TABLE todos ADD COLUMN place TEXT DEFAULT 'here'",
    "INSERT INTO todos(id, place) VALUES('5', 'there')",
    "UPDATE todos SET place = 'where' WHERE id = '2'",
    "CREATE UNIQUE INDEX by_place ON todos(place) WHERE place <> 'here'",
    "INSERT INTO todos(id, place) VALUES('6', 'elsewhere')",
    "ALTER TABLE todos RENAME COLUMN place TO spot",
    "UPDATE todos SET spot = 'spot' WHERE id = '4'",
    "DROP INDEX by_place",
    RENAMED,
    "INSERT INTO tasks(id, spot) VALUES('7', 'late')",
]


def die_behind(path, statements):
    """In a process of its own: runs them and kills itself."""
    db = extended(path)
    for sql in statements:
        db.execute(sql).fetchall()
    os.kill(os.getpid(), signal.SIGKILL)


def run_each(path, statements):
    """Each in a connection of its own, which are returned."""
    used = []
    for sql in statements:
        used.append((extended if sql.startswith("SELECT") else plain)(path))
        used[-1].execute(sql).fetchall()
    return used


def schema(db):
    return db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()


class AlterKillTest(FolderTest):
    def test_wherever_it_dies(self):
        for number, script in enumerate((ONE_BY_ONE, REBUILT, IN_A_TRANSACTION, ADDED, INDEXED, PLAINLY)):
            for step in range(1, len(script)):
                with self.subTest(script=number, step=step):
                    name = f"{number}_{step}.db"
                    path = self.database(name, SCHEMA, ("todos",))
                    db = plain(path)
                    db.execute("INSERT INTO todos VALUES('1', 'milk', 0, 1), ('2', 'bread', 1, 2), ('3', 'dead', 0, 3)")
                    db.execute("DELETE FROM todos WHERE id = '3'")
                    db.commit()
                    before = schema(db)
                    db.close()
                    done = subprocess.run([sys.executable, __file__, path, *script[:step]], check=False, stderr=subprocess.DEVNULL)
                    self.assertEqual(done.returncode, -signal.SIGKILL)
                    # Whoever writes next, without the extension, is captured.
                    db = plain(path)
                    self.assertEqual(schema(db), before)
                    db.execute("UPDATE todos SET title = 'oat milk' WHERE id = '1'")
                    db.commit()
                    db.close()
                    db = extended(path)
                    self.assertEqual(db.execute("SELECT rejoin_doctor()").fetchone()[0], "[]")
                    other = extended(self.database("other_" + name, SCHEMA, ("todos",)))
                    other.execute("SELECT rejoin_apply(?)", db.execute("SELECT rejoin_changeset(0)").fetchone())
                    self.assertEqual(rows(self.path("other_" + name)), [("1", "oat milk", 0, 1), ("2", "bread", 1, 2)])
                    self.assertEqual(db.execute("SELECT rejoin_restore('todos', '3')").fetchone()[0], 1)
                    # And the change can be made after all.
                    for sql in script:
                        db.execute(sql).fetchall()
                    self.assertEqual(db.execute("SELECT rejoin_doctor()").fetchone()[0], "[]")

    def test_what_was_done_stays(self):
        for step, statement in enumerate(DONE, 1):
            if step < len(DONE) and statement.startswith("INSERT"):
                continue
            journal = ("DELETE", "WAL")[step % 2]
            with self.subTest(journal=journal, behind=statement):
                name = f"{step}.db"
                path, other = (self.database(start + name, SCHEMA, ("todos",)) for start in ("", "other_"))
                db = plain(path)
                db.execute(f"PRAGMA journal_mode={journal}")
                db.execute("INSERT INTO todos VALUES('1', 'milk', 0, 1), ('2', 'bread', 1, 2), ('3', 'dead', 0, 3)")
                db.execute("DELETE FROM todos WHERE id = '3'")
                db.close()
                self.ok("merge", path, other)
                done = subprocess.run([sys.executable, __file__, "each", path, *DONE[:step]], check=False, stderr=subprocess.DEVNULL)
                self.assertEqual(done.returncode, -signal.SIGKILL)
                # Whoever writes next, without the extension, is captured; here and there.
                table = "tasks" if RENAMED in DONE[:step] else "todos"
                run_each(path, [f"UPDATE {table} SET title = 'oat milk' WHERE id = '1'"])
                run_each(other, ["UPDATE todos SET n = 9 WHERE id = '1'"])
                db = extended(path)
                self.assertEqual(db.execute("SELECT rejoin_doctor()").fetchone(), ("[]",))
                self.assertEqual(db.execute("SELECT rejoin_status() ->> '$.tables', rejoin_status() -> '$.not_synced'").fetchone(), (f'["{table}"]', None))
                db.close()
                # With one that has changed nothing yet.
                self.ok("merge", path, other)
                # It goes on from where it was; the other one makes the same changes, each of which is noticed, and no other writes.
                run_each(path, DONE[step:])
                for sql in DONE:
                    if "ALTER" in sql or "INDEX" in sql:
                        run_each(other, [sql, "SELECT rejoin_status()"])
                self.ok("merge", path, other)
                for file in (path, other):
                    self.assertEqual(rows(file, "tasks"), [
                        ("1", "oat milk", 0, 9, "soon", "here"), ("2", "bread", 1, 2, "soon", "where"), ("4", None, 7, None, "now", "spot"),
                        ("5", None, 0, None, "soon", "there"), ("6", None, 0, None, "soon", "elsewhere"),
                        ("7", None, 0, None, "soon", "late")])
                    db = extended(file)
                    self.assertEqual(db.execute("SELECT rejoin_doctor()").fetchone(), ("[]",))
                    self.assertEqual(db.execute("SELECT * FROM rejoin_parked").fetchall(), [])
                    self.assertEqual(db.execute("SELECT rejoin_restore('tasks', '3')").fetchone(), (1,))
                    db.close()


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == "each":
        open_still = run_each(sys.argv[2], sys.argv[3:])
        os.kill(os.getpid(), signal.SIGKILL)
    if len(sys.argv) > 1 and sys.argv[1].startswith("/"):
        die_behind(sys.argv[1], sys.argv[2:])
    unittest.main()
