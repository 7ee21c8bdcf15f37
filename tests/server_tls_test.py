"""TLS in the server itself: real handshakes, wrong ones, slow ones, and a certificate that changes while it runs."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from http_peer import head, read_reply, wait_for  # noqa: E402
from support import FolderTest, Run, Server  # noqa: E402


def make_certificate(folder, name, days=30, kind=("rsa:2048",)):
    """A certificate of localhost that vouches for itself: its two files."""
    cert, key = os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", *kind, "-noenc", "-keyout", key, "-out", cert, "-days", str(days), "-subj", f"/CN={name}",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    os.chmod(key, 0o600)
    return cert, key


class TlsTest(FolderTest):
    def serve(self, *arguments, certificate=None):
        self.cert, self.key = certificate or make_certificate(self.folder, "one")
        server = Server(self.path("s"), "--tls-cert", self.cert, "--tls-key", self.key, *arguments)
        server.__enter__()
        self.addCleanup(server.__exit__)
        server.url = f"https://127.0.0.1:{server.port}"
        return server

    def trusting(self, *certs):
        context = ssl.create_default_context()
        for cert in certs or (self.cert,):
            context.load_verify_locations(cert)
        return context

    def secure(self, server, context=None):
        return (context or self.trusting()).wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=120), server_hostname="localhost")

    def get(self, server, path, context=None):
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=120, context=context or self.trusting())
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def metric(self, server, name, context=None):
        text = self.get(server, "/metrics", context)[1]
        return next((float(line.split(" ")[1]) for line in text.splitlines() if line.startswith(name + " ")), 0)

    def common_name(self, server, context):
        with self.secure(server, context) as peer:
            return dict(part[0] for part in peer.getpeercert()["subject"])["commonName"]

    def log(self, server):
        with open(server.log_path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def test_a_device_syncs_over_tls(self):
        server = self.serve()
        path = self.database()
        done = Run("sync", path, server.url, "--token", server.token("a", "--schema"), env={"SSL_CERT_FILE": self.cert})
        self.assertEqual(done.code, 0, done)
        refused = Run("sync", path, server.url, "--token", server.token("a"), "--retries", "0")
        self.assertEqual(refused.code, 4, refused)  # nobody vouches for it
        self.assertIn("certificate", refused.err)
        loaded = [line for line in self.log(server) if line["event"] == "tls_loaded"]
        self.assertEqual((len(loaded), loaded[0]["certificate"]), (1, self.cert))
        request = next(line for line in self.log(server) if line["event"] == "request")
        self.assertEqual(request["scheme"], "https")

    def test_versions_and_many_requests_on_one_connection(self):
        server = self.serve(certificate=make_certificate(self.folder, "curve", kind=("ec", "-pkeyopt", "ec_paramgen_curve:P-256")))
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.trusting()
            context.minimum_version = context.maximum_version = version
            context.set_alpn_protocols(["h2", "http/1.1"])
            with self.secure(server, context) as peer:
                self.assertEqual(peer.selected_alpn_protocol(), "http/1.1")
                for _ in range(20):
                    peer.sendall(head("/health", "GET"))
                    self.assertEqual(read_reply(peer).status, 200)
                peer.sendall(head("/health", "GET", Connection="close"))
                self.assertEqual(read_reply(peer).status, 200)
                self.assertEqual(peer.recv(1), b"")  # a proper end, not a cut
        old = self.trusting()
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with self.assertRaises(ssl.SSLError):
            self.secure(server, old)
        self.assertEqual(self.metric(server, 'rejoin_tls_handshakes_total{outcome="failed"}'), 1)

    def test_a_body_that_is_refused_is_still_answered(self):
        server = self.serve("--max-body", "1M", "--max-value", "100K")
        with self.secure(server) as peer:
            peer.sendall(head(Content_Type="application/json", Content_Length=1 << 30))
            try:
                for _ in range(64):
                    peer.sendall(b" " * 65536)
            except OSError:
                pass  # it hung up after its answer
            self.assertEqual(read_reply(peer).status, 401)
        self.assertEqual(self.get(server, "/health")[0], 200)

    def test_plain_http_is_told_where_it_is(self):
        server = self.serve()
        with socket.create_connection(("127.0.0.1", server.port), timeout=120) as peer:
            peer.sendall(head("/health", "GET"))
            reply = read_reply(peer)
        self.assertEqual(reply.status, 400)
        self.assertIn(b"https://", reply.body)
        for nonsense in (b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 500, b"SSH-2.0-x\r\n", b"\x16"):
            with socket.create_connection(("127.0.0.1", server.port), timeout=120) as peer:
                peer.sendall(nonsense)
                peer.shutdown(socket.SHUT_WR)
                try:
                    self.assertNotIn(b"HTTP/1.1 2", peer.recv(65536))
                except ConnectionError:
                    pass
        self.assertEqual(self.get(server, "/health")[0], 200)
        self.assertEqual(self.metric(server, 'rejoin_tls_handshakes_total{outcome="plain_http"}'), 1)

    def test_handshakes_that_do_not_go_on_end_and_hold_nobody_up(self):
        server = self.serve()
        idle = [socket.create_connection(("127.0.0.1", server.port), timeout=120) for _ in range(200)]
        try:
            for peer in idle[:50]:
                peer.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a hello
            for _ in range(10):
                self.assertEqual(self.get(server, "/health")[0], 200)
            for peer in idle:
                self.assertEqual(peer.recv(1), b"")  # the server closes them by itself
            wait_for(lambda: self.metric(server, 'rejoin_tls_handshakes_total{outcome="timeout"}') == 200)
        finally:
            for peer in idle:
                peer.close()

    def test_a_body_that_does_not_come_is_told_so(self):
        server = self.serve()
        with self.secure(server) as peer:
            peer.sendall(head(token=server.token("a"), Content_Type="application/json", Content_Length=100) + b"half")
            self.assertEqual(read_reply(peer).status, 408)  # a read that was given up leaves the stream whole
        with self.secure(server) as peer:
            peer.sendall(head("/health", "GET")[:-4])
            self.assertEqual(read_reply(peer).status, 408)

    def test_a_new_certificate_comes_with_a_signal_and_cuts_nobody(self):
        server = self.serve()
        two_cert, two_key = make_certificate(self.folder, "two")
        both = self.trusting(self.cert, two_cert)
        self.assertEqual(self.common_name(server, both), "one")
        ends = self.metric(server, "rejoin_tls_certificate_expires_seconds", both)
        self.assertGreater(ends, 1_700_000_000)
        with self.secure(server, both) as kept:
            kept.sendall(head("/health", "GET"))
            self.assertEqual(read_reply(kept).status, 200)

            def change(cert, key, event, count):
                for source, target in ((cert, self.cert), (key, self.key)):
                    if source:
                        with open(source, "rb") as file, open(target, "wb") as into:
                            into.write(file.read())
                server.process.send_signal(signal.SIGHUP)
                wait_for(lambda: len([line for line in self.log(server) if line["event"] == event]) == count)

            # A certificate without its key changes nothing.
            change(two_cert, None, "tls_failed", 1)
            failed = next(line for line in self.log(server) if line["event"] == "tls_failed")
            self.assertEqual((failed["level"], failed["error"]), ("warning", "bad_argument"))
            self.assertIn(self.key, failed["message"])
            self.assertEqual(self.common_name(server, both), "one")
            change(None, two_key, "tls_loaded", 2)
            self.assertEqual(self.common_name(server, both), "two")
            kept.sendall(head("/health", "GET"))
            self.assertEqual(read_reply(kept).status, 200)
        self.assertEqual(server.stop()[0], 0)

    def test_files_that_cannot_be_used_are_named(self):
        cert, key = make_certificate(self.folder, "one")
        other = make_certificate(self.folder, "other")[1]
        locked = self.path("locked.key")
        subprocess.run(["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked], check=True, capture_output=True)
        os.chmod(locked, 0o600)
        text = self.write("text.pem", "no certificate")
        serve = ("serve", "--data", self.path("s"), "--listen", "127.0.0.1:0")
        for code, a, b, named in ((2, cert, None, "--tls-key"), (2, None, key, "--tls-cert"), (6, self.path("none"), key, "none"), (6, cert, self.path("none"), "none"),
                                  (2, text, key, text), (2, cert, text, text), (2, cert, other, other), (2, cert, locked, "passphrase"), (2, cert, self.folder, "folder")):
            if b == text or b == self.folder:
                os.chmod(b, 0o700)
            done = self.refused(code, *serve, *(("--tls-cert", a) if a else ()), *(("--tls-key", b) if b else ()))
            self.assertIn(named, done.err)
        for mode in (0o604, 0o644, 0o620, 0o666):
            os.chmod(key, mode)
            done = self.refused(3, *serve, "--tls-cert", cert, "--tls-key", key)
            self.assertIn("chmod 600", done.err)
        os.chmod(key, 0o640)  # as the group ssl-cert reads it
        self.serve(certificate=(cert, key))

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def test_a_stop_lets_the_running_request_finish_and_ends_the_rest(self):
        server = self.serve()
        body = json.dumps({"protocol": 1, "hello": {"site": "AAECAwQFBgcICQoLDA0ODw=="}, "pull": {}}).encode()
        with self.secure(server) as idle, self.secure(server) as peer, socket.create_connection(("127.0.0.1", server.port)):
            idle.sendall(head("/health", "GET"))
            self.assertEqual(read_reply(idle).status, 200)
            peer.sendall(head(token=server.token("a"), Content_Type="application/json", Content_Length=len(body), Expect="100-continue"))
            self.assertEqual(peer.recv(64), b"HTTP/1.1 100 Continue\r\n\r\n")
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: "stopping" in [line["event"] for line in self.log(server)])
            peer.sendall(body)
            self.assertEqual(read_reply(peer).status, 200)
        self.assertEqual(server.process.wait(timeout=60), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
