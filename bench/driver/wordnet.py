"""WordNet through the whole product: tracked, pushed to a real `rejoin serve`, pulled by an empty device; against plain copies."""
import json
import os
import shutil
import socket
import sqlite3
import statistics
import subprocess
import tempfile
import time
import urllib.request

from common import BUILD, ROOT, build, die, heading, number, report, say
from counting_proxy import CountingProxy
from load_wordnet import SCHEMA
from processes import cpu_of, measured, peak_kb_of, reset_peak

WORDNET = "/usr/share/wordnet"
REJOIN = os.path.join(BUILD, "dist", "rejoin")
COPY = os.path.join(BUILD, "bench", "bench_copy")
TABLES = ("synset", "sense")


class Server:
    """`rejoin serve` on a free port of the loopback, with tokens."""

    def __init__(self, folder):
        self.data = os.path.join(folder, "server")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.log = open(os.path.join(folder, "server.log"), "w")
        self.process = subprocess.Popen([REJOIN, "serve", "--data", self.data, "--listen", f"127.0.0.1:{self.port}"],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        self.stop()
        die(f"rejoin serve does not answer:\n{open(self.log.name).read()}")

    def token(self, device):
        return measured([REJOIN, "token", "--data", self.data, "--tenant", "bench", "--device", device, "--schema"])["out"].strip()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def load(plain, limit):
    """In a process of its own: a child's peak memory, as the kernel tells it, starts with what its parent held."""
    loader = os.path.join(ROOT, "bench/driver/load_wordnet.py")
    out = measured(["/usr/bin/python3", loader, plain, "--from", WORDNET, "--limit", str(limit)])["out"].split()
    return int(out[0]), int(out[2])


def sync(server, proxy, file, token):
    """One `rejoin sync`, with what it cost at both ends."""
    reset_peak(server.process.pid)
    proxy.take()
    cpu = cpu_of(server.process.pid)
    result = measured([REJOIN, "sync", file, f"http://127.0.0.1:{proxy.port}", "--json"], {"REJOIN_TOKEN": token})
    result["server_cpu"] = cpu_of(server.process.pid) - cpu
    result["server_peak_kb"] = peak_kb_of(server.process.pid)
    result["bytes_up"], result["bytes_down"], result["connections"] = proxy.take()
    del result["out"]
    return result


def expect_same(a, b):
    db = sqlite3.connect(a)
    db.execute("ATTACH ? AS other", (b,))
    for table in TABLES:
        for one, two in (("main", "other"), ("other", "main")):
            if n := db.execute(f"SELECT count(*) FROM (SELECT * FROM {one}.{table} EXCEPT SELECT * FROM {two}.{table})").fetchone()[0]:
                die(f"{table}: {n} rows of {a if one == 'main' else b} are not in the other file")
    db.close()


def value_bytes(file):
    db = sqlite3.connect(file)
    total = 0
    for table in TABLES:
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        total += db.execute("SELECT sum(" + "+".join(f"ifnull(length(CAST({c} AS BLOB)), 0)" for c in columns)
                            + f") FROM {table}").fetchone()[0]
    db.close()
    return total


def copy_median(way, source, folder, runs=3):
    results = []
    for _ in range(runs):
        out = os.path.join(folder, "copy.db")
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(out + suffix):
                os.remove(out + suffix)
        results.append(json.loads(measured([COPY, way, source, out])["out"]))
    return {key: statistics.median(r[key] for r in results) for key in results[0]}


def measure(folder, limit):
    plain = os.path.join(folder, "plain.db")
    say("bench: loading WordNet")
    synsets, senses = load(plain, limit)
    rows = synsets + senses
    runs = {"copy_attach": copy_median("attach", plain, folder), "copy_loop": copy_median("loop", plain, folder)}

    first, second = os.path.join(folder, "first.db"), os.path.join(folder, "second.db")
    shutil.copy(plain, first)
    sqlite3.connect(second).executescript("PRAGMA journal_mode=WAL;" + SCHEMA).connection.close()
    say("bench: tracking")
    runs["track"] = measured([REJOIN, "track", first, *TABLES])
    del runs["track"]["out"]
    measured([REJOIN, "track", second, *TABLES])

    server = Server(folder)
    proxy = CountingProxy(server.port)
    try:
        say("bench: pushing")
        one, two = server.token("first"), server.token("second")
        runs["push"] = sync(server, proxy, first, one)
        say("bench: pulling")
        runs["pull"] = sync(server, proxy, second, two)
        expect_same(first, second)
        runs["idle"] = sync(server, proxy, second, two)
        db = sqlite3.connect(first)
        db.execute("UPDATE synset SET gloss = gloss || '.' WHERE id = (SELECT min(id) FROM synset)")
        db.commit()
        db.close()
        runs["push_one"] = sync(server, proxy, first, one)
        runs["pull_one"] = sync(server, proxy, second, two)
        expect_same(first, second)
    finally:
        proxy.stop()
        server.stop()
    return {"synsets": synsets, "senses": senses, "rows": rows, "value_bytes": value_bytes(plain),
            "file_bytes": os.path.getsize(plain), "runs": runs}


HEADER = ["step", "rows/s", "wall s", "CPU s", "server CPU s", "peak MB", "server peak MB", "wire MB", "wire / values",
          "CPU / attach", "CPU / loop", "peak / attach"]
STEPS = [("copy_attach", "INSERT … SELECT through ATTACH"), ("copy_loop", "SELECT, bind, INSERT in C++"), ("track", "rejoin track"),
         ("push", "first sync: push all"), ("pull", "an empty device: pull all"), ("idle", "sync with no news"),
         ("push_one", "push one changed row"), ("pull_one", "pull one changed row")]


def cells(data, key, what):
    run = data["runs"][key]
    attach, loop = data["runs"]["copy_attach"], data["runs"]["copy_loop"]
    whole = key in ("copy_attach", "copy_loop", "track", "push", "pull")
    cpu = run["cpu"] + run.get("server_cpu", 0)
    wire = run["bytes_up"] + run["bytes_down"] if "bytes_up" in run else None
    peak = max(run["peak_kb"], run.get("server_peak_kb", 0))
    return [what, f"{data['rows'] / run['wall']:,.0f}" if whole else "-", number(run["wall"]), number(run["cpu"]),
            number(run.get("server_cpu")), number(run["peak_kb"] / 1024), number(run["server_peak_kb"] / 1024 if wire else None),
            number(wire / 1e6 if wire else None), number(wire / data["value_bytes"] if wire and whole else None),
            number(cpu / attach["cpu"] if whole else None), number(cpu / loop["cpu"] if whole else None),
            number(peak / attach["peak_kb"] if whole else None)]


def main(options, command):
    if not os.path.exists(os.path.join(WORDNET, "data.noun")):
        die(f"{WORDNET}: no WordNet there. Run scripts/setup, or: apt-get install wordnet-base")
    build("benches")
    folder = tempfile.mkdtemp(prefix="rejoin-wordnet-")
    try:
        data = {**heading(command), **measure(folder, options.limit)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows = [cells(data, key, what) for key, what in STEPS]
    notes = (f"{data['synsets']:,} synsets and {data['senses']:,} senses; their values are {data['value_bytes'] / 1e6:.1f} MB, "
             f"the plain file {data['file_bytes'] / 1e6:.1f} MB. Wire: all bytes of the TCP streams, both directions, HTTP included. "
             "CPU ratios: both ends together / the copy. Peak ratio: the larger process / the copy.")
    report(options, "wordnet", "WordNet through a server", data, notes, HEADER, rows, keep=not options.limit)
