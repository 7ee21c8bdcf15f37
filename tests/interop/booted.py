"""A machine that is started by systemd, for the tests of a unit: this machine's own files, of which it changes a copy in memory, with processes, mounts, a
network and control groups of its own. It needs root and Debian's package systemd."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.append(os.path.dirname(os.path.abspath(__file__)))
from http_peer import wait_for  # noqa: E402

# Runs before systemd in the new namespaces: $1 is an empty folder, $2 what goes into /etc and /usr/local over this machine's files. No unit of this
# machine is enabled there.
BEFORE = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
rm -rf root/etc/systemd/system root/var/lib/rejoin root/var/lib/private/rejoin root/etc/rejoin
mkdir root/etc/systemd/system
cp -R "$2"/. root/
cd root
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs dev
for name in null zero full random urandom tty; do
  touch dev/$name
  mount --bind /dev/$name dev/$name
done
mkdir dev/pts dev/shm old
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
pivot_root . old
cd /
umount -l old
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=test.target --log-target=journal --show-status=no
"""

TARGET = "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n"


class Booted:
    """Started by the block, gone with it. `files`: what it has beside this machine's, by absolute path, each the path of a file here or bytes."""

    def __init__(self, files):
        self.files = {**files, "/etc/systemd/system/test.target": TARGET.encode()}

    def __enter__(self):
        if os.geteuid() != 0:
            raise AssertionError("this starts a systemd in namespaces of its own, so run it as root")
        if not os.path.exists("/lib/systemd/systemd"):
            raise AssertionError("there is no systemd here; scripts/setup --slow installs it")
        self.folder = tempfile.mkdtemp(prefix="rejoin-booted-", dir="/tmp")
        self.group = self.log = self.process = None
        try:
            self.start()
            wait_for(self.running)
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        given, root = os.path.join(self.folder, "given"), os.path.join(self.folder, "root")
        os.mkdir(root)
        os.chmod(self.folder, 0o755)
        for path, source in self.files.items():
            to = given + path
            os.makedirs(os.path.dirname(to), exist_ok=True)
            if isinstance(source, bytes):
                with open(to, "wb") as file:
                    file.write(source)
            else:
                shutil.copy(source, to)
        # systemd wants a control group to be the root of its own.
        with open("/proc/mounts", encoding="utf-8") as mounts:
            at = next((words[1] for words in map(str.split, mounts) if words[2] == "cgroup2"), None)
        if at is None:
            raise AssertionError("no control groups (cgroup2) are mounted on this machine")
        group = os.path.join(at, f"rejoin-test-{os.getpid()}")
        os.mkdir(group)
        self.group = group
        self.log = open(os.path.join(self.folder, "log"), "w+b")

        self.process = subprocess.Popen(["bash", "-c", 'echo $$ >"$1" && shift && exec "$@"', "bash", os.path.join(self.group, "cgroup.procs"),
                                         "setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--cgroup", "--net", "--uts", "--kill-child",
                                         "bash", "-c", BEFORE, "bash", root, given], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def running(self):
        if self.process.poll() is not None:
            self.log.seek(0)
            raise AssertionError("systemd does not start here:\n" + self.log.read().decode())
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as children:
            words = children.read().split()
        if not words:
            return False
        self.first = words[0]
        return self.call("systemctl", "is-active", "test.target", check=False).stdout == "active\n"

    def call(self, *command, check=True):
        """A command in that machine, as root."""
        done = subprocess.run(["nsenter", "--target", self.first, "--mount", "--pid", "--net", "--uts", "--cgroup", "--root", "--wd", "--", *command],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}\n" + self.journal())
        return done

    def journal(self):
        return self.call("journalctl", "--no-pager", "--lines=60", check=False).stdout

    def property(self, unit, name):
        return self.call("systemctl", "show", "--value", "--property", name, unit).stdout.strip()

    def __exit__(self, *_):
        """Of what there is: the start may have failed at any place."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()  # its namespaces' processes, which --kill-child ends, and mounts go too
        if self.log:
            self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

        def gone():
            try:
                for folder, _, _ in os.walk(self.group, topdown=False):
                    os.rmdir(folder)
                return True
            except OSError:  # while the last of them die
                return False

        if self.group:
            wait_for(gone)
