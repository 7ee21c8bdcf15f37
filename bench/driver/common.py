"""What every benchmark of scripts/bench needs: the build, the machine, the state of the sources, results files, tables."""
import datetime
import hashlib
import json
import math
import os
import platform
import sqlite3
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RESULTS = os.path.join(ROOT, "bench", "results")
BUILD = os.environ.get("REJOIN_BENCH_BUILD", os.path.join(ROOT, "build", "release"))


def say(message):
    print(message, file=sys.stderr, flush=True)


def die(message):
    sys.exit(f"error: {message}")


def build(*targets):
    """Builds the release preset's targets. With REJOIN_BENCH_BUILD set, that folder is measured as it is."""
    if "REJOIN_BENCH_BUILD" in os.environ:
        return
    arguments = [part for target in targets for part in ("--target", target)]
    if subprocess.run([os.path.join(ROOT, "scripts", "build"), *arguments]).returncode:
        die("the build failed; its messages are above")


def commit():
    """The commit that is checked out, read from .git: twelve digits."""
    folder = os.path.join(ROOT, ".git")
    if os.path.isfile(folder):  # a worktree
        folder = os.path.join(ROOT, open(folder).read().split(":", 1)[1].strip())
    try:
        head = open(os.path.join(folder, "HEAD")).read().strip()
        if not head.startswith("ref: "):
            return head[:12]
        ref = head[5:]
        common = os.path.join(folder, "commondir")
        if os.path.exists(common):
            folder = os.path.join(folder, open(common).read().strip())
        if os.path.exists(os.path.join(folder, ref)):
            return open(os.path.join(folder, ref)).read().strip()[:12]
        for line in open(os.path.join(folder, "packed-refs")):
            if line.rstrip().endswith(" " + ref):
                return line[:12]
    except OSError:
        pass
    return "uncommitted"


def sources_digest():
    """Of all files below src/ and bench/, uncommitted changes included: which code was measured."""
    digest = hashlib.sha256()
    for top in ("src", "bench"):
        for folder, folders, files in os.walk(os.path.join(ROOT, top)):
            folders[:] = sorted(f for f in folders if f not in ("results", "__pycache__"))
            for name in sorted(files):
                path = os.path.join(folder, name)
                digest.update(os.path.relpath(path, ROOT).encode() + b"\0" + open(path, "rb").read())
    return digest.hexdigest()[:12]


def machine():
    model = "unknown"
    try:
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return {"cpu": model, "cores": os.cpu_count(), "kernel": f"{platform.system()} {platform.release()}",
            "arch": platform.machine()}


def heading(command):
    """What belongs into every results file."""
    return {
        "date": datetime.date.today().isoformat(), "commit": commit(), "sources": sources_digest(),
        "sqlite": sqlite3.sqlite_version, "machine": machine(), "command": command,
    }


def describe(head):
    m = head["machine"]
    return (f"commit {head['commit']} (sources {head['sources']}), {head['date']}; {m['cpu']}, {m['cores']} cores, "
            f"{m['kernel']}, {m['arch']}; SQLite {head['sqlite']}; `{head['command']}`")


def save(name, data, markdown):
    """Writes bench/results/<date>-<commit>-<name>.json and .md; returns the path without suffix."""
    os.makedirs(RESULTS, exist_ok=True)
    path = os.path.join(RESULTS, f"{data['date']}-{data['commit']}-{name}")
    with open(path + ".json", "w") as out:
        json.dump(data, out, indent=1)
        out.write("\n")
    with open(path + ".md", "w") as out:
        out.write(markdown)
    return path


def report(options, name, title, data, notes, header, rows, keep=True, more=""):
    """Prints a benchmark's results, as JSON when asked, and keeps them. `more` comes below the table."""
    more = f"\n\n{more}" if more else ""
    if options.json:
        print(json.dumps(data, indent=1))
    else:
        print(f"{describe(data)}\n{notes}\n\n{aligned(header, rows)}{more}")
    if keep and not options.no_save:
        path = save(name, data, f"# {title}\n\n{describe(data)}\n\n{notes}\n\n{markdown(header, rows)}{more}\n")
        say(f"written: {os.path.relpath(path, ROOT)}.json and .md")


def number(value, digits=3):
    """Three significant digits, without an exponent; a dash for none."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def aligned(header, rows, left=1):
    """A text table: the first `left` columns to the left, the others to the right."""
    table = [header] + rows
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    lines = []
    for row in table:
        cells = [cell.ljust(widths[i]) if i < left else cell.rjust(widths[i]) for i, cell in enumerate(row)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)


def markdown(header, rows, left=1):
    lines = ["| " + " | ".join(header) + " |",
             "|" + "|".join("---" if i < left else "--:" for i in range(len(header))) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
