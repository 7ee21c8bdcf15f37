"""A PostgreSQL of one's own, for the demo and the tests: a temporary folder, a Unix socket, nothing that outlives the block.

PostgreSQL refuses to run as root, so it then runs as `postgres`, or as `nobody`. Roles come in without a password, all
but `guarded`.
"""

import concurrent.futures
import glob
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.parse

ADMIN = "admin"


class NoPostgres(Exception):
    """Says what is missing and how to get it."""


def programs():
    """The folder of initdb, postgres and psql."""
    given = os.environ.get("REJOIN_POSTGRES_BIN")
    found = [given] if given else sorted((os.path.dirname(p) for p in glob.glob("/usr/lib/postgresql/*/bin/initdb")),
                                         key=lambda p: float(p.split("/")[-2]))
    if not found:
        raise NoPostgres("there is no PostgreSQL below /usr/lib/postgresql. Run scripts/setup, or set REJOIN_POSTGRES_BIN to the folder of its initdb")
    return found[-1]


class PrivatePostgres:
    """Started by the block, stopped at its end. `settings`: of postgresql.conf; `initdb`: more of its options; `data`: an empty folder for its data.
    Any thread may call."""

    def __init__(self, initdb=(), data=None, **settings):
        self.initdb, self.data = initdb, data
        self.settings = {"listen_addresses": "", "fsync": "off", "max_connections": "50", "shared_buffers": "32MB",
                         "password_encryption": "scram-sha-256", **settings}
        self.bin = programs()
        self.process = None
        self.starter = concurrent.futures.ThreadPoolExecutor(1)  # it dies with the thread that started it, so that must be one that stays

    def __enter__(self):
        self.user = self.unprivileged_user()
        self.folder = tempfile.mkdtemp(prefix="rejoin-pg-", dir="/tmp")  # the socket's path must be short
        try:
            if self.user:
                os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
            self.data, self.log = self.data or os.path.join(self.folder, "data"), os.path.join(self.folder, "log")
            self.fill()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def fill(self):
        """Makes its data."""
        self.run("initdb", "-D", self.data, "-U", ADMIN, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", *self.initdb)
        with open(os.path.join(self.data, "pg_hba.conf"), "w", encoding="ascii") as file:
            file.write("local all guarded scram-sha-256\nlocal all,replication all trust\n")

    def run(self, name, *arguments):
        """One of PostgreSQL's programs, as the unprivileged user."""
        done = subprocess.run(self.as_user(os.path.join(self.bin, name), *arguments), cwd=self.folder, capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, start_new_session=True)
        if done.returncode:
            raise NoPostgres(f"{name} failed:\n{done.stdout}{done.stderr}")

    def __exit__(self, *_):
        self.stop()
        self.starter.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def unprivileged_user():
        if os.geteuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            try:
                return pwd.getpwnam(name)
            except KeyError:
                pass
        raise NoPostgres("root may not run PostgreSQL, and there is neither a user postgres nor nobody")

    def as_user(self, *command):
        """The command as the unprivileged user; it ends when this process does."""
        who = ["--reuid", str(self.user.pw_uid), "--regid", str(self.user.pw_gid), "--clear-groups"] if self.user else []
        return ["setpriv", *who, "--pdeathsig", "QUIT", *command]

    def start(self, **settings):
        """Starts it, again after stop() or crash(). Ctrl-C in a terminal does not reach it: whoever started it stops it."""
        options = [o for name, value in {**self.settings, **settings}.items() for o in ("-c", f"{name}={value}")]
        with open(self.log, "ab") as log:
            self.process = self.starter.submit(
                subprocess.Popen, self.as_user(os.path.join(self.bin, "postgres"), "-D", self.data, "-k", self.folder, *options),
                cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True).result()
        deadline = time.monotonic() + 60
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log, encoding="utf-8", errors="replace") as log:
                    raise NoPostgres("PostgreSQL does not start:\n" + log.read()[-2000:])
            time.sleep(0.02)

    def program(self, name):
        """Builds of the server alone are used with whatever client there is: it knows older and newer ones."""
        own = os.path.join(self.bin, name)
        return own if os.path.exists(own) else shutil.which(name) or own

    def answers(self):
        return subprocess.run([self.program("pg_isready"), "-q", "-h", self.folder], check=False, stdin=subprocess.DEVNULL).returncode == 0

    def stop(self, how=signal.SIGINT):
        """Ends its sessions and stops it. SIGQUIT stops it at once, as a crash would."""
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(60)
            self.process = None

    def crash(self):
        self.stop(signal.SIGQUIT)

    def kill(self):
        """kill -9 of all its processes, as when its machine dies."""
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=True)
        with open(os.path.join(self.data, "postmaster.pid"), encoding="ascii") as file:
            segment = file.read().split("\n")[6].split()[1]
        for pid in (self.process.pid, *map(int, listed.stdout.split())):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(60)
        self.process = None
        subprocess.run(["ipcrm", "-m", segment], check=False, capture_output=True)  # the only thing that outlives it

    def back_up(self):
        """A copy of all it has; it must be stopped."""
        shutil.rmtree(self.data + ".copy", ignore_errors=True)
        subprocess.run(["cp", "-a", self.data, self.data + ".copy"], check=True)

    def go_back(self):
        """To that copy; it must be stopped."""
        shutil.rmtree(self.data)
        os.rename(self.data + ".copy", self.data)

    def url(self, role=ADMIN, database="postgres", password=None):
        secret = ":" + urllib.parse.quote(password, safe="") if password else ""
        return f"postgres://{role}{secret}@{self.host}/{database}"

    @property
    def host(self):
        """As an address has it."""
        return urllib.parse.quote(self.folder, safe="")

    def psql_command(self, role=ADMIN, database="postgres"):
        return [self.program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", self.url(role, database)]

    def psql(self, sql, role=ADMIN, database="postgres"):
        """Runs SQL as `role` and returns what it printed. Raises subprocess.CalledProcessError with the message when it fails."""
        done = subprocess.run(self.psql_command(role, database), input=sql, capture_output=True, text=True, check=False, cwd="/")
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, sql, done.stdout, done.stderr)
        return done.stdout.rstrip("\n")

    def rows(self, sql, role=ADMIN, database="postgres"):
        """A query's rows, as lists of what JSON makes of the values."""
        told = self.psql(f"SELECT coalesce(json_agg(v), '[]') FROM (SELECT (SELECT json_agg(value) FROM json_each(row_to_json(q))) AS v FROM ({sql}) AS q) AS r",
                         role, database)
        return json.loads(told)


class Standby(PrivatePostgres):
    """A second one, which follows another by streaming replication until it is promoted."""

    def __init__(self, primary, **settings):
        super().__init__(**settings)
        self.primary = primary

    def fill(self):
        # Its name there, for synchronous_standby_names.
        conninfo = f"host={self.primary.folder} user={ADMIN} application_name=standby"
        self.run("pg_basebackup", "-D", self.data, "-d", conninfo, "-R", "-X", "stream", "-c", "fast", "--no-sync")

    def promote(self):
        """Makes it take writes; returns when it does."""
        self.psql("SELECT pg_promote()")


class Session:
    """A psql that stays: what run() sends is one session's, so that a transaction can be kept open."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")

    def run(self, sql):
        """What it printed. Raises BrokenPipeError or EOFError when the session has ended."""
        self.process.stdin.write(sql + "\n\\echo <<done>>\n")
        self.process.stdin.flush()
        out = []
        for line in self.process.stdout:
            if line == "<<done>>\n":
                return "".join(out).rstrip("\n")
            out.append(line)
        raise EOFError(self.process.stderr.read())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                pipe.close()
            except BrokenPipeError:
                pass
        self.process.wait()
