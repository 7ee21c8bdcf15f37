"""A disk that is really full: PostgreSQL's data is on a file system of its own, which devices fill by their pushes until nothing fits any more, its log included.
When there is room again everything that devices wrote arrives, and nothing is there by halves.

Mounting that file system needs root.
"""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "interop"), os.path.join(HERE, "..", "..", "scripts", "lib")]
from http_peer import call  # noqa: E402
from private_postgres import NoPostgres, PrivatePostgres  # noqa: E402
from support import FolderTest, Run, Server, plain  # noqa: E402

ON_DEVICE = "CREATE TABLE files(id TEXT PRIMARY KEY, body BLOB)"


class DiskFullTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.assertEqual(os.geteuid(), 0, "this mounts a file system, so run it as root")
        self.disk = tempfile.mkdtemp(prefix="rejoin-disk-", dir="/tmp")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=90m", "tmpfs", self.disk], check=True)
        self.addCleanup(os.rmdir, self.disk)
        self.addCleanup(subprocess.run, ["umount", self.disk], check=True)
        user = PrivatePostgres.unprivileged_user()
        data = os.path.join(self.disk, "data")
        os.mkdir(data)
        os.chown(data, user.pw_uid, user.pw_gid)
        self.postgres = PrivatePostgres(initdb=["--wal-segsize=1"], data=data, fsync="on", min_wal_size="2MB", max_wal_size="16MB")
        self.postgres.__enter__()
        self.addCleanup(self.postgres.__exit__)
        self.postgres.psql("CREATE ROLE owner LOGIN; CREATE ROLE app LOGIN; CREATE DATABASE app OWNER owner")
        self.postgres.psql("CREATE TABLE files(id text PRIMARY KEY, body bytea); GRANT SELECT, INSERT, UPDATE, DELETE ON files TO app", "owner", "app")
        for arguments in (("init", "--role", "app"), ("track", "files")):
            self.ok("pg", *arguments, "--postgres", self.postgres.url("owner", "app"))

    def test_everything_arrives_when_there_is_room_again(self):
        paths = [self.database(f"{name}.db", ON_DEVICE, ("files",)) for name in ("a", "b")]
        acknowledged = 0
        with Server(self.path("server"), "--postgres", self.postgres.url("app", "app")) as server:
            tokens = [server.token(name, tenant="main") for name in ("a", "b")]

            def sync(which, *more):
                return Run("sync", paths[which], server.url, "--token", tokens[which], "--json", *more)

            full = None
            for n in range(200):
                db = plain(paths[0])
                db.executemany("INSERT INTO files VALUES(?, ?)", [(f"{n}/{i}", os.urandom(200_000)) for i in range(5)])
                db.close()
                told = sync(0, "--retries", "0")
                if told.code != 0:
                    full = told
                    break
                acknowledged += 5
            self.assertIsNotNone(full, "the disk did not fill up")
            self.assertIn(full.code, (4, 5), full)
            self.assertNotIn(self.disk, full.out + full.err)
            # A second device goes on being told so; nobody loses anything.
            self.assertIn(sync(1, "--retries", "0").code, (0, 4, 5))
            self.assertEqual(call(server, "GET", "/health").status, 200)
            subprocess.run(["mount", "-o", "remount,size=400m", self.disk], check=True)
            # Without room for its log it may have stopped, as anything that must not lose a commit.
            if not self.postgres.answers():
                self.postgres.stop()
                try:
                    self.postgres.start()
                except NoPostgres as error:
                    self.fail(str(error))
            for _ in range(2):
                for which in (0, 1):
                    told = sync(which)
                    self.assertEqual((told.code, told.json["pending"], told.json["rejected"]), (0, 0, 0), told)
            self.ok("pg", "doctor", "--postgres", self.postgres.url("owner", "app"))
        print(f"full after {acknowledged} rows: {full.json['error']['message']}", flush=True)
        everything = plain(paths[0]).execute("SELECT id, body FROM files ORDER BY id").fetchall()
        self.assertGreaterEqual(len(everything), acknowledged + 5)
        self.assertEqual(plain(paths[1]).execute("SELECT id, body FROM files ORDER BY id").fetchall(), everything)
        self.assertEqual(int(self.postgres.psql("SELECT count(*) FROM files", database="app")), len(everything))


if __name__ == "__main__":
    unittest.main(verbosity=2)
