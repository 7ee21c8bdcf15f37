"""Two devices edit copies of one database offline, then sync through a server. Run it as scripts/demo.

Steps are functions, in the order of the story; what must be true is checked, and the exit status tells.
"""

import argparse
import os
import shutil
import sys
import time

from device import REJOIN, ROOT, Server, connect, connect_with_extension, digest, rejoin
from show import bold, dim, green, heading, red, table
import iso_codes

TABLES = ["languages", "scripts", "countries", "subdivisions", "currencies", "visits"]

# The story: (heading, table, key, columns to show). The edits themselves are in edit_on_a and edit_on_b.
STORY = [
    ("Different columns of the same row", "countries", "TR", ["common_name", "official_name"]),
    ("The same column", "currencies", "VED", ["name"]),
    ("Deleted on one device, edited on the other", "currencies", "HRK", ["name"]),
    ("A renamed key, and an edit of the old one elsewhere", "subdivisions", "FR-75", ["name"]),
    ("  the same place under its new key", "subdivisions", "FR-75C", ["name", "parent"]),
    ("  and a row that refers to it (ON UPDATE CASCADE)", "visits", "01936f5e-0000-7000-8000-000000000001", ["subdivision"]),
]
NEW_ROWS = "New rows on both devices"


def edit_on_a(db):
    """Device A, in an aeroplane. Plain sqlite3: this connection has never heard of Rejoin."""
    db.execute("UPDATE countries SET common_name = 'Turkey' WHERE code = 'TR'")
    db.execute("UPDATE currencies SET name = 'Bolívar Digital' WHERE code = 'VED'")
    db.execute("DELETE FROM currencies WHERE code = 'HRK'")
    db.execute("BEGIN")  # ISO 3166-2 gave Paris a new code in 2021
    db.execute("UPDATE subdivisions SET code = 'FR-75C', name = 'Paris (city)' WHERE code = 'FR-75'")
    db.execute("COMMIT")
    db.executemany("INSERT INTO visits VALUES(?,?,?,?,?,?)", [
        ("01936f60-0000-7000-8000-00000000000a", "IS-1", "isl", "2026-06-20", "Midnight sun", 5),
        ("01936f60-0000-7000-8000-00000000000b", "NO-03", "nob", "2026-06-24", "Ferry to the fjord 🛳", 4)])


def edit_on_b(db):
    """Device B, in the mountains, a moment later."""
    db.execute("UPDATE countries SET official_name = 'Türkiye Cumhuriyeti' WHERE code = 'TR'")
    db.execute("UPDATE currencies SET name = 'Digital Bolívar' WHERE code = 'VED'")
    db.execute("UPDATE currencies SET name = 'Croatian kuna (until 2022)' WHERE code = 'HRK'")
    db.execute("UPDATE subdivisions SET name = 'Ville de Paris' WHERE code = 'FR-75'")
    db.execute("INSERT INTO visits VALUES(?,?,?,?,?,?)",
               ("01936f60-0000-7000-8000-00000000000c", "CH-VS", "gsw", "2026-06-21", "Snow in June", 3))
    db.execute("INSERT INTO languages(code, name, scope, type) VALUES('qaa', 'Our secret language', 'I', 'C')")


def prepare(folder):
    heading("1  An ordinary SQLite file, and a copy of it for each device")
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
    print("  Copied first, then tracked on each device (A: SELECT rejoin_track('…') from Python, B: rejoin track b.db --all),")
    print(f"  so that each file is a replica of its own: {time.monotonic() - start:.1f} s for both. What was there before tracking")
    print("  loses to any later write.")


def edit_offline(folder):
    heading("2  Both edit offline, with plain SQL and without the extension")
    db = connect(os.path.join(folder, "a.db"))
    edit_on_a(db)
    db.close()
    time.sleep(0.05)  # so that "later" is visible in the times below
    db = connect(os.path.join(folder, "b.db"))
    edit_on_b(db)
    db.close()
    for device in "ab":
        pending = rejoin("status", os.path.join(folder, f"{device}.db"))
        print(f"  device {device.upper()}: {describe_pending(pending)}")


def describe_pending(status):
    return f"replica {status['site'][:8]}, captured at log position {status['seq']}"


def values(path, name, key, columns):
    """Column values of a row as text; None when there is no such row."""
    db = connect(path)
    row = db.execute(f'SELECT {", ".join(columns)} FROM "{name}" WHERE {key_column(name)} = ?', (key,)).fetchone()
    db.close()
    return None if row is None else ["NULL" if v is None else str(v) for v in row]


def key_column(name):
    return "id" if name == "visits" else "code"


def snapshot(folder, device):
    path = os.path.join(folder, f"{device}.db")
    return {(name, key): values(path, name, key, columns) for _, name, key, columns in STORY}


def new_rows(folder, device):
    db = connect(os.path.join(folder, f"{device}.db"))
    rows = [("visits", r[0], r[1]) for r in db.execute("SELECT id, note FROM visits WHERE id >= '01936f60' ORDER BY id")]
    rows += [("languages", r[0], r[1]) for r in db.execute("SELECT code, name FROM languages WHERE code = 'qaa'")]
    db.close()
    return rows


def sync_until_quiet(folder, server):
    heading("3  Back online: both sync through one server")
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
            moved += done["pushed"] + done["pulled"]
            rows.append([f"{turn}", f"device {device.upper()}", f"{done['pushed']:,}", f"{done['pulled']:,}", f"{done['round_trips']}"])
        if moved == 0:
            break
    else:
        sys.exit(red("error: the devices did not come to rest"))
    table(["turn", "", "rows sent", "rows received", "round trips"], rows, [4, 10, 10, 14, 11])


def when(stamp):
    return stamp["time"][11:23] if stamp["time"] else "before tracking"


def who(stamp, sites):
    return "before tracking" if stamp["time"] is None else sites.get(stamp["site"], stamp["site"][:8])


def why(folder, name, key, column, sites):
    """One sentence, from what `rejoin explain` tells on device A."""
    told = rejoin("explain", os.path.join(folder, "a.db"), name, key)
    if not told["alive"]:
        deleted = f"{who(told['liveness'], sites)} deleted it at {when(told['liveness'])}."
        cell = told["columns"][column]
        if cell["written"] and cell["written"]["time"]:
            deleted += f" {who(cell['written'], sites)}'s edit '{cell['value']}' is kept for a restore."
        return deleted
    cell = told["columns"][column]
    if cell["written"]["time"] is None:
        return "nobody changed it since tracking began"
    reason = f"{who(cell['written'], sites)} wrote it at {when(cell['written'])}"
    rivals = [lost for lost in cell.get("won_against", []) if lost["written"]["time"]]
    if rivals:
        reason += f", later than {who(rivals[0]['written'], sites)} at {when(rivals[0]['written'])}"
    else:
        reason += "; nobody else did"
    return reason


def report(folder, had, now, sites):
    heading("4  What became of it, and why")
    for title, name, key, columns in STORY:
        print("\n  " + (title if title.startswith("  ") else bold(title)) + "  " + dim(f"{name} {key}"))
        rows = []
        for i, column in enumerate(columns):
            def cell(snap):
                row = snap[(name, key)]
                return "(no such row)" if row is None else row[i]
            rows.append([column, cell(had["a"]), cell(had["b"]), cell(now["a"]), why(folder, name, key, column, sites)])
        table(["column", "device A had", "device B had", "both have", "why"], rows, [13, 18, 18, 18, 23],
              [None, None, None, green, None])


def compare(folder, server_file):
    heading("5  Are they equal?")
    paths = {"device A": os.path.join(folder, "a.db"), "device B": os.path.join(folder, "b.db"), "server": server_file}
    sums = {who: digest(path, TABLES) for who, path in paths.items()}
    table(["", "rows", "SHA-256 over all rows of all tables", "file"],
          [[who, f"{rows:,}", total[:32], os.path.relpath(paths[who])] for who, (rows, total, _) in sums.items()], [9, 7, 36, 40])
    reference = sums["device A"]
    if all(s[1] == reference[1] for s in sums.values()):
        print(green("\n  Yes: both devices and the server have the same rows, to the last byte."))
        return True
    for who, (_, _, by_table) in sums.items():
        different = [t for t in TABLES if by_table[t] != reference[2][t]]
        if different:
            print(red(f"\n  No: {who} differs from device A in {', '.join(different)}"))
    return False


def new_rows_report(before, now):
    print("\n  " + bold(NEW_ROWS))
    marks = lambda row: ("yes" if row in before["a"] else "", "yes" if row in before["b"] else "", "yes" if row in now["a"] and row in now["b"] else "no")
    rows = [[name, key[-14:], text, *marks((name, key, text))] for name, key, text in sorted(set(before["a"] + before["b"] + now["a"] + now["b"]))]
    table(["table", "key", "row", "A had", "B had", "both have"], rows, [10, 14, 34, 6, 6, 10], [None, None, None, None, None, green])


def expected(folder):
    """What must have come out, whatever the report says. Yields what is wrong."""
    wanted = {
        ("countries", "TR"): ["Turkey", "Türkiye Cumhuriyeti"],  # both edits
        ("currencies", "VED"): ["Digital Bolívar"],              # the later one
        ("currencies", "HRK"): None,                             # the deletion; the edit is kept for a restore
        ("subdivisions", "FR-75"): None,                         # likewise
        ("subdivisions", "FR-75C"): ["Paris (city)", "FR-IDF"],
        ("visits", "01936f5e-0000-7000-8000-000000000001"): ["FR-75C"],
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", default=os.path.join(ROOT, "build", "demo"), help="where the files go; made anew")
    folder = os.path.relpath(parser.parse_args().dir)
    start = time.monotonic()
    fresh(folder)
    print(bold("Rejoin: two devices, offline edits, one server"))
    prepare(folder)
    sites = {rejoin("status", os.path.join(folder, f"{d}.db"))["site"]: f"device {d.upper()}" for d in "ab"}
    edit_offline(folder)
    had = {device: snapshot(folder, device) for device in "ab"}
    had_new = {device: new_rows(folder, device) for device in "ab"}
    with Server(os.path.join(folder, "server")) as server:
        sync_until_quiet(folder, server)
    report(folder, had, {device: snapshot(folder, device) for device in "ab"}, sites)
    new_rows_report(had_new, {device: new_rows(folder, device) for device in "ab"})
    equal = compare(folder, os.path.join(folder, "server", "tenants", "demo.db"))
    wrong = list(expected(folder))
    for line in wrong:
        print(red("  Wrong: " + line))
    if wrong or not equal:
        return 1
    what_next(folder)
    print(dim(f"\n  {time.monotonic() - start:.1f} s in all"))
    return 0


def what_next(folder):
    heading("Try next (the files are in " + folder + ")")
    command = os.path.relpath(REJOIN)
    for line, comment in [
            (f"{command} restore {folder}/a.db currencies HRK", "the deleted row, with B's edit"),
            (f"{command} merge {folder}/a.db {folder}/b.db", "two files, no server"),
            (f"{command} changes {folder}/b.db visits", "the change log"),
            (f"{command} explain {folder}/a.db countries TR", "who wrote what"),
            (f"{command} serve --data {folder}/server", "the server again"),
    ]:
        print("  " + line + " " * max(1, 58 - len(line)) + dim("# " + comment))


if __name__ == "__main__":
    sys.exit(main())
