"""Debian's iso-codes (languages, scripts, countries, subdivisions, currencies) as an ordinary SQLite database.

    python3 examples/demo/iso_codes.py FILE

Nothing here knows about Rejoin: this is the app's own database, as any app would make it.
"""

import json
import os
import sqlite3
import sys

JSON_DIR = "/usr/share/iso-codes/json"

SCHEMA = """
CREATE TABLE languages(                       -- ISO 639-3
  code TEXT PRIMARY KEY, name TEXT NOT NULL, inverted_name TEXT, common_name TEXT,
  alpha_2 TEXT, scope TEXT NOT NULL, type TEXT NOT NULL);
CREATE TABLE scripts(                         -- ISO 15924
  code TEXT PRIMARY KEY, name TEXT NOT NULL, numeric TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE countries(                       -- ISO 3166-1
  code TEXT PRIMARY KEY, alpha_3 TEXT NOT NULL UNIQUE, numeric TEXT NOT NULL, name TEXT NOT NULL,
  official_name TEXT, common_name TEXT, flag TEXT);
CREATE TABLE subdivisions(                    -- ISO 3166-2
  code TEXT PRIMARY KEY, country TEXT NOT NULL REFERENCES countries(code), name TEXT NOT NULL, type TEXT NOT NULL,
  parent TEXT REFERENCES subdivisions(code) ON UPDATE CASCADE);
CREATE INDEX subdivisions_of_country ON subdivisions(country);
CREATE TABLE currencies(                      -- ISO 4217
  code TEXT PRIMARY KEY, numeric TEXT NOT NULL, name TEXT NOT NULL,
  country TEXT REFERENCES countries(code));   -- NULL: of several countries, or of none
CREATE TABLE visits(                          -- what people write down on their way
  id TEXT PRIMARY KEY, subdivision TEXT NOT NULL REFERENCES subdivisions(code) ON UPDATE CASCADE,
  language TEXT REFERENCES languages(code), day TEXT NOT NULL, note TEXT NOT NULL DEFAULT '', rating INTEGER);
"""
# The same tables for PostgreSQL, with its own types.
POSTGRES_SCHEMA = SCHEMA.replace(" WITHOUT ROWID", "").replace("day TEXT", "day date").replace("note TEXT", "note varchar(200)")


def entries(standard):
    path = os.path.join(JSON_DIR, f"iso_{standard}.json")
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)[standard]
    except FileNotFoundError:
        sys.exit(f"error: {path} is missing. Install Debian's package: apt-get install iso-codes (scripts/setup does)")


def full_parent(row):
    """Parents are written 'IDF' or 'FR-IDF': always the second form here."""
    parent = row.get("parent")
    if parent is None or "-" in parent:
        return parent
    return row["code"].split("-")[0] + "-" + parent


def load(path):
    """Makes the database at `path`. Returns the number of rows by table."""
    db = sqlite3.connect(path)
    db.executescript("PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON;" + SCHEMA)
    with db:
        db.executemany(
            "INSERT INTO languages VALUES(?,?,?,?,?,?,?)",
            [(r["alpha_3"], r["name"], r.get("inverted_name"), r.get("common_name"), r.get("alpha_2"), r["scope"], r["type"])
             for r in entries("639-3")])
        db.executemany("INSERT INTO scripts VALUES(?,?,?)", [(r["alpha_4"], r["name"], r["numeric"]) for r in entries("15924")])
        countries = entries("3166-1")
        db.executemany(
            "INSERT INTO countries VALUES(?,?,?,?,?,?,?)",
            [(r["alpha_2"], r["alpha_3"], r["numeric"], r["name"], r.get("official_name"), r.get("common_name"), r.get("flag"))
             for r in countries])
        subdivisions = entries("3166-2")
        # References are checked at once, so parents come first; some parents have parents themselves.
        parents, done, rest = {None}, [], [(r["code"], r["code"].split("-")[0], r["name"], r["type"], full_parent(r)) for r in subdivisions]
        while rest:
            ready = [r for r in rest if r[4] in parents]
            if not ready:
                sys.exit(f"error: iso_3166-2.json names parents that do not exist, for instance of {rest[0][0]}")
            done += ready
            parents.update(r[0] for r in ready)
            rest = [r for r in rest if r[0] not in parents]
        db.executemany("INSERT INTO subdivisions VALUES(?,?,?,?,?)", done)
        known = {r["alpha_2"] for r in countries}
        db.executemany(
            "INSERT INTO currencies VALUES(?,?,?,?)",
            [(r["alpha_3"], r["numeric"], r["name"], r["alpha_3"][:2] if r["alpha_3"][:2] in known else None)
             for r in entries("4217")])
        db.execute("INSERT INTO visits VALUES(?,?,?,?,?,?)",
                   ("01936f5e-01", "FR-75", "fra", "2026-05-01", "Eiffel tower, by night", 5))
    tables = [r[0] for r in db.execute("SELECT name FROM sqlite_schema WHERE type='table' ORDER BY rowid")]
    counts = {t: db.execute(f'SELECT count(*) FROM "{t}"').fetchone()[0] for t in tables}
    # One file without a -wal beside it: ready to be copied.
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return counts


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    if os.path.exists(sys.argv[1]):
        sys.exit(f"error: {sys.argv[1]} exists already; name a new file")
    for table, rows in load(sys.argv[1]).items():
        print(f"{table:14} {rows:6,}")
