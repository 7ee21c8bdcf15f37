"""Every example of docs/sql.md, docs/cli.md and docs/postgres.md works as it is printed there."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import unittest

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), *f) for f in (("interop",), ("..", "scripts", "lib"))]
from private_postgres import PrivatePostgres  # noqa: E402
from support import DIST, EXTENSION, REJOIN, ROOT, FolderTest, Server, plain  # noqa: E402

SCHEMA = """
CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0);
CREATE TABLE lists(id TEXT PRIMARY KEY, name TEXT);
CREATE TABLE stops(country TEXT, n INTEGER, name TEXT, PRIMARY KEY(country, n));
CREATE TABLE counters(id INTEGER PRIMARY KEY, n INTEGER);
INSERT INTO todos(id, title) VALUES('1', 'milk'), ('01936f5e-8a1c-7cc2-b1d0-4b1f5f1c2f6a', 'eggs');
INSERT INTO stops VALUES('DE', 4, 'Ulm');
"""
URL = "http://127.0.0.1:8427"


def examples(name, start):
    """(section, line) of the indented lines that match `start`."""
    section = ""
    with open(os.path.join(ROOT, "docs", name), encoding="utf-8") as file:
        for line in file.read().split("\n"):
            if line.startswith("#"):
                section = line
            elif re.match(r"    (" + start + r")\b", line):
                yield section, line.strip()


class SqlReferenceTest(FolderTest):
    def run_sql(self, sql):
        done = subprocess.run(["sqlite3", "-batch", "-bail", "app.db", f".load {EXTENSION}", sql], capture_output=True, text=True, check=False,
                              cwd=self.folder, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, f"{sql}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def test_every_statement_runs_and_gives_what_its_comment_says(self):
        db = plain(self.path("app.db"))
        db.executescript(SCHEMA)
        db.close()
        count = 0
        with Server(self.path("server")) as server:
            token = server.token("a", "--schema")
            for section, line in examples("sql.md", "SELECT|INSERT|CREATE"):
                if line.startswith("CREATE TABLE todos"):
                    self.run_sql("SELECT rejoin_untrack('todos')")
                    self.run_sql("DROP TABLE todos")
                line = line.replace(URL, server.url)
                if "rejoin_changeset(1200)" in line:
                    line = line.replace("1200", "0")
                if "rejoin_untrack" in line:  # the sections after it need the table
                    self.run_sql("BEGIN; " + line.split(";")[0] + "; ROLLBACK")
                    count += 1
                    continue
                sql, _, comment = line.partition("--")
                got = self.run_sql(sql.replace("eyJhbGciOi…", token))  # which may have two hyphens
                count += 1
                if "rejoin_restore" in line:
                    self.assertEqual(got, "0", section)
                if comment.strip() == "[]":
                    self.assertEqual(got, "[]")
                if re.match(r"SELECT rejoin_(sync|status|version)\(\)", line):
                    self.shape(section, json.loads(got))
        self.assertGreater(count, 15)

    def shape(self, section, got):
        """The documented JSON object of this section has the same members."""
        with open(os.path.join(ROOT, "docs", "sql.md"), encoding="utf-8") as file:
            text = file.read().split(section + "\n")[1].split("\n### ")[0]
        told = re.search(r'\{"(?:[^{}]|\n)*\}', text).group(0)
        self.assertEqual(list(json.loads(told)), list(got), section)

    def test_status_and_explain_have_the_documented_members(self):
        db = plain(self.path("app.db"))
        db.executescript(SCHEMA)
        db.close()
        self.run_sql("SELECT rejoin_track('todos')")
        self.run_sql("UPDATE todos SET title = 'oat milk' WHERE id = '1'")
        self.shape("### `rejoin_status()`", json.loads(self.run_sql("SELECT rejoin_status()")))
        told = json.loads(self.run_sql("SELECT rejoin_explain('todos', '1')"))
        self.assertEqual(list(told), ["table", "key", "alive", "visible", "born", "liveness", "columns"])
        self.assertEqual(set(told["columns"]["title"]["written"]), {"time", "hlc", "site", "mine"})
        self.assertEqual(told["columns"]["done"]["written"]["time"], None)
        with open(os.path.join(ROOT, "docs", "sql.md"), encoding="utf-8") as file:
            text = file.read()
        for member in [*told, *told["columns"]["title"]["written"], "won_against", "parked", "note"]:
            self.assertRegex(text, rf'["`]{member}["`]')


class CommandLineReferenceTest(FolderTest):
    def test_every_command_runs(self):
        db = plain(self.path("app.db"))
        db.executescript(SCHEMA)
        db.close()
        shutil.copy(self.path("app.db"), self.path("copy.db"))
        os.symlink(DIST, self.path("dist"))
        os.mkdir(self.path("bin"))
        os.symlink(REJOIN, self.path("bin", "rejoin"))
        with open(self.path("secret"), "w", encoding="ascii") as file:
            file.write("0123456789abcdef0123456789abcdef0123456789abcdef")
        os.chmod(self.path("secret"), 0o600)
        self.ok("track", self.path("app.db"), "stops")
        self.ok("track", self.path("copy.db"), "--all")
        with Server(self.path("server")) as server:
            with open(self.path("device.token"), "w", encoding="ascii") as file:
                file.write(server.token("a", "--schema"))
            commands = [line for _, line in examples("cli.md", "rejoin|sqlite3")]
            self.assertGreater(len(commands), 20)
            for line in commands:
                if line.startswith(("rejoin serve", "rejoin pg", "rejoin live listen")) or line.endswith("--watch"):
                    continue  # ServerTest of command_line_test.py; below; live_connection_test.py
                if "--postgres" in line:
                    continue  # admin_test.py
                if line.startswith("rejoin inspect todos"):
                    subprocess.run(["sqlite3", "-batch", "-bail", self.path("app.db"), f".load {EXTENSION}",
                                    f"SELECT writefile('{self.path('todos.changeset')}', rejoin_changeset(0))"], check=True, capture_output=True)
                told = line.replace(URL, server.url).replace("/etc/rejoin/secret", self.path("secret"))
                done = subprocess.run(["bash", "-o", "pipefail", "-c", told], capture_output=True, text=True, check=False, cwd=self.folder,
                                      stdin=subprocess.DEVNULL, env={**os.environ, "PATH": self.path("bin") + ":" + os.environ["PATH"]})
                self.assertEqual(done.returncode, 0, f"{told}\n{done.stdout}{done.stderr}")
                if "untrack" in told:
                    self.ok("track", self.path("app.db"), "todos", "lists")

    def test_every_command_for_postgres_runs(self):
        with PrivatePostgres() as postgres:
            for page, least in (("cli.md", 3), ("postgres.md", 2)):
                postgres.psql("DROP DATABASE IF EXISTS app; DROP ROLE IF EXISTS owner, app_sync; CREATE ROLE owner LOGIN; CREATE ROLE app_sync LOGIN")
                postgres.psql("CREATE DATABASE app OWNER owner")
                postgres.psql("""CREATE TABLE todos(id text PRIMARY KEY, title text); CREATE SCHEMA billing;
                                 CREATE TABLE billing.invoices(org_id text, id text, total numeric, PRIMARY KEY(org_id, id))""", "owner", "app")
                commands = [line for _, line in examples(page, "rejoin pg")]
                self.assertGreaterEqual(len(commands), least)
                for line in commands:
                    words = shlex.split(line.split(" #")[0].replace("@localhost/", f"@{postgres.host}/"))[1:]
                    self.ok(*words, env={"REJOIN_POSTGRES": postgres.url("owner", "app")})

    def test_the_exit_statuses_of_the_table_are_those_of_the_errors(self):
        with open(os.path.join(ROOT, "docs", "cli.md"), encoding="utf-8") as file:
            documented = set(map(int, re.findall(r"^\| (\d+) \|", file.read(), re.M)))
        listed = {error["exit"] for error in self.ok("errors", "--json").json}
        self.assertLessEqual(listed, documented)
        self.assertEqual(documented, {0, 1, 2, 3, 4, 5, 6, 7, 130})

    def test_every_example_of_the_helps_is_a_command_that_parses(self):
        for command in re.findall(r"^  (\w+) ", self.ok("--help").out.split("Subcommands:")[1].split("Begin")[0], re.M):
            for line in re.findall(r"^  (rejoin .*)$", self.ok(command, "--help").out.split("Example")[1], re.M):
                words = shlex.split(line)[1:]
                if words[0] in ("serve", "token", "errors"):
                    continue
                if words[0] == "pg" or "--postgres" in words:
                    words = ["postgres://nobody@%2Fnowhere/none" if "://" in w else w for w in words]
                    done = self.refused(4, *words, "--json", env={"REJOIN_POSTGRES": "postgres://nobody@%2Fnowhere/none"})
                    self.assertEqual(done.json["error"]["code"], "network", line)
                else:
                    words = [w if not w.endswith((".db", ".changeset", ".token")) else self.path("none-" + w) for w in words]
                    self.assertEqual(self.refused(6, *words, "--json").json["error"]["code"], "not_found", line)


if __name__ == "__main__":
    unittest.main(verbosity=2)
