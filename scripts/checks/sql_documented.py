"""docs/sql.md must document every SQL function and table-valued function that src/sqlite and src/extension register, and no other.

Registered names are found in the sources: string literals "rejoin_…" in files that register functions or modules. Tables that users
may read (rejoin_rejections) are documented below a heading of their own.
"""

import os
import re
import sys

ROOT = os.environ.get("REJOIN_ROOT", ".")
DOC = "docs/sql.md"
READABLE_TABLES = {"rejoin_rejections"}
INTERNAL = {"rejoin_rows", "rejoin_close", "rejoin_nested_write"}  # of the engine's own statements and its end; of no use from SQL


def registered():
    """{name: 'file:line'}"""
    found = {}
    for folder in ("src/sqlite", "src/extension"):
        base = os.path.join(ROOT, folder)
        for name in sorted(os.listdir(base)) if os.path.isdir(base) else []:
            if not name.endswith(".cc") or name.endswith("_test.cc"):
                continue
            with open(os.path.join(base, name), encoding="utf-8") as file:
                text = file.read()
            if not re.search(r"sqlite3_create_(function|module)", text):
                continue
            for number, line in enumerate(text.split("\n"), 1):
                for match in re.findall(r'\{?"(rejoin_[a-z_]+)"', line.split("//")[0]):
                    found.setdefault(match, f"{folder}/{name}:{number}")
    return {name: where for name, where in found.items() if name not in INTERNAL}


def main():
    findings = []
    with open(os.path.join(ROOT, DOC), encoding="utf-8") as file:
        lines = file.read().split("\n")
    documented = {}
    for number, line in enumerate(lines, 1):
        match = re.match(r"### `(rejoin_[a-z_]+)", line)
        if match:
            documented[match.group(1)] = number
    known = registered()
    for name in sorted(set(known) - set(documented) - READABLE_TABLES):
        findings.append(f"{known[name]}: [sql] {name} is not documented. Cure: add a section '### `{name}(…)`' to {DOC}")
    for name in sorted(set(documented) - set(known) - READABLE_TABLES):
        findings.append(f"{DOC}:{documented[name]}: [sql] {name} is not registered in src/sqlite or src/extension. "
                        "Cure: remove the section, or correct the name")
    for name in sorted(READABLE_TABLES - set(documented)):
        findings.append(f"{DOC}:1: [sql] the table {name} is not documented. Cure: add a section '### `{name}`'")
    print("\n".join(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
