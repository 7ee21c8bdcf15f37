"""kill -9 of devices, syncs and the server at random moments: nothing committed is lost and nobody ever sees half a transaction.

Several devices each have a process that writes and one that syncs, all against one server; all of them are killed without warning and started
again. Meanwhile an observer reads every file in read transactions of its own and holds what it sees against promises that each transaction
keeps:

- a device's accounts add up to 0, and carry the number of its newest transaction;
- its counter, its accounts and its journal are at the same number; the journal has exactly the transactions low..n, each with all of its rows
  (some have more than fit into one page of sync);
- shared rows, which all devices write, always have both halves from one writer;
- numbers never go back anywhere; what COMMIT or an acknowledgement promised is there.

REJOIN_KILL_SECONDS (300), REJOIN_KILL_DEVICES (4), REJOIN_SEED. A failure leaves its files behind and names them.
"""

import collections
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from support import REJOIN, Run, Server, extended, plain  # noqa: E402

SCHEMA = """
CREATE TABLE counters(device TEXT PRIMARY KEY, n INTEGER NOT NULL, low INTEGER NOT NULL);
CREATE TABLE accounts(device TEXT, id INTEGER, balance INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY(device, id)) WITHOUT ROWID;
CREATE TABLE journal(id TEXT PRIMARY KEY, device TEXT, n INTEGER, rows INTEGER, text TEXT);
CREATE TABLE shared(id TEXT PRIMARY KEY, a INTEGER, b INTEGER);
"""
TABLES = ("counters", "accounts", "journal", "shared")
ACCOUNTS = 8
KEPT = 60  # transactions in the journal; older ones are deleted, each as a whole


# ---- the writing process of a device


def write_transactions(path, device, seed, acknowledged, with_extension):
    rng = random.Random(seed)
    db = extended(path) if with_extension else plain(path)
    db.execute("PRAGMA busy_timeout = 60000")
    log = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    while True:
        db.execute("BEGIN IMMEDIATE")
        row = db.execute("SELECT n, low FROM counters WHERE device = ?", (device,)).fetchone()
        if row is None:
            n = low = 1
            db.execute("INSERT INTO counters VALUES(?, 1, 1)", (device,))
            db.executemany("INSERT INTO accounts VALUES(?, ?, 0, 1)", [(device, i) for i in range(ACCOUNTS)])
        else:
            n, low = row[0] + 1, row[1]
        # Some transactions are larger than a chunk of sync, which has a mebibyte: 3,000 rows of 500 bytes on average.
        count, size = (3000, 500) if rng.randrange(250) == 0 else (rng.randrange(1, 12), 40)
        db.executemany("INSERT INTO journal VALUES(?, ?, ?, ?, ?)",
                       [(f"{device}/{n}/{i}", device, n, count, rng.randbytes(rng.randrange(size)).hex()) for i in range(count)])
        first, second = rng.sample(range(ACCOUNTS), 2)
        amount = rng.randrange(1, 1000)
        db.execute("UPDATE accounts SET balance = balance - ?, n = ? WHERE device = ? AND id = ?", (amount, n, device, first))
        if n - low >= KEPT:
            low += 1
            db.execute("DELETE FROM journal WHERE device = ? AND n < ?", (device, low))
        if rng.randrange(3) == 0:
            value = rng.getrandbits(40)
            db.execute("INSERT INTO shared VALUES(?, ?, ?) ON CONFLICT(id) DO UPDATE SET a = excluded.a, b = excluded.b",
                       (f"shared{rng.randrange(20)}", value, value))
        db.execute("UPDATE accounts SET balance = balance + ?, n = ? WHERE device = ? AND id = ?", (amount, n, device, second))
        db.execute("UPDATE counters SET n = ?, low = ? WHERE device = ?", (n, low, device))
        if rng.randrange(20) == 0:
            db.execute("ROLLBACK")
            continue
        db.execute("COMMIT")
        os.write(log, b"%d\n" % n)
        if with_extension and rng.randrange(50) == 0:
            db.execute("SELECT rejoin_compact()").fetchone()
        time.sleep(rng.random() * 0.03)


def last_acknowledged(path):
    """The newest transaction of which the writer knows that it is committed; a kill may have cut the last line."""
    try:
        with open(path, "rb") as file:
            lines = file.read().rpartition(b"\n")[0].split(b"\n")
    except FileNotFoundError:
        return 0
    return int(lines[-1] or 0)


# ---- what is held against the promises


class Broken(Exception):
    pass


# What is looked at, in SQL that SQLite and PostgreSQL read alike.
LOOKS = ("SELECT device, n, low FROM counters",
         "SELECT device, count(*), sum(balance), max(n) FROM accounts GROUP BY device",
         "SELECT device, n, count(*), min(rows), max(rows) FROM journal GROUP BY device, n",
         "SELECT id, a, b FROM shared WHERE coalesce(a, -1) <> coalesce(b, -1)")


def observe(path):
    """{device: n} as one read transaction sees it. Raises Broken when it sees what nobody may see."""
    db = sqlite3.connect(path, isolation_level=None, timeout=60)
    try:
        db.execute("BEGIN")
        seen = [db.execute(look).fetchall() for look in LOOKS]
        db.execute("COMMIT")
    finally:
        db.close()
    return judge(*seen)


def judge(counters, accounts, journal_rows, torn):
    """Of what LOOKS gave, in one transaction."""
    counters = {d: (n, low) for d, n, low in counters}
    accounts = {d: rest for d, *rest in accounts}
    journal = collections.defaultdict(dict)
    for device, n, count, least, most in journal_rows:
        if not count == least == most:
            raise Broken(f"transaction {n} of {device} has {count} of its {most} rows")
        journal[device][n] = count
    if torn:
        raise Broken(f"shared rows of two writers: {torn}")
    if not counters.keys() == accounts.keys() == journal.keys():
        raise Broken(f"devices differ: counters {sorted(counters)}, accounts {sorted(accounts)}, journal {sorted(journal)}")
    for device, (n, low) in counters.items():
        if accounts[device] != [ACCOUNTS, 0, n]:
            raise Broken(f"{device} is at {n}, its accounts (how many, sum, newest) at {accounts[device]}")
        if sorted(journal[device]) != list(range(low, n + 1)):
            raise Broken(f"{device} is at {low}..{n}, its journal at {min(journal[device])}..{max(journal[device])}, {len(journal[device])} transactions")
    return {device: n for device, (n, low) in counters.items()}


def contents(path):
    db = plain(path)
    try:
        return {table: db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in TABLES}
    finally:
        db.close()


def integrity(path):
    db = plain(path)
    try:
        return db.execute("PRAGMA integrity_check").fetchall()
    finally:
        db.close()


class Device:
    def __init__(self, folder, number):
        self.name = f"device{number}"
        self.path = os.path.join(folder, self.name + ".db")
        self.acknowledged = self.path + ".acknowledged"
        db = extended(self.path)
        # Both kinds of journal: recovery after a kill is not the same.
        db.execute(f"PRAGMA journal_mode = {'WAL' if number % 2 else 'DELETE'}")
        db.executescript(SCHEMA)
        for table in TABLES:
            db.execute("SELECT rejoin_track(?)", (table,))
        self.site = db.execute("SELECT rejoin_site()").fetchone()[0]
        db.close()


class KillTest(unittest.TestCase):
    def test_processes_that_are_killed_lose_nothing_and_tear_nothing(self):
        seconds = float(os.environ.get("REJOIN_KILL_SECONDS", "300"))
        self.seed = int(os.environ.get("REJOIN_SEED", random.SystemRandom().randrange(1 << 32)))
        self.rng = random.Random(self.seed)
        self.folder = tempfile.mkdtemp(prefix="rejoin-kill-")
        print(f"REJOIN_SEED={self.seed} for {seconds:.0f} s in {self.folder}", flush=True)
        self.devices = [Device(self.folder, i) for i in range(int(os.environ.get("REJOIN_KILL_DEVICES", "4")))]
        self.lock = threading.Lock()
        self.running = {}  # what may be killed: {label: Popen}
        self.kills, self.outcomes, self.observations = collections.Counter(), collections.Counter(), collections.Counter()
        self.on_server = {}  # what acknowledgements promised: {device: n}
        self.broken = []
        self.stopping, self.quiet = threading.Event(), threading.Event()

        self.begin()
        threads = [threading.Thread(target=self.guard, args=what) for what in self.works()]
        for thread in threads:
            thread.start()
        try:
            self.kill_until(time.monotonic() + seconds)
        finally:
            self.stopping.set()
            with self.lock:
                for process in self.running.values():
                    process.kill()
            for thread in threads:
                thread.join()
        print(f"kills {dict(self.kills)}, syncs {dict(self.outcomes)}, observations {sum(self.observations.values())}", flush=True)
        if not self.broken:
            self.settle()
        if self.broken:
            self.fail(f"seed {self.seed}, files in {self.folder}:\n" + "\n".join(self.broken[:20]))
        subprocess.run(["rm", "-rf", self.folder], check=True)

    def begin(self):
        """The server's address, tokens and tables."""
        self.server = Server(os.path.join(self.folder, "server"))
        self.server.__enter__()
        self.tenant = os.path.join(self.folder, "server", "tenants", "acme.db")
        self.url = self.server.url
        self.tokens = {d.name: self.server.token(d.name, "--schema") for d in self.devices}
        self.ok("sync", self.devices[0].path, self.url, "--token", self.tokens[self.devices[0].name])  # makes the tables
        self.server.stop()

    def works(self):
        """What goes on at the same time: (function, arguments…)."""
        yield (self.keep_server,)
        for device in self.devices:
            yield self.keep_writing, device, random.Random(self.rng.random())
            yield self.keep_syncing, device, random.Random(self.rng.random())
            yield self.keep_watching, device
        yield self.keep_watching, None

    def ok(self, *arguments):
        done = Run(*arguments)
        self.assertEqual(done.code, 0, done)
        return done

    def guard(self, target, *arguments):
        """A thread's failure is the test's, and ends it."""
        try:
            target(*arguments)
        except Exception as error:
            self.broken.append(f"{time.strftime('%H:%M:%S')} {target.__name__}{[getattr(a, 'name', a) for a in arguments[:1]]}: {error!r}")
            self.quiet.set()

    def run_until_it_ends(self, label, command, **more):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **more)
        with self.lock:
            self.running[label] = process
            if self.stopping.is_set():
                process.kill()
        out, err = process.communicate()
        with self.lock:
            del self.running[label]
        return process.returncode, (out or b"").decode(), (err or b"").decode()

    def serve_command(self):
        """Always at the same address, by which devices know a server."""
        return [REJOIN, "serve", "--data", os.path.join(self.folder, "server"), "--listen", self.url.removeprefix("http://")]

    def keep_server(self):
        with open(os.path.join(self.folder, "server.log"), "ab") as log:
            while not self.stopping.is_set():
                code, _, _ = self.run_until_it_ends("server", self.serve_command(), stdout=subprocess.DEVNULL, stderr=log)
                if code != -signal.SIGKILL:
                    raise Broken(f"the server ended by itself with {code}; see server.log")

    def keep_writing(self, device, rng):
        while not self.stopping.is_set():
            command = [sys.executable, os.path.abspath(__file__), "--write", device.path, device.name, str(rng.random()), device.acknowledged, str(rng.randrange(2))]
            code, _, err = self.run_until_it_ends(f"writer of {device.name}", command, stderr=subprocess.PIPE)
            if code != -signal.SIGKILL:
                raise Broken(f"the writer ended by itself with {code}: {err}")

    def keep_syncing(self, device, rng):
        while not self.stopping.is_set():
            before = observe(device.path).get(device.name, 0)
            code, out, err = self.run_until_it_ends(f"sync of {device.name}", [REJOIN, "sync", device.path, self.url, "--token", self.tokens[device.name], "--json"],
                                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.outcomes[{0: "done", -signal.SIGKILL: "killed", 4: "no server"}.get(code, "other")] += 1
            if code == 0:
                told = json.loads(out)
                if told["rejected"] or told["parked"]:
                    raise Broken(f"rows were refused or parked: {out}")
                self.on_server[device.name] = before
            elif code not in (-signal.SIGKILL, 4, 5):
                raise Broken(f"the sync ended with {code}: {out}{err}")
            time.sleep(rng.random() * 0.3)

    def promises_of_the_server(self):
        return dict(self.on_server)

    def observe_server(self):
        """None when it cannot be seen at present."""
        return observe(self.tenant)

    def keep_watching(self, device):
        """A device's file, or what the server has."""
        seen, path = {}, device.path if device else "server"
        while not self.stopping.is_set():
            promised = {device.name: last_acknowledged(device.acknowledged)} if device else self.promises_of_the_server()
            now = observe(path) if device else self.observe_server()
            if now is None:
                time.sleep(0.1)
                continue
            for writer, n in {**seen, **promised}.items():
                if now.get(writer, 0) < max(n, seen.get(writer, 0)):
                    raise Broken(f"{path}: {writer} is at {now.get(writer, 0)}, was at {seen.get(writer, 0)}, promised was {promised.get(writer, 0)}")
            seen = now
            self.observations[path] += 1
            time.sleep(0.02)

    favourite = "server"  # what is killed more often than others
    kills_a_second = 4

    def kill_until(self, end):
        while time.monotonic() < end and not self.quiet.is_set():
            self.quiet.wait(self.rng.expovariate(self.kills_a_second))
            with self.lock:
                if not self.running:
                    continue
                label = self.rng.choice([self.favourite, *sorted(self.running)])
                if label in self.running:
                    self.running[label].kill()
                    self.kills[label.split(" ")[0]] += 1

    def writers(self):
        return [d.name for d in self.devices]

    def server_contents(self):
        return contents(self.tenant)

    def check_server(self):
        self.check_file(self.tenant)

    def check_file(self, path):
        self.assertEqual(integrity(path), [("ok",)], path)
        self.assertTrue(json.loads(self.ok("doctor", path, "--json").out)["sound"], path)

    def settle(self):
        """Everybody syncs until there is nothing new; then all are equal, complete and sound."""
        process = subprocess.Popen(self.serve_command(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            process.stdout.readline()  # it is ready
            fresh = Device(self.folder, 99)
            self.tokens[fresh.name] = self.server.token(fresh.name)
            for round_number in range(20):
                news = 0
                for device in [*self.devices, fresh]:
                    told = json.loads(self.ok("sync", device.path, self.url, "--token", self.tokens[device.name], "--json").out)
                    news += told["pushed"] + told["pulled"]
                    self.assertEqual((told["pending"], told["rejected"], told["parked"]), (0, 0, 0), (device.name, told))
                if not news:
                    break
            self.assertEqual(news, 0, f"still news after {round_number + 1} rounds")
        finally:
            process.terminate()
            process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)
        expected, reached = self.server_contents(), self.observe_server()
        self.assertEqual(sorted(reached), sorted(self.writers()))
        for writer, n in self.promises_of_the_server().items():
            self.assertGreaterEqual(reached[writer], n)
        for device in self.devices:
            self.assertGreaterEqual(reached[device.name], last_acknowledged(device.acknowledged))
            db = extended(device.path)
            self.assertEqual(db.execute("SELECT rejoin_site()").fetchone()[0], device.site, "a kill is no reason for a new site id")
            db.close()
        for path in [d.path for d in self.devices] + [fresh.path]:
            self.assertEqual(observe(path), reached, path)
            found = contents(path)
            for table in TABLES:
                self.assertEqual(found[table], expected[table], (path, table))
            self.check_file(path)
        self.check_server()
        print(f"transactions {sum(reached.values())} {reached}, rows {[len(expected[t]) for t in TABLES]}; all equal", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write_transactions(*sys.argv[2:6], sys.argv[6] == "1")
    unittest.main(verbosity=2)
