"""Browsers, proxies, rates, overload, traces and metrics of a running `rejoin serve`."""

import base64
import json
import os
import re
import signal
import sqlite3
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from http_peer import JSON, call, connect, counted, head, metrics, read_reply, sync_json, wait_for  # noqa: E402
from support import ROOT, FolderTest, Run, Server, plain  # noqa: E402

HELLO = {"protocol": 1, "hello": {"site": base64.b64encode(b"0123456789abcdef").decode()}, "pull": {}}
APP = "https://app.example.com"


class OperationsTest(FolderTest):
    def serve(self, *arguments):
        server = Server(self.path("s"), *arguments)
        server.__enter__()
        self.addCleanup(server.__exit__)
        return server

    def log(self, server):
        with open(server.log_path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def logged(self, server, request_id):
        """The line of a request, which may come a moment after its answer."""
        return wait_for(lambda: next((line for line in self.log(server) if line.get("id") == request_id), None))


class CorsTest(OperationsTest):
    def preflight(self, server, origin, path="/v1/sync", method="POST"):
        return call(server, "OPTIONS", path, None, {"Origin": origin, "Access-Control-Request-Method": method,
                                                    "Access-Control-Request-Headers": "authorization,content-type"})

    def cors(self, reply):
        return {name: value for name, value in reply.headers.items() if name.startswith("access-control-")}

    def test_a_page_of_a_named_origin_may_sync(self):
        server = self.serve("--cors-origin", APP, "--cors-origin", "http://localhost:5173")
        reply = self.preflight(server, APP)
        self.assertEqual((reply.status, reply.body), (204, b""))
        self.assertEqual(reply.headers["access-control-allow-origin"], APP)
        self.assertEqual(reply.headers["access-control-allow-methods"], "POST")
        for name in ("Authorization", "Content-Type", "Content-Encoding"):
            self.assertIn(name, reply.headers["access-control-allow-headers"])
        self.assertIn("Origin", reply.headers["vary"])
        self.assertNotIn("access-control-allow-credentials", reply.headers)
        token = server.token("a")
        reply = sync_json(server, HELLO, token, Origin="http://localhost:5173")
        self.assertEqual((reply.status, reply.headers["access-control-allow-origin"]), (200, "http://localhost:5173"))
        for name in ("X-Request-Id", "Retry-After"):
            self.assertIn(name, reply.headers["access-control-expose-headers"])
        # Refusals too, or the page could not read why.
        for reply, status in ((sync_json(server, HELLO, "x", Origin=APP), 401), (sync_json(server, "{", token, Origin=APP), 400),
                              (sync_json(server, b" " * (33 << 20), token, Origin=APP), 413), (call(server, "GET", "/v1/sync", None, {"Origin": APP}), 405)):
            self.assertEqual((reply.status, reply.headers.get("access-control-allow-origin")), (status, APP))

    def test_nobody_else_may(self):
        server = self.serve("--cors-origin", APP)
        token = server.token("a")
        for origin in ("https://evil.example.com", "https://app.example.com.evil.com", "http://app.example.com", APP + ":8443", APP + "/", "null", APP.upper()):
            reply = self.preflight(server, origin)
            self.assertEqual((reply.status, self.cors(reply)), (405, {}), origin)
            reply = sync_json(server, HELLO, token, Origin=origin)
            self.assertEqual((reply.status, self.cors(reply), reply.headers["vary"]), (200, {}, "Origin"))
        for path in ("/health", "/metrics", "/ready"):
            self.assertEqual(self.cors(self.preflight(server, APP, path)), {})
            self.assertEqual(self.cors(call(server, "GET", path, None, {"Origin": APP})), {})
        plain_options = call(server, "OPTIONS", "/v1/sync", None, {"Origin": APP})
        self.assertEqual(plain_options.status, 405)

    def test_without_the_option_there_is_nothing_of_it(self):
        server = self.serve()
        reply = self.preflight(server, APP)
        self.assertEqual((reply.status, self.cors(reply)), (405, {}))
        reply = sync_json(server, HELLO, server.token("a"), Origin=APP)
        self.assertEqual((reply.status, self.cors(reply), reply.headers.get("vary")), (200, {}, None))

    def test_a_star_is_all_without_credentials(self):
        server = self.serve("--cors-origin", "*")
        reply = self.preflight(server, "https://anyone.example")
        self.assertEqual((reply.status, reply.headers["access-control-allow-origin"]), (204, "*"))
        self.assertNotIn("access-control-allow-credentials", reply.headers)

    def test_without_tokens_pages_are_named_one_by_one(self):
        self.assertIn("--cors-origin", self.refused(2, "serve", "--data", self.path("x"), "--dev", "--cors-origin", "*").err)
        server = self.serve("--dev", "--cors-origin", "http://localhost:5173")
        reply = sync_json(server, HELLO, Origin="http://localhost:5173")
        self.assertEqual((reply.status, reply.headers["access-control-allow-origin"]), (200, "http://localhost:5173"))

    def test_what_is_no_origin_is_refused(self):
        for origin in ("app.example.com", APP + "/", APP + "/x", "https://*.example.com", "null"):
            self.assertIn("--cors-origin", self.refused(2, "serve", "--data", self.path("x"), "--cors-origin", origin).err)


class ProxyTest(OperationsTest):
    def seen(self, server, name, **headers):
        sync_json(server, HELLO, server.token("a"), **{"X-Request-Id": name}, **{k.replace("_", "-"): v for k, v in headers.items()})
        line = self.logged(server, name)
        return line["remote"], line["scheme"]

    def test_a_named_proxy_says_who_asks(self):
        server = self.serve("--trusted-proxy", "127.0.0.0/8", "--trusted-proxy", "10.0.0.0/8")
        self.assertEqual(self.seen(server, "a", X_Forwarded_For="203.0.113.9, 10.1.2.3", X_Forwarded_Proto="https"), ("203.0.113.9", "https"))
        self.assertEqual(self.seen(server, "b"), ("127.0.0.1", "http"))
        self.assertEqual(self.seen(server, "c", X_Forwarded_For="forged\", 1.2.3.4, 203.0.113.9"), ("203.0.113.9", "http"))

    def test_nobody_else_does(self):
        server = self.serve("--trusted-proxy", "10.0.0.0/8")
        self.assertEqual(self.seen(server, "a", X_Forwarded_For="203.0.113.9", X_Forwarded_Proto="https"), ("127.0.0.1", "http"))
        for text in ("10.0.0.1/8", "10.0.0.0/40", "proxy", ""):
            self.assertIn("--trusted-proxy", self.refused(2, "serve", "--data", self.path("x"), "--trusted-proxy", text).err)

    def test_development_mode_is_for_this_machine_also_behind_a_proxy(self):
        server = self.serve("--dev", "--trusted-proxy", "127.0.0.1")
        self.assertEqual(sync_json(server, HELLO).status, 200)
        self.assertEqual(sync_json(server, HELLO, **{"X-Forwarded-For": "203.0.113.9"}).status, 403)


class RateTest(OperationsTest):
    def test_a_device_that_asks_too_often_waits_and_others_do_not(self):
        server = self.serve("--rate-device", "1/h:3")
        a, b = server.token("a"), server.token("b")
        self.assertEqual([sync_json(server, HELLO, a).status for _ in range(3)], [200] * 3)
        reply = sync_json(server, HELLO, a)
        error = reply.json["error"]
        self.assertEqual((reply.status, error["name"]), (429, "rate_limited"))
        self.assertGreater(int(reply.headers["retry-after"]), 3000)
        self.assertGreater(error["retry_after_ms"], 3_000_000)
        self.assertIn("device", error["message"])
        self.assertIn("facts", reply.json)
        self.assertEqual([sync_json(server, HELLO, b).status for _ in range(3)], [200] * 3)
        self.assertEqual(sync_json(server, HELLO, server.token("a", tenant="other")).status, 200)
        with connect(server) as peer:  # refused by its head, before a byte of the body
            peer.sendall(head(token=a, Content_Type=JSON, Content_Length=1 << 20))
            self.assertEqual(read_reply(peer).status, 429)
        self.assertEqual(call(server, "GET", "/health").status, 200)
        counted(server, {'rejoin_rate_limited_total{scope="device"}': 2, 'rejoin_errors_total{error="rate_limited"}': 2})

    def test_a_tenants_devices_share_its_rate(self):
        server = self.serve("--rate-tenant", "1/h:4", "--rate-device", "1/h:2")
        tokens = [server.token(name) for name in "abc"]
        self.assertEqual([sync_json(server, HELLO, tokens[0]).status for _ in range(4)], [200, 200, 429, 429])
        # What the first was refused, it did not use up.
        self.assertEqual([sync_json(server, HELLO, tokens[1]).status for _ in range(2)], [200, 200])
        reply = sync_json(server, HELLO, tokens[2])
        self.assertEqual(reply.status, 429)
        self.assertIn("tenant", reply.json["error"]["message"])
        self.assertEqual(sync_json(server, HELLO, server.token("a", tenant="other")).status, 200)

    def test_a_client_waits_as_it_is_told_and_gets_through(self):
        server = self.serve("--rate-device", "2/s:1")
        token = server.token("a", "--schema")
        path = self.database()
        sync_json(server, HELLO, token)  # uses up what there is
        for round_ in range(3):
            db = plain(path)
            db.execute("INSERT INTO todos(id, title) VALUES(?, 'x')", (str(round_),))
            db.close()
            self.assertEqual(self.ok("sync", path, server.url, "--token", token, "--json").json["pending"], 0)
        self.assertGreater(metrics(server).get('rejoin_rate_limited_total{scope="device"}', 0), 0)

    def test_what_is_no_rate_is_refused(self):
        for rate in ("10", "0/s", "10/d", "-1/s", "1/s:0"):
            self.assertIn("--rate-tenant", self.refused(2, "serve", "--data", self.path("x"), f"--rate-tenant={rate}").err)


class OverloadTest(OperationsTest):
    def test_more_than_the_queue_holds_is_refused_by_its_head(self):
        server = self.serve("--max-queue", "2")
        path = self.database("a.db")
        tenants = [f"t{n}" for n in range(4)]
        tokens = {t: server.token("a", "--schema", tenant=t) for t in tenants + ["w1", "w2", "late"]}
        for t in tenants:
            self.assertEqual(sync_json(server, HELLO, tokens[t]).status, 200)
        # Somebody else writes these tenants' files, so that all workers have to wait for it.
        writers = []
        for t in tenants:
            writers.append(sqlite3.connect(self.path("s", "tenants", t + ".db"), isolation_level=None))
            writers[-1].execute("BEGIN EXCLUSIVE")
        done = {}

        def push(tenant):
            copy = self.path(tenant + "-device.db")
            source = sqlite3.connect(path)
            with sqlite3.connect(copy) as into:
                source.backup(into)
            done[tenant] = Run("sync", copy, server.url, "--token", tokens[tenant], "--json")

        def ask(tenant):
            done[tenant] = sync_json(server, HELLO, tokens[tenant])

        threads = []
        try:
            for tenant in tenants:
                threads.append(threading.Thread(target=push, args=(tenant,)))
                threads[-1].start()
            wait_for(lambda: metrics(server)["rejoin_http_requests_working"] == 4)
            for tenant in ("w1", "w2"):
                threads.append(threading.Thread(target=ask, args=(tenant,)))
                threads[-1].start()
            wait_for(lambda: metrics(server)["rejoin_http_requests_waiting"] == 2)
            with connect(server) as peer:
                peer.sendall(head(token=tokens["late"], Content_Type=JSON, Content_Length=1 << 20))
                reply = read_reply(peer)
            self.assertEqual((reply.status, reply.json["error"]["name"]), (503, "overloaded"))
            self.assertEqual(reply.headers["retry-after"], "1")
            self.assertEqual(call(server, "GET", "/health").status, 200)
        finally:
            for writer in writers:
                writer.execute("ROLLBACK")
                writer.close()
            for thread in threads:
                thread.join()
        self.assertEqual([done[t].code for t in tenants], [0] * 4, done)
        self.assertEqual([done["w1"].status, done["w2"].status], [200, 200])


class SignalTest(OperationsTest):
    def test_a_hangup_is_no_end_where_nobody_sits_at_a_terminal(self):
        server = self.serve()
        server.process.send_signal(signal.SIGHUP)
        self.assertEqual(sync_json(server, HELLO, server.token("a")).status, 200)
        server.process.send_signal(signal.SIGHUP)
        self.assertEqual(call(server, "GET", "/ready").status, 200)
        self.assertEqual(server.stop()[0], 0)


class TraceTest(OperationsTest):
    def test_a_trace_is_carried_on(self):
        server = self.serve()
        trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
        sync_json(server, HELLO, server.token("a"), **{"traceparent": f"00-{trace}-{span}-01", "X-Request-Id": "with"})
        line = self.logged(server, "with")
        self.assertEqual((line["trace_id"], line["parent_id"]), (trace, span))
        self.assertRegex(line["span_id"], r"^[0-9a-f]{16}$")
        self.assertNotEqual(line["span_id"], span)
        sync_json(server, HELLO, server.token("a"), **{"traceparent": f"00-{'0' * 32}-{span}-01", "X-Request-Id": "without"})
        line = self.logged(server, "without")
        self.assertEqual({"trace_id", "parent_id", "span_id"} & line.keys(), set())


class MetricsTest(OperationsTest):
    def test_an_exchange_is_counted_in_each(self):
        server = self.serve()
        path = self.database("a.db")
        db = plain(path)
        db.executemany("INSERT INTO todos(id, title) VALUES(?, 'x')", [(str(n),) for n in range(20)])
        db.close()
        self.ok("sync", path, server.url, "--token", server.token("a", "--schema"))
        self.assertEqual(sync_json(server, HELLO, "no").status, 401)
        told = wait_for(lambda: (m := metrics(server)) and 'rejoin_http_request_seconds_count{outcome="refused",route="sync"}' in m and m)
        self.assertEqual(told["rejoin_sync_push_rows_sum"], 20)
        self.assertEqual(told['rejoin_sync_push_rows_bucket{le="10"}'] + 1, told['rejoin_sync_push_rows_bucket{le="30"}'])
        exchanges = told["rejoin_sync_store_seconds_count"]
        self.assertGreaterEqual(exchanges, 1)
        self.assertEqual(told["rejoin_sync_queue_seconds_count"], exchanges)
        self.assertEqual(told["rejoin_sync_request_bytes_count"], exchanges + 1)
        self.assertGreater(told["rejoin_sync_response_bytes_sum"], 100)
        self.assertEqual(told['rejoin_http_request_seconds_count{outcome="ok",route="sync"}'], exchanges)
        # The first exchange tells of the tables, and is asked for its push again.
        self.assertEqual([told[f'rejoin_store_seconds_count{{kind="{kind}"}}'] for kind in ("push", "merge")], [1, 1])
        self.assertGreater(told['rejoin_store_seconds_count{kind="pull"}'], 0)
        self.assertGreater(told['rejoin_store_seconds_count{kind="contract"}'], 0)
        self.assertGreater(told['rejoin_store_seconds_sum{kind="push"}'], 0)
        self.assertLessEqual(sum(told[f'rejoin_store_seconds_sum{{kind="{kind}"}}'] for kind in ("push", "pull", "contract")), told["rejoin_sync_store_seconds_sum"])
        self.assertEqual(told["rejoin_tls_certificate_expires_seconds"], 0)
        self.assertEqual([value for name, value in told.items() if name.startswith("rejoin_build_info{version=")], [1])

    def test_the_docs_name_every_label(self):
        server = self.serve("--rate-device", "1/h:1")
        token = server.token("a")
        for _ in range(2):
            sync_json(server, HELLO, token)
        call(server, "GET", "/nothing")
        text = call(server, "GET", "/metrics").body.decode()
        with open(os.path.join(ROOT, "docs", "http.md"), encoding="utf-8") as file:
            rows = dict(re.findall(r"^\| `(rejoin_[a-z_]+)` \| \w+ \| (.*?) \|", file.read(), re.M))
        for name, labels in re.findall(r"^(rejoin_[a-z_]+?)(?:_bucket|_sum|_count)?\{([^}]*)\}", text, re.M):
            for label in set(re.findall(r"([a-z]+)=", labels)) - {"le"}:
                self.assertIn(f"`{label}`", rows[name], name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
