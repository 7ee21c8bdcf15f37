"""The promises of postgres_kill_test.py with HAProxy in front of the nodes, as deploy/haproxy.cfg configures it: it notices by itself that a node or the
database is gone, and no device has to know that there are nodes. Everything else is killed as there.

REJOIN_KILL_SECONDS (300), REJOIN_KILL_DEVICES (4), REJOIN_KILL_SQL (2), REJOIN_SEED.
"""

import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "interop")]
import postgres_kill_test  # noqa: E402
from haproxy import Haproxy  # noqa: E402
from http_peer import call, wait_for  # noqa: E402


class HaproxyKillTest(postgres_kill_test.PostgresKillTest):
    def front(self):
        self.haproxy = Haproxy(self.folder, self.nodes)
        self.haproxy.__enter__()
        self.addCleanup(self.haproxy.__exit__)
        return self.haproxy.url

    def calm_front(self):
        """It finds out by itself."""

    def settle(self):
        # Both nodes again: the one that settle() of the kill test starts, and this.
        with open(os.path.join(self.folder, "node1.log"), "ab") as log:
            other = subprocess.Popen(self.node_command(self.nodes[1]), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        try:
            wait_for(lambda: call(self.haproxy, "GET", "/health").status == 200)
            super().settle()
        finally:
            other.terminate()
            other.wait(60)


if __name__ == "__main__":
    unittest.main(verbosity=2)
