"""What the Python tests share: where the products are, running `rejoin`, connections with and without the extension."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.environ.get("REJOIN_SOURCE_DIR", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.path.append(os.path.join(ROOT, "scripts", "lib"))
from private_postgres import PrivatePostgres  # noqa: E402

DIST = os.environ.get("REJOIN_DIST", os.path.join(ROOT, "dist"))
REJOIN = os.environ.get("REJOIN_BIN", os.path.join(DIST, "rejoin"))
EXTENSION = os.environ.get("REJOIN_SO", os.path.join(DIST, "rejoin.so"))

TODOS = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT NOT NULL, done INTEGER DEFAULT 0, priority INTEGER)"


def plain(path):
    """A connection that has never heard of Rejoin; autocommit."""
    return sqlite3.connect(path, isolation_level=None)


def extended(path):
    db = plain(path)
    db.enable_load_extension(True)
    db.load_extension(EXTENSION)
    return db


def rows(path, table="todos", order="1"):
    db = plain(path)
    try:
        return db.execute(f'SELECT * FROM "{table}" ORDER BY {order}').fetchall()
    finally:
        db.close()


class Run:
    """A finished command: code, out, err, and json when it was asked for."""

    def __init__(self, *arguments, env=None, stdin=None, cwd=None):
        done = subprocess.run([REJOIN, *map(str, arguments)], capture_output=True, input=stdin, cwd=cwd, timeout=120,
                              env={**os.environ, **(env or {})}, stdin=None if stdin is not None else subprocess.DEVNULL)
        self.code, self.out, self.err = done.returncode, done.stdout.decode(), done.stderr.decode()
        self.arguments = arguments

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"rejoin {' '.join(map(str, self.arguments))}\nexit {self.code}\n{self.out}{self.err}"


class Server:
    """`rejoin serve` on a free port, stopped with the block."""

    def __init__(self, data, *arguments, port=0):
        self.data, self.arguments, self.wanted_port = data, arguments, port

    def __enter__(self):
        port_file = self.data + ".port"
        if os.path.exists(port_file):
            os.remove(port_file)
        self.log_path = self.data + ".log"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [REJOIN, "serve", "--data", self.data, "--listen", f"127.0.0.1:{self.wanted_port}", "--port-file", port_file, *self.arguments],
                stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            if os.path.exists(port_file):
                with open(port_file, encoding="ascii") as file:
                    text = file.read().strip()
                if text:
                    self.port = int(text)
                    self.url = f"http://127.0.0.1:{self.port}"
                    return self
            time.sleep(0.01)
        self.stop()
        with open(self.log_path, encoding="utf-8") as log:
            raise RuntimeError("the server did not start:\n" + log.read())

    def stop(self, how=signal.SIGTERM):
        """Returns the exit status and what was printed."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            out, _ = self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode, (out or b"").decode()

    def __exit__(self, *_):
        if self.process.returncode is None:
            self.stop()

    def token(self, device, *extra, tenant="acme"):
        done = Run("token", "--data", self.data, "--tenant", tenant, "--device", device, *extra)
        assert done.code == 0, done
        return done.out.strip()


class FolderTest(unittest.TestCase):
    """Each test has an empty folder of its own: self.path(name)."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rejoin-test-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def database(self, name="app.db", sql=TODOS, track=("todos",)):
        """A database with tracked tables; returns its path."""
        path = self.path(name)
        db = plain(path)
        db.executescript(sql)
        db.close()
        if track:
            db = extended(path)
            for table in track:
                db.execute("SELECT rejoin_track(?)", (table,))
            db.close()
        return path

    def ok(self, *arguments, **more):
        """Runs a command that must succeed."""
        done = Run(*arguments, **more)
        self.assertEqual(done.code, 0, done)
        return done

    def refused(self, code, *arguments, **more):
        """Runs a command that must fail with this exit status, with a message and without a traceback."""
        done = Run(*arguments, **more)
        self.assertEqual(done.code, code, done)
        self.assertTrue(done.err.startswith("error: ") or '"error"' in done.out, done)
        return done


class PostgresStoreTest(FolderTest):
    """A private PostgreSQL for each class, in it for each test an empty database of `owner`'s, self.name, in which the role `app`, the servers', may
    use what the schema `rejoin` has. self.tracked(sql, …) makes tables there."""

    ROLES = "CREATE ROLE owner LOGIN; CREATE ROLE app LOGIN"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres = PrivatePostgres()
        cls.postgres.__enter__()
        cls.addClassCleanup(cls.postgres.__exit__)
        cls.postgres.psql(cls.ROLES)
        cls.databases = 0

    def setUp(self):
        super().setUp()
        type(self).databases += 1
        self.name = f"db{self.databases}"
        self.postgres.psql(f"CREATE DATABASE {self.name} OWNER owner")
        self.pg("init", "--role", "app")

    def pg(self, *arguments):
        """`rejoin pg` as the owner."""
        return self.ok("pg", *arguments, "--postgres", self.postgres.url("owner", self.name))

    def tracked(self, sql, *arguments):
        """Makes tables, which `app` may read and write, and tracks them: `rejoin pg track …`."""
        self.postgres.psql("ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app;" + sql, "owner", self.name)
        self.pg("track", *arguments)

    def at_store(self):
        """Words by which a command finds the database as `app`."""
        return "--postgres", self.postgres.url("app", self.name)
