"""The `rejoin` command as a user meets it: every subcommand on real files, and every mistake."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from support import REJOIN, TODOS, FolderTest, Run, Server, extended, plain, rows  # noqa: E402

COMMANDS = ["track", "untrack", "status", "changes", "explain", "restore", "merge", "sync", "serve", "pg", "token", "inspect", "doctor",
            "compact", "errors"]


class HelpTest(FolderTest):
    def test_help_of_every_command_has_an_example_and_fits_a_terminal(self):
        told = self.ok("--help").out
        for command in COMMANDS:
            self.assertRegex(told, rf"(?m)^  {command} ")
            text = self.ok(command, "--help").out
            self.assertRegex(text, r"(?m)^Examples?:\n  (.* )?rejoin " + command)
            self.assertIn("--json", text)
            for line in text.splitlines() + told.splitlines():
                self.assertLessEqual(len(line), 120, line)

    def test_no_command_is_a_usage_error(self):
        self.assertEqual(Run().code, 2)

    def test_a_mistyped_command_suggests_the_right_one(self):
        self.assertIn("'status'", self.refused(2, "statsu", "x.db").err)

    def test_a_mistyped_option_points_to_the_help(self):
        self.assertIn("rejoin track --help", self.refused(2, "track", "--al", "x.db").err)

    def test_usage_errors_are_json_too(self):
        self.assertEqual(self.refused(2, "track", "--json").json["error"]["code"], "bad_argument")

    def test_errors_lists_every_code(self):
        listed = self.ok("errors", "--json").json
        self.assertGreater(len(listed), 20)
        self.assertEqual(self.ok("errors", "busy", "--json").json[0]["exit"], 5)
        self.refused(6, "errors", "bizy")

    def test_version(self):
        self.assertRegex(self.ok("--version").out, r"^rejoin \d+\.\d+\.\d+")

    def test_no_colour_codes_without_a_terminal(self):
        path = self.database()
        for arguments in (("status", path), ("changes", path), ("doctor", path), ("errors",)):
            self.assertNotIn("\x1b", self.ok(*arguments).out)


class MistakesTest(FolderTest):
    """Each with its exit status, a message that names the thing, and no file made."""

    def test_a_file_that_does_not_exist(self):
        self.database("todos.db")
        for command in (["track", "--all"], ["status"], ["changes"], ["doctor"], ["compact"], ["sync"]):
            done = self.refused(6, command[0], self.path("todo.db"), *command[1:])
            self.assertIn("todo.db", done.err)
            self.assertFalse(os.path.exists(self.path("todo.db")))
        self.assertIn("todos.db", self.refused(6, "status", self.path("todo.db")).err.split("Did you mean")[1])
        self.refused(6, "merge", self.path("todos.db"), self.path("none.db"))
        self.assertFalse(os.path.exists(self.path("none.db")))

    def test_a_file_that_is_not_a_database(self):
        with open(self.path("text.db"), "w", encoding="ascii") as file:
            file.write("this is not a database, however long it is " * 50)
        for command in ("status", "changes", "doctor", "compact"):
            self.assertIn("not an SQLite database", self.refused(7, command, self.path("text.db")).err)

    def test_a_directory(self):
        self.assertIn("directory", self.refused(2, "status", self.folder).err)

    def test_a_mistyped_table(self):
        path = self.database()
        self.assertIn("'todos'", self.refused(6, "track", path, "todo").err)
        self.assertIn("'todos'", self.refused(6, "changes", path, "tdoos").err)
        self.assertIn("'todos'", self.refused(6, "explain", path, "toods", "1").err)

    def test_a_table_that_is_not_tracked(self):
        path = self.database(track=())
        for command in (["untrack", path, "todos"], ["explain", path, "todos", "1"], ["restore", path, "todos", "1"], ["changes", path, "todos"]):
            self.assertIn("rejoin track", self.refused(6, *command).err)

    def test_tables_that_cannot_be_synced(self):
        path = self.database("x.db", "CREATE TABLE n(a); CREATE TABLE i(id INTEGER PRIMARY KEY); CREATE VIEW v AS SELECT 1; " + TODOS, ())
        self.assertIn("primary key", self.refused(3, "track", path, "n").err.lower())
        self.assertIn("integer", self.refused(3, "track", path, "i").err.lower())
        self.ok("track", path, "i", "--allow-integer-key")
        self.assertIn("view", self.refused(3, "track", path, "v").err)
        told = self.ok("track", path, "--all", "--json").json
        self.assertEqual({t["table"] for t in told["tracked"]}, {"i", "todos"})
        self.assertEqual([t["table"] for t in told["refused"]], ["n"])

    def test_keys(self):
        path = self.database("k.db", TODOS + "; CREATE TABLE stops(country TEXT, n INTEGER, name TEXT, PRIMARY KEY(country, n));"
                                             "CREATE TABLE blobs(id BLOB PRIMARY KEY, v)", ("todos", "stops", "blobs"))
        db = plain(path)
        db.executescript("INSERT INTO todos(id, title) VALUES('42', 'a number in text'); INSERT INTO stops VALUES('DE', -4, 'Ulm');"
                         "INSERT INTO blobs VALUES(x'0aff', 1)")
        db.close()
        self.assertEqual(self.ok("explain", path, "todos", "42", "--json").json["key"], ["42"])
        self.assertEqual(self.ok("explain", path, "--json", "stops", "--", "DE", "-4").json["columns"]["name"]["value"], "Ulm")
        self.assertEqual(self.ok("explain", path, "blobs", "--blob", "0AFF", "--json").json["columns"]["v"]["value"], 1)
        self.assertEqual(self.ok("explain", path, "blobs", "x'0aff'", "--json").json["columns"]["v"]["value"], 1)
        self.refused(2, "explain", path, "blobs", "--blob", "xyz")
        self.assertIn("country, n", self.refused(2, "explain", path, "stops", "DE").err)
        self.refused(6, "explain", path, "todos", "no such row")
        self.refused(6, "restore", path, "todos", "no such row")

    def test_a_file_that_cannot_be_written(self):
        path = self.database()
        db = plain(path)
        db.execute("INSERT INTO todos(id, title) VALUES('1', 'milk')")
        db.execute("PRAGMA journal_mode=DELETE")
        db.close()
        self.ok("status", path)  # brings the metadata up to date, which a reader of the file then cannot
        # Root may write anything, so the commands run as somebody else there, who may not reach the build folder.
        binary = shutil.copy(REJOIN, self.path("rejoin"))
        os.chmod(path, 0o444)
        os.chmod(self.folder, 0o555)
        try:
            def as_nobody(*arguments):
                return subprocess.run([binary, *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                                      user=65534 if os.getuid() == 0 else None)

            for command in (["track", path, "todos"], ["untrack", path, "todos"], ["compact", path]):
                done = as_nobody(*command)
                self.assertEqual(done.returncode, 3, done)
                self.assertIn("cannot be written", done.stderr)
            for command in (["status", path], ["changes", path], ["explain", path, "todos", "1"]):
                self.assertEqual(as_nobody(*command).returncode, 0, as_nobody(*command))
        finally:
            os.chmod(self.folder, 0o755)

    def test_a_locked_file_says_try_again(self):
        path = self.database()
        db = plain(path)
        db.execute("BEGIN IMMEDIATE")
        try:
            done = self.refused(5, "track", path, "--all", "--json")
            self.assertTrue(done.json["error"]["retry"])
        finally:
            db.execute("ROLLBACK")
            db.close()


class LocalTest(FolderTest):
    def test_track_status_untrack(self):
        path = self.database("t.db", TODOS + "; INSERT INTO todos(id, title) VALUES('1', 'a'), ('2', 'b'); CREATE TABLE o(id TEXT PRIMARY KEY)", ())
        self.assertIn("2 rows", self.ok("track", path, "todos").out)
        self.assertTrue(self.ok("track", path, "TODOS", "--json").json["tracked"][0]["already"])
        told = self.ok("status", path, "--rows", "--json").json
        self.assertEqual(told["row_counts"], {"todos": 2})
        self.assertRegex(told["site"], "^[0-9a-f]{32}$")
        self.assertIn("todos", self.ok("status", path).out)
        self.assertEqual(self.ok("untrack", path, "todos", "--json").json, {"untracked": ["todos"]})
        self.assertEqual(len(rows(path)), 2)

    def test_status_tells_why_rows_wait(self):
        """Symptom: it failed, `no such column: id`, as soon as anything waited."""
        old, new = self.database("old.db"), self.database("new.db", TODOS + "; ALTER TABLE todos ADD COLUMN colour TEXT")
        db = plain(new)
        db.execute("INSERT INTO todos(id, title, colour) VALUES('1', 'milk', 'blue')")
        db.close()
        self.ok("merge", old, new)
        self.assertIn('["1"]: it has columns', self.ok("status", old).out)
        self.assertEqual(self.ok("status", old, "--json").json["parked"], 1)

    def test_tracking_leaves_the_journal_mode_alone(self):
        path = self.database(track=())
        self.ok("track", path, "--all")
        db = plain(path)
        self.assertEqual(db.execute("PRAGMA journal_mode").fetchone(), ("delete",))
        db.close()

    def test_changes(self):
        path = self.database()
        db = plain(path)
        db.executescript("INSERT INTO todos VALUES('1', 'milk', 0, 1); UPDATE todos SET title = char(27) || '[31mred' || char(10)")
        db.close()
        lines = [json.loads(line) for line in self.ok("changes", path, "--json").out.splitlines()]
        title = [line for line in lines if line["column"] == "title"]
        self.assertEqual(title[-1]["value"], "\x1b[31mred\n")
        self.assertEqual(title[-1]["key"], ["1"])
        self.assertRegex(title[-1]["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        shown = self.ok("changes", path).out
        self.assertNotIn("\x1b", shown)  # data never reaches the terminal raw
        self.assertIn(r"\x1b[31mred\n", shown)
        self.assertEqual(len(self.ok("changes", path, "--json", "--limit", "1").out.splitlines()), 1)
        self.assertEqual(self.ok("changes", path, "--json", "--since", str(max(line["seq"] for line in lines))).out, "")

    def test_merge_both_ways_then_nothing_new(self):
        a, b = self.database("a.db"), self.database("b.db")
        for path, i in ((a, "1"), (b, "2")):
            db = plain(path)
            db.execute("INSERT INTO todos(id, title) VALUES(?, 'x')", (i,))
            db.close()
        moved = self.ok("merge", a, b, "--json").json["merged"]
        self.assertEqual([m["changed"] for m in moved], [1, 1])
        self.assertEqual(rows(a), rows(b))
        self.assertEqual(len(rows(a)), 2)
        again = self.ok("merge", b, a, "--json").json["merged"]
        self.assertEqual([m["changed"] for m in again], [0, 0])
        self.assertIn("nothing new", self.ok("merge", a, b).out)

    def test_merge_passes_on_what_the_file_between_does_not_know(self):
        old, new = "CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT)", "CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT, b TEXT)"
        files = [self.path(name) for name in ("first.db", "between.db", "last.db")]
        for path, schema in zip(files, (new, old, old)):
            db = plain(path)
            db.execute(schema)
            db.close()
            self.ok("track", path, "t")
        db = plain(files[0])
        db.execute("INSERT INTO t VALUES('1', 'a', 'b')")
        db.close()
        self.ok("merge", files[0], files[1])
        self.ok("merge", files[1], files[2])
        db = plain(files[2])
        db.execute("ALTER TABLE t ADD COLUMN b TEXT")
        db.close()
        self.ok("doctor", files[2])
        self.ok("merge", files[1], files[2])
        db = plain(files[2])
        self.assertEqual(list(db.execute("SELECT * FROM t")), [("1", "a", "b")])
        db.close()

    def test_merge_in_many_pages_makes_an_equal_file(self):
        a = self.database("a.db")
        db = plain(a)
        db.execute("BEGIN")
        db.executemany("INSERT INTO todos(id, title) VALUES(?, ?)", [(f"{i:05}", os.urandom(25).hex()) for i in range(5000)])
        db.execute("COMMIT")
        db.close()
        moved = self.ok("merge", a, self.path("new.db"), "--create", "--page-bytes", "20K", "--json").json["merged"]
        self.assertGreater(moved[0]["pages"], 5)
        self.assertEqual(moved[0]["changed"], 5000)
        self.assertEqual(rows(a), rows(self.path("new.db")))
        self.refused(2, "merge", a, self.path("new.db"), "--page-bytes", "20X")

    def test_merge_says_what_is_in_the_way(self):
        a = self.database("a.db")
        self.assertIn("same file", self.refused(2, "merge", a, a).err)
        untracked = self.database("b.db", track=())
        self.assertIn("--create", self.refused(6, "merge", a, untracked).err)
        self.assertIn("rejoin track", self.refused(6, "merge", untracked, a).err)

    def test_merging_a_copy_of_a_tracked_file_loses_nothing(self):
        a = self.database("a.db")
        db = plain(a)
        db.execute("INSERT INTO todos VALUES('1', 'milk', 0, 1)")
        db.close()
        self.ok("status", a)
        with open(a, "rb") as source, open(self.path("copy.db"), "wb") as target:
            target.write(source.read())
        for path, column in ((a, "done"), (self.path("copy.db"), "priority")):
            db = plain(path)
            db.execute(f"UPDATE todos SET {column} = 9")
            db.close()
        self.ok("merge", a, self.path("copy.db"))
        self.assertEqual(rows(a), [("1", "milk", 9, 9)])
        self.assertEqual(rows(self.path("copy.db")), [("1", "milk", 9, 9)])

    def test_restore(self):
        path = self.database()
        db = plain(path)
        db.executescript("INSERT INTO todos VALUES('1', 'milk', 1, 2); DELETE FROM todos")
        db.close()
        self.assertIn("rejoin restore", self.ok("explain", path, "todos", "1").err)
        self.assertTrue(self.ok("restore", path, "todos", "1", "--json").json["restored"])
        self.assertFalse(self.ok("restore", path, "todos", "1", "--json").json["restored"])
        self.assertEqual(rows(path), [("1", "milk", 1, 2)])

    def test_doctor_finds_what_was_written_behind_its_back(self):
        path = self.database()
        db = plain(path)
        db.execute("INSERT INTO todos(id, title) VALUES('1', 'milk')")
        db.close()
        self.assertTrue(self.ok("doctor", path, "--json").json["sound"])
        subprocess.run(["sqlite3", "-batch", "-bail", path, ".dbconfig enable_trigger off", "INSERT INTO todos(id, title) VALUES('2', 'unseen')"],
                       check=True, capture_output=True)
        done = Run("doctor", path, "--json")
        self.assertEqual(done.code, 7, done)
        self.assertIn("unrecorded", [f["kind"] for f in done.json["findings"]])
        self.assertIn("todos", Run("doctor", path).out)

    def test_doctor_finds_metadata_that_is_gone(self):
        for gone in ("todos__rejoin", "todos__rejoin_dead", "todos__rejoin_gone"):
            with self.subTest(gone):
                path = self.database(gone + ".db")
                db = plain(path)
                db.execute("INSERT INTO todos(id, title) VALUES('1', 'milk')")
                db.execute(f"DROP TABLE {gone}")
                db.execute("INSERT INTO todos(id, title) VALUES('2', 'bread')")
                db.close()
                done = Run("doctor", path)
                self.assertEqual(done.code, 7, done)
                self.assertIn(gone, done.out)
                self.assertIn("untrack", done.out)
                self.ok("untrack", path, "todos")
                self.ok("track", path, "todos")
                self.assertTrue(self.ok("doctor", path, "--json").json["sound"])

    def test_compact(self):
        path = self.database()
        self.assertIn("removed", self.ok("compact", path, "--json").json)

    def test_inspect_every_kind(self):
        path = self.database()
        db = extended(path)
        db.execute("INSERT INTO todos(id, title) VALUES('1', 'milk')")
        frame = db.execute("SELECT rejoin_changeset(0)").fetchone()[0]
        db.close()
        for name, content in (("raw", frame), ("hex", frame.hex().encode()), ("sql", b"x'" + frame.hex().encode() + b"'\n")):
            with open(self.path(name), "wb") as file:
                file.write(content)
            told = self.ok("inspect", self.path(name), "--json").json
            self.assertEqual(told["kind"], "changeset")
            self.assertIn("milk", json.dumps(told))
            self.assertIn("milk", self.ok("inspect", self.path(name)).out)
        self.assertIn("milk", self.ok("inspect", "-", stdin=frame).out)
        with open(self.path("bad"), "wb") as file:
            file.write(frame[:-1] + bytes([frame[-1] ^ 1]))
        self.assertEqual(Run("inspect", self.path("bad")).code, 7)
        self.assertEqual(Run("inspect", self.path("bad"), "--json").code, 7)
        self.assertIn("rejoin status", self.refused(7, "inspect", path).err)
        self.refused(7, "inspect", "-", stdin=b"")
        self.refused(7, "inspect", "-", stdin=b"what is this")
        self.refused(6, "inspect", self.path("none"))
        self.refused(2, "inspect", "-", "--as", "poem", stdin=b"")
        # A request in JSON: protocol 1, a site, nothing else.
        request = json.dumps({"protocol": 1, "hello": {"site": "AAECAwQFBgcICQoLDA0ODw=="}}).encode()
        self.assertEqual(self.ok("inspect", "-", "--json", stdin=request).json["kind"], "request")
        self.assertIn("000102030405060708090a0b0c0d0e0f", self.ok("inspect", "-", stdin=request).out)

    def test_two_processes_at_once(self):
        path = self.database()
        done = []

        def write(name):
            db = plain(path)
            db.execute("PRAGMA busy_timeout = 60000")
            for i in range(100):
                db.execute("INSERT INTO todos(id, title) VALUES(?, 'x')", (f"{name}{i}",))
            db.close()

        def look():
            for _ in range(5):
                done.append(Run("changes", path, "--limit", "100000", "--json"))
                done.append(Run("merge", path, self.path("b.db"), "--json"))

        self.database("b.db")
        threads = [threading.Thread(target=write, args=(n,)) for n in "pq"] + [threading.Thread(target=look)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for run in done:
            self.assertEqual(run.code, 0, run)
        self.ok("merge", path, self.path("b.db"))
        self.assertEqual(len(rows(path)), 200)
        self.assertEqual(rows(path), rows(self.path("b.db")))
        self.assertTrue(self.ok("doctor", path, "--json").json["sound"])


class ServerTest(FolderTest):
    def test_sync_through_a_server(self):
        a, b = self.database("a.db"), self.database("b.db")
        db = plain(a)
        db.execute("INSERT INTO todos VALUES('1', 'milk', 0, 1)")
        db.close()
        with Server(self.path("server")) as server:
            told = self.ok("sync", a, server.url, "--token", server.token("a", "--schema"), "--json").json
            self.assertEqual((told["pushed"], told["pending"]), (1, 0))
            with open(self.path("token"), "w", encoding="ascii") as file:
                file.write(server.token("b") + "\n")
            self.assertEqual(self.ok("sync", b, server.url, "--token-file", self.path("token"), "--json").json["pulled"], 1)
            self.assertEqual(rows(b), [("1", "milk", 0, 1)])
            # URL and token are remembered, for the command and for SQL.
            db = extended(b)
            db.execute("UPDATE todos SET done = 1")
            self.assertEqual(json.loads(db.execute("SELECT rejoin_sync()").fetchone()[0])["pushed"], 1)
            db.close()
            self.assertIn("1 row", self.ok("sync", a).out)
            self.assertEqual(rows(a), [("1", "milk", 1, 1)])
            told = self.ok("status", a, "--json").json
            self.assertEqual((told["pending"], told["url"]), (0, server.url))
            self.assertIn(server.url, self.ok("status", a).out)

    def test_forget_keeps_no_token_in_the_file(self):
        a = self.database("a.db")
        with Server(self.path("server")) as server:
            self.ok("sync", a, server.url, "--token", server.token("a", "--schema"), "--forget")
        self.assertIn("rejoin sync FILE URL", self.refused(6, "sync", a).err)

    def test_tokens_that_do_not_work(self):
        a = self.database("a.db")
        with Server(self.path("server")) as server:
            done = self.refused(3, "sync", a, server.url, "--token", "not.a.token")
            self.assertIn("rejoin token", done.err)
            expired = self.ok("token", "--data", self.path("server"), "--tenant", "t", "--device", "d", "--expires", "1s").out.strip()
            time.sleep(1.1)
            forged = server.token("a", "--schema")
            forged = forged[:-2] + ("AA" if forged[-2:] != "AA" else "BB")
            self.refused(3, "sync", a, server.url, "--token", forged)
            # The clock may be a minute off, so an expired token is tried for its message only.
            self.assertIn(Run("sync", a, server.url, "--token", expired, "--forget").code, (0, 3))
            # Without the claim `schema` nothing is created, and the message says what to do.
            done = Run("sync", self.database("c.db"), server.url, "--token", server.token("c", tenant="other"), "--json")
            self.assertIn(done.code, (0, 3), done)
            if done.code == 3:
                self.assertEqual(done.json["error"]["code"], "schema_refused")
            self.refused(2, "sync", a, "ftp://x")
            self.refused(2, "sync", a, server.url, "--token", "x", "--token-file", "y")
            self.refused(6, "sync", a, server.url, "--token-file", self.path("none"))

    def test_server_down(self):
        a = self.database("a.db")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound and not listening: nothing answers there
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            done = self.refused(4, "sync", a, url, "--token", "x", "--timeout", "2s", "--json")
            self.assertTrue(done.json["error"]["retry"])

    def test_serve_makes_its_secret_for_its_owner_only(self):
        with Server(self.path("server")):
            secret = self.path("server", "secret")
            self.assertEqual(stat.S_IMODE(os.stat(secret).st_mode), 0o600)

    def test_serve_stops_gracefully_on_ctrl_c_and_sigterm(self):
        for how in (signal.SIGINT, signal.SIGTERM):
            with Server(self.path("server")) as server:
                code, out = server.stop(how)
                self.assertEqual(code, 0)
                self.assertIn(server.url, out)

    def test_serve_mistakes(self):
        self.refused(2, "serve", "--data", self.path("s"), "--listen", "nonsense")
        self.refused(2, "serve", "--data", self.path("s"), "--listen", "127.0.0.1:99999")
        self.refused(2, "serve", "--data", self.path("s"), "--schema", "perhaps")
        self.refused(2, "serve")
        self.refused(6, "serve", "--data", self.path("s"), "--secret-file", self.path("none"))
        with open(self.path("short"), "w", encoding="ascii") as file:
            file.write("short")
        os.chmod(self.path("short"), 0o600)
        self.refused(2, "serve", "--data", self.path("s"), "--secret-file", self.path("short"))
        # --dev is for this machine only.
        self.assertIn(self.refused_any("serve", "--data", self.path("s"), "--dev", "--listen", "0.0.0.0:0").code, (2, 3))
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            self.refused(4, "serve", "--data", self.path("s"), "--listen", f"127.0.0.1:{taken.getsockname()[1]}")

    def refused_any(self, *arguments):
        done = Run(*arguments)
        self.assertNotEqual(done.code, 0, done)
        self.assertTrue(done.err.startswith("error: "), done)
        return done

    def test_dev_needs_no_token(self):
        a = self.database("a.db")
        db = plain(a)
        db.execute("INSERT INTO todos(id, title) VALUES('1', 'x')")
        db.close()
        with Server(self.path("server"), "--dev") as server:
            self.assertEqual(self.ok("sync", a, server.url, "--json").json["pushed"], 1)

    def test_ctrl_c_during_sync_keeps_what_was_acknowledged(self):
        a, b = self.database("a.db"), self.database("b.db")
        db = plain(a)
        db.execute("BEGIN")
        db.executemany("INSERT INTO todos(id, title) VALUES(?, ?)", [(f"{i:06}", "x" * 100) for i in range(60000)])
        db.execute("COMMIT")
        db.close()
        with Server(self.path("server")) as server:
            token = server.token("a", "--schema")
            for _ in range(3):
                process = subprocess.Popen([REJOIN, "sync", a, server.url, "--token", token], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                time.sleep(0.3)
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=60)
                self.assertIn(process.returncode, (0, 130, -signal.SIGINT), err)
            self.ok("sync", a, server.url, "--token", token)
            self.ok("sync", b, server.url, "--token", server.token("b"))
        self.assertEqual(rows(a), rows(b))
        self.assertEqual(len(rows(b)), 60000)

    def test_a_token_is_all_that_token_prints(self):
        for first in (True, False):
            done = self.ok("token", "--data", self.path("s"), "--tenant", "t", "--device", "d")
            self.assertRegex(done.out, r"^[\w-]+\.[\w-]+\.[\w-]+\n$")
            # Of a mistyped folder, whose token no server takes, one hears on the other channel.
            self.assertRegex(done.err, "^hint: .* had no secret and has a new one" if first else "^$")
        told = self.ok("token", "--data", self.path("s"), "--tenant", "t", "--device", "d", "--schema", "--expires", "12h", "--json").json
        self.assertTrue(told["schema"])
        self.refused(2, "token", "--tenant", "t", "--device", "d", env={"REJOIN_SECRET": ""})
        self.refused(2, "token", "--data", self.path("s"), "--tenant", "t")
        self.refused(2, "token", "--data", self.path("s"), "--tenant", "t", "--device", "d", "--expires", "soon")
        self.refused(2, "token", "--data", self.path("s"), "--tenant", "", "--device", "d")


class TerminalTest(FolderTest):
    """What only a terminal sees, through a pseudo-terminal."""

    def on_terminal(self, *arguments, env=None, heard=None):
        """What it shows; `heard` is called with all of it so far, again and again. self.process is what runs, then what has ended."""
        import pty
        parent, child = pty.openpty()
        self.process = subprocess.Popen([REJOIN, *arguments], stdin=child, stdout=child, stderr=child,
                                        env={**os.environ, "TERM": "xterm", **(env or {})})
        os.close(child)
        out = b""
        while True:
            try:
                part = os.read(parent, 65536)
            except OSError:
                break
            if not part:
                break
            out += part
            if heard:
                heard(out.decode(errors="replace"))
        os.close(parent)
        self.process.wait()
        return out.decode(errors="replace")

    def test_colours_on_a_terminal_and_not_with_no_color(self):
        path = self.database()
        self.assertIn("\x1b[", self.on_terminal("doctor", path, env={"NO_COLOR": ""}))
        self.assertNotIn("\x1b[3", self.on_terminal("doctor", path, env={"NO_COLOR": "1"}))

    def test_a_long_merge_shows_that_it_lives(self):
        a, b = self.database("a.db"), self.database("b.db")
        db = plain(a)
        db.execute("INSERT INTO todos(id, title) VALUES('1', 'x')")
        db.close()
        # Somebody else writes to b for a while, so that it takes long whatever the machine.
        other = sqlite3.connect(b, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(1.5, lambda: other.execute("ROLLBACK"))
        release.start()
        shown = self.on_terminal("merge", a, b)
        release.join()
        other.close()
        plain_text = re.sub(r"\x1b\[[0-9;]*[a-zA-Z]", "", shown)
        self.assertRegex(plain_text, r"\r(merging|reading|writing)[^\r]* \d+ s\r")
        self.assertIn("1 row changed there", plain_text)

    def test_what_is_done_does_not_stand_behind_what_was_under_way(self):
        path = self.database(track=())
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")

        def heard(text):
            if text and db.in_transaction:
                db.execute("ROLLBACK")

        shown = self.on_terminal("track", path, "todos", heard=heard)
        db.close()
        self.assertTrue(shown.endswith("\r\x1b[2Ktracking todos (0 rows)\r\n"), shown)

    def test_whoever_waits_for_another_program_is_told(self):
        with Server(self.path("s")) as server:
            token = server.token("a", "--schema")
            sync, restore = (lambda path: ("sync", path, server.url, "--token", token)), (lambda path: ("restore", path, "todos", "1"))
            # With EXCLUSIVE nobody reads either, not even the schema.
            for name, command, mode in (("a.db", sync, "IMMEDIATE"), ("b.db", restore, "IMMEDIATE"), ("c.db", sync, "EXCLUSIVE"), ("d.db", restore, "EXCLUSIVE")):
                path = self.database(name)
                db = sqlite3.connect(path, isolation_level=None)
                db.execute("INSERT INTO todos(id, title) VALUES('1', 'x')")
                if command is restore:
                    db.execute("DELETE FROM todos")
                db.execute(f"BEGIN {mode}")
                words = f"waiting for another program that writes '{path}', for up to 5.0 s each time"

                def heard(text):
                    if words.split("'")[0] in text and db.in_transaction:
                        db.execute("ROLLBACK")

                shown = self.on_terminal(*command(path), heard=heard, env={"COLUMNS": "200"})
                self.assertFalse(db.in_transaction, shown)
                self.assertNotIn("error", shown)
                db.close()
                if command is restore:  # which redraws no line
                    self.assertEqual(shown.count(words), 1, shown)

    def test_ctrl_c_ends_the_wait_for_a_program_that_lets_nobody_read(self):
        a, b = self.database("a.db"), self.database("b.db")
        db, stopped = sqlite3.connect(b, isolation_level=None), []
        db.execute("BEGIN EXCLUSIVE")

        def heard(text):
            if "waiting for another program" in text and not stopped:
                stopped.append(self.process.send_signal(signal.SIGINT))

        shown = self.on_terminal("merge", a, b, heard=heard, env={"COLUMNS": "200"})
        db.close()
        self.assertEqual(self.process.returncode, 130, shown)
        self.assertIn(f"stopped while another program wrote to '{b}'", shown)

    def test_a_long_sync_shows_how_far_it_is(self):
        path = self.database()
        db = plain(path)
        db.execute("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
                   "INSERT INTO todos(id, title) SELECT printf('%06d', i), hex(randomblob(8)) FROM n")
        db.close()
        with Server(self.path("server")) as server:
            shown = self.on_terminal("sync", path, server.url, "--token", server.token("a", "--schema"))
        plain_text = re.sub(r"\x1b\[[0-9;]*[a-zA-Z]", "", shown)
        self.assertRegex(plain_text, r"\rsyncing: [1-9][^\r]* sent, [^\r]* received \d+ s\r")
        self.assertIn("200,000 rows", plain_text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
