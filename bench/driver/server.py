"""`rejoin serve --postgres` under load, against the same rows written with plain batched SQL in the same run."""
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request

from common import BUILD, build, die, heading, number, report, say
from postgres import Postgres
from processes import cpu_of, peak_kb_of

REJOIN = os.path.join(BUILD, "dist", "rejoin")
LOAD = os.path.join(BUILD, "bench", "bench_server")
ROWS = 500  # changed rows a request
EVERYTHING = "SELECT id, title, done, priority FROM todos WHERE org = 'main'"
NAMES = {"sql": "plain SQL, unnest upserts", "push": "push", "select": "plain SQL, SELECT of everything", "nothing": "plain SQL, SELECT 1",
         "pull": "pull everything", "idle": "ask for news"}
MUST, AIM = 0.25, 0.5  # pushes, of plain SQL
CELLS_OF_A_CELL_DESIGN = 2500  # cells a second that one row per cell reaches in one tenant; the measurement


class Serve:
    def __init__(self, folder, url, *arguments):
        self.data = os.path.join(folder, "server")
        port = os.path.join(folder, "port")
        self.log = open(os.path.join(folder, "server.log"), "w")
        self.process = subprocess.Popen([REJOIN, "serve", "--data", self.data, "--postgres", url, "--listen", "127.0.0.1:0",
                                         "--port-file", port, "--max-connections", "4096", "--log-level", "warning", *arguments],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        for _ in range(200):
            if os.path.exists(port):
                self.url = f"http://127.0.0.1:{open(port).read().strip()}"
                urllib.request.urlopen(f"{self.url}/ready", timeout=5).close()
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.stop()
        die(f"rejoin serve does not start:\n{open(self.log.name).read()}")

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def load(*arguments):
    done = subprocess.run([LOAD, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        die(f"bench_server {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def measure(folder, seconds):
    postgres = Postgres(folder)
    results = []

    def measured(serve, case, *arguments, **about):
        cpu = serve and cpu_of(serve.process.pid), postgres.cpu()
        result = load(*arguments)
        if serve:
            about["server_cpu"] = cpu_of(serve.process.pid) - cpu[0]
        results.append({"case": case, **about, "postgres_cpu": postgres.cpu() - cpu[1], **result})

    try:
        # As the docs advise: the owner installs, the server has a role of its own, which row-level security holds for.
        postgres.psql("postgres", "CREATE DATABASE app", "CREATE ROLE app_sync LOGIN")
        url = postgres.url("app")
        columns = "title text, done boolean NOT NULL DEFAULT false, priority bigint"
        postgres.psql("app", f"CREATE TABLE todos(org text, id uuid, {columns}, PRIMARY KEY(org, id))",
                      f"CREATE TABLE todos_plain(org text, id uuid, {columns}, PRIMARY KEY(org, id))",
                      "GRANT SELECT, INSERT, UPDATE, DELETE ON todos TO app_sync")
        for words in (["init", "--role", "app_sync"], ["track", "public.todos", "--tenant-column", "org"]):
            subprocess.run([REJOIN, "pg", *words, "--postgres", url], check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        for connections in (1, 8):
            say(f"bench: plain SQL, {connections} connections")
            measured(None, "sql", "sql", url, connections, ROWS, seconds, connections=connections)
        one, plain = (r["rows"] / r["seconds"] for r in results)
        serve = Serve(folder, postgres.url("app", "app_sync"))
        try:
            for tenants in (1, 16):
                for devices in (1, 16, 256):
                    if devices < tenants:
                        continue
                    say(f"bench: {devices} devices push into {tenants} tenants")
                    measured(serve, "push", "push", serve.url, serve.data + "/secret", tenants, devices, ROWS, seconds,
                             tenants=tenants, devices=devices)
                    rate = results[-1]["rows"] / results[-1]["seconds"]
                    results[-1]["ratio"] = rate / (one if devices == 1 else plain)
                    results[-1]["ratio_to_best"] = rate / max(one, plain)
            for connections in (1, 8):
                for case, query in (("select", EVERYTHING), ("nothing", "SELECT 1")):
                    say(f"bench: {NAMES[case]}, {connections} connections")
                    measured(None, case, "query", url, connections, query, seconds, connections=connections)
            beside = {(r["case"], r["connections"]): r for r in results if r["case"] in ("select", "nothing")}
            for tenants, devices in ((1, 1), (1, 16), (16, 16)):
                for case, plain_case, what in (("pull", "select", "rows"), ("idle", "nothing", "requests")):
                    say(f"bench: {devices} devices in {tenants} tenants: {NAMES[case]}")
                    measured(serve, case, case, serve.url, serve.data + "/secret", tenants, devices, seconds, tenants=tenants, devices=devices)
                    rates = [r[what] / r["seconds"] for r in (results[-1], beside[plain_case, 1 if devices == 1 else 8])]
                    results[-1]["ratio"] = rates[0] / rates[1]
            peak = peak_kb_of(serve.process.pid)
        finally:
            serve.stop()
    finally:
        postgres.stop()
    return {"rows_per_request": ROWS, "plain_rows_per_second": plain, "server_peak_kb": peak, "results": results}


HEADER = ["case", "tenants", "devices", "rows/s", "requests/s", "p50 ms", "p99 ms", "/ plain SQL", "/ its best", "must / aim", "server µs/row", "PostgreSQL µs/row"]


def cpu_per_row(r, whose):
    """What does not depend on who else uses the machine, as rows a second do."""
    return number(r[whose] * 1e6 / r["rows"] if whose in r and r["rows"] else None)


def verdict(r):
    if r["case"] != "push":
        return ""
    return "aim" if r["ratio"] >= AIM else "must" if r["ratio"] >= MUST else "MISS"


def cells(r):
    return [NAMES[r["case"]], str(r.get("tenants", "-")), str(r.get("devices", r.get("connections"))), f"{r['rows'] / r['seconds']:,.0f}",
            f"{r['requests'] / r['seconds']:,.0f}", number(r["p50_ms"]), number(r["p99_ms"]), number(r.get("ratio")), number(r.get("ratio_to_best")), verdict(r),
            cpu_per_row(r, "server_cpu"), cpu_per_row(r, "postgres_cpu")]


def main(options, command):
    build("benches")
    folder = tempfile.mkdtemp(prefix="rejoin-server-bench-")
    try:
        data = {**heading(command), **measure(folder, options.seconds)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows = [cells(r) for r in data["results"]]
    one = max(r["rows"] / r["seconds"] for r in data["results"] if r["case"] == "push" and r["tenants"] == 1)
    # Half of the rows are new and have three cells besides the key, half change one.
    notes = (f"{ROWS} changed rows a request, half of them new; server, PostgreSQL (fsync on) and load share the machine. One device is compared "
             f"with plain SQL on one connection, several with eight: pushes with upserts, pulls with a SELECT of the same rows of one tenant, asking for news with SELECT 1. Must / aim: pushes at least 0.25 / 0.5 of plain SQL, and 10 times a design with a row per cell ({CELLS_OF_A_CELL_DESIGN:,} cells/s in one tenant): "
             f"{2 * one:,.0f} cells/s, {2 * one / CELLS_OF_A_CELL_DESIGN:.0f} times. Peak memory of the server: {data['server_peak_kb'] / 1024:.0f} MB.")
    report(options, "server", "A server on PostgreSQL", data, notes, HEADER, rows)
