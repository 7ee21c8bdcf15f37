"""deploy/rejoin.service under systemd itself: the server does its work within what the unit leaves it, as a user of its own, takes its settings from where
operators put them, comes back when it dies, and takes a renewed certificate when it is reloaded."""

import json
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "interop"))
from booted import Booted  # noqa: E402
from http_peer import wait_for  # noqa: E402
from support import EXTENSION, REJOIN, ROOT, FolderTest  # noqa: E402

FILES = {"/etc/systemd/system/rejoin.service": os.path.join(ROOT, "deploy", "rejoin.service"), "/usr/local/bin/rejoin": REJOIN,
         "/usr/local/lib/rejoin.so": EXTENSION}
WRITES = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.enable_load_extension(True)
db.load_extension("/usr/local/lib/rejoin.so")
db.execute("CREATE TABLE IF NOT EXISTS todos(id TEXT PRIMARY KEY, title TEXT)")
db.execute("SELECT rejoin_track('todos')")
db.execute("INSERT INTO todos VALUES(?, 'x')", (sys.argv[2],))
"""


class SystemdUnitTest(FolderTest):
    def machine(self, files):
        machine = Booted({**FILES, **files})
        machine.__enter__()
        self.addCleanup(machine.__exit__)
        self.url, self.curl = "http://127.0.0.1:8427", ["curl", "-fsS"]
        return machine

    def answers(self, machine):
        def healthy():
            self.assertNotEqual(machine.property("rejoin", "ActiveState"), "failed", machine.journal())
            return machine.call(*self.curl, self.url + "/health", check=False).stdout == '{"status":"ok"}'

        wait_for(healthy)

    def synced(self, machine, device, row):
        """The rows of a device after it has written one and synced."""
        path = f"/root/{device}.db"
        machine.call("/usr/bin/python3", "-c", WRITES, path, row)
        token = machine.call("rejoin", "token", "--data", "/var/lib/rejoin", "--tenant", "acme", "--device", device, "--schema").stdout.strip()
        told = json.loads(machine.call("rejoin", "sync", path, self.url, "--token", token, "--json").stdout)
        self.assertEqual(told["pending"], 0, told)
        return machine.call("sqlite3", path, "SELECT id FROM todos ORDER BY id").stdout.split()

    def certificate(self, name):
        """A new pair's bytes."""
        crt, key = self.path("crt"), self.path("key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "30", "-subj", f"/CN={name}",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", crt], check=True, capture_output=True)
        pair = []
        for path in (crt, key):
            with open(path, "rb") as file:
                pair.append(file.read())
        return pair

    def test_the_server_needs_nothing_that_the_unit_takes_from_it(self):
        machine = self.machine({"/etc/rejoin/rejoin.toml": b'rate-device = "20/s:100"\naudit = true\n',
                                "/etc/rejoin/environment": b"REJOIN_CORS_ORIGIN=https://app.example.com\n"})
        machine.call("chmod", "600", "/etc/rejoin/environment")
        told = machine.call("systemd-analyze", "verify", "rejoin.service")
        self.assertEqual([line for line in (told.stdout + told.stderr).splitlines() if "rejoin" in line], [])
        machine.call("systemctl", "enable", "--now", "rejoin")
        self.answers(machine)

        pid = machine.property("rejoin", "MainPID")
        status = dict(line.split(":\t", 1) for line in machine.call("cat", f"/proc/{pid}/status").stdout.splitlines() if ":\t" in line)
        self.assertGreaterEqual(int(status["Uid"].split()[0]), 61184, "a user of DynamicUser=")
        self.assertEqual((int(status["CapBnd"], 16), status["NoNewPrivs"], status["Seccomp"]), (0, "1", "2"))

        self.assertEqual(self.synced(machine, "a", "1"), ["1"])
        self.assertEqual(self.synced(machine, "b", "2"), ["1", "2"])
        reply = machine.call("curl", "-sS", "-D-", "-o/dev/null", "-H", "Origin: https://app.example.com", "-XOPTIONS", "-H",
                             "Access-Control-Request-Method: POST", self.url + "/v1/sync").stdout
        self.assertIn("access-control-allow-origin: https://app.example.com", reply.lower())
        kept = machine.call("find", "/var/lib/rejoin/", "-printf", "%M %u %P\n").stdout.splitlines()
        self.assertTrue(any("audit/" in line for line in kept), kept)
        for line in kept:
            self.assertRegex(line, r"^(drwx------|-rw-------) rejoin ")
        # A line of the journal is a JSON object, whatever systemd adds.
        lines = machine.call("journalctl", "--unit=rejoin", "--output=cat", "--no-pager").stdout.splitlines()
        self.assertGreaterEqual(sum(json.loads(line).get("route") == "sync" for line in lines if line.startswith("{")), 2, lines)

        machine.call("kill", "-KILL", pid)
        wait_for(lambda: machine.property("rejoin", "MainPID") not in ("0", pid))
        self.answers(machine)
        self.assertEqual(self.synced(machine, "a", "3"), ["1", "2", "3"])
        machine.call("systemctl", "stop", "rejoin")
        self.assertEqual(machine.property("rejoin", "Result"), "success")
        # The user may be another one then.
        machine.call("systemctl", "start", "rejoin")
        self.answers(machine)
        self.assertEqual(self.synced(machine, "b", "4"), ["1", "2", "3", "4"])

    def test_a_renewed_certificate_is_taken_by_a_reload(self):
        crt, key = self.certificate("one")
        machine = self.machine({"/etc/rejoin/rejoin.toml": b'tls-cert = "/etc/rejoin/tls.crt"\ntls-key = "/etc/rejoin/tls.key"\n',
                                "/etc/rejoin/tls.crt": crt, "/etc/rejoin/tls.key": key,
                                "/etc/systemd/system/rejoin.service.d/user.conf": b"[Service]\nUser=rejoin\n"})
        machine.call("useradd", "--system", "--user-group", "rejoin")
        machine.call("chgrp", "rejoin", "/etc/rejoin/tls.key")
        machine.call("chmod", "640", "/etc/rejoin/tls.key")
        self.url, self.curl = "https://127.0.0.1:8427", ["curl", "-fsSk"]
        machine.call("systemctl", "start", "rejoin")
        self.answers(machine)
        pid = machine.property("rejoin", "MainPID")

        def subject():
            told = machine.call("bash", "-c", "openssl s_client -connect 127.0.0.1:8427 </dev/null 2>/dev/null | openssl x509 -noout -subject", check=False)
            return told.stdout.strip()

        self.assertEqual(subject(), "subject=CN = one")
        crt, key = self.certificate("two")
        for name, content in (("tls.crt", crt), ("tls.key", key)):
            machine.call("bash", "-c", 'printf %s "$1" >"$2"', "bash", content.decode(), f"/etc/rejoin/{name}")
        machine.call("systemctl", "reload", "rejoin")
        wait_for(lambda: subject() == "subject=CN = two")
        self.assertEqual(machine.property("rejoin", "MainPID"), pid)

    def test_wrong_settings_are_told_once_not_again_and_again(self):
        machine = self.machine({"/etc/rejoin/rejoin.toml": b'rate-devise = "20/s"\n'})
        machine.call("systemctl", "start", "rejoin", check=False)
        wait_for(lambda: "rate-device" in machine.call("journalctl", "--unit=rejoin", "--output=cat", "--no-pager").stdout)
        wait_for(lambda: machine.property("rejoin", "ActiveState") == "failed")
        self.assertEqual(machine.property("rejoin", "NRestarts"), "0")

    def test_what_is_cured_from_elsewhere_needs_no_start_by_hand(self):
        """As when PostgreSQL has no schema yet (the same exit status): here a key that somebody brings later."""
        machine = self.machine({"/etc/rejoin/rejoin.toml": b'jwt-key = "/etc/rejoin/issuer.pem"\n'})
        machine.call("systemctl", "start", "rejoin", check=False)
        wait_for(lambda: int(machine.property("rejoin", "NRestarts")) > 0)
        wait_for(lambda: machine.property("rejoin", "ExecMainStatus") == "6")  # between two tries
        machine.call("bash", "-c", "openssl genpkey -algorithm RSA 2>/dev/null | openssl pkey -pubout -out /etc/rejoin/issuer.pem")
        self.answers(machine)


if __name__ == "__main__":
    unittest.main(verbosity=2)
