"""scripts/demo's demonstration: it succeeds, shows what it promises, and what it tells to try next works."""

import os
import re
import shlex
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from support import EXTENSION, REJOIN, ROOT, FolderTest, plain, rows  # noqa: E402

DEMO = os.path.join(ROOT, "examples", "demo", "demo.py")


class DemoTest(FolderTest):
    def demo(self, *arguments, **env):
        return subprocess.run(["/usr/bin/python3", DEMO, *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                              cwd=self.folder, timeout=300, env={**os.environ, "REJOIN_BIN": REJOIN, "REJOIN_SO": EXTENSION, **env})

    def test_it_succeeds_and_what_it_says_to_try_next_works(self):
        done = self.demo("--dir", "demo")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stderr, "")
        for promised in ("both devices and the server have the same rows", "Digital Bolívar", "kept for a restore", "FR-75C",
                         "Our secret language"):
            self.assertIn(promised, done.stdout)
        self.assertNotIn("\x1b", done.stdout)
        for name in ("visits", "currencies", "languages", "countries", "subdivisions", "scripts"):
            self.assertEqual(rows(self.path("demo", "a.db"), name), rows(self.path("demo", "b.db"), name))
        suggested = re.findall(r"^  (\S.*?)\s+# ", done.stdout.split("Try next")[1], re.M)
        self.assertGreaterEqual(len(suggested), 4)
        for line in suggested:
            tried = subprocess.run(shlex.split(line), capture_output=True, text=True, check=False, cwd=self.folder, stdin=subprocess.DEVNULL)
            self.assertEqual(tried.returncode, 0, line + "\n" + tried.stdout + tried.stderr)
        found = [r for r in rows(self.path("demo", "b.db"), "currencies") if r[0] == "HRK"]
        self.assertEqual([r[2] for r in found], ["Croatian kuna (until 2022)"])  # restored on A, merged into B

    def test_it_runs_again_over_its_own_files_but_deletes_no_others(self):
        self.assertEqual(self.demo("--dir", "demo").returncode, 0)
        self.assertEqual(self.demo("--dir", "demo").returncode, 0)
        os.mkdir(self.path("mine"))
        plain(self.path("mine", "letters.db")).close()
        with open(self.path("mine", "letter"), "w", encoding="ascii") as file:
            file.write("dear")
        self.assertNotEqual(self.demo("--dir", "mine").returncode, 0)
        self.assertTrue(os.path.exists(self.path("mine", "letter")))

    def test_a_terminal_without_utf8_is_no_reason_to_end(self):
        done = self.demo("--dir", "demo", PYTHONIOENCODING="ascii")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_devices_that_differ_end_it_with_an_error(self):
        # A `rejoin` that syncs nothing: the demo must notice, not praise.
        fake = self.path("rejoin")
        with open(fake, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nif [ \"$1\" = sync ]; then\n"
                       "  echo '{\"pushed\":0,\"pulled\":0,\"changed\":0,\"bytes_sent\":0,\"bytes_received\":0}'; exit 0; fi\n"
                       f"exec {shlex.quote(REJOIN)} \"$@\"\n")
        os.chmod(fake, 0o755)
        done = self.demo("--dir", "demo", REJOIN_BIN=fake)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertNotIn("Yes:", done.stdout)


class PostgresDemoTest(DemoTest):
    """The same with PostgreSQL as the server's store."""

    def demo(self, *arguments, **env):
        return super().demo("--postgres", *arguments, **env)

    # What does not depend on the store is tested above.
    test_it_runs_again_over_its_own_files_but_deletes_no_others = None
    test_a_terminal_without_utf8_is_no_reason_to_end = None
    test_devices_that_differ_end_it_with_an_error = None

    def test_it_succeeds_and_what_it_says_to_try_next_works(self):
        done = self.demo("--dir", "demo")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stderr, "")
        for promised in ("both devices and PostgreSQL have the same rows", "kept for a restore", "psql, as role clerk", "Hotel is booked", "sound: nothing wrong"):
            self.assertIn(promised, done.stdout)
        for name in ("visits", "currencies", "languages", "countries", "subdivisions", "scripts"):
            self.assertEqual(rows(self.path("demo", "a.db"), name), rows(self.path("demo", "b.db"), name))
        self.assertIn(("01936f5f-01", "IT-RM", "ita", "2026-07-01", "Hotel is booked", None), rows(self.path("demo", "a.db"), "visits"))
        self.nothing_is_left(done.stdout)
        for line in re.findall(r"^  (\S.*?)\s+# ", done.stdout.split("Try next")[1], re.M):
            tried = subprocess.run(shlex.split(line), capture_output=True, text=True, check=False, cwd=self.folder, stdin=subprocess.DEVNULL)
            self.assertEqual(tried.returncode, 0, line + "\n" + tried.stdout + tried.stderr)

    def nothing_is_left(self, told):
        folder = re.search(r"below (/\S+):", told).group(1)
        self.assertFalse(os.path.exists(folder), folder)
        self.assertNotEqual(subprocess.run(["pgrep", "-f", folder], check=False, stdout=subprocess.DEVNULL).returncode, 0, "PostgreSQL still runs")

    def test_whoever_stops_it_finds_nothing_left(self):
        for how, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with subprocess.Popen(["/usr/bin/python3", DEMO, "--postgres", "--dir", "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  cwd=self.folder, env={**os.environ, "REJOIN_BIN": REJOIN, "REJOIN_SO": EXTENSION}) as process:
                told = ""
                while "below /" not in told:
                    line = process.stdout.readline()
                    self.assertTrue(line, told)
                    told += line
                process.send_signal(how)
                told += process.stdout.read()
                err = process.stderr.read()
            self.assertEqual((process.returncode, err), (code, ""), told)
            self.nothing_is_left(told)


if __name__ == "__main__":
    unittest.main(verbosity=2)
