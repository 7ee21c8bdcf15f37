"""Relative links in the Markdown pages must lead to a file of the project, and to a heading of it if they name one."""

import os
import re
import sys

ROOT = os.environ.get("REJOIN_ROOT", ".")
SKIPPED = {"build", "dist", "node_modules"}
PRODUCTS = ("dist/",)  # made by a build


def pages():
    for where, folders, names in os.walk(ROOT):
        folders[:] = sorted(f for f in folders if f not in SKIPPED and not f.startswith("."))
        for name in sorted(names):
            if name.endswith(".md"):
                yield os.path.relpath(os.path.join(where, name), ROOT)


def without_code(text):
    """Blocks and spans of code blanked out, lines kept."""
    text = re.sub(r"^```.*?^```", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path):
    """As GitHub makes them from headings."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        text = re.sub(r"^```.*?^```", "", file.read(), flags=re.M | re.S)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ +(.*?) *$", text, re.M)}


def main():
    findings = []
    for page in pages():
        with open(os.path.join(ROOT, page), encoding="utf-8") as file:
            text = without_code(file.read())
        for number, line in enumerate(text.split("\n"), 1):
            for target in re.findall(r"\]\(([^()\s]+)\)", line):
                if re.match(r"[a-z]+:", target):
                    continue
                name, _, anchor = target.partition("#")
                path = os.path.normpath(os.path.join(os.path.dirname(page), name)) if name else page
                if path.startswith(PRODUCTS):
                    continue
                if not os.path.exists(os.path.join(ROOT, path)):
                    findings.append(f"{page}:{number}: [links] there is no {path}. Cure: correct the link, or write the page")
                elif anchor and path.endswith(".md") and anchor not in anchors(path):
                    findings.append(f"{page}:{number}: [links] {path} has no heading for #{anchor}. Cure: correct the link")
    print("\n".join(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
