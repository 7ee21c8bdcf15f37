"""deploy/Dockerfile, built: by buildah, on a base that debootstrap makes of Debian's packages, as no registry of images can be asked. What comes out starts as it
says, as its own user, answers its health check and syncs devices."""

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "interop"))
from http_peer import wait_for  # noqa: E402
from support import ROOT, FolderTest, plain, rows  # noqa: E402

MIRROR = "http://deb.debian.org/debian"
USER = 8427


class Images:
    """Images and containers in a folder of their own; nothing runs beside the commands."""

    def __init__(self, folder):
        self.words = ["buildah", "--root", os.path.join(folder, "root"), "--runroot", os.path.join(folder, "run")]
        self.environment = {**os.environ, "BUILDAH_ISOLATION": "chroot", "TMPDIR": folder}

    def start(self, *arguments, log):
        return subprocess.Popen([*self.words, *arguments], env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def call(self, *arguments):
        done = subprocess.run([*self.words, *arguments], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(f"buildah {' '.join(arguments)}: {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
        return done.stdout.strip()


class ImageTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise AssertionError("this makes root file systems, so run it as root")
        for program in ("buildah", "debootstrap", "curl"):
            if not shutil.which(program):
                raise AssertionError(f"there is no {program} here; scripts/setup --slow installs it")
        cls.scratch = tempfile.mkdtemp(prefix="rejoin-image-", dir="/var/tmp")
        cls.addClassCleanup(shutil.rmtree, cls.scratch)
        cls.images = Images(cls.scratch)
        cls.addClassCleanup(cls.images.call, "rm", "--all")
        base = os.path.join(cls.scratch, "base")
        done = subprocess.run(["debootstrap", "--variant=minbase", "bookworm", base, MIRROR], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError("debootstrap failed:\n" + done.stdout[-4000:] + done.stderr[-4000:])
        container = cls.images.call("from", "scratch")
        cls.images.call("add", "--quiet", container, base, "/")
        cls.images.call("commit", "--quiet", "--rm", container, "docker.io/library/debian:12-slim")
        shutil.rmtree(base)
        cls.images.call("build", "--quiet", "--pull-never", "--format", "docker", "--ignorefile", os.path.join(ROOT, "deploy", "Dockerfile.dockerignore"),
                        "--file", os.path.join(ROOT, "deploy", "Dockerfile"), "--tag", "rejoin", ROOT)
        cls.config = json.loads(cls.images.call("inspect", "--type", "image", "rejoin"))["Docker"]["config"]

    def processes(self, of):
        """Those that came of process `of` and run the container's rejoin as its user; this machine may have others of its own."""
        parents, found = {}, []
        for path in glob.glob("/proc/[0-9]*"):
            try:
                with open(path + "/stat", encoding="utf-8", errors="replace") as stat:
                    parents[int(os.path.basename(path))] = int(stat.read().rpartition(")")[2].split()[1])
                if os.stat(path).st_uid == USER and os.readlink(path + "/exe").endswith("/usr/local/bin/rejoin"):
                    found.append(int(os.path.basename(path)))
            except OSError:
                pass  # ended meanwhile

        def descends(pid):
            while pid in parents and pid != of:
                pid = parents[pid]
            return pid == of

        return [pid for pid in found if descends(pid)]

    def test_it_serves_devices_as_a_user_of_its_own(self):
        container = self.images.call("from", "--pull-never", "rejoin")
        self.assertEqual(self.config["Entrypoint"] + self.config["Cmd"], ["/usr/local/bin/rejoin", "serve"])
        self.assertEqual(self.config["User"], "rejoin")
        port_file, port = "/var/lib/rejoin/port", None
        # Containers share this machine's network here, on which 8427 may be taken.
        self.assertIn("REJOIN_LISTEN=0.0.0.0:8427", self.config["Env"])
        with open(self.path("log"), "w+b") as log:
            process = self.images.start("run", "--env", "REJOIN_LISTEN=127.0.0.1:0", "--env", f"REJOIN_PORT_FILE={port_file}", container, "--",
                                        *self.config["Entrypoint"], *self.config["Cmd"], log=log)
            self.addCleanup(process.wait, 60)
            self.addCleanup(lambda: [os.kill(pid, signal.SIGKILL) for pid in self.processes(process.pid)])

            def listens():
                log.seek(0)
                self.assertIsNone(process.poll(), log.read())
                return self.processes(process.pid) and subprocess.run([*self.images.words, "run", container, "cat", port_file], env=self.images.environment, text=True,
                                                           capture_output=True, stdin=subprocess.DEVNULL, check=False).stdout.strip()

            port = wait_for(listens)
            (pid,) = self.processes(process.pid)
            check = self.config["Healthcheck"]["Test"]
            self.assertEqual(check[0], "CMD")
            self.assertEqual(self.images.call("run", container, "--", *(word.replace(":8427/", f":{port}/") for word in check[1:])), '{"status":"ok"}')
            for device, expected in (("a", ["a"]), ("b", ["a", "b"])):
                token = self.images.call("run", container, "--", "rejoin", "token", "--tenant", "acme", "--device", device, "--schema", "--data", "/var/lib/rejoin")
                path = self.database(device + ".db")
                db = plain(path)
                db.execute("INSERT INTO todos(id, title) VALUES(?, 'x')", (device,))
                db.close()
                self.ok("sync", path, f"http://127.0.0.1:{port}", "--token", token)
                self.assertEqual([row[0] for row in rows(path)], expected)
            kept = self.images.call("run", container, "--", "find", "/var/lib/rejoin", "-printf", "%U %y %P\n").splitlines()
            self.assertEqual({line.split()[0] for line in kept}, {str(USER)}, kept)
            self.assertTrue(any(line.endswith(".db") for line in kept), kept)
            os.kill(pid, getattr(signal, self.config.get("StopSignal", "SIGTERM")))
            self.assertEqual(process.wait(60), 0)
            log.seek(0)
            lines = [json.loads(line) for line in log.read().decode().splitlines() if line.startswith("{")]
            self.assertEqual((lines[0]["event"], lines[-1]["event"]), ("listening", "stopping"))

    def test_it_has_what_its_commands_need_and_no_compiler(self):
        container = self.images.call("from", "--pull-never", "rejoin")
        for command in (["rejoin", "--version"], ["sh", "-c", "cat /etc/ssl/certs/ca-certificates.crt >/dev/null"], ["curl", "--version"]):
            self.images.call("run", container, "--", *command)
        self.assertEqual(self.images.call("run", container, "--", "sh", "-c", "command -v g++ cmake ninja || true"), "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
