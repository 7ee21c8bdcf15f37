"""Mistakes that the `rejoin` command once made itself, each by its symptom."""

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from support import REJOIN, TODOS, FolderTest, Run, Server, extended, plain, rows  # noqa: E402


class SymptomsTest(FolderTest):
    def with_rows(self, name="app.db", keys=("1", "2", "3")):
        path = self.database(name)
        db = plain(path)
        db.execute("BEGIN")
        db.executemany("INSERT INTO todos(id, title) VALUES(?, 'x')", [(i,) for i in keys])
        db.execute("COMMIT")
        db.close()
        return path

    def test_output_to_a_full_disk_looked_like_success(self):
        path = self.with_rows(keys=[str(i) for i in range(2000)])  # more than a buffer
        for arguments in (["errors"], ["changes", path, "--limit", "100000"], ["changes", path, "--limit", "100000", "--json"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([REJOIN, *arguments], stdout=full, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
            self.assertEqual(done.returncode, 1, arguments)
            self.assertIn(os.strerror(errno.ENOSPC), done.stderr.decode())

    def test_a_closed_pipe_was_reported_as_an_error(self):
        path = self.with_rows(keys=[str(i) for i in range(5000)])
        for more in ([], ["--json"]):
            process = subprocess.Popen([REJOIN, "changes", path, "--limit", "100000", *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       stdin=subprocess.DEVNULL)
            process.stdout.read(10)
            process.stdout.close()
            err = process.stderr.read().decode()
            process.stderr.close()
            self.assertEqual(process.wait(60), -signal.SIGPIPE, err)  # as every other program ends then
            self.assertNotIn("error", err)

    def test_changes_showed_the_oldest_lines_and_not_the_newest(self):
        path = self.with_rows()
        db = plain(path)
        db.execute("UPDATE todos SET title = 'newest' WHERE id = '1'")
        db.close()
        self.assertIn("newest", self.ok("changes", path, "--limit", "1").out)
        self.assertEqual(self.ok("changes", path, "--limit", "1", "--json").json["value"], "newest")
        every = self.ok("changes", path, "--json").out.splitlines()
        self.assertEqual(self.ok("changes", path, "--json", "--limit", "4").out.splitlines(), every[-4:])

    def test_going_on_where_changes_said_skipped_lines_of_the_same_position(self):
        path = self.with_rows(keys=("1", "2"))  # each row has three columns at one position
        done = self.ok("changes", path, "--since", "0", "--limit", "1")
        db = plain(path)
        first = min(r[0] for r in db.execute("SELECT seq FROM rejoin_log"))
        db.close()
        done = self.ok("changes", path, "--since", str(first), "--limit", "2")
        self.assertIn("--limit", done.err)
        self.assertNotIn("--since", done.err)
        self.refused(2, "changes", path, "--since", "-1")
        self.refused(2, "changes", path, "--limit", "0")

    def test_what_was_there_before_tracking_was_dated_1970(self):
        path = self.database("app.db", TODOS + "; INSERT INTO todos(id, title) VALUES('1', 'x')")
        self.assertIsNone(self.ok("changes", path, "--limit", "1", "--json").json["time"])
        self.assertIn("before tracking", self.ok("changes", path).out)

    def test_a_locked_file_was_not_named(self):
        a, b = self.with_rows("a.db"), self.with_rows("b.db")
        db = plain(b)
        db.execute("BEGIN IMMEDIATE")
        try:
            done = self.refused(5, "merge", a, b)
            self.assertIn(f"'{b}' is locked", done.err)
            self.assertIn(f"'{b}' is locked", self.refused(5, "compact", b, "--json").json["error"]["message"])
        finally:
            db.close()

    def test_a_database_without_tracked_tables_was_told_to_call_an_sql_function(self):
        path = self.database(track=())
        for command in ("doctor", "compact"):
            self.assertIn(f"rejoin track {path} --all", self.refused(6, command, path).err)

    def test_all_and_names_were_taken_together(self):
        self.assertIn("not both", self.refused(2, "track", self.database(track=()), "todos", "--all").err)

    def test_a_view_was_called_a_table_that_does_not_exist(self):
        path = self.database("app.db", TODOS + "; CREATE VIEW v AS SELECT * FROM todos; CREATE TABLE c(id TEXT PRIMARY KEY)", ())
        done = self.refused(3, "track", path, "v")
        self.assertIn("view", done.err)
        self.assertNotIn("Did you mean", done.err)

    def test_the_flag_for_integer_keys_was_not_named(self):
        path = self.database("app.db", "CREATE TABLE i(id INTEGER PRIMARY KEY)", ())
        self.assertIn(f"rejoin track {path} i --allow-integer-key", self.refused(3, "track", path, "i").err)

    def test_files_that_only_merge_kept_their_logs_for_ever(self):
        a, b, c = (self.with_rows(name, keys=(name[0],)) for name in ("a.db", "b.db", "c.db"))
        self.ok("merge", a, b)
        self.ok("merge", a, c)

        def log(path):
            db = plain(path)
            try:
                return db.execute("SELECT count(*) FROM rejoin_log").fetchone()[0]
            finally:
                db.close()

        for path in (a, b):
            db = plain(path)
            db.execute("BEGIN")
            for i in range(50_000):
                db.execute("UPDATE todos SET priority = ? WHERE id = 'a'", (i,))
            db.execute("COMMIT")
            db.execute("INSERT INTO todos(id, title) VALUES(?, 'new')", ("new in " + os.path.basename(path),))
            db.close()
        self.ok("merge", a, b)
        self.assertLess(max(log(a), log(b)), 10)
        # What is forgotten is not missed, by who was there and by who was not.
        self.assertIn("nothing new", self.ok("merge", a, b).out)
        db = plain(b)
        db.execute("UPDATE todos SET title = 'last' WHERE id = 'a'")
        db.close()
        self.assertEqual([m["rows"] for m in self.ok("merge", a, b, "--json").json["merged"]], [0, 1])
        self.ok("merge", c, a)
        self.assertEqual(rows(a), rows(b))
        self.assertEqual(rows(a), rows(c))
        self.assertEqual([row[1] for row in rows(c)], ["last", "x", "x", "new", "new"])
        for path in (a, b, c):
            self.ok("doctor", path)

    def test_a_missing_file_to_merge_with_gave_no_cure(self):
        a = self.with_rows("a.db")
        self.assertIn("--create", self.refused(6, "merge", a, self.path("new.db")).err)
        self.assertFalse(os.path.exists(self.path("new.db")))

    def test_a_merge_that_failed_removed_the_file_that_another_one_was_making(self):
        a = self.with_rows("a.db", keys=[str(i) for i in range(5000)])
        for turn in range(4):
            new = self.path(f"new{turn}.db")
            merges = [subprocess.Popen([REJOIN, "merge", a, new, "--create"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                       stdin=subprocess.DEVNULL) for _ in range(2)]
            ended = [(merge.communicate(timeout=60)[1].decode(), merge.returncode) for merge in merges]
            self.assertLessEqual({code for _, code in ended}, {0, 5}, ended)  # done, or busy: try again
            self.ok("merge", a, new)
            self.assertEqual(len(rows(new)), 5000, ended)
            db = plain(new)
            self.assertEqual(db.execute("PRAGMA journal_mode").fetchone()[0], "wal")
            db.close()

    def test_an_unknown_option_before_the_command_asked_for_a_subcommand(self):
        self.assertIn("'-x'", self.refused(2, "-x").err)
        self.assertIn("extra", self.refused(2, "status", self.database(), "extra").err)

    def test_a_mistyped_option_was_only_not_expected(self):
        for command, wrong, meant in ((("serve",), "--dat", "--data"), (("sync", "a.db"), "--tokenfile", "--token-file"), (("track", "a.db", "t"), "--jsn", "--json")):
            self.assertIn(f"not expected here: {wrong}. Did you mean '{meant}'?", self.refused(2, *command, wrong).err)
        self.assertIn("--keep-days does not take 'x'", self.refused(2, "compact", self.with_rows(), "--keep-days", "x").err)

    def test_a_number_out_of_range_was_told_the_largest_of_all(self):
        path = self.with_rows()
        self.assertIn("--limit takes a number from 1 to 1000000000, not '0'", self.refused(2, "changes", path, "--limit", "0").err)
        for value in ("x", "9" * 20):
            self.assertIn(f"--since takes a number from 0 to {1 << 62}, not '{value}'", self.refused(2, "changes", path, "--since", value).err)
        for flag, value in (("--max-rows", "0"), ("--max-rows", "9" * 23), ("--max-connections", "0"), ("--max-connections", "9" * 23)):
            self.assertIn(f"{flag} takes a number from 1 to ", self.refused(2, "serve", "--print-config", flag, value).err)
        self.assertNotIn("INT", self.ok("serve", "--help").out + self.ok("changes", "--help").out)

    def test_an_option_without_its_value_was_told_the_type_of_the_library(self):
        for command, flag, named in (("changes", "--limit", "N"), ("serve", "--log-level", "LEVEL"), ("serve", "--drift", "TIME")):
            self.assertIn(f"{flag} needs a value: {named}\n", self.refused(2, command, *(() if command == "serve" else ("a.db",)), flag).err)

    def test_a_mistyped_option_was_named_together_with_its_value(self):
        self.assertIn("not expected here: --tables. Did you mean '--table'?", self.refused(2, "token", "--tenant", "t", "--device", "d", "--tables", "x=read").err)

    def test_two_ways_to_give_a_token_excluded_each_other(self):
        told = self.refused(2, "sync", self.with_rows(), "http://127.0.0.1:1", "--token", "a", "--token-file", "b").err
        self.assertIn("give --token or --token-file, not both", told)

    def test_an_empty_token_file_was_called_a_missing_one(self):
        path, empty = self.with_rows(), self.path("empty")
        with open(empty, "wb"):
            pass
        for file, code, words in ((empty, 2, "first line is empty"), (self.folder, 2, os.strerror(errno.EISDIR)), (self.path("none"), 6, os.strerror(errno.ENOENT))):
            told = self.refused(code, "sync", path, "http://127.0.0.1:1", "--token-file", file).err
            self.assertIn(words, told)

    def test_a_folder_in_the_place_of_a_file_was_to_be_tried_again_later(self):
        self.refused(2, "inspect", self.folder)
        self.refused(2, "serve", "--config", self.folder)

    def test_a_server_without_a_key_was_told_to_mint_a_token(self):
        self.assertNotIn("rejoin token", self.refused(3, "serve", "--postgres", "postgres://localhost/app").err)

    def test_a_table_that_was_named_twice_was_tracked_twice(self):
        path = self.database(track=())
        self.assertEqual(self.ok("track", path, "todos", "TODOS").out, "tracking todos (0 rows)\n")

    def test_a_missing_file_was_named_twice(self):
        self.assertEqual(self.refused(6, "contract", "show", self.path("none")).err.count(self.path("none")), 1)

    def test_two_stores_at_once_were_called_none(self):
        for more, env in ((("--postgres", "postgres://localhost/x"), {}), ((), {"REJOIN_POSTGRES": "postgres://localhost/x"})):
            self.assertIn("not both", self.refused(2, "admin", "tenants", "--data", self.path("s"), *more, env=env).err)

    def test_a_missing_action_did_not_say_which_there_are(self):
        for command, words in (("pg", "init, track, untrack, compact, status or doctor"), ("admin", "tenants, devices"), ("contract", "show, diff, check or push"),
                               ("live", "send or listen")):
            self.assertIn(words, self.refused(2, command).err)
        wrong = self.refused(2, "pg", "tarck").err
        self.assertIn("init, track, untrack, compact, status or doctor, not 'tarck'. Did you mean 'track'?", wrong)

    def test_dropping_a_table_was_called_no_dropping_of_an_index(self):
        db = extended(self.with_rows())
        with self.assertRaisesRegex(sqlite3.OperationalError, "plain DROP TABLE"):
            db.execute("SELECT rejoin_alter('DROP TABLE todos')")
        db.close()

    def test_help_was_not_a_command(self):
        self.assertEqual(self.ok("help").out, self.ok("--help").out)
        self.assertEqual(self.ok("help", "merge").out, self.ok("merge", "--help").out)
        self.refused(2, "help", "merg")

    def test_a_text_file_was_sent_to_the_doctor(self):
        with open(self.path("text"), "w", encoding="ascii") as file:
            file.write("this is not a database" * 100)
        self.assertNotIn("rejoin doctor", self.refused(7, "status", self.path("text")).err)

    def test_a_taken_port_asked_whether_the_server_is_running(self):
        with Server(self.path("one")) as server:
            done = self.refused(4, "serve", "--data", self.path("two"), "--listen", f"127.0.0.1:{server.port}")
            self.assertNotIn("is the server running", done.err)
            self.assertIn("another address or port", done.err)

    def test_rows_that_the_server_refused_looked_like_success(self):
        a = self.with_rows("a.db", ("1",))
        with Server(self.path("server")) as server:
            done = Run("sync", a, server.url, "--token", server.token("a"))  # which may not create the table
            self.assertEqual(done.code, 3, done)
            self.assertIn("refused", done.out + done.err)
            self.assertIn("schema", self.ok("status", a).out)

    def test_rows_refused_for_want_of_a_schema_token_never_went_up(self):
        a = self.with_rows("a.db", ("1",))
        with Server(self.path("server")) as server:
            self.assertEqual(Run("sync", a, server.url, "--token", server.token("a")).code, 3)
            self.ok("sync", a, server.url, "--token", server.token("a", "--schema"))
            self.assertEqual(self.ok("status", a, "--json").json["rejected"], 0)
        self.assertEqual(rows(self.path("server", "tenants", "acme.db")), rows(a))

    def test_a_server_that_lost_its_data_got_nothing_back(self):
        a = self.with_rows("a.db", ("1", "2"))
        with Server(self.path("server")) as server:
            self.ok("sync", a, server.url, "--token", server.token("a", "--schema"))
            token, port = server.token("a", "--schema"), server.port
        shutil.rmtree(self.path("server", "tenants"))
        with Server(self.path("server"), port=port) as server:
            self.ok("sync", a, server.url, "--token", token)
        self.assertEqual(rows(self.path("server", "tenants", "acme.db")), rows(a))

    def test_a_restored_server_took_a_reader_for_a_copy_and_lost_columns(self):
        """A device that had nothing to send when it heard that the server had gone back: its rows went up under a new site id, and that insert was above
        what the server knew of their columns."""
        data = self.path("server")
        paths = {name: self.database(name + ".db") for name in ("phone", "laptop")}
        server = Server(data)

        def sync(name, *sql):
            db = plain(paths[name])
            for statement in sql:
                db.execute(statement)
            db.close()
            return self.ok("sync", paths[name], server.url, "--token", server.token(name, "--schema"), "--json").json

        with server:
            sync("phone", "INSERT INTO todos(id, title) VALUES('1', 'before')")
            sync("laptop")
        shutil.copytree(data, data + ".backup")
        server.wanted_port = server.port
        with server:
            sync("laptop", "UPDATE todos SET title = 'after'")
            sync("phone", "INSERT INTO todos(id, title) VALUES('2', 'after')")
        shutil.rmtree(data)
        os.rename(data + ".backup", data)
        site = self.ok("status", paths["phone"], "--json").json["site"]
        with server:
            self.assertEqual(sync("phone")["pushed"], 2)
            self.assertEqual(self.ok("status", paths["phone"], "--json").json["site"], site)
            self.assertEqual([r[:2] for r in rows(os.path.join(data, "tenants", "acme.db"))], [("1", "before"), ("2", "after")])
            for name in ("laptop", "phone"):
                sync(name)
        for path in (*paths.values(), os.path.join(data, "tenants", "acme.db")):
            self.assertEqual([r[:2] for r in rows(path)], [("1", "after"), ("2", "after")])

    def test_a_reader_of_a_restored_server_was_told_of_refused_rows_that_nothing_lists(self):
        data, tenant = self.path("server"), self.path("server", "tenants", "acme.db")
        phone, reader = self.with_rows("phone.db", ("1",)), self.database("reader.db")
        with Server(data) as server:
            self.ok("sync", phone, server.url, "--token", server.token("phone", "--schema"))
            token, port = server.token("reader", "--table", "*=read"), server.port
            self.ok("sync", reader, server.url, "--token", token)
        shutil.copytree(data, data + ".backup")
        db = plain(tenant)
        db.execute("INSERT INTO todos(id, title) VALUES('2', 'by the server')")
        db.close()
        with Server(data, port=port) as server:
            self.ok("sync", reader, server.url, "--token", token)
        self.assertEqual(len(rows(reader)), 2)
        shutil.rmtree(data)
        os.rename(data + ".backup", data)
        with Server(data, port=port) as server:
            told = self.ok("sync", reader, server.url, "--token", token, "--json").json
            self.assertEqual((told["refused"], told["rejected"]), (1, 0))

    def test_another_tenant_at_the_same_address_got_nothing(self):
        a = self.with_rows("a.db", ("1", "2"))
        with Server(self.path("server")) as server:
            self.ok("sync", a, server.url, "--token", server.token("a", "--schema"))
            self.ok("sync", a, server.url, "--token", server.token("a", "--schema", tenant="other"))
        self.assertEqual(rows(self.path("server", "tenants", "other.db")), rows(a))

    def test_looking_was_refused_while_another_program_wrote(self):
        path = self.with_rows()
        db = plain(path)
        db.execute("BEGIN IMMEDIATE")
        try:
            db.execute("INSERT INTO todos(id, title) VALUES('9', 'not committed yet')")
            self.assertNotIn("not committed", self.ok("changes", path).out)
            self.assertIn("todos", self.ok("status", path).out)
        finally:
            db.close()

    def test_a_full_disk_was_called_a_failing_one(self):
        folder = self.path("small")
        os.mkdir(folder)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, check=False)
        if mounted.returncode != 0:  # not root: nothing can be mounted, so an equal check on what can be had
            self.assertEqual(self.refused(6, "status", os.path.join(folder, "none.db")).code, 6)
            return
        try:
            path = os.path.join(folder, "app.db")
            shutil.copy(self.with_rows(), path)
            with open(os.path.join(folder, "fill"), "wb", buffering=0) as fill:
                try:
                    while True:
                        fill.write(bytes(4096))
                except OSError:
                    pass
            done = self.refused(5, "merge", path, self.with_rows("other.db", ("9",)))
            self.assertIn("is full", done.err)
            os.remove(os.path.join(folder, "fill"))
            self.ok("merge", path, self.path("other.db"))
            # What was begun there and cannot be whole does not stay behind.
            large, kept, new = self.with_rows("large.db"), os.listdir(folder), os.path.join(folder, "new.db")
            db = plain(large)
            db.execute("UPDATE todos SET title = hex(zeroblob(3000000)) WHERE rowid = 1")
            db.close()
            done = self.refused(5, "merge", large, new, "--create")
            self.assertIn("is full", done.err)
            self.assertEqual(os.listdir(folder), kept)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
