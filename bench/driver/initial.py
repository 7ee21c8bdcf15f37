"""The first sync of an empty device with a server on PostgreSQL that has many rows, against copying the same rows with psql and sqlite3."""
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time

from common import build, die, heading, number, report, say
from postgres import Postgres
from processes import cpu_of, measured, peak_kb_of, reset_peak
from server import REJOIN, Serve

COLUMNS = "id TEXT PRIMARY KEY, title TEXT, done INTEGER NOT NULL DEFAULT 0, priority INTEGER"


def rejoin(*arguments):
    done = subprocess.run([REJOIN, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        die(f"rejoin {' '.join(arguments)}: {done.stderr}")
    return done.stdout.strip()


def device(folder, name):
    path = os.path.join(folder, name)
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"CREATE TABLE todos({COLUMNS}) WITHOUT ROWID")
    db.close()
    return path


def plain_copy(folder, postgres):
    """The rows as they are, through a pipe: what a program without sync would do once."""
    path = device(folder, "plain.db")
    start = time.monotonic()
    psql = subprocess.Popen([f"{postgres.bin}/psql", "-qX", postgres.url("app"), "-c", "COPY (SELECT id, title, done::int, priority FROM todos) TO STDOUT (FORMAT csv)"],
                            stdout=subprocess.PIPE)
    into = subprocess.run(["sqlite3", path, ".mode csv", ".import /dev/stdin todos"], stdin=psql.stdout)
    if psql.wait() or into.returncode:
        die("copying with psql and sqlite3 failed; the message is above")
    return time.monotonic() - start


def measure(folder, rows):
    postgres = Postgres(folder)
    try:
        postgres.psql("postgres", "CREATE DATABASE app")
        url = postgres.url("app")
        say(f"bench: {rows:,} rows, tracked")
        postgres.psql("app", "CREATE TABLE todos(id uuid PRIMARY KEY, title text, done boolean NOT NULL DEFAULT false, priority bigint)",
                      f"INSERT INTO todos SELECT gen_random_uuid(), 'the title of row number ' || i, i % 3 = 0, i % 10 FROM generate_series(1, {rows}) AS i", "ANALYZE todos")
        rejoin("pg", "init", "--postgres", url)
        start = time.monotonic()
        rejoin("pg", "track", "public.todos", "--postgres", url)
        results = [{"case": "track", "seconds": time.monotonic() - start}]
        say("bench: copying without sync")
        results.append({"case": "copy", "seconds": plain_copy(folder, postgres)})
        serve = Serve(folder, url)
        try:
            token = rejoin("token", "--data", serve.data, "--tenant", "main", "--device", "first")
            path = device(folder, "first.db")
            rejoin("track", path, "todos")
            reset_peak(serve.process.pid)
            before = cpu_of(serve.process.pid)
            say("bench: the first sync of an empty device")
            done = measured([REJOIN, "sync", path, serve.url, "--json"], {"REJOIN_TOKEN": token})
            told = json.loads(done["out"])
            count = sqlite3.connect(path).execute("SELECT count(*) FROM todos").fetchone()[0]
            if count != rows or told.get("error"):
                die(f"the device has {count} of {rows} rows: {told}")
            results.append({"case": "sync", "seconds": done["wall"], "device_cpu": done["cpu"], "device_peak_kb": done["peak_kb"],
                            "server_cpu": cpu_of(serve.process.pid) - before, "server_peak_kb": peak_kb_of(serve.process.pid),
                            "round_trips": told["round_trips"], "bytes_received": told["bytes_received"], "file_bytes": os.path.getsize(path)})
        finally:
            serve.stop()
    finally:
        postgres.stop()
    return {"rows": rows, "results": results}


HEADER = ["case", "seconds", "rows/s", "server MB", "device MB", "round trips", "MB received"]
NAMES = {"track": "rejoin pg track of them", "copy": "psql COPY into sqlite3 .import", "sync": "first sync, made visible at once"}


def cells(rows, r):
    megabytes = lambda key, of: f"{r[key] / of:,.0f}" if key in r else "-"
    return [NAMES[r["case"]], number(r["seconds"]), f"{rows / r['seconds']:,.0f}", megabytes("server_peak_kb", 1024), megabytes("device_peak_kb", 1024),
            f"{r['round_trips']:,}" if "round_trips" in r else "-", megabytes("bytes_received", 1e6)]


def main(options, command):
    build("rejoin")
    folder = tempfile.mkdtemp(prefix="rejoin-initial-bench-")
    try:
        data = {**heading(command), **measure(folder, options.initial_rows)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table = [cells(data["rows"], r) for r in data["results"]]
    notes = f"{data['rows']:,} rows of four columns, a uuid the key. Server, PostgreSQL (fsync on) and device share the machine; memory is the peak of each process."
    report(options, "initial", "The first sync of an empty device", data, notes, HEADER, table)
