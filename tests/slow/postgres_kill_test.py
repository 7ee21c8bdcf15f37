"""The promises of kill_test.py with PostgreSQL as the store, under more deaths: two server nodes that the devices' requests switch between are
killed, psql sessions that write to the same tables beside the devices are killed in the middle of transactions, and PostgreSQL itself stops at
once (SIGQUIT: no checkpoint, no farewell) and recovers.

What PostgreSQL holds is observed in one statement, so in one snapshot. Those who write by SQL keep the promises of a device: theirs are in
counters, accounts, journal and shared too, and must arrive on the devices as whole transactions.

REJOIN_KILL_SECONDS (300), REJOIN_KILL_DEVICES (4), REJOIN_KILL_SQL (2), REJOIN_SEED.
"""

import collections
import os
import random
import signal
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, ".."), os.path.join(HERE, "..", "interop"), os.path.join(HERE, "..", "..", "scripts", "lib")]
import kill_test  # noqa: E402
from kill_test import ACCOUNTS, KEPT, LOOKS, SCHEMA, TABLES, Broken, judge  # noqa: E402
from private_postgres import PrivatePostgres, Session  # noqa: E402
from support import REJOIN, Server  # noqa: E402
from sync_over_http_test import Between  # noqa: E402

DATABASE = "app"
# The words of a session that was ended, or that was one too many in a deadlock. Anything else is a failure of the test.
FAREWELLS = ("deadlock detected", "terminating connection", "server closed the connection", "Connection refused", "No such file", "starting up",
             "shutting down", "in recovery mode", "connection to server was lost", "could not receive data", "could not send data", "not yet accepting")


def sql_transaction(session, writer, rng):
    """One transaction of a direct writer; returns its number when it is committed, None when it was rolled back."""
    row = session.run(f"BEGIN; SELECT n, low FROM counters WHERE device = '{writer}' FOR UPDATE;")
    n, low = map(int, row.split("|")) if row else (0, 1)
    sql = []
    n += 1
    if not row:
        sql.append(f"INSERT INTO counters VALUES('{writer}', 1, 1); INSERT INTO accounts SELECT '{writer}', i, 0, 1 FROM generate_series(0, {ACCOUNTS - 1}) AS i;")
    count, size = (3000, 15) if rng.randrange(300) == 0 else (rng.randrange(1, 12), 1)
    sql.append(f"INSERT INTO journal SELECT '{writer}/{n}/' || i, '{writer}', {n}, {count}, repeat(md5(random()::text), {size}) FROM generate_series(1, {count}) AS i;")
    first, second = rng.sample(range(ACCOUNTS), 2)
    amount = rng.randrange(1, 1000)
    sql.append(f"UPDATE accounts SET balance = balance - {amount}, n = {n} WHERE device = '{writer}' AND id = {first};")
    if n - low >= KEPT:
        low += 1
        sql.append(f"DELETE FROM journal WHERE device = '{writer}' AND n < {low};")
    if rng.randrange(3) == 0:
        value = rng.getrandbits(40)
        sql.append(f"INSERT INTO shared VALUES('shared{rng.randrange(20)}', {value}, {value}) ON CONFLICT(id) DO UPDATE SET a = excluded.a, b = excluded.b;")
    sql.append(f"UPDATE accounts SET balance = balance + {amount}, n = {n} WHERE device = '{writer}' AND id = {second};")
    sql.append(f"UPDATE counters SET n = {n}, low = {low} WHERE device = '{writer}';")
    for statement in sql:
        session.run(statement)
    if rng.randrange(20) == 0:
        session.run("ROLLBACK;")
        return None
    session.run("COMMIT;")
    return n


class PostgresKillTest(kill_test.KillTest):
    favourite = "node 0"
    kills_a_second = 1
    seconds_between_crashes = 7

    def begin(self):
        self.postgres = PrivatePostgres()
        self.postgres.__enter__()
        self.addCleanup(self.postgres.__exit__)
        self.postgres.psql(f"CREATE ROLE owner LOGIN; CREATE ROLE runtime LOGIN; CREATE ROLE service LOGIN; CREATE DATABASE {DATABASE} OWNER owner")
        tables = SCHEMA.replace(" WITHOUT ROWID", "").replace("INTEGER", "bigint")
        self.postgres.psql(tables + "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO runtime, service", "owner", DATABASE)
        for arguments in (("init", "--role", "runtime"), ("track", *TABLES, "--tenant", "acme")):
            self.ok("pg", *arguments, "--postgres", self.postgres.url("owner", DATABASE))
        self.nodes = [Server(os.path.join(self.folder, "server"), "--postgres", self.postgres.url("runtime", DATABASE)) for _ in range(2)]
        for node in self.nodes:
            node.__enter__()
        self.server = self.nodes[0]
        self.tokens = {d.name: self.server.token(d.name) for d in self.devices}
        for node in self.nodes:
            node.stop()
        self.url = self.front()
        self.sql_writers = [f"sql{i}" for i in range(int(os.environ.get("REJOIN_KILL_SQL", "2")))]
        self.committed = {}
        self.crashes = 0

    def front(self):
        """One address for all, by which devices know a server."""
        self.between = Between(self.server)
        self.between.fate = self.any_node
        self.between.__enter__()
        self.addCleanup(self.between.__exit__)
        return self.between.url

    def calm_front(self):
        """Everything to the first node."""
        self.between.server, self.between.fate = self.nodes[0], lambda _: "pass"

    def any_node(self, _):
        self.between.server = random.choice(self.nodes)
        return "pass"

    def works(self):
        yield from (w for w in super().works() if w[0] != self.keep_server)
        for i, node in enumerate(self.nodes):
            yield self.keep_node, f"node {i}", node
        for writer in self.sql_writers:
            yield self.keep_writing_sql, writer, random.Random(self.rng.random())
        yield self.keep_crashing, random.Random(self.rng.random())

    def node_command(self, node):
        return [REJOIN, "serve", "--data", node.data, "--postgres", self.postgres.url("runtime", DATABASE), "--listen", f"127.0.0.1:{node.port}"]

    def serve_command(self):
        return self.node_command(self.nodes[0])

    def keep_node(self, label, node):
        with open(os.path.join(self.folder, label.replace(" ", "") + ".log"), "ab") as log:
            while not self.stopping.is_set():
                code, _, _ = self.run_until_it_ends(label, self.node_command(node), stdout=subprocess.DEVNULL, stderr=log)
                if code != -signal.SIGKILL:
                    raise Broken(f"{label} ended by itself with {code}; see its log")

    def keep_writing_sql(self, writer, rng):
        label = f"psql of {writer}"
        while not self.stopping.is_set():
            session = Session(self.postgres.psql_command("service", DATABASE))
            with self.lock:
                self.running[label] = session.process
            try:
                while not self.stopping.is_set():
                    n = sql_transaction(session, writer, rng)
                    if n is not None:
                        self.committed[writer] = n
                    time.sleep(rng.random() * 0.03)
            except (EOFError, BrokenPipeError) as error:
                session.process.wait(30)
                said = str(error) + session.process.stderr.read()
                if session.process.returncode != -signal.SIGKILL and not any(f in said for f in FAREWELLS):
                    raise Broken(f"{writer}: psql ended with {session.process.returncode}: {said}") from None
                self.outcomes["psql " + next((f for f in FAREWELLS if f in said), "killed")] += 1
                time.sleep(0.1)
            finally:
                with self.lock:
                    del self.running[label]
                session.__exit__()

    def keep_crashing(self, rng):
        while not self.stopping.wait(rng.expovariate(1 / self.seconds_between_crashes)):
            self.postgres.crash()
            self.crashes += 1
            time.sleep(rng.random() * 0.5)
            self.postgres.start()

    def promises_of_the_server(self):
        return {**self.on_server, **self.committed}

    def observe_server(self):
        sql = "SELECT " + ", ".join("(SELECT coalesce(json_agg(v), '[]') FROM (SELECT (SELECT json_agg(value) FROM json_each(row_to_json(q))) AS v "
                                    f"FROM ({look}) AS q) AS r)" for look in LOOKS)
        try:
            seen = self.postgres.rows(sql, database=DATABASE)
        except subprocess.CalledProcessError as error:
            if not any(f in error.stderr for f in FAREWELLS):
                raise Broken(error.stderr) from None
            return None
        return judge(*seen[0])

    def writers(self):
        return super().writers() + self.sql_writers

    def server_contents(self):
        return {table: [tuple(r) for r in self.postgres.rows(f"SELECT * FROM {table} ORDER BY 1, 2", database=DATABASE)] for table in TABLES}

    def settle(self):
        self.calm_front()
        super().settle()

    def check_server(self):
        self.ok("pg", "doctor", "--postgres", self.postgres.url("owner", DATABASE))
        print(f"PostgreSQL stopped at once {self.crashes} times", flush=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
