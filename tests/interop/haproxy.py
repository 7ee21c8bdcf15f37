"""HAProxy in front of servers of a test, with the configuration that deploy/ gives."""

import os
import re
import shutil
import socket
import subprocess

from http_peer import wait_for
from support import ROOT


def configuration(port, nodes):
    """deploy/haproxy.cfg with the test's addresses, without TLS."""
    with open(os.path.join(ROOT, "deploy", "haproxy.cfg"), encoding="utf-8") as file:
        text = file.read()
    text, bound = re.subn(r"^    bind .*$", f"    bind 127.0.0.1:{port}", text, flags=re.M)
    text, servers = re.subn(r"^    server .*\n", "", text, flags=re.M)
    # As many as deploy/ allows need more open files than a machine that runs tests may give.
    text, limits = re.subn(r"^    maxconn .*$", "    maxconn 500", text, flags=re.M)
    assert (bound, servers, limits) == (1, 2, 1), "deploy/haproxy.cfg has another form than this expects"
    return text.rstrip("\n") + "".join(f"\n    server node{i} 127.0.0.1:{node.port}" for i, node in enumerate(nodes)) + "\n"


class Haproxy:
    """Started by the block, stopped at its end. `nodes` have a port each. Its own is `port`, its address `url`."""

    def __init__(self, folder, nodes):
        self.folder, self.nodes = folder, nodes

    def __enter__(self):
        program = shutil.which("haproxy") or "/usr/sbin/haproxy"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        path = os.path.join(self.folder, "haproxy.cfg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(configuration(self.port, self.nodes))
        with open(os.path.join(self.folder, "haproxy.log"), "ab") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", program, "-W", "-f", path], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(self.listens)
        return self

    def listens(self):
        if self.process.poll() is not None:
            with open(os.path.join(self.folder, "haproxy.log"), encoding="utf-8") as log:
                raise RuntimeError("HAProxy does not start:\n" + log.read())
        with socket.socket() as peer:
            return peer.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
