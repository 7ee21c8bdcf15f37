"""Prints `N passed, N failed` for one run of ctest: count_tests.py RESULTS_DIR.

RESULTS_DIR holds ctest.junit (one entry per executable or script) and <name>.xml for each GoogleTest executable, which
is counted by its cases. An executable that failed without a failed case (crash, time-out) counts as one failure more.
Before that, what failed is said once more, at the end of a long output. Exits 1 when something failed or nothing ran.
"""

import os
import sys
import xml.etree.ElementTree as ElementTree


def parse(path):
    try:
        return ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return None


def count(results):
    passed = failed = 0
    root = parse(os.path.join(results, "ctest.junit"))
    if root is None:
        return 0, 1
    for entry in root.iter("testcase"):
        ok = entry.get("status") == "run"
        cases = parse(os.path.join(results, entry.get("name") + ".xml"))
        if cases is None:
            passed += ok
            failed += not ok
            continue
        bad = sum(1 for case in cases.iter("testcase") if case.find("failure") is not None)
        run = sum(1 for case in cases.iter("testcase") if case.get("status") == "run")
        passed += run - bad
        failed += bad if ok or bad else 1
    return passed, failed


def failures(results):
    """(test, what it said) of each that failed: the messages of its cases, or the end of its output."""
    root = parse(os.path.join(results, "ctest.junit"))
    for entry in root.iter("testcase") if root is not None else ():
        cases = parse(os.path.join(results, entry.get("name") + ".xml"))
        bad = [(case.get("classname"), case.get("name"), failure.get("message") or "")
               for case in (cases.iter("testcase") if cases is not None else ()) for failure in case.findall("failure")]
        for suite, name, message in bad[:10]:
            yield f"{entry.get('name')}: {suite}.{name}", message[-2000:]
        if not bad and entry.get("status") != "run":
            yield entry.get("name"), (entry.findtext("system-out") or "")[-4000:]


def main():
    for name, said in failures(sys.argv[1]):
        print(f"--- {name}\n{said.strip()}\n")
    passed, failed = count(sys.argv[1])
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
