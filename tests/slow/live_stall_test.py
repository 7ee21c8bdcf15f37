"""A live connection that gives signs of life but takes nothing of what it was sent is cut after a minute, and one that takes it slowly is not."""

import os
import select
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "interop")]
from http_peer import counted  # noqa: E402
from live_peer import frame  # noqa: E402
import slow_live_readers_test as base  # noqa: E402

WATCHED_S = 75
SIP = 4096  # a second, of one who reads slowly: a piece of 64 KiB in 16 s


class LiveStallTest(base.FolderTest):
    serve, push, reader = (getattr(base.SlowReadersTest, f) for f in ("serve", "push", "reader"))

    def test_who_takes_nothing_is_cut_and_who_takes_little_is_not(self):
        server = self.serve("--live-heartbeat", "2s")
        self.push(server, 1)
        deaf, slow = (self.reader(server, name, buffer=4096) for name in ("deaf", "slow"))
        self.push(server, 16)
        begun, cut, taken = time.monotonic(), {}, 0
        while time.monotonic() < begun + WATCHED_S:
            for name, live in (("deaf", deaf), ("slow", slow)):
                try:
                    live.peer.sendall(frame(b"", 10))  # nobody asked for it
                except (BrokenPipeError, ConnectionResetError):
                    cut.setdefault(name, round(time.monotonic() - begun))
            if select.select([slow.peer], [], [], 0)[0]:
                taken += len(slow.peer.recv(SIP))
            time.sleep(1)
        print(f"cut, in seconds: {cut}; taken {taken} bytes", flush=True)
        self.assertEqual(list(cut), ["deaf"])
        self.assertGreater(taken, SIP * WATCHED_S // 4)
        counted(server, {'rejoin_live_closed_total{code="1006"}': 1, "rejoin_live_connections": 1})


if __name__ == "__main__":
    unittest.main(verbosity=2)
