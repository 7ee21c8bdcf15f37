"""PgBouncer in transaction mode, as a test's PostgreSQL is often reached."""

import os
import signal
import subprocess

from http_peer import wait_for


class PgBouncer:
    """Started by the block, stopped at its end; any role comes in. It may not run as root, so it runs as PostgreSQL's user."""

    def __init__(self, postgres):
        self.postgres, self.folder = postgres, os.path.join(postgres.folder, "bouncer")

    def __enter__(self):
        os.makedirs(self.folder, exist_ok=True)
        path = os.path.join(self.folder, "pgbouncer.ini")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"""[databases]
* = host={self.postgres.folder}
[pgbouncer]
listen_port = 5432
unix_socket_dir = {self.folder}
auth_type = trust
auth_file = {self.folder}/users
pool_mode = transaction
default_pool_size = 3
server_login_retry = 0
server_fast_close = 1
ignore_startup_parameters = extra_float_digits
""")
        with open(os.path.join(self.folder, "users"), "w", encoding="ascii") as file:
            file.write('"app" ""\n"owner" ""\n')
        if self.postgres.user:
            os.chown(self.folder, self.postgres.user.pw_uid, self.postgres.user.pw_gid)
        with open(os.path.join(self.postgres.folder, "bouncer.log"), "ab") as log:
            self.process = subprocess.Popen(self.postgres.as_user("/usr/sbin/pgbouncer", path), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)
        wait_for(lambda: self.process.poll() is not None or os.path.exists(os.path.join(self.folder, ".s.PGSQL.5432")))
        if self.process.poll() is not None:
            with open(os.path.join(self.postgres.folder, "bouncer.log"), encoding="utf-8") as log:
                raise RuntimeError("PgBouncer does not start:\n" + log.read())
        return self

    def url(self, role, database):
        return self.postgres.url(role, database).replace(self.postgres.host, self.postgres.host + "%2Fbouncer")

    def reload(self, setting):
        """Takes a setting up, beside those that it has."""
        with open(os.path.join(self.folder, "pgbouncer.ini"), "a", encoding="utf-8") as file:
            file.write(setting + "\n")
        self.process.send_signal(signal.SIGHUP)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.remove(os.path.join(self.folder, ".s.PGSQL.5432"))

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
