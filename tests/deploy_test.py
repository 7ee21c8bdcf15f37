"""deploy/: what it names exists, and a backup of either store comes back, with what devices wrote after it."""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

ROOT = os.environ.get("REJOIN_SOURCE_DIR", os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests", "interop"), os.path.join(ROOT, "scripts", "lib")]
from private_postgres import PrivatePostgres  # noqa: E402
from support import REJOIN, FolderTest, Run, Server, plain, rows  # noqa: E402

DEPLOY = os.path.join(ROOT, "deploy")
BACKUP = os.path.join(DEPLOY, "backup")


def read(*names):
    with open(os.path.join(ROOT, *names), encoding="utf-8") as file:
        return file.read()


class FilesTest(unittest.TestCase):
    def test_dashboard_and_alerts_name_only_metrics_and_labels_that_exist(self):
        table = {name: (kind, set(re.findall(r"`([a-z]+)`", labels)))
                 for name, kind, labels in re.findall(r"^\| `(rejoin_[a-z_]+)` \| (\w+) \| (.*?) \|", read("docs", "http.md"), re.M)}
        self.assertGreater(len(table), 15)
        board = json.loads(read("deploy", "grafana-dashboard.json"))
        panels = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
        alerts = re.findall(r"^        expr: (?:\|\n((?:          .*\n)+)|(.*)\n)", read("deploy", "prometheus-alerts.yaml"), re.M)
        alerts = [a or b for a, b in alerts]
        self.assertGreater(len(panels), 10)
        self.assertEqual(len(alerts), read("deploy", "prometheus-alerts.yaml").count("- alert:"))
        used = set()
        for expression in panels + alerts:
            names = re.findall(r"\brejoin_[a-z_]+", expression)
            self.assertTrue(names or "up{" in expression, expression)
            for name in names:
                kind = "histogram" if name not in table else table[name][0]
                base = re.sub(r"_(bucket|sum|count)$", "", name) if name not in table else name
                self.assertIn(base, table, expression)
                self.assertEqual(kind, table[base][0], expression)
                if kind == "counter":
                    self.assertIn("rate(" + name, expression)
                used.add(base)
            known = set().union(*(table[re.sub(r"_(bucket|sum|count)$", "", n) if n not in table else n][1] for n in names)) | {"instance", "le", "job"}
            grouped = {label for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(", ")}
            matched = set(re.findall(r"[{,]([a-z]+)[=!]", expression))
            self.assertLessEqual(grouped | matched, known, expression)
        self.assertEqual(set(table) - used, set(), "metrics that no panel and no alert shows")
        # A metric that is documented exists: scripts/checks compares docs/http.md with src/server/metrics.cc.

    def test_every_alert_says_what_to_do(self):
        text = read("deploy", "prometheus-alerts.yaml")
        self.assertEqual(text.count("- alert:"), text.count("          cure:"))
        self.assertEqual(text.count("- alert:"), text.count("          summary:"))

    def test_settings_in_the_files_are_settings(self):
        known = {"REJOIN_" + name.upper().replace("-", "_") for name in Run("serve", "--print-config", "--json").json} | {"REJOIN_SECRET"}
        for name in ("Dockerfile", "compose.yaml", "rejoin.service"):
            used = set(re.findall(r"\bREJOIN_[A-Z_]+", read("deploy", name)))
            self.assertLessEqual(used, known, name)
        serve = re.search(r"^ExecStart=/usr/local/bin/rejoin (.*)$", read("deploy", "rejoin.service"), re.M).group(1).split()
        self.assertEqual(serve[0], "serve")
        options = {"--" + name[7:].lower().replace("_", "-") for name in known} | {"--config"}
        self.assertLessEqual({word for word in serve if word.startswith("--")}, options)

    def test_the_image_has_what_the_binary_needs(self):
        docker = read("deploy", "Dockerfile")
        self.assertEqual(docker.count("FROM debian:12"), 2)
        self.assertLess(docker.rindex("USER rejoin"), docker.index("ENTRYPOINT"))
        self.assertIn("HEALTHCHECK", docker)
        installed = docker.rsplit("FROM", 1)[1]
        libraries = subprocess.run(["objdump", "-p", REJOIN], capture_output=True, text=True, check=True).stdout
        packages = {"sqlite3": "libsqlite3-0", "pq": "libpq5", "spdlog": "libspdlog1.10", "fmt": "libfmt9", "prometheus-cpp-core": "libprometheus-cpp-core1.0"}
        base = {"stdc++", "m", "gcc_s", "c", "asan", "ubsan", "tsan"}  # of debian:12-slim, with libstdc++6 by the others
        for name in re.findall(r"NEEDED +lib([\w+-]+)\.so", libraries):
            self.assertTrue(name in base or packages.get(name, "missing") in installed, name)
        for path in re.findall(r"^COPY ([a-zA-Z/.]+)", docker, re.M):
            self.assertTrue(os.path.exists(os.path.join(ROOT, path)), path)
        self.assertEqual(re.findall(r"^!(.*)$", read("deploy", "Dockerfile.dockerignore"), re.M),
                         ["CMakeLists.txt", "CMakePresets.json", "cmake", "docs/rooms.txt", "src"])

    def test_systemd_finds_nothing_wrong_with_the_unit(self):
        with tempfile.TemporaryDirectory() as folder:
            unit = os.path.join(folder, "rejoin.service")
            with open(unit, "w", encoding="utf-8") as file:
                file.write(read("deploy", "rejoin.service").replace("/usr/local/bin/rejoin ", REJOIN + " "))
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, [line for line in done.stderr.splitlines() if "rejoin.service" in line]), (0, []), done.stderr)


class BackupTest(FolderTest):
    def backup(self, *arguments, code=0):
        done = subprocess.run([BACKUP, *arguments], capture_output=True, text=True, check=False, env={**os.environ, "REJOIN": REJOIN}, stdin=subprocess.DEVNULL, timeout=300)
        self.assertEqual(done.returncode, code, (arguments, done.stdout, done.stderr))
        return done.stdout.strip() if code == 0 else done.stderr

    def add(self, path, *titles):
        db = plain(path)
        db.executemany("INSERT INTO todos(id, title) VALUES(?, ?)", [(title, title) for title in titles])
        db.close()

    def titles(self, path):
        return [row[0] for row in rows(path, order="id")]

    def sync(self, path, server, token, code=0):
        done = Run("sync", path, server.url, "--token", token, "--json")
        self.assertEqual((done.code, done.json["pending"]), (code, 0), done)

    def test_the_embedded_store_comes_back_with_what_was_written_after_the_backup(self):
        a, b = self.database("a.db"), self.database("b.db")
        to = self.path("backups")
        with Server(self.path("s")) as server:
            token = server.token("a", "--schema")
            other = server.token("x", "--schema", tenant="Other Ünit")
            self.add(a, "1", "2")
            self.sync(a, server, token)
            self.sync(self.database("x.db"), server, other)
            # While somebody writes all the time.
            stop = threading.Event()

            def write():
                path, n = self.database("busy.db"), 0
                busy = server.token("busy")
                while not stop.is_set():
                    n += 1
                    self.add(path, f"busy {n}")
                    self.sync(path, server, busy)

            thread = threading.Thread(target=write)
            thread.start()
            try:
                saved = self.backup("save", "--data", self.path("s"), "--to", to)
            finally:
                stop.set()
                thread.join()
            self.assertEqual(os.path.dirname(saved), to)
            self.assertEqual(os.listdir(to), [os.path.basename(saved)])
            self.assertEqual(len(os.listdir(os.path.join(saved, "tenants"))), 2)
            self.add(a, "3")
            self.sync(a, server, token)  # after the backup
        self.assertIn(f"--from '{saved}'", self.backup("check", "--from", to, code=1))  # the folder of backups is none
        self.backup("check", "--from", saved)
        shutil.rmtree(self.path("s"))  # the disaster
        self.assertIn("not empty", self.backup("restore", "--from", saved, "--data", to, code=1))
        self.backup("restore", "--from", saved, "--data", self.path("s"))
        with Server(self.path("s")) as server:
            self.add(a, "4")
            self.sync(a, server, token)  # the token is good: the secret came back too
            self.sync(b, server, server.token("b"))
        mine = [title for title in self.titles(b) if not title.startswith("busy")]
        self.assertEqual(mine, ["1", "2", "3", "4"])

    def test_a_server_that_starts_with_nothing_gets_back_what_a_device_has(self):
        a, b, c = (self.database(name) for name in ("a.db", "b.db", "c.db"))
        with Server(self.path("s")) as server:
            self.add(a, "1")
            self.add(b, "2")
            for _ in range(2):
                for path, name in ((a, "a"), (b, "b")):
                    self.sync(path, server, server.token(name, "--schema"))
            port = server.port
        shutil.rmtree(self.path("s"))
        os.remove(b)  # never comes back
        with Server(self.path("s"), "--recover", port=port) as server:
            self.sync(a, server, server.token("a", "--schema"))
        with Server(self.path("s"), port=port) as server:
            self.sync(c, server, server.token("c"))
            self.add(a, "3")
            self.sync(a, server, server.token("a"))
            self.sync(c, server, server.token("c"))
        self.assertEqual(self.titles(c), ["1", "2", "3"])

    def test_a_damaged_backup_is_noticed(self):
        with Server(self.path("s")) as server:
            a = self.database("a.db")
            self.add(a, "1")
            self.sync(a, server, server.token("a", "--schema"))
            saved = self.backup("save", "--data", self.path("s"), "--to", self.path("backups"))
        file = glob.glob(os.path.join(saved, "tenants", "*.db"))[0]
        with open(file, "r+b") as f:
            f.seek(5000)
            byte = f.read(1)
            f.seek(5000)
            f.write(bytes([byte[0] ^ 1]))
        for action in (("check",), ("restore", "--data", self.path("new"))):
            self.assertIn("damaged", self.backup(*action, "--from", saved, code=1))
        self.assertFalse(os.path.exists(self.path("new")))
        # Also when somebody has written the sums anew: the drill looks inside.
        with open(file, "r+b") as f:
            f.truncate(8192)
        subprocess.run("find . -type f ! -name SHA256SUMS -print0 | xargs -0 sha256sum > SHA256SUMS", shell=True, cwd=saved, check=True)
        self.assertIn("damaged", self.backup("check", "--from", saved, code=1))

    def test_wrong_calls_are_told_what_is_right(self):
        os.makedirs(self.path("empty"))
        for arguments in ((), ("save",), ("save", "--to", self.path("b")), ("save", "--data", self.path("none"), "--to", self.path("b")),
                          ("save", "--data", self.path("empty"), "--to", self.path("b")), ("check",), ("check", "--from", self.path("empty")),
                          ("restore", "--from", self.path("empty")), ("save", "--data"), ("save", "--nonsense", "x")):
            self.assertTrue(self.backup(*arguments, code=1).splitlines()[-1].startswith("error: "), arguments)
        self.assertEqual([name for name in os.listdir(self.folder) if name == "b" and os.listdir(self.path("b"))], [])
        self.assertIn("deploy/backup save", self.backup("--help"))

    def test_postgresql_comes_back_with_what_was_written_after_the_backup(self):
        with PrivatePostgres() as postgres:
            # No superuser is needed: the owner is under row-level security, too.
            postgres.psql("CREATE ROLE owner LOGIN CREATEDB; CREATE ROLE app_sync LOGIN; CREATE DATABASE app OWNER owner")
            app, as_server = postgres.url("owner", "app"), postgres.url("app_sync", "app")
            postgres.psql("CREATE TABLE todos(id text PRIMARY KEY, title text NOT NULL, done bigint DEFAULT 0, priority bigint)", "owner", "app")
            self.ok("pg", "init", "--role", "app_sync", "--postgres", app)
            self.ok("pg", "track", "todos", "--tenant", "acme", "--postgres", app)
            postgres.psql("GRANT SELECT, INSERT, UPDATE, DELETE ON todos TO app_sync", "owner", "app")
            a, b = self.database("a.db"), self.database("b.db")
            with Server(self.path("s"), "--postgres", as_server) as server:
                token = server.token("a")
                self.add(a, "1", "2")
                self.sync(a, server, token)
                saved = self.backup("save", "--postgres", app, "--data", self.path("s"), "--to", self.path("backups"))
                self.add(a, "3")
                postgres.psql("INSERT INTO todos(id, title) VALUES('by SQL', 'x'); UPDATE todos SET priority = 7 WHERE id = '1'", "owner", "app")
                self.sync(a, server, token)  # after the backup
            self.backup("check", "--from", saved, "--postgres", postgres.url("owner"))
            postgres.psql("CREATE TABLE theirs(id integer); ALTER TABLE theirs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY", "owner", "app")
            self.assertIn("theirs", self.backup("save", "--postgres", app, "--to", self.path("backups"), code=1))
            postgres.psql("DROP TABLE theirs", "owner", "app")
            self.assertIn("--postgres", self.backup("check", "--from", saved, code=1))
            self.assertIn("has", self.backup("restore", "--from", saved, "--postgres", app, code=1))
            databases = postgres.psql("SELECT count(*) FROM pg_database WHERE datname LIKE 'rejoin_drill%'")
            self.assertEqual(databases, "0")
            postgres.psql("ALTER DATABASE app RENAME TO lost")
            postgres.psql("CREATE DATABASE app OWNER owner")
            shutil.rmtree(self.path("s"))
            self.backup("restore", "--from", saved, "--postgres", app, "--data", self.path("s"))
            # A dump has no statistics, without which PostgreSQL plans badly.
            self.assertEqual(postgres.psql("SELECT reltuples FROM pg_class WHERE oid = 'rejoin.record'::regclass", database="app"), "2")
            with Server(self.path("s"), "--postgres", as_server) as server:
                self.add(a, "4")
                self.sync(a, server, token)
                self.sync(b, server, server.token("b"))
            self.assertEqual(self.titles(b), ["1", "2", "3", "4", "by SQL"])
            everything = "1/7 2/0 3/0 4/0 by SQL/0"
            self.assertEqual(postgres.psql("SELECT string_agg(id || '/' || coalesce(priority, 0), ' ' ORDER BY id COLLATE \"C\") FROM todos", database="app"), everything)
            self.ok("pg", "doctor", "--postgres", app)


if __name__ == "__main__":
    unittest.main(verbosity=2)
