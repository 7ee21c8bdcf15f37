"""Live connections to `rejoin serve --postgres`: how soon a commit is at every reader, and what idle ones cost."""
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time

from common import BUILD, build, die, heading, number, report, say
from postgres import Postgres
from server import REJOIN, Serve

LOAD = os.path.join(BUILD, "bench", "bench_live")
READERS = (1, 100, 1000)
IDLE = 10_000


def memory_kb_of(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def idle(serve, connections):
    """Bytes of the server's memory for each connection that does nothing."""
    before = memory_kb_of(serve.process.pid)
    with subprocess.Popen([LOAD, "idle", serve.url, serve.data + "/secret", "main", str(connections)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as load:
        if '"ready"' not in load.stdout.readline():
            die("bench_live idle: the connections were not taken")
        time.sleep(3)
        after = memory_kb_of(serve.process.pid)
        load.stdin.close()
        load.wait()
    return {"case": "idle", "connections": connections, "before_kb": before, "after_kb": after, "bytes_each": (after - before) * 1024 / connections}


def measure(folder, commits):
    postgres = Postgres(folder)
    results = []
    try:
        postgres.psql("postgres", "CREATE DATABASE app")
        postgres.psql("app", "CREATE TABLE todos(id uuid PRIMARY KEY, title text, done boolean NOT NULL DEFAULT false, priority bigint)")
        url = postgres.url("app")
        for words in (["init"], ["track", "public.todos"]):
            subprocess.run([REJOIN, "pg", *words, "--postgres", url], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # The idle ones first: what other loads left in the allocator would hide a part of them.
        for case in ("idle", "latency"):
            inner = os.path.join(folder, case)
            os.mkdir(inner)
            serve = Serve(inner, url, "--max-live", str(2 * IDLE))
            try:
                if case == "idle":
                    say(f"bench: {IDLE} idle live connections")
                    results.append(idle(serve, IDLE))
                    continue
                for readers, sql in [(readers, sql) for sql in ([], [url]) for readers in READERS]:
                    say(f"bench: {readers} live readers, {'INSERTs' if sql else 'pushes'}")
                    done = subprocess.run([LOAD, "latency", serve.url, serve.data + "/secret", "main", str(readers), str(commits), *sql],
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                    if done.returncode:
                        die(f"bench_live latency: {done.stderr.strip()}")
                    results.append({"case": "latency", **json.loads(done.stdout)})
            finally:
                serve.stop()
    finally:
        postgres.stop()
    return {"results": results}


HEADER = ["live readers", "commits", "by", "p50 ms", "p99 ms", "worst ms", "the commit alone, p50 ms", "must / aim"]
MUST, AIM = 50, 10  # ms, p99 with 100 readers


def verdict(p99, readers):
    if readers != 100:
        return ""
    return "aim" if p99 < AIM else "must" if p99 < MUST else "MISS"


def main(options, command):
    build("benches")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))
    folder = tempfile.mkdtemp(prefix="rejoin-live-bench-")
    try:
        data = {**heading(command), **measure(folder, max(20, int(options.seconds * 40)))}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    each = next(r for r in data["results"] if r["case"] == "idle")
    rows = [[f"{r['connections']:,}", str(r["commits"]), r["by"], *(number(r[name]) for name in ("p50_ms", "p99_ms", "worst_ms", "alone_p50_ms")),
             verdict(r["p99_ms"], r["connections"])] for r in data["results"] if r["case"] == "latency"]
    notes = (f"One row a commit, pushed with POST /v1/sync or inserted by plain SQL; from before that until a reader has its page; server, PostgreSQL (fsync on), writer and all readers share the machine. "
             f"Must / aim: p99 under 50 / 10 ms with 100 readers; at most 24 / 8 KB of the server's memory for an idle connection: {each['bytes_each'] / 1024:.1f} KB with {each['connections']:,}, without TLS.")
    report(options, "live", "Live connections", data, notes, HEADER, rows)
