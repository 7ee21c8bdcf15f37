"""Helpers of the demo: running `rejoin`, a server of its own, comparing databases."""

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REJOIN = os.environ.get("REJOIN_BIN", os.path.join(ROOT, "dist", "rejoin"))
EXTENSION = os.environ.get("REJOIN_SO", os.path.join(ROOT, "dist", "rejoin.so"))


def rejoin(*arguments, env=None):
    """Runs `rejoin … --json` and returns what it prints. Ends the demo when it fails."""
    done = subprocess.run([REJOIN, *arguments, "--json"], capture_output=True, text=True, env={**os.environ, **(env or {})})
    if done.returncode != 0:
        sys.exit(f"error: rejoin {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def connect(path):
    """The app's own connection: plain sqlite3, nothing of Rejoin in it."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA foreign_keys=ON")
    return db


def connect_with_extension(path):
    db = connect(path)
    db.enable_load_extension(True)
    db.load_extension(EXTENSION)
    db.enable_load_extension(False)
    return db


class Server:
    """`rejoin serve` on a free port of the loopback interface, stopped with the block."""

    def __init__(self, data, *arguments):
        self.data = data
        self.arguments = arguments
        self.log = data + ".log"

    def __enter__(self):
        port_file = self.data + ".port"
        if os.path.exists(port_file):
            os.remove(port_file)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [REJOIN, "serve", "--data", self.data, "--listen", "127.0.0.1:0", "--port-file", port_file, *self.arguments],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        for _ in range(1000):
            if self.process.poll() is not None:
                break
            try:
                with open(port_file, encoding="ascii") as file:
                    self.url = f"http://127.0.0.1:{int(file.read())}"
                    return self
            except (FileNotFoundError, ValueError):
                time.sleep(0.01)
        self.__exit__(None, None, None)
        sys.exit(f"error: the server did not start; its log is {self.log}")

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def key_column(name):
    return "id" if name == "visits" else "code"


def values(path, name, key, columns):
    """Column values of a row as text; None when there is no such row."""
    db = connect(path)
    row = db.execute(f'SELECT {", ".join(columns)} FROM "{name}" WHERE {key_column(name)} = ?', (key,)).fetchone()
    db.close()
    return None if row is None else ["NULL" if v is None else str(v) for v in row]


def digest(path, tables):
    """Rows and a SHA-256 over every row of every table, with the values' types: equal digests mean equal tables."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    contents = {}
    for name in tables:
        columns = [r[1] for r in db.execute(f'PRAGMA table_info("{name}")')]
        listed = ", ".join(f'typeof("{c}"), "{c}"' for c in columns)
        contents[name] = db.execute(f'SELECT {listed} FROM "{name}" ORDER BY 2').fetchall()
    db.close()
    return digest_of(contents)


def digest_of(contents):
    """Of {table: rows in the order of their keys, each as type, value, type, value, …}."""
    rows, sums = 0, {}
    for name, table in contents.items():
        sha = hashlib.sha256()
        for row in table:
            sha.update(repr(row).encode())
            rows += 1
        sums[name] = sha.hexdigest()
    return rows, hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest(), sums
