"""docs/cli.md and `rejoin --help` must name the same commands, arguments and options. Needs dist/rejoin; silent without it."""

import os
import re
import subprocess
import sys

ROOT = os.environ.get("REJOIN_ROOT", ".")
BINARY = os.path.join(ROOT, "dist", "rejoin")
DOC = "docs/cli.md"
COMMON = {"--help", "--json", "--version"}  # documented once, at the top


def help_of(*command):
    done = subprocess.run([BINARY, *command, "--help"], text=True, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    return done.stdout


def options_of(text):
    return set(re.findall(r"^  (?:-\w, )?(--[a-z][a-z-]*)", text, re.M)) - COMMON


def arguments_of(text):
    part = re.search(r"^Positionals:\n((?:  .*\n)+)", text, re.M)
    return set(re.findall(r"^  (\w+)", part.group(1), re.M)) if part else set()


def sections(lines):
    """{command: (line number, text)} of the headings `## rejoin COMMAND …`."""
    found, name = {}, None
    for number, line in enumerate(lines, 1):
        match = re.match(r"## `rejoin ([a-z]+)(.*)`$", line)
        if match:
            name = match.group(1)
            found[name] = (number, [line])
        elif line.startswith("## "):
            name = None
        elif name:
            found[name][1].append(line)
    return {name: (number, "\n".join(text)) for name, (number, text) in found.items()}


def main():
    if not os.path.exists(BINARY):
        return 0
    findings = []

    def add(number, what, cure):
        findings.append(f"{DOC}:{number}: [cli] {what}. Cure: {cure}")

    with open(os.path.join(ROOT, DOC), encoding="utf-8") as file:
        documented = sections(file.read().split("\n"))
    part = re.search(r"^Subcommands:\n((?:  .*\n)+)", help_of(), re.M)
    commands = re.findall(r"^  (\w+)", part.group(1), re.M)
    for command in commands:
        if command not in documented:
            add(1, f"there is no section `rejoin {command}`", f"describe it below a heading '## `rejoin {command} …`'")
            continue
        number, text = documented[command]
        told = help_of(command)
        if "\nExample" not in told:
            add(number, f"`rejoin {command} --help` shows no example", "give one where the command is declared")
        named = set(re.findall(r"`(--[a-z][a-z-]*)", text)) - COMMON
        for option in sorted(options_of(told) - named):
            add(number, f"the section of `rejoin {command}` does not name {option}", "add it to the section's list")
        for option in sorted(named - options_of(told)):
            add(number, f"`rejoin {command}` has no option {option}", "remove it from the section, or correct it")
        heading = text.split("\n")[0]
        for argument in sorted(arguments_of(told)):
            if not re.search(rf"\b{argument}\b", heading):
                add(number, f"the heading of `rejoin {command}` does not name its argument {argument}", "add it")
    for command in sorted(set(documented) - set(commands)):
        add(documented[command][0], f"there is no command `rejoin {command}`", "remove the section")
    print("\n".join(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
