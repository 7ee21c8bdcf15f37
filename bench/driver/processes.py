"""Running a program and measuring it: wall and CPU time, peak memory."""
import os
import subprocess
import tempfile
import time

from common import die

TICKS = os.sysconf("SC_CLK_TCK")


def measured(arguments, environment=None):
    """Runs to the end; {"wall", "cpu", "peak_kb", "out"}. A failure ends the benchmark."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.monotonic()
        child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                 env={**os.environ, **(environment or {})})
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        text = out.read().decode(errors="replace")
        if child.returncode:
            die(f"{' '.join(arguments)} ended with {child.returncode}:\n{text}{err.read().decode(errors='replace')}")
        return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak_kb": usage.ru_maxrss, "out": text}


def cpu_of(pid):
    """CPU seconds that a running process has used."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_kb_of(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def reset_peak(pid):
    """The peak starts anew from what the process holds now."""
    try:
        with open(f"/proc/{pid}/clear_refs", "w") as out:
            out.write("5")
    except OSError:
        pass  # then the peak is the one since the start
