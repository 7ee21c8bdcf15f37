"""Two server nodes behind HAProxy on one PostgreSQL: whichever is killed, and whenever PostgreSQL stops at once, no acknowledged write is lost and the
devices carry on. Eight seconds of what tests/slow/haproxy_kill_test.py does for five minutes; REJOIN_SEED replays a choice of victims."""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "slow")]
for name, value in (("SECONDS", "8"), ("DEVICES", "2"), ("SQL", "1")):
    os.environ.setdefault("REJOIN_KILL_" + name, value)
from haproxy_kill_test import HaproxyKillTest  # noqa: E402


class TwoNodesTest(HaproxyKillTest):
    kills_a_second = 2
    seconds_between_crashes = 3


del HaproxyKillTest  # only the short one

if __name__ == "__main__":
    unittest.main(verbosity=2)
