"""The demo's server with PostgreSQL as its store: a private one, in which an owner makes ordinary tables and others write with plain SQL."""

import os
import sqlite3
import subprocess
import sys

from device import REJOIN, ROOT, digest_of, rejoin, values
from show import bold, dim, green, short, step, table, wrap
import iso_codes

sys.path.insert(0, os.path.join(ROOT, "scripts", "lib"))
from private_postgres import NoPostgres, PrivatePostgres  # noqa: E402

DATABASE = "app"
OWNER, RUNTIME, CLERK = "app_owner", "app_sync", "clerk"
ROLES = [
    (OWNER, "owns the tables, installs Rejoin's schema, says what is synced"),
    (RUNTIME, "the sync server: SELECT, INSERT, UPDATE, DELETE, no more"),
    (CLERK, "another service, with plain SQL; it has never heard of Rejoin"),
]

# What the clerk does with psql: (table, key, column, what it will be, SQL).
WRITES = [
    ("languages", "qaa", "common_name", "Ours", "UPDATE languages SET common_name = 'Ours' WHERE code = 'qaa'"),  # B's row
    ("currencies", "VED", "name", "Bolívar Digital (VED)", "UPDATE currencies SET name = 'Bolívar Digital (VED)' WHERE code = 'VED'"),
    ("visits", "01936f5e-01", "rating", "4", "UPDATE visits SET rating = rating - 1 WHERE day < '2026-06-01'"),
    ("visits", "01936f5f-01", "note", "Hotel is booked", "INSERT INTO visits VALUES('01936f5f-01', 'IT-RM', 'ita', '2026-07-01', 'Hotel is booked')"),
    ("currencies", "XTS", "name", None, "DELETE FROM currencies WHERE code = 'XTS'"),
]


class Store:
    title = "Rejoin: two devices, offline edits, one PostgreSQL"
    equal = "both devices and PostgreSQL have the same rows"
    name = "PostgreSQL"

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        try:
            self.postgres = PrivatePostgres().__enter__()
        except NoPostgres as error:
            sys.exit(f"error: {error}")
        self.arguments = ["--postgres", self.postgres.url(RUNTIME, DATABASE)]
        return self

    def __exit__(self, *_):
        self.postgres.__exit__()

    def sql(self, text, role=OWNER):
        return self.postgres.psql(text, role, DATABASE)

    def prepare(self, tables):
        step("Ordinary tables in PostgreSQL")
        version = self.postgres.psql("SHOW server_version").split()[0]
        print(f"  PostgreSQL {version} of our own, below {self.postgres.folder}: it ends with the demo. Three roles:")
        table(None, [[role, may] for role, may in ROLES], [12, 80], [bold, None])
        self.postgres.psql("".join(f"CREATE ROLE {role} LOGIN;" for role, _ in ROLES) + f"CREATE DATABASE {DATABASE} OWNER {OWNER};")
        self.sql(iso_codes.POSTGRES_SCHEMA + f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {RUNTIME}, {CLERK};")
        self.copy_rows(tables)
        self.pg("init", "--role", RUNTIME)
        self.pg("track", *(f"public.{name}" for name in tables), "--tenant", "demo")

    def copy_rows(self, tables):
        """Of app.db, which has them already."""
        db = sqlite3.connect(os.path.join(self.folder, "app.db"))
        escapes = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
        script = []
        for name in tables:
            script.append(f"COPY {name} FROM STDIN;\n")
            for row in db.execute(f"SELECT * FROM {name} ORDER BY rowid" if name != "scripts" else f"SELECT * FROM {name}"):
                script.append("\t".join("\\N" if v is None else str(v).translate(escapes) for v in row) + "\n")
            script.append("\\.\n")
        db.close()
        self.sql("".join(script))

    def pg(self, *arguments):
        """Runs `rejoin pg` as the owner and shows it as one would type it."""
        shown = f"{short(REJOIN)} pg {' '.join(arguments)}"
        if len(shown) > 90:
            shown = shown[:87].rsplit(" ", 1)[0] + " …"
        print("  " + dim("$ " + shown))
        done = subprocess.run([REJOIN, "pg", *arguments], capture_output=True, text=True,
                              env={**os.environ, "REJOIN_POSTGRES": self.postgres.url(OWNER, DATABASE)})
        if done.returncode != 0:
            sys.exit(f"error: rejoin pg {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        for line in done.stdout.splitlines():
            for part in wrap(line, 94):
                print("    " + part)

    def written_by_others(self):
        step("Others write with plain SQL, straight into PostgreSQL")
        paths = {device: os.path.join(self.folder, f"{device}.db") for device in "ab"}
        had = {key[:3]: self.cell(paths["a"], *key[:3]) for key in WRITES}
        print(f"  {bold('psql, as role ' + CLERK)}")
        for *_, sql in WRITES:
            print("    " + sql)
        self.sql(";\n".join(sql for *_, sql in WRITES) + ";", CLERK)
        for path in paths.values():
            rejoin("sync", path)
        print("  " + bold("and after one `rejoin sync` of each device") + "\n")
        shown, wrong = [], []
        for name, key, column, want, _ in WRITES:
            got = {device: self.cell(path, name, key, column) for device, path in paths.items()}
            shown.append([f"{name} {key}", column, had[(name, key, column)], got["a"], got["b"]])
            wrong += [f"device {d.upper()} has {text} in {name} {key}, not {want}" for d, text in got.items() if text != (want or NOTHING)]
        table(["row", "column", "devices had", "device A has", "device B has"], shown, [18, 11, 20, 21, 21], [bold, dim, None, green, green])
        return wrong

    @staticmethod
    def cell(path, name, key, column):
        row = values(path, name, key, [column])
        return NOTHING if row is None else row[0]

    def where(self):
        return f"database {DATABASE}, by psql as {CLERK}"

    def digest(self, tables):
        return digest_of({name: self.rows(name) for name in tables})

    def rows(self, name):
        """As a device's file has them: type and value of each column. The types differ here (docs/postgres.md): a date is text there."""
        types = {int: "integer", float: "real", str: "text", type(None): "null"}
        for row in self.postgres.rows(f'SELECT * FROM {name} ORDER BY 1', CLERK, DATABASE):
            yield tuple(part for value in row for part in (types[type(value)], value))

    def check(self):
        print()
        self.pg("doctor")


NOTHING = "(no such row)"
