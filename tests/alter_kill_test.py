"""kill -9 in the middle of changing a synced table: the table is as it was, still synced, and nothing that was written is lost."""

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


def die_behind(path, statements):
    """In a process of its own: runs them and kills itself."""
    db = extended(path)
    for sql in statements:
        db.execute(sql).fetchall()
    os.kill(os.getpid(), signal.SIGKILL)


class AlterKillTest(FolderTest):
    def test_wherever_it_dies(self):
        for number, script in enumerate((ONE_BY_ONE, REBUILT, IN_A_TRANSACTION)):
            for step in range(1, len(script)):
                with self.subTest(script=number, step=step):
                    name = f"{number}_{step}.db"
                    path = self.database(name, SCHEMA, ("todos",))
                    db = plain(path)
                    db.execute("INSERT INTO todos VALUES('1', 'milk', 0, 1), ('2', 'bread', 1, 2), ('3', 'dead', 0, 3)")
                    db.execute("DELETE FROM todos WHERE id = '3'")
                    db.commit()
                    db.close()
                    done = subprocess.run([sys.executable, __file__, path, *script[:step]], check=False, stderr=subprocess.DEVNULL)
                    self.assertEqual(done.returncode, -signal.SIGKILL)
                    # Whoever writes next, without the extension, is captured.
                    db = plain(path)
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


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith("/"):
        die_behind(sys.argv[1], sys.argv[2:])
    unittest.main()
