"""Every command of README.md works as it is printed there.

The fenced `console` blocks run in one shell, in order, in an empty folder with `dist` in it. Lines after a command are what it must
print: `…` stands for anything, a line of `…` alone for any lines, blanks count as one, and empty lines at the end do not count. The
ports of the examples are replaced by free ones, and their PostgreSQL by a private one.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scripts", "lib"))
from private_postgres import PrivatePostgres  # noqa: E402

ROOT = os.environ.get("REJOIN_SOURCE_DIR", os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DIST = os.environ.get("REJOIN_DIST", os.path.join(ROOT, "dist"))
PORTS = ("8427", "8428")
POSTGRES = "localhost"


def commands(text):
    """[(line number, command, [expected lines])]"""
    found, inside = [], False
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            found.append((number, line[2:], []))
        elif inside and line.startswith("> "):
            found[-1] = (found[-1][0], found[-1][1] + "\n" + line[2:], found[-1][2])
        elif inside:
            found[-1][2].append(line)
    return found


def matches(expected, got):
    """Lists of lines."""
    if not expected:
        return not got
    if expected[0].strip() == "…":
        return any(matches(expected[1:], got[i:]) for i in range(len(got) + 1))
    if not got:
        return False
    pattern = ".*".join(re.escape(" ".join(part.split())) for part in expected[0].split("…"))
    return bool(re.fullmatch(pattern.replace(r"\ .*", r"\ ?.*").replace(r".*\ ", r".*\ ?"), " ".join(got[0].split()))) and matches(expected[1:], got[1:])


class Shell:
    def __init__(self, folder, env):
        self.process = subprocess.Popen(["bash"], cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.folder = folder
        self.background = 0

    def run(self, command):
        """(exit status, lines)"""
        if command.endswith("&"):
            return self.start(command[:-1])
        self.process.stdin.write(f"{{ {command}\n}} 2>&1 </dev/null; echo \"<<status $?>>\"\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            end = re.search(r"<<status (\d+)>>$", line)
            if end:
                if line[:end.start()]:
                    lines.append(line[:end.start()])
                return int(end.group(1)), lines
            lines.append(line.rstrip("\n"))
        return -1, lines

    def start(self, command):
        """In the background; what it prints until its first line is there."""
        self.background += 1
        name = f"background-{self.background}"
        self.run(f"{command} >{name}.out 2>{name}.err & echo $! >{name}.pid")
        path = os.path.join(self.folder, f"{name}.out")
        for _ in range(1200):
            if os.path.exists(path) and os.path.getsize(path):
                break
            time.sleep(0.05)
        with open(path, encoding="utf-8") as out:
            return 0, out.read().splitlines()

    def stop(self):
        for i in range(1, self.background + 1):
            self.run(f"kill $(cat background-{i}.pid); wait $(cat background-{i}.pid)")
        self.process.stdin.close()
        self.process.wait(60)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def main():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    failures = []
    for script in re.findall(r"`?(scripts/[a-z-]+)", text):
        if not os.access(os.path.join(ROOT, script), os.X_OK):
            failures.append(f"{script} is named but is not an executable file")
    for target in re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r"\b(docs/[\w./-]+\.md)", text):
        if "://" not in target and not os.path.exists(os.path.join(ROOT, target)):
            failures.append(f"{target} is named but does not exist")

    ports = {port: free_port() for port in PORTS}
    env = {k: v for k, v in os.environ.items() if not k.startswith("REJOIN_")}
    env.update(REJOIN_LISTEN=f"127.0.0.1:{ports[PORTS[0]]}", TERM="dumb", HOME="/nonexistent", LC_ALL="C.UTF-8")
    folder = tempfile.mkdtemp(prefix="rejoin-readme-")
    os.symlink(DIST, os.path.join(folder, "dist"))
    postgres = PrivatePostgres().__enter__()
    shell = Shell(folder, env)
    told = commands(text)
    try:
        postgres.psql("CREATE ROLE owner LOGIN; CREATE ROLE app_sync LOGIN; CREATE DATABASE app OWNER owner")
        places = {**ports, f"@{POSTGRES}/": f"@{postgres.host}/"}
        for number, command, expected in told:
            for there, here in places.items():
                command = command.replace(there, here)
            status, got = shell.run(command)
            for there, here in places.items():
                got = [line.replace(here, there) for line in got]
            while got and not got[-1].strip():  # what the sqlite3 shell prints for a NULL
                got.pop()
            ok = status == 0 and matches(expected, got)
            print(f"{'ok  ' if ok else 'FAIL'} README.md:{number}: {command.splitlines()[0]}")
            if not ok:
                failures.append(f"README.md:{number}: exit status {status}, expected:\n    " + "\n    ".join(expected) +
                                "\n  got:\n    " + "\n    ".join(got))
    finally:
        shell.stop()
        postgres.__exit__()
        shutil.rmtree(folder, ignore_errors=True)
    if len(told) < 10:
        failures.append("hardly any command was found in README.md; are its blocks still fenced as `console`?")
    for failure in failures:
        print("FAIL " + failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
