"""Settings of `rejoin serve` from the command line, the environment and a file: who wins, what is refused, and what it prints."""

import json
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from http_peer import call  # noqa: E402
from support import ROOT, FolderTest, Run, Server  # noqa: E402


def settings(text):
    """{name: (value, source)} of what --print-config printed."""
    return {name: (value, source) for name, value, source in re.findall(r"^([a-z-]+) = (.*?)  # (.*)$", text, re.M)}


class ConfigTest(FolderTest):
    def config(self, text):
        with open(self.path("c.toml"), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path("c.toml")

    def printed(self, *arguments, env=None):
        return self.ok("serve", "--print-config", *arguments, env=env).out

    def test_the_command_line_wins_over_the_environment_over_the_file_over_the_default(self):
        file = self.config('drift = "1m"\nmax-body = "1M"\nmax-rows = 7\nlog-level = "debug"\n')
        env = {"REJOIN_CONFIG": file, "REJOIN_MAX_BODY": "20M", "REJOIN_MAX_ROWS": "8", "REJOIN_LISTEN": ""}
        got = settings(self.printed("--max-rows", "9", env=env))
        self.assertEqual(got["max-rows"], ("9", "command line"))
        self.assertEqual(got["max-body"], ('"20M"', "REJOIN_MAX_BODY"))
        self.assertEqual(got["drift"], ('"1m"', f"{file}, line 1"))
        self.assertEqual(got["log-level"], ('"debug"', f"{file}, line 4"))
        self.assertEqual(got["listen"], ('"127.0.0.1:8427"', "default"))
        other = self.path("other.toml")
        with open(other, "w", encoding="utf-8") as out:
            out.write("max-rows = 3")
        self.assertEqual(settings(self.printed("--config", other, env=env))["max-rows"][0], "8")
        self.assertEqual(settings(self.printed("--config", other, env={"REJOIN_CONFIG": file}))["max-rows"][0], "3")

    def test_what_it_prints_can_be_given_back(self):
        hard = self.path('a "quoted" \\ folder # not a comment')
        first = self.printed("--data", hard, "--dev", "--jwt-key", "a.pem", "--jwt-key", "b.pem", "--cors-origin", "https://a", "--cors-origin", "http://b:1",
                             "--rate-device", "10/s:50", "--schema", "fixed", "--max-rows", "12", "--trusted-proxy", "10.0.0.0/8,::1", env={"REJOIN_DRIFT": "7m"})
        again = self.printed("--config", self.config(first))
        value = {name: pair[0] for name, pair in settings(first).items()}
        self.assertEqual({name: pair[0] for name, pair in settings(again).items()}, value)
        self.assertEqual((value["dev"], value["jwt-key"], value["trusted-proxy"], value["drift"]),
                         ("true", '["a.pem", "b.pem"]', '["10.0.0.0/8", "::1"]', '"7m"'))
        # Every setting has its line, the ones that are not set as comments.
        told = set(re.findall(r"^(?:# )?([a-z-]+) (?:=|is not set)", first, re.M))
        options = set(re.findall(r"^  --([a-z-]+)", self.ok("serve", "--help").out, re.M)) - {"json", "config", "print-config", "help"}
        self.assertEqual(told, options)
        self.assertEqual(set(self.ok("serve", "--print-config", "--json").json), options)

    def test_no_secret_is_printed(self):
        for url in ("postgres://app:sesame@host/db", "host=h dbname=d password=sesame", "postgres://app@host/db?password=sesame"):
            for more in ((), ("--json",)):
                done = self.ok("serve", "--print-config", "--postgres", url, *more, env={"REJOIN_SECRET": "sesame" * 10})
                self.assertNotIn("sesame", done.out + done.err)
        self.assertIn('postgres = "postgres://app@host/db"', self.printed("--postgres", "postgres://app@host/db"))
        self.assertFalse(os.path.exists(self.path("s")))

    def test_a_server_runs_by_its_file(self):
        file = self.config(f'# ours\ndata = "{self.path("s")}"\nmax-body = "1M"\nmax-value = "100K"\nlog-level = "error"\ndev = false\n')
        with Server(self.path("s"), "--config", file) as server:
            reply = call(server, "POST", "/v1/sync", b" " * 2_000_000, {"Content-Type": "application/json"}, server.token("a"))
            self.assertEqual(reply.status, 413)

    def test_what_is_wrong_is_named_with_its_line_and_the_cure(self):
        for text, line, named in (("max-body = \"1M\"\nmax_rows = 3", 2, "Did you mean 'max-rows'?"), ("# x\n\nconfig = \"x\"", 3, "no setting 'config'"),
                                  ("print-config = true", 1, "print-config"), ("max-rows = many", 1, "quotes"), ("log-level = \"loud\"", 1, "debug"),
                                  ("max-rows = \"many\"", 1, "many"), ("dev = 1", 1, "true or false"), ("drift = [\"1m\", \"2m\"]", 1, "one value"),
                                  ("[server]", 1, "sections"), ("drift = \"1m\"\ndrift = \"2m\"", 2, "line 1"), ("drift", 1, "="), ("json = true", 1, "json")):
            done = self.refused(2, "serve", "--config", self.config(text), "--data", self.path("s"))
            self.assertIn(f", line {line}: ", done.err)
            self.assertIn(named, done.err)
        self.assertIn(self.path("none"), self.refused(6, "serve", "--config", self.path("none")).err)
        self.refused_any("serve", "--config", self.folder)
        self.assertIn("--drift", self.refused(2, "serve", "--data", self.path("s"), "--drift", "").err)
        self.assertFalse(os.path.exists(self.path("s")))  # refused before anything is made

    def test_a_wrong_value_is_told_by_where_it_came_from(self):
        for name, value in (("drift", "5x"), ("log-level", "loud"), ("max-rows", "0"), ("rate-device", "3")):
            variable = "REJOIN_" + name.upper().replace("-", "_")
            for more in (("--print-config",), ("--data", self.path("s"))):
                told = self.refused(2, "serve", *more, env={variable: value}).err
                self.assertTrue(told.startswith("error: " + variable), told)
                self.assertNotIn("--" + name, told)
                file = self.config(f'{name} = "{value}"')
                told = self.refused(2, "serve", *more, "--config", file).err
                self.assertIn("c.toml", told.splitlines()[0])
                self.assertIn(", line 1", told.splitlines()[0])
                # The command line's is the one in force.
                told = self.refused(2, "serve", *more, f"--{name}", value, env={variable: value}).err
                self.assertIn("--" + name, told)
        told = self.refused(2, "serve", "--print-config", "--max-body", "1M", env={"REJOIN_MAX_VALUE": "1M"}).err
        self.assertIn("REJOIN_MAX_VALUE 1M does not fit into half of --max-body 1M", told)
        self.assertFalse(os.path.exists(self.path("s")))

    def test_print_config_refuses_what_serve_refuses(self):
        for flag, value in (("--listen", "nonsense"), ("--max-body", "x"), ("--drift", "soon"), ("--rate-device", "3"), ("--quota-tenant-rows", "x"),
                            ("--trusted-proxy", "here"), ("--live-poll", "1ms"), ("--table", "todos=up"), ("--audit-keep", "1d"), ("--tenant-claim", "a..b"),
                            ("--jwks-url", "http://example.com/keys"), ("--impersonate-recheck", "x"), ("--max-value", "1G")):
            for more in (("--print-config",), ("--data", self.path("s"))):
                done = self.refused(2, "serve", flag, value, *more)
                self.assertIn(flag, done.err)
        self.assertFalse(os.path.exists(self.path("s")))

    def test_a_mistyped_variable_is_told_what_it_may_be_meant_to_be(self):
        wrong = {"REJOIN_LOG_LEVLE": "debug", "REJOIN_DATA_DIR": "x"}
        # Other commands' own, another program's, and what Kubernetes says of services called rejoin and rejoin-postgres.
        right = {"REJOIN_TOKEN": "x", "REJOIN_SECRET": "x" * 64, "REJOIN_CONFIG": "", "REJOIN_WEATHER": "fine", "REJOIN_SERVICE_PORT": "8427",
                 "REJOIN_PORT": "tcp://10.0.0.1:8427", "REJOIN_PORT_8427_TCP": "tcp://10.0.0.1:8427",
                 "REJOIN_POSTGRES_SERVICE_HOST": "10.0.0.2", "REJOIN_POSTGRES_SERVICE_PORT": "5432", "REJOIN_POSTGRES_SERVICE_PORT_SQL": "5432",
                 "REJOIN_POSTGRES_PORT": "tcp://10.0.0.2:5432", "REJOIN_POSTGRES_PORT_5432_TCP": "tcp://10.0.0.2:5432",
                 "REJOIN_POSTGRES_PORT_5432_TCP_ADDR": "10.0.0.2", "REJOIN_POSTGRES_PORT_5432_TCP_PORT": "5432", "REJOIN_POSTGRES_PORT_5432_TCP_PROTO": "tcp",
                 "REJOIN_LISTEN_PORT_53_UDP_ADDR": "10.0.0.3"}
        told = self.refused(2, "serve", env={**wrong, **right}).err
        for name, meant in (("REJOIN_LOG_LEVLE", "REJOIN_LOG_LEVEL"), ("REJOIN_DATA_DIR", "REJOIN_DATA")):
            self.assertIn(f"{name} is no setting and changes nothing. Did you mean {meant}?", told)
        self.assertEqual([name for name in right if name + " " in told], [])
        self.assertEqual(self.ok("serve", "--print-config", env=right).err, "")
        self.assertIn("REJOIN_LOG_LEVLE", self.ok("serve", "--print-config", env=wrong).err)
        os.environ["REJOIN_LOG_LEVLE"] = "debug"
        self.addCleanup(os.environ.pop, "REJOIN_LOG_LEVLE")
        with Server(self.path("s")) as server, open(server.log_path, encoding="utf-8") as log:
            events = [json.loads(line) for line in log if line.startswith("{")]
        self.assertTrue(any(event["event"] == "unknown_variable" and "REJOIN_LOG_LEVLE" in event["message"] for event in events), events)

    def refused_any(self, *arguments):
        done = Run(*arguments)
        self.assertNotEqual(done.code, 0, done)
        return done

    def test_the_example_of_the_docs_is_one(self):
        with open(os.path.join(ROOT, "docs", "operations.md"), encoding="utf-8") as file:
            example = re.search(r"^```toml\n(.*?)^```", file.read(), re.M | re.S).group(1)
        got = settings(self.printed("--config", self.config(example)))
        self.assertTrue([name for name, (_, source) in got.items() if "c.toml" in source])


if __name__ == "__main__":
    unittest.main(verbosity=2)
