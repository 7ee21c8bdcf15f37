"""The oldest SQLite that docs/sql.md promises: the engine's tests and the extension with SQLite 3.37.0, compiled here from the sources that an old
better-sqlite3 brings from npm."""

import base64
import hashlib
import os
import re
import subprocess
import tempfile
import unittest

ROOT = os.environ["REJOIN_SOURCE_DIR"]
BINARIES = os.path.join(os.path.dirname(os.environ["REJOIN_DIST"]), "test_bin")
PACKAGE = "better-sqlite3@7.4.6"
INTEGRITY = "sha512-LB/UxnMhcJY12bRCDXl2jTk0lsbXHCHOLn3cPjGhy3GCcVPGq45sCGJPUdfBZnfXGN14tYTJyq0ztUI3lGng8A=="
# What Debian's library has and the tests use.
OPTIONS = ["-DSQLITE_ENABLE_FTS5", "-DSQLITE_ENABLE_JSON1", "-DSQLITE_ENABLE_COLUMN_METADATA", "-DSQLITE_ENABLE_DBSTAT_VTAB",
           "-DSQLITE_ENABLE_UNLOCK_NOTIFY", "-DSQLITE_ENABLE_MATH_FUNCTIONS", "-DSQLITE_ENABLE_DESERIALIZE", "-DSQLITE_THREADSAFE=1"]
# Theirs are servers and sockets; what they do with SQLite the others do too.
OTHERS = re.compile(r"postgres|live_|servers_test|conformance|tenants|sessions|who_may|table_rights|published|audit|_long_test")
# When SQLite 3.37 runs out of memory inside of a function it lets nobody end the transaction (docs/sql.md, "Where it runs").
OLD_LIMITS = {"out_of_memory_test"}


def run(*command, **options):
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options).stdout


class OldestSqliteTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="rejoin-oldest-")
        folder = cls.scratch.name
        run("npm", "pack", PACKAGE, "--silent", cwd=folder)
        (archive,) = os.listdir(folder)
        with open(os.path.join(folder, archive), "rb") as file:
            digest = "sha512-" + base64.b64encode(hashlib.sha512(file.read()).digest()).decode()
        if digest != INTEGRITY:
            raise AssertionError(f"{PACKAGE} has the digest {digest}")
        run("tar", "xzf", archive, cwd=folder)
        run("tar", "xzf", "package/deps/sqlite3.tar.gz", cwd=folder)
        run("cc", "-O1", "-fPIC", "-shared", *OPTIONS, "sqlite3.c", "-o", "libsqlite3.so.0", "-Wl,-soname,libsqlite3.so.0", "-lm", "-lpthread", "-ldl", cwd=folder)
        cls.environment = {**os.environ, "LD_LIBRARY_PATH": folder, "REJOIN_MODEL_SCRIPTS": "1000", "TERM": "dumb"}
        cls.environment.pop("GTEST_OUTPUT", None)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def test_it_is_that_one(self):
        version = run("/usr/bin/python3", "-c", "import sqlite3; print(sqlite3.sqlite_version)", env=self.environment)
        self.assertEqual(version.strip(), "3.37.0")
        with open(os.path.join(ROOT, "docs", "sql.md")) as text:
            self.assertIn("SQLite (3.37 or newer)", text.read())

    def test_the_engine(self):
        names = [name for name in sorted(os.listdir(BINARIES)) if not OTHERS.search(name) and name not in OLD_LIMITS]
        self.assertGreater(len(names), 30)
        for name in names:
            with self.subTest(name):
                done = subprocess.run([os.path.join(BINARIES, name)], cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True)
                self.assertEqual(done.returncode, 0, done.stdout[-4000:])

    def test_the_extension(self):
        run("/usr/bin/python3", os.path.join(ROOT, "tests", "interop_python_test.py"), cwd=ROOT, env=self.environment)


if __name__ == "__main__":
    unittest.main(verbosity=2)
