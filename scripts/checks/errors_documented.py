"""docs/errors.md must have a row for every code of src/base/errors.def, with its numbers, and no other; docs/http.md every metric and every route.

The exit status of a code stands in src/cli/exit_code.cc, metrics in src/server/metrics.cc, routes in src/server/routes.cc.
"""

import os
import re
import sys

ROOT = os.environ.get("REJOIN_ROOT", ".")
TABLE, EXITS, EXIT_NUMBERS = "src/base/errors.def", "src/cli/exit_code.cc", "src/cli/exit_code.h"
METRICS, ROUTES = "src/server/metrics.cc", "src/server/routes.cc"
ERRORS, HTTP = "docs/errors.md", "docs/http.md"
COLUMNS = ("number", "HTTP status", "exit status", "retry")

findings = []


def add(path, line, what, cure):
    findings.append(f"{path}:{line}: [errors] {what}. Cure: {cure}")


def read(path):
    """A file's text; empty, with a finding, when it is not there."""
    try:
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        add(path, 1, f"cannot be read: {error.strerror}", "restore the file")
        return ""


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def exit_statuses():
    """({code: exit status}, the one of all others)"""
    numbers = dict(re.findall(r"^\s*(k\w+) = (\d+)", read(EXIT_NUMBERS), re.M))
    out, waiting, other = {}, [], ""
    body = read(EXITS).partition("exit_code_of(Code code) {")[2].partition("\n}")[0]
    for case, default, result in re.findall(r"case Code::(\w+):|(default):|return (k\w+);", body):
        if case or default:
            waiting.append(case)
        else:
            for name in waiting:
                if name:
                    out[name] = numbers.get(result, "")
                else:
                    other = numbers.get(result, "")
            waiting = []
    return out, other


def check_codes():
    text = read(TABLE)
    exits, other_exit = exit_statuses()
    known = {}
    for match in re.finditer(r'^REJOIN_ERROR\((\w+), (\d+), (\d+), (true|false), "', text, re.M):
        name, number, status, retry = match.groups()
        known[name] = (line_of(text, match.start()), (number, status, exits.get(name, other_exit), "yes" if retry == "true" else "no"))
    if text and not known:
        add(TABLE, 1, "no code was found", "adapt scripts/checks/errors_documented.py to the table's form")

    documented = {}
    page = read(ERRORS)
    for number, line in enumerate(page.split("\n"), 1):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        match = re.fullmatch(r"`(\w+)`", cells[0])
        if not line.startswith("|") or not match:
            continue
        name = match.group(1)
        if name in documented:
            add(ERRORS, number, f"{name} has two rows", "remove one")
        documented[name] = number
        if name not in known:
            add(ERRORS, number, f"{name} is no code of {TABLE}", "remove the row, or correct the name")
            continue
        if len(cells) != 3 + len(COLUMNS) or not cells[-1] or not cells[-2]:
            add(ERRORS, number, f"the row of {name} has not all columns", f"code, {', '.join(COLUMNS)}, meaning, cure; none empty")
            continue
        for column, told, true in zip(COLUMNS, cells[1:], known[name][1]):
            if told != true:
                add(ERRORS, number, f"the {column} of {name} is {true}, not {told}", "correct the row")
    if page:
        for name, (line, _) in known.items():
            if name not in documented:
                add(TABLE, line, f"{name} has no row in {ERRORS}", "add one: number, statuses, retry, meaning, cure")


def check_names(source, pattern, what):
    """Every name that `source` has must stand in docs/http.md in backticks, and the other way round."""
    text, page = read(source), read(HTTP)
    names = {}
    for match in re.finditer(pattern, text):
        names.setdefault(match.group(1), line_of(text, match.start()))
    if text and not names:
        add(source, 1, f"no {what} was found", "adapt scripts/checks/errors_documented.py to the source's form")
    if not page:
        return
    for name, line in names.items():
        if f"`{name}`" not in page:
            add(source, line, f"the {what} {name} is not in {HTTP}", "add it to its table")
    for match in re.finditer(r"^\| `(rejoin_\w+)`" if what == "metric" else r"^\| `(/[\w/]+)`", page, re.M):
        if match.group(1) not in names:
            add(HTTP, line_of(page, match.start()), f"{source} has no {what} {match.group(1)}", "remove the row, or correct the name")


def main():
    check_codes()
    check_names(METRICS, r'"(rejoin_\w+)"', "metric")
    check_names(ROUTES, r'constexpr Route k\w+\{"(/[\w/]+)"', "route")
    print("\n".join(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
