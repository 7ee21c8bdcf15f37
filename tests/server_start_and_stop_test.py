"""`rejoin serve` as a process: when it refuses to start, how it keeps its secret, what it logs, and how it stops."""

import base64
import json
import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from http_peer import JSON, call, claims, connect, counted, head, metrics, read_reply, secret_of, signed, sync_json, wait_for  # noqa: E402
from support import REJOIN, FolderTest, Run, Server, plain, rows  # noqa: E402

SITE = base64.b64encode(b"0123456789abcdef").decode()
HELLO = {"protocol": 1, "hello": {"site": SITE}, "pull": {}}


def log_of(server):
    with open(server.log_path, "rb") as file:
        return file.read()


class StartTest(FolderTest):
    def write(self, name, content, mode=0o600):
        path = self.path(name)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, mode)
        return path

    def test_without_a_usable_secret_it_does_not_start(self):
        good = b"0123456789abcdef0123456789abcdef\n"
        serve = ("serve", "--data", self.path("s"), "--listen", "127.0.0.1:0")
        for code, cure, content, mode in ((2, "at least 32", b"", 0o600), (2, "at least 32", good[:31], 0o600),
                                          (2, "at least 32", b" " * 64 + b"\n", 0o600), (2, "longer than", good * 200, 0o600),
                                          (3, "chmod 600", good, 0o644), (3, "chmod 600", good, 0o640), (3, "chmod 600", good, 0o602)):
            done = self.refused(code, *serve, "--secret-file", self.write("key", content, mode))
            self.assertIn(cure, done.err)
            self.assertNotIn(good.decode().strip(), done.err)
        self.refused(6, *serve, "--secret-file", self.path("nowhere"))
        self.refused(2, *serve, "--secret-file", self.folder)
        self.assertIn("REJOIN_SECRET", self.refused(2, *serve, env={"REJOIN_SECRET": "short"}).err)

    def test_a_secret_that_others_may_read_is_refused_at_the_next_start(self):
        with Server(self.path("s")):
            pass
        os.chmod(self.path("s", "secret"), 0o644)
        self.assertIn("chmod 600", self.refused(3, "serve", "--data", self.path("s"), "--listen", "127.0.0.1:0").err)
        os.chmod(self.path("s", "secret"), 0o600)
        with Server(self.path("s")) as server:
            self.assertEqual(call(server, "GET", "/health").status, 200)

    def test_a_damaged_secret_is_not_replaced(self):
        os.makedirs(self.path("s"))
        self.write("s/secret", b"")
        self.refused(2, "serve", "--data", self.path("s"), "--listen", "127.0.0.1:0")
        self.assertEqual(os.path.getsize(self.path("s", "secret")), 0)

    def test_dev_listens_on_loopback_addresses_only(self):
        for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:0", "127.0.0.1.example.com:0"):
            done = self.refused(2, "serve", "--data", self.path("s"), "--dev", "--listen", address)
            self.assertIn("loopback", done.err)
        for address in ("127.0.0.1:0", "127.9.9.9:0", "localhost:0"):
            process = subprocess.Popen([REJOIN, "serve", "--data", self.path("s"), "--dev", "--listen", address, "--json"],
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
            told = json.loads(process.stdout.readline())
            self.assertIn(address.rsplit(":", 1)[0], told["url"])
            process.terminate()
            process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0)

    def test_a_data_folder_that_cannot_be_used_is_named(self):
        self.write("file", b"text")
        self.assertIn(self.path("file"), self.refused_any("serve", "--data", self.path("file"), "--listen", "127.0.0.1:0").err)
        os.makedirs(self.path("s"))
        os.chmod(self.path("s"), 0o555)
        os.chmod(self.folder, 0o755)
        binary = shutil.copy(REJOIN, self.path("rejoin"))  # root may write anywhere, so somebody else starts it
        done = subprocess.run([binary, "serve", "--data", self.path("s"), "--listen", "127.0.0.1:0"], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=60, user=65534 if os.getuid() == 0 else None)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(self.path("s"), done.stderr)
        self.assertIn("permission", done.stderr.lower())

    def refused_any(self, *arguments):
        done = Run(*arguments)
        self.assertNotEqual(done.code, 0, done)
        self.assertTrue(done.err.startswith("error: "), done)
        return done

    def test_a_data_folder_belongs_to_one_server_at_a_time(self):
        with Server(self.path("s")) as first:
            token = first.token("a")
            second = self.refused_any("serve", "--data", self.path("s"), "--listen", "127.0.0.1:0")
            self.assertEqual(second.code, 5)
            self.assertIn(self.path("s"), second.err)
            self.assertIn("most likely rejoin serve", second.err)
            self.assertEqual(sync_json(first, HELLO, token).status, 200)
            first.stop(signal.SIGKILL)
            with Server(self.path("s")) as next_one:
                self.assertEqual(sync_json(next_one, HELLO, token).status, 200)

    def test_a_data_folder_that_cannot_be_held_is_not_served(self):
        os.makedirs(self.path("s"))
        os.chmod(self.folder, 0o755)
        binary, somebody = shutil.copy(REJOIN, self.path("rejoin")), 65534 if os.getuid() == 0 else os.getuid()
        os.chown(self.path("s"), somebody, -1)
        os.chmod(self.path("s"), 0o300)  # may be written to and entered, but not opened
        done = subprocess.run([binary, "serve", "--data", self.path("s"), "--dev", "--listen", "127.0.0.1:0"], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=60, user=somebody if os.getuid() == 0 else None)
        self.assertEqual(done.returncode, 3, done)
        self.assertIn("cannot open the data folder", done.stderr)

    def test_the_secret_is_the_owners_and_outlives_a_restart(self):
        with Server(self.path("s")) as server:
            token = server.token("a")
            first = secret_of(server)
            for name in ("s", "s/tenants"):
                self.assertEqual(stat.S_IMODE(os.stat(self.path(name)).st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("s", "secret")).st_mode), 0o600)
        self.assertEqual(os.listdir(self.path("s")).count("secret"), 1)
        with Server(self.path("s")) as server:
            self.assertEqual(secret_of(server), first)
            self.assertEqual(sync_json(server, HELLO, token).status, 200)
        # Another server makes another secret, and does not know this token.
        with Server(self.path("other")) as server:
            self.assertNotEqual(secret_of(server), first)
            self.assertEqual(sync_json(server, HELLO, token).status, 401)

    def test_all_who_start_at_once_agree_on_one_secret(self):
        tokens = []

        def mint():
            tokens.append(Run("token", "--data", self.path("s"), "--tenant", "t", "--device", "d"))

        threads = [threading.Thread(target=mint) for _ in range(8)]
        for thread in threads:
            thread.start()
        with Server(self.path("s")) as server:
            for thread in threads:
                thread.join()
            self.assertEqual([t.code for t in tokens], [0] * 8, tokens)
            for token in tokens:
                self.assertEqual(sync_json(server, HELLO, token.out.strip()).status, 200)
        self.assertEqual(sorted(os.listdir(self.path("s"))), ["secret", "tenants"])

    def test_a_secret_from_the_environment_or_a_file_leaves_none_in_the_folder(self):
        secret = "x" * 40
        os.environ["REJOIN_SECRET"] = secret
        self.addCleanup(os.environ.pop, "REJOIN_SECRET", None)
        with Server(self.path("s")) as server:
            self.assertEqual(sync_json(server, HELLO, signed(secret, claims())).status, 200)
        os.environ.pop("REJOIN_SECRET")
        with Server(self.path("s"), "--secret-file", self.write("key", secret.encode() + b"\r\n", 0o400)) as server:
            self.assertEqual(sync_json(server, HELLO, signed(secret, claims())).status, 200)
        self.assertFalse(os.path.exists(self.path("s", "secret")))

    def test_a_port_that_is_taken_is_named(self):
        with Server(self.path("s")) as server:
            done = self.refused(4, "serve", "--data", self.path("other"), "--listen", f"127.0.0.1:{server.port}")
            self.assertIn(str(server.port), done.err)


class StopTest(FolderTest):
    def held_push(self, server):
        """A device's first push, sent on a socket and held up inside the server by another writer of the tenant's file, which is returned."""
        a = self.database("a.db")
        self.ok("sync", a, server.url, "--token", server.token("a", "--schema"))
        server.stop()
        server.__enter__()  # again, so that the tenant is not open yet
        writer = sqlite3.connect(self.path("s", "tenants", "acme.db"), isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        db = plain(a)
        db.execute("INSERT INTO todos(id, title) VALUES('1', 'written while the server stops')")
        db.close()
        process = subprocess.Popen([REJOIN, "sync", a, server.url, "--token", server.token("a"), "--retries", "0", "--json"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        wait_for(lambda: metrics(server)["rejoin_tenants_open"] == 1)
        return process, writer

    def test_a_signal_lets_the_running_request_finish(self):
        for how in (signal.SIGTERM, signal.SIGINT):
            shutil.rmtree(self.path("s"), ignore_errors=True)
            for name in os.listdir(self.folder):
                if name.startswith("a.db"):
                    os.remove(self.path(name))
            with Server(self.path("s")) as server:
                push, writer = self.held_push(server)
                server.process.send_signal(how)

                def hung_up():
                    try:
                        with connect(server) as peer:
                            peer.sendall(head("/health", "GET"))
                            return not peer.recv(1)
                    except ConnectionError:
                        return True

                wait_for(hung_up)  # it takes no more requests
                self.assertIsNone(server.process.poll())  # but is still at work
                writer.execute("ROLLBACK")
                writer.close()
                out, err = push.communicate(timeout=120)
                told = json.loads(out)
                self.assertEqual(told["pushed"], 1, (out, err))
                self.assertEqual(server.process.wait(120), 0)  # a second signal would end it at once
            self.assertEqual(rows(self.path("s", "tenants", "acme.db")), [("1", "written while the server stops", 0, None)])
            # The databases were closed properly: nothing waits in a write-ahead log.
            self.assertEqual(sorted(os.listdir(self.path("s", "tenants"))), ["acme.db"])

    def test_a_body_that_is_on_its_way_is_still_taken(self):
        with Server(self.path("s")) as server:
            body = json.dumps(HELLO).encode()
            with connect(server) as peer:
                peer.sendall(head(token=server.token("a"), Content_Type=JSON, Content_Length=len(body), Expect="100-continue"))
                self.assertEqual(peer.recv(64), b"HTTP/1.1 100 Continue\r\n\r\n")
                peer.sendall(body[:10])
                server.process.send_signal(signal.SIGTERM)
                wait_for(lambda: b"stopping" in log_of(server))
                peer.sendall(body[10:])
                reply = read_reply(peer)
                self.assertEqual(reply.status, 200, reply)
                self.assertEqual(reply.headers["connection"], "close")
            self.assertEqual(server.process.wait(timeout=60), 0)

    def test_idle_connections_do_not_hold_up_a_stop(self):
        with Server(self.path("s")) as server:
            peers = [connect(server) for _ in range(20)]
            for peer in peers:
                peer.sendall(head("/health", "GET"))
                self.assertEqual(read_reply(peer).status, 200)
            code, _ = server.stop()
            self.assertEqual(code, 0)
            for peer in peers:
                self.assertEqual(peer.recv(1), b"")
                peer.close()

    def test_a_restart_on_the_same_port_works_at_once(self):
        with Server(self.path("s")) as server:
            port = server.port
            with connect(server) as peer:
                peer.sendall(head("/health", "GET"))
                read_reply(peer)
                server.stop()
        process = subprocess.Popen([REJOIN, "serve", "--data", self.path("s"), "--listen", f"127.0.0.1:{port}"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.assertIn(str(port).encode(), process.stdout.readline())
        process.terminate()
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)


class WatchTest(FolderTest):
    def test_health_ready_and_metrics(self):
        a = self.database("a.db")
        db = plain(a)
        db.executemany("INSERT INTO todos(id, title) VALUES(?, 'x')", [("1",), ("2",), ("3",)])
        db.close()
        with Server(self.path("s")) as server:
            self.assertEqual(call(server, "GET", "/health").json, {"status": "ok"})
            self.assertEqual(call(server, "GET", "/ready").json, {"status": "ready"})
            self.assertEqual(call(server, "HEAD", "/health").body, b"")
            before = metrics(server)
            self.ok("sync", a, server.url, "--token", server.token("a", "--schema"))
            self.ok("sync", self.database("b.db"), server.url, "--token", server.token("b"))
            self.assertEqual(sync_json(server, HELLO, "no.to.ken").status, 401)
            self.assertEqual(call(server, "GET", "/nothing").status, 404)
            grown = {'rejoin_sync_rows_total{kind="pushed"}': 3, 'rejoin_sync_rows_total{kind="changed"}': 3,
                     'rejoin_sync_rows_total{kind="pulled"}': 3, 'rejoin_errors_total{error="unauthorized"}': 1,
                     'rejoin_http_requests_total{route="sync",status="401"}': 1,
                     'rejoin_http_requests_total{route="other",status="404"}': 1}
            after = counted(server, {name: before.get(name, 0) + by for name, by in grown.items()})
            self.assertEqual(after["rejoin_tenants_open"], 1)
            self.assertGreaterEqual(after["rejoin_http_connections"], 1)
            self.assertEqual(after["rejoin_http_body_bytes"], 0)
            self.assertGreater(after['rejoin_http_received_bytes_total{route="sync"}'], 100)
            self.assertNotIn("acme", call(server, "GET", "/metrics").body.decode())

    def test_not_ready_when_the_data_folder_cannot_be_written(self):
        with Server(self.path("s")) as server:
            os.rename(self.path("s", "tenants"), self.path("away"))
            reply = call(server, "GET", "/ready")
            self.assertEqual((reply.status, reply.json["error"]["name"]), (503, "disk"))
            self.assertEqual(call(server, "GET", "/health").status, 200)
            os.rename(self.path("away"), self.path("s", "tenants"))
            self.assertEqual(call(server, "GET", "/ready").status, 200)

    def test_every_line_of_the_log_is_a_json_object_and_says_no_secret(self):
        with Server(self.path("s"), "--log-level", "debug") as server:
            token = server.token("a")
            secret = secret_of(server)
            self.assertEqual(sync_json(server, HELLO, token, **{"X-Request-Id": "my-id.1"}).headers["x-request-id"], "my-id.1")
            self.assertEqual(sync_json(server, HELLO, token + "x").status, 401)
            hostile = b"evil\xff\"\\"
            with connect(server) as peer:
                peer.sendall(head(token=token, Content_Length=0).replace(b"\r\n\r\n", b"\r\nContent-Type: a/" + hostile + b"\r\nX-Request-Id: a b\xff\r\n\r\n"))
                reply = read_reply(peer)
            self.assertEqual(reply.status, 415)
            self.assertIn("a/", reply.json["error"]["message"])
            self.assertNotIn(" ", reply.headers["x-request-id"])
            call(server, "GET", "/health")
            server.stop()
            text = log_of(server)
            lines = [json.loads(line.decode("utf-8")) for line in text.splitlines()]
            self.assertTrue(all({"time", "level", "event"} <= line.keys() for line in lines))
            self.assertEqual([line["event"] for line in lines][0], "listening")
            self.assertIn("stopping", [line["event"] for line in lines])
            requests = {line["id"]: line for line in lines if line["event"] == "request"}
            told = requests["my-id.1"]
            self.assertEqual((told["route"], told["status"], told["tenant"], told["device"], told["level"]), ("sync", 200, "acme", "a", "info"))
            self.assertIn("debug", {line["level"] for line in requests.values()})  # the health check
            for hidden in (token, token.split(".")[2], secret):
                self.assertNotIn(hidden.encode(), text)

    def test_logs_of_a_level_and_in_text(self):
        with Server(self.path("s"), "--log-level", "warning", "--log-format", "text") as server:
            sync_json(server, HELLO, server.token("a"))
            sync_json(server, HELLO, "nonsense")
            server.stop()
            lines = log_of(server).splitlines()
            self.assertEqual(len(lines), 1)
            self.assertIn(b"error=unauthorized", lines[0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
