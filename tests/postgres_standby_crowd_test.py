"""While no synchronous standby answers, a crowd that pushes keeps nobody from reading, here or at another server, though a request may take ten minutes;
and when one answers again, all that was pushed is acknowledged."""

import os
import subprocess
import sys
import unittest

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__))]
import postgres_faults_test as faults  # noqa: E402
from http_peer import wait_for  # noqa: E402
from support import REJOIN, Run, rows  # noqa: E402

base = faults.base
# More than the requests of one tenant that a server works on at a time.
CROWD = 20
# Far less than a request may take.
AT_MOST = 120


class StandbyCrowdTest(faults.FaultsTest):
    def crowd(self, server, name, size):
        paths = []
        for i in range(size):
            paths.append(self.device(f"{name}{i}.db"))
            self.ok("sync", paths[-1], server.url, "--token", server.token(f"{name}{i}", tenant="main"))
        return paths

    def push_at_once(self, paths, server):
        return [subprocess.Popen([REJOIN, "sync", path, server.url, "--retries", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for path in paths]

    def test_a_crowd_that_pushes_keeps_nobody_from_reading(self):
        db = self.fresh()
        with self.serve(db, "--request-timeout", "10m") as server, self.serve(db, "--request-timeout", "10m", name="second") as second:
            here, there = self.crowd(server, "here", CROWD), self.crowd(second, "there", 2)
            readers = [(*self.crowd(server, "reader", 1), server), (*self.crowd(second, "other", 1), second)]
            base.PG.psql("ALTER ROLE service SET synchronous_commit = local")
            self.addCleanup(base.PG.psql, "ALTER ROLE service RESET ALL")
            self.lose_the_standby()
            base.PG.psql("INSERT INTO todos VALUES('s', 'of plain SQL', false)", "service", db)
            self.ok("sync", readers[0][0], server.url)
            for path in here + there:
                self.write(path, f"INSERT INTO todos VALUES('{os.path.basename(path)}', 'pushed', 0)")
            pushing = self.push_at_once(here, server)
            wait_for(lambda: self.waiting() == 1)
            pushing += self.push_at_once(there, second)
            for path, node in readers:
                told = subprocess.run([REJOIN, "sync", path, node.url], capture_output=True, text=True, timeout=AT_MOST, check=False)
                self.assertEqual(told.returncode, 0, told)
                self.assertEqual(rows(path), self.todos(db))
                self.assertEqual(self.ready(node), 200)
            # Nor do they wait that push, now or when they come again.
            for process in pushing + self.push_at_once(here, server):
                self.assertIn(process.wait(timeout=AT_MOST), (4, 5))
            self.assertEqual(self.waiting(), 1)
            self.assertEqual(len(self.todos(db)), 3)
            self.need_no_standby()
            for paths, node in ((here, server), (there, second)):
                for process in [subprocess.Popen([REJOIN, "sync", path, node.url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for path in paths]:
                    process.wait(timeout=AT_MOST)
                for path in paths:
                    told = self.ok("sync", path, node.url, "--json").json
                    self.assertEqual((told["pending"], told["rejected"]), (0, 0))
            self.assertEqual(len(self.todos(db)), 3 + len(here) + len(there))
        self.pg(db, "doctor")


def load_tests(loader, _tests, _pattern):
    return unittest.TestSuite([loader.loadTestsFromName("test_a_crowd_that_pushes_keeps_nobody_from_reading", StandbyCrowdTest)])


def setUpModule():
    faults.setUpModule()


def tearDownModule():
    base.tearDownModule()


if __name__ == "__main__":
    unittest.main(verbosity=2)
