#!/usr/bin/python3
"""A transaction of many rows from write to merge, in one process: bench/large_transaction.py [rows]. Prints seconds and the peak of
memory after each step. REJOIN_SO names the extension (dist/rejoin.so)."""

import os
import resource
import sqlite3
import sys
import tempfile
import time

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
SO = os.environ.get("REJOIN_SO", "dist/rejoin.so")


def peak():
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB"


def open_replica(path):
    db = sqlite3.connect(path, isolation_level=None, timeout=60)
    db.enable_load_extension(True)
    db.load_extension(SO)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE t(id TEXT PRIMARY KEY, title TEXT, done INTEGER)")
    db.execute("SELECT rejoin_track('t')")
    return db


def step(name, action):
    start = time.monotonic()
    result = action()
    print(f"{name:32} {time.monotonic() - start:6.1f} s  {peak()}{'' if result is None else '  ' + str(result)}")


def carry(source, target):
    pages = longest = 0
    for (frame,) in source.execute("SELECT changeset FROM rejoin_changesets(0, 1048576)"):
        start = time.monotonic()
        target.execute("SELECT rejoin_apply(?)", (frame,))
        longest = max(longest, time.monotonic() - start)
        pages += 1
    return f"{pages} pages, the last one makes all visible: {longest:.1f} s"


def main():
    with tempfile.TemporaryDirectory() as folder:
        a, b = (open_replica(os.path.join(folder, name)) for name in ("a.db", "b.db"))
        print(f"{ROWS:,} rows, before: {peak()}")
        step("insert in one transaction", lambda: a.execute(
            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO t "
            "SELECT printf('%08d', i), 'title of row ' || i, i % 2 FROM n", (ROWS,)) and None)
        step("fold", lambda: a.execute("SELECT rejoin_seq()").fetchall() and None)
        step("changesets and merge", lambda: carry(a, b))
        step("delete half of them", lambda: a.execute("DELETE FROM t WHERE done") and None)
        step("forget the deletions", lambda: a.execute("SELECT rejoin_compact(0)").fetchone()[0])


main()
