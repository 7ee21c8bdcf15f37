"""A private PostgreSQL for a benchmark: in a temporary folder, on a Unix socket, as an unprivileged user, stopped at the end."""
import glob
import os
import pwd
import shutil
import signal
import subprocess
import time

from common import die
from processes import TICKS


class Postgres:
    # fsync is on: an acknowledgement promises what a disk has.
    SETTINGS = ["listen_addresses=", "shared_buffers=256MB", "max_wal_size=2GB", "max_connections=100"]

    def __init__(self, folder):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not found:
            die("no PostgreSQL there. Run scripts/setup, or: apt-get install postgresql-15")
        self.bin = found[-1]
        self.folder = os.path.join(folder, "postgres")
        os.mkdir(self.folder)
        self.user = {}
        if os.geteuid() == 0:  # initdb refuses root
            name = next((u.pw_name for u in pwd.getpwall() if u.pw_name == "postgres"), "nobody")
            self.user = {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}
            os.chmod(folder, 0o755)
            shutil.chown(self.folder, name)
        data = os.path.join(self.folder, "data")
        done = subprocess.run([f"{self.bin}/initdb", "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-locale"],
                              cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **self.user)
        if done.returncode:
            die(f"initdb: {done.stderr}")
        settings = [word for setting in self.SETTINGS for word in ("-c", setting)]
        self.log = open(os.path.join(folder, "postgres.log"), "w")
        self.process = subprocess.Popen([f"{self.bin}/postgres", "-D", data, "-k", self.folder, *settings], cwd="/",
                                        stdout=self.log, stderr=subprocess.STDOUT, **self.user)
        for _ in range(200):
            if self.psql("postgres", "SELECT 1", check=False) == 0:
                return
            time.sleep(0.05)
        self.stop()
        die(f"PostgreSQL does not start:\n{open(self.log.name).read()}")

    def url(self, database, user="bench"):
        return f"postgres:///{database}?host={self.folder}&user={user}"

    def psql(self, database, *statements, check=True):
        words = [word for statement in statements for word in ("-c", statement)]
        done = subprocess.run([f"{self.bin}/psql", "-qX", "-v", "ON_ERROR_STOP=1", self.url(database), *words],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if check and done.returncode:
            die(f"psql: {done.stderr}")
        return done.returncode

    def cpu(self):
        """CPU seconds of all its processes, those that have ended included."""
        ticks = 0
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                name, fields = open(path).read().rsplit(")", 1)
            except OSError:
                continue  # it has just ended
            fields = fields.split()
            if int(fields[1]) == self.process.pid:
                ticks += int(fields[11]) + int(fields[12])
            elif name.startswith(f"{self.process.pid} "):
                ticks += sum(map(int, fields[11:15]))
        return ticks / TICKS

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.log.close()
