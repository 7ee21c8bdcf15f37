"""Two devices edit copies of one database offline, then sync through a server. Run it as scripts/demo.

The server's store is its own, or PostgreSQL with --postgres (postgres_store.py).

Steps are functions, in the order of the story; what must be true is checked, and the exit status tells.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time

from device import REJOIN, ROOT, Server, connect, connect_with_extension, digest, rejoin, values
from show import bold, dim, green, heading, red, short, step, table
import embedded_store
import iso_codes
import postgres_store

TABLES = ["languages", "scripts", "countries", "subdivisions", "currencies", "visits"]

# What each device does while it is offline, in plain SQL.
EDITS = {
    "a": [
        "UPDATE countries SET common_name = 'Turkey' WHERE code = 'TR'",
        "UPDATE currencies SET name = 'Bolívar Digital' WHERE code = 'VED'",
        "DELETE FROM currencies WHERE code = 'HRK'",
        # ISO 3166-2 gave Paris a new code in 2021.
        "UPDATE subdivisions SET code = 'FR-75C', name = 'Paris (city)' WHERE code = 'FR-75'",
        "INSERT INTO visits VALUES('01936f60-0a', 'IS-1', 'isl', '2026-06-20', 'Midnight sun', 5)",
        "INSERT INTO visits VALUES('01936f60-0b', 'NO-03', 'nob', '2026-06-24', 'Ferry to the fjord', 4)",
    ],
    "b": [
        "UPDATE countries SET official_name = 'Türkiye Cumhuriyeti' WHERE code = 'TR'",
        "UPDATE currencies SET name = 'Digital Bolívar' WHERE code = 'VED'",
        "UPDATE currencies SET name = 'Croatian kuna (until 2022)' WHERE code = 'HRK'",
        "UPDATE subdivisions SET name = 'Ville de Paris' WHERE code = 'FR-75'",
        "INSERT INTO visits VALUES('01936f60-0c', 'CH-VS', 'gsw', '2026-06-21', 'Snow in June', 3)",
        "INSERT INTO languages(code, name, scope, type) VALUES('qaa', 'Our secret language', 'I', 'C')",
    ],
}

# What is looked at afterwards: (heading, table, key, columns to show).
STORY = [
    ("Different columns of the same row", "countries", "TR", ["common_name", "official_name"]),
    ("The same column", "currencies", "VED", ["name"]),
    ("Deleted on one device, edited on the other", "currencies", "HRK", ["name"]),
    ("A key renamed on one device, the row edited on the other", "subdivisions", "FR-75", ["name"]),
    ("The same place under its new key", "subdivisions", "FR-75C", ["name", "parent"]),
    ("A row that refers to it (ON UPDATE CASCADE)", "visits", "01936f5e-01", ["subdivision"]),
]
NEW_ROWS = "New rows on both devices"


def prepare(folder):
    step("An ordinary SQLite file, and a copy of it for each device")
    start = time.monotonic()
    counts = iso_codes.load(os.path.join(folder, "app.db"))
    print(f"  {folder}/app.db: Debian's iso-codes, {sum(counts.values()):,} rows, loaded in {time.monotonic() - start:.1f} s")
    print("  " + dim(", ".join(f"{name} {rows:,}" for name, rows in counts.items())))
    for device in "ab":
        shutil.copyfile(os.path.join(folder, "app.db"), os.path.join(folder, f"{device}.db"))
    # The right way round: copy the plain file, then track on each device, so that each becomes a replica of its own.
    start = time.monotonic()
    db = connect_with_extension(os.path.join(folder, "a.db"))
    for name in TABLES:
        db.execute("SELECT rejoin_track(?)", (name,))
    db.close()
    rejoin("track", os.path.join(folder, "b.db"), "--all")
    print("  a.db, b.db: copied first, then tracked on each device, so that each is a replica of its own:")
    print(f"  A from Python with SELECT rejoin_track('…'), B with `rejoin track b.db --all`, {time.monotonic() - start:.2f} s for both.")
    print("  What was there before tracking loses to any later write.")


def edit_offline(folder):
    step("Both edit offline, with plain SQL and without the extension")
    for device, who in (("a", "device A, in an aeroplane"), ("b", "device B, in the mountains, a moment later")):
        print("  " + bold(who))
        db = connect(os.path.join(folder, f"{device}.db"))
        for sql in EDITS[device]:
            db.execute(sql)
            print("    " + sql)
        db.close()
        time.sleep(0.02)  # so that "later" shows in the times below


def snapshot(folder, device):
    path = os.path.join(folder, f"{device}.db")
    return {(name, key): values(path, name, key, columns) for _, name, key, columns in STORY}


def new_rows(folder, device):
    db = connect(os.path.join(folder, f"{device}.db"))
    rows = [("visits", r[0], r[1]) for r in db.execute("SELECT id, note FROM visits WHERE id > '01936f60' ORDER BY id")]
    rows += [("languages", r[0], r[1]) for r in db.execute("SELECT code, name FROM languages WHERE code = 'qaa'")]
    db.close()
    return rows


def sync_until_quiet(folder, server):
    step("Back online: both sync through one server")
    data = server.data
    tokens = {}
    for device in "ab":
        # The first device brings the tables along, so its token must allow that.
        extra = ["--schema"] if device == "a" else []
        tokens[device] = rejoin("token", "--data", data, "--tenant", "demo", "--device", f"device-{device}", *extra)["token"]
    rows = []
    for turn in range(1, 10):
        moved = 0
        for device in "ab":
            path = os.path.join(folder, f"{device}.db")
            done = rejoin("sync", path, server.url, env={"REJOIN_TOKEN": tokens[device]})
            if done["pushed"] + done["pulled"] > 0:
                rows.append([f"{turn}", f"device {device.upper()}", f"{done['pushed']:9,}", f"{done['pulled']:13,}",
                             f"{done['bytes_sent'] + done['bytes_received']:13,}"])
            moved += done["pushed"] + done["pulled"]
        if moved == 0:
            break
    else:
        sys.exit(red("error: the devices did not come to rest"))
    table(["turn", "", "rows sent", "rows received", "bytes on wire"], rows, [4, 10, 9, 13, 13])
    print("  Then there is nothing left to say. The first meeting brings everything along, since nobody told the server that")
    print("  both began with the same rows; from then on only news travels.")


def when(stamp):
    return stamp["time"][11:23]


def why(folder, name, key, column, sites):
    """One sentence, from what `rejoin explain` tells on device A."""
    told = rejoin("explain", os.path.join(folder, "a.db"), name, key)
    cell = told["columns"][column]
    written, deleted = cell["written"], told["liveness"]
    if not told["alive"]:
        reason = f"{sites[deleted['site']]} deleted it, {when(deleted)}"
        if written["time"]:
            reason += f"; {sites[written['site']]}'s edit, {when(written)}, is kept for a restore"
        return reason
    if written["time"] is None:
        return "nobody wrote it since tracking began"
    writer = f"{sites[written['site']]} wrote it"
    rivals = [lost["written"] for lost in cell.get("won_against", []) if lost["written"]["time"]]
    if rivals:
        return f"{writer}, {when(written)}, later than {sites[rivals[0]['site']]}, {when(rivals[0])}"
    return f"only {writer}, {when(written)}"


def report(folder, had, now, sites):
    step("What became of it, and why")
    widths = [13, 16, 16, 16, 29]
    table(["", "device A had", "device B had", "both have now", "why (from rejoin explain)"], [], widths)
    for title, name, key, columns in STORY:
        print("\n  " + bold(title) + "  " + dim(f"{name} {key}"))
        rows = []
        for i, column in enumerate(columns):
            def cell(snap):
                row = snap[(name, key)]
                return "(no such row)" if row is None else row[i]
            rows.append([column, cell(had["a"]), cell(had["b"]), cell(now["a"]), why(folder, name, key, column, sites)])
        table(None, rows, widths, [dim, None, None, green, None])


def raw_explanation(folder):
    arguments = ["explain", os.path.join(folder, "a.db"), "currencies", "VED"]
    print("\n  " + bold("The same in full") + "  " + dim("$ " + " ".join([short(REJOIN), *arguments])))
    for line in subprocess.run([REJOIN, *arguments], capture_output=True, text=True, check=True).stdout.splitlines():
        print("  " + line)


def compare(folder, store):
    step("Are they equal?")
    paths = {f"device {d.upper()}": os.path.join(folder, f"{d}.db") for d in "ab"}
    sums = {who: digest(path, TABLES) for who, path in paths.items()}
    sums[store.name] = store.digest(TABLES)
    where = {**paths, store.name: store.where()}
    table(["", "rows", "SHA-256 over all rows of all tables", "read from"],
          [[who, f"{rows:,}", total[:32], where[who]] for who, (rows, total, _) in sums.items()], [10, 7, 36, 39])
    reference = sums["device A"]
    if all(s[1] == reference[1] for s in sums.values()):
        print(green(f"\n  Yes: {store.equal}, to the last byte."))
        return True
    for who, (_, _, by_table) in sums.items():
        different = [t for t in TABLES if by_table[t] != reference[2][t]]
        if different:
            print(red(f"\n  No: {who} differs from device A in {', '.join(different)}"))
    return False


def new_rows_report(before, now):
    print("\n  " + bold(NEW_ROWS))
    marks = lambda row: ("yes" if row in before["a"] else "", "yes" if row in before["b"] else "", "yes" if row in now["a"] and row in now["b"] else "no")
    rows = [[name, key, text, *marks((name, key, text))] for name, key, text in sorted(set(before["a"] + before["b"] + now["a"] + now["b"]))]
    table(["table", "key", "row", "A had", "B had", "both have"], rows, [10, 12, 24, 5, 5, 9], [None, None, None, None, None, green])


def expected(folder):
    """What must have come out, whatever the report says. Yields what is wrong."""
    wanted = {
        ("countries", "TR"): ["Turkey", "Türkiye Cumhuriyeti"],  # both edits
        ("currencies", "VED"): ["Digital Bolívar"],              # the later one
        ("currencies", "HRK"): None,                             # the deletion; the edit is kept for a restore
        ("subdivisions", "FR-75"): None,                         # likewise
        ("subdivisions", "FR-75C"): ["Paris (city)", "FR-IDF"],
        ("visits", "01936f5e-01"): ["FR-75C"],
    }
    for device in "ab":
        got = snapshot(folder, device)
        for row, want in wanted.items():
            if got[row] != want:
                yield f"device {device.upper()} has {got[row]} in {row[0]} {row[1]}, not {want}"
        if len(new_rows(folder, device)) != 4:
            yield f"device {device.upper()} lacks new rows: {new_rows(folder, device)}"
    kept = rejoin("explain", os.path.join(folder, "a.db"), "currencies", "HRK")["columns"]["name"]["value"]
    if kept != "Croatian kuna (until 2022)":
        yield f"the edit of the deleted row HRK was not kept: {kept}"


def fresh(folder):
    """Empties the folder, but only one that an earlier demo made."""
    marker = os.path.join(folder, ".rejoin-demo")
    if os.path.exists(folder) and os.listdir(folder) and not os.path.exists(marker):
        sys.exit(f"error: {folder} has other files in it; name another folder with --dir")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    with open(marker, "w", encoding="ascii"):
        pass


def show(folder, store):
    print(bold(store.title))
    prepare(folder)
    store.prepare(TABLES)
    sites = {rejoin("status", os.path.join(folder, f"{d}.db"))["site"]: d.upper() for d in "ab"}
    edit_offline(folder)
    had = {device: snapshot(folder, device) for device in "ab"}
    had_new = {device: new_rows(folder, device) for device in "ab"}
    with Server(os.path.join(folder, "server"), *store.arguments) as server:
        sync_until_quiet(folder, server)
        report(folder, had, {device: snapshot(folder, device) for device in "ab"}, sites)
        new_rows_report(had_new, {device: new_rows(folder, device) for device in "ab"})
        raw_explanation(folder)
        wrong = list(expected(folder))
        wrong += store.written_by_others()
    equal = compare(folder, store)
    store.check()
    for line in wrong:
        print(red("  Wrong: " + line))
    return equal and not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", default=os.path.join(ROOT, "build", "demo"), help="where the files go; made anew")
    parser.add_argument("--postgres", action="store_true", help="with PostgreSQL as the server's store: a private one, which ends with the demo")
    arguments = parser.parse_args()
    folder = short(arguments.dir)
    sys.stdout.reconfigure(errors="replace", line_buffering=True)  # a terminal without UTF-8 shows ? instead of ending the demo
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that blocks end and stop what they started
    start = time.monotonic()
    fresh(folder)
    try:
        with (postgres_store if arguments.postgres else embedded_store).Store(folder) as store:
            if not show(folder, store):
                return 1
    except KeyboardInterrupt:
        return 130
    what_next(folder)
    print(dim(f"\n  {time.monotonic() - start:.1f} s in all"))
    return 0


def what_next(folder):
    heading("Try next")
    command = short(REJOIN)
    for line, comment in [
            (f"{command} restore {folder}/a.db currencies HRK", "the deleted row, with B's edit"),
            (f"{command} merge {folder}/a.db {folder}/b.db", "two files, no server"),
            (f"{command} changes {folder}/b.db visits", "who wrote what, line by line"),
            (f"{command} explain {folder}/a.db countries TR", "why a row is as it is"),
            (f"sqlite3 {folder}/a.db", "any SQL: it is captured"),
    ]:
        print("  " + line + " " * max(2, 60 - len(line)) + dim("# " + comment))


if __name__ == "__main__":
    sys.exit(main())
