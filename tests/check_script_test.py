"""scripts/check finds one violation of each kind in a small made-up tree, and nothing in a clean one."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

SOURCE_DIR = os.environ.get("REJOIN_SOURCE_DIR") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CHECK = os.path.join(SOURCE_DIR, "scripts", "check")

CLEAN = {
    "docs/rooms.txt": "# a comment\nbase:\ncrdt: base\ncodec: base crdt\ncontract: base crdt\nsqlite: base crdt\n"
                      "postgres: base\nnet: base\nextension: sqlite base\n",
    "src/base/result.h": "#pragma once\nint base();\n",
    "src/crdt/join.h": '#pragma once\n#include <string>\n\n#include "base/result.h"\n// throw, rand() and time(nullptr) in comments are fine\n'
                       'inline const char* kText = "throw std::chrono::system_clock";\nint join(int a);\nint time(int hlc);\n',
    "src/crdt/join.cc": '#include "crdt/join.h"\n\nint join(int a) { return a + time(a) + base(); }\n',
    "src/crdt/join_test.cc": '#include <random>\n\n#include "crdt/join.h"\n\nint main() { return rand() % join(1); }\n',
    "src/contract/parse.cc": "#include <boost/json.hpp>\n",
    "src/net/stream.cc": "#include <boost/asio.hpp>\n",
    "src/sqlite/fold.cc": '#include <sqlite3ext.h>\n\n#include "crdt/join.h"\n',
    "src/postgres/store.cc": "#include <libpq-fe.h>\n",
    "tests/all_test.cc": "#include <sqlite3.h>\n",
}


def run_check(root):
    result = subprocess.run(["/usr/bin/python3", CHECK, "--root", root], text=True, capture_output=True, check=False)
    return result.returncode, result.stdout + result.stderr


class CheckScript(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="rejoin-check-")
        self.addCleanup(shutil.rmtree, self.root)
        shutil.copy(os.path.join(SOURCE_DIR, ".clang-format"), self.root)
        for path, text in CLEAN.items():
            self.write(path, text)

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)

    def expect(self, place, rule, *words):
        """One finding, at this place, of this rule, with a cure."""
        code, output = run_check(self.root)
        self.assertEqual(code, 1, output)
        findings = [line for line in output.splitlines() if re.match(r"\S+:\d+: ", line)]
        self.assertEqual(len(findings), 1, output)
        self.assertTrue(findings[0].startswith(f"{place}: [{rule}] "), output)
        self.assertIn("Cure: ", findings[0])
        for word in words:
            self.assertIn(word, findings[0])

    def compile_module(self, source):
        self.write("module.c", source)
        os.makedirs(os.path.join(self.root, "dist"))
        subprocess.run(["cc", "-shared", "-fPIC", "-o", "dist/rejoin.so", "module.c"], cwd=self.root, check=True)

    def test_a_clean_tree_passes(self):
        self.compile_module("int sqlite3_rejoin_init(void) { return 0; }\n")
        code, output = run_check(self.root)
        self.assertEqual(code, 0, output)
        self.assertIn("no findings", output)

    def test_unformatted_code(self):
        self.write("src/base/result.cc", "int  base( ) {return 1;}\n")
        self.expect("src/base/result.cc:1", "format", "scripts/format src/base/result.cc")

    def test_a_copy_that_patch_left_behind(self):
        self.write("src/crdt/join.cc.orig", "int join(int a);\n")
        self.expect("src/crdt/join.cc.orig:1", "leftover", "git rm")

    def test_a_room_includes_a_room_above_it(self):
        self.write("src/base/up.cc", '// up\n#include "crdt/join.h"\n')
        self.expect("src/base/up.cc:2", "layering", "base must not include crdt")

    def test_an_include_that_does_not_name_its_room(self):
        self.write("src/crdt/near.cc", '#include "join.h"\n')
        self.expect("src/crdt/near.cc:1", "layering", "join.h")

    def test_an_include_of_no_room(self):
        self.write("src/crdt/far.cc", '#include "vendor/join.h"\n')
        self.expect("src/crdt/far.cc:1", "layering", "vendor")

    def test_a_folder_that_is_no_room(self):
        self.write("src/misc/util.cc", "int util();\n")
        self.expect("src/misc/util.cc:1", "layering", "docs/rooms.txt")

    def test_rooms_that_include_each_other_both_ways(self):
        self.write("docs/rooms.txt", CLEAN["docs/rooms.txt"].replace("crdt: base\n", "crdt: base sqlite\n", 1))
        self.expect("docs/rooms.txt:3", "layering", "sqlite")

    def test_sqlite_outside_its_room(self):
        self.write("src/net/db.cc", "#include <sqlite3.h>\n")
        self.expect("src/net/db.cc:1", "include", "sqlite3.h")

    def test_libpq_outside_its_room(self):
        self.write("src/net/db.cc", "#include <libpq-fe.h>\n")
        self.expect("src/net/db.cc:1", "include", "libpq-fe.h")

    def test_boost_outside_its_rooms(self):
        self.write("src/sqlite/io.cc", "#include <boost/asio.hpp>\n")
        self.expect("src/sqlite/io.cc:1", "include", "Boost")

    def test_boost_json_in_a_room_that_must_not_use_it(self):
        self.write("src/codec/json.cc", "#include <boost/json.hpp>\n")
        self.expect("src/codec/json.cc:1", "include", "codec")

    def test_boost_sources_compiled_twice(self):
        self.write("src/contract/json.cc", "#include <boost/json/src.hpp>\n")
        self.expect("src/contract/json.cc:1", "include", "src.hpp")

    def test_banned_calls_in_a_pure_room(self):
        for call, word in [
            ("auto t = std::chrono::steady_clock::now();", "clock"),
            ("auto t = std::time(nullptr);", "clock"),
            ("auto t = time(0);", "clock"),
            ("int t = rand();", "random"),
            ("std::random_device device;", "random"),
            ("std::mt19937_64 engine;", "random"),
            ("std::thread worker;", "thread"),
            ("void f() { throw 1; }", "Result"),
            ('auto f = fopen("x", "r");', "I/O"),
            ("auto& out = std::cerr;", "I/O"),
            ('auto v = std::getenv("X");', "getenv"),
        ]:
            with self.subTest(call):
                self.write("src/crdt/bad.cc", f"// bad\n\n{call}\n")
                self.expect("src/crdt/bad.cc:3", "pure", word)

    def test_banned_headers_in_a_pure_room(self):
        for header in ("iostream", "fstream", "filesystem", "random", "thread"):
            with self.subTest(header):
                self.write("src/crdt/bad.cc", f"#include <{header}>\n")
                self.expect("src/crdt/bad.cc:1", "pure", header)

    def test_a_long_file(self):
        self.write("src/base/long.cc", "int x();\n" * 901)
        self.expect("src/base/long.cc:901", "length", "901 lines")

    def test_a_skipped_test(self):
        self.write("tests/lazy_test.cc", "\nvoid f() { GTEST_SKIP(); }\n")
        self.expect("tests/lazy_test.cc:2", "skip")

    def test_a_symbol_too_many(self):
        self.compile_module("int sqlite3_rejoin_init(void) { return 0; }\nint leaked(void) { return 1; }\n")
        self.expect("dist/rejoin.so:1", "symbols", "leaked")

    def test_the_entry_point_is_missing(self):
        self.compile_module("static int nothing(void) { return 0; }\nint (*const keep)(void) __attribute__((visibility(\"hidden\"))) = nothing;\n")
        self.expect("dist/rejoin.so:1", "symbols", "sqlite3_rejoin_init")

    def test_sqlite_is_called_past_the_loaders_table(self):
        self.compile_module("int sqlite3_close(void);\nint sqlite3_rejoin_init(void) { return sqlite3_close(); }\n")
        self.expect("dist/rejoin.so:1", "symbols", "sqlite3_close")

    def test_plugins_add_their_findings(self):
        self.write("scripts/checks/docs.py", "import sys\nprint('docs/x.md:7: [docs] is old. Cure: update it')\nsys.exit(1)\n")
        self.expect("docs/x.md:7", "docs")

    def test_a_plugin_that_breaks_is_a_finding(self):
        self.write("scripts/checks/broken.sh", "echo oops >&2\nexit 3\n")
        self.expect("scripts/checks/broken.sh:1", "plugin", "oops")


if __name__ == "__main__":
    unittest.main()
