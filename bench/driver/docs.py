"""Fills docs/performance.md from the newest results files: what stands between <!-- results NAME --> and <!-- end --> is replaced."""
import glob
import json
import os
import re

from common import RESULTS, ROOT, die, say


def newest(name):
    def when(path):
        return json.load(open(path))["date"], os.path.getmtime(path)
    files = sorted(glob.glob(os.path.join(RESULTS, f"*-{name}.json")), key=when)
    return files[-1] if files else None


def main():
    path = os.path.join(ROOT, "docs", "performance.md")
    text = open(path).read()

    def fill(match):
        file = newest(match.group(1))
        if not file:
            die(f"no results of '{match.group(1)}' in {os.path.relpath(RESULTS, ROOT)}. Run: scripts/bench {match.group(1)}")
        body = open(file[:-5] + ".md").read().split("\n", 1)[1].strip()
        return f"<!-- results {match.group(1)} -->\n\n{body}\n\n<!-- end -->"

    filled = re.sub(r"<!-- results (\w+) -->.*?<!-- end -->", fill, text, flags=re.S)
    if filled != text:
        with open(path, "w") as out:
            out.write(filled)
    say(f"{os.path.relpath(path, ROOT)}: {'filled' if filled != text else 'unchanged'}")
