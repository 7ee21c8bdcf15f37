"""A token that expires in the middle of a sync: `rejoin sync` asks for another one and goes on where it is."""

import os
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "interop")]
from http_peer import metrics, signed, wait_for  # noqa: E402
from support import REJOIN, FolderTest, Run, Server, plain  # noqa: E402
from sync_over_http_test import Between  # noqa: E402

SKEW_S = 60  # by which a token may be too old; docs/http.md
ROWS = 40


class TokenRenewalTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.phone = self.database("phone.db", "CREATE TABLE todos(id TEXT PRIMARY KEY, body BLOB)")
        db = plain(self.phone)
        db.executemany("INSERT INTO todos VALUES(?, ?)", [(str(i), os.urandom(100_000)) for i in range(ROWS)])
        db.close()

    def token(self, server, expires_in_s):
        with open(os.path.join(server.data, "secret"), encoding="ascii") as file:
            secret = file.read().strip()
        return signed(secret, {"tenant": "acme", "sub": "phone", "schema": True, "exp": int(time.time() + expires_in_s)})

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def pending(self):
        return self.ok("status", self.phone, "--json").json["pending"]

    def test_a_command_gives_another_one(self):
        with Server(self.path("server")) as server:
            good = self.token(server, 3600)
            # The first one is in its last second, and the network is slow.
            first = self.write("first", self.token(server, -SKEW_S + 1) + "\nand more that nobody reads\n")
            command = f"echo x >> {self.path('calls')}; if [ -e {self.path('once')} ]; then echo {good}; else touch {self.path('once')}; cat {first}; fi"
            with Between(server, after=lambda number: time.sleep(2.2) if number == 3 else None) as between:
                told = self.ok("sync", self.phone, between.url, "--token-command", command, "--json").json
            self.assertEqual((told["pushed"], told["pending"], told["retries"]), (ROWS, 0, 0))
            with open(self.path("calls"), encoding="ascii") as file:
                self.assertEqual(len(file.readlines()), 2)
            self.assertEqual(metrics(server)["rejoin_sync_push_rows_sum"], ROWS)  # nothing went twice
            # What is remembered is the newer one.
            self.ok("sync", self.phone, between.url.replace(str(between.http.server_address[1]), str(server.port)), "--token-command", f"echo {good}")
            self.ok("sync", self.phone)

    def test_a_file_is_read_again(self):
        with Server(self.path("server")) as server:
            path = self.write("token", self.token(server, -SKEW_S + 1))

            def renew(number):
                if number == 3:
                    self.write("token", self.token(server, 3600))
                    time.sleep(2.2)

            with Between(server, after=renew) as between:
                told = self.ok("sync", self.phone, between.url, "--token-file", path, "--json").json
            self.assertEqual((told["pushed"], told["pending"]), (ROWS, 0))

    def test_a_watch_goes_on_with_the_last_good_one(self):
        with Server(self.path("server")) as server:
            calls, good = self.path("calls"), self.token(server, 3600)
            first = self.token(server, -SKEW_S + 3)
            command = f"echo x >> {calls}; case $(wc -l < {calls}) in 1) echo {first};; 2) echo {good};; *) exit 9;; esac"
            process = subprocess.Popen([REJOIN, "sync", self.phone, server.url, "--token-command", command, "--watch", "--json"],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            wait_for(lambda: os.path.exists(calls) and os.path.getsize(calls) >= 4)
            time.sleep(4)  # the first one is too old now
            port = server.port
        with Server(self.path("server"), port=port) as server:
            wait_for(lambda: process.poll() is not None or metrics(server)["rejoin_live_connections"] == 1)
            self.assertIsNone(process.poll())
            self.assertGreaterEqual(os.path.getsize(calls), 6)

    def test_what_does_not_help_ends_the_sync(self):
        with Server(self.path("server")) as server:
            self.ok("token", "--data", self.path("server"), "--tenant", "acme", "--device", "phone")
            old = self.token(server, -3600)
            for command, word in ((f"echo {old}", "expired"), ("echo sorry >&2; exit 7", "exit status 7"), ("true", "no token"), ("echo a b", "space"),
                                  ("kill -9 $$", "signal 9")):
                told = Run("sync", self.phone, server.url, "--token-command", command)
                self.assertIn(told.code, (2, 3), told)
                self.assertIn(word, told.err)
            # One that fails when it is asked the second time.
            command = f"if [ -e {self.path('once')} ]; then exit 9; else touch {self.path('once')}; echo {old}; fi"
            told = Run("sync", self.phone, server.url, "--token-command", command)
            self.assertEqual(told.code, 3, told)
            self.assertIn("exit status 9", told.err)
            self.assertGreater(self.pending(), 0)
            self.ok("sync", self.phone, server.url, "--token-command", f"echo {self.token(server, 3600)}")
            self.assertEqual(self.pending(), 0)
        self.refused(2, "sync", self.phone, server.url, "--token", "x", "--token-command", "true")


if __name__ == "__main__":
    unittest.main(verbosity=2)
