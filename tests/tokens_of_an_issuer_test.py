"""Tokens that somebody else signs: `rejoin serve` with public keys from files and from an address, and the rules of what a token must say."""

import base64
import http.server
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "interop"))
from http_peer import base64url, call, claims, secret_of, signed, sync_json, wait_for  # noqa: E402
from support import FolderTest, Server, plain, rows  # noqa: E402

HELLO = {"protocol": 1, "hello": {"site": base64.b64encode(b"0123456789abcdef").decode()}, "pull": {}}
ISSUER = "https://login.example.com"


def openssl(*arguments, stdin=None):
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


def unsigned(claim, **header):
    return ".".join(base64url(json.dumps(part).encode()) for part in ({"typ": "JWT", **header}, claim))


class Key:
    """A key pair in files, made by openssl."""

    def __init__(self, folder, name, *how):
        self.private, self.public = os.path.join(folder, name + ".key"), os.path.join(folder, name + ".pem")
        openssl("genpkey", *how, "-out", self.private)
        openssl("pkey", "-in", self.private, "-pubout", "-out", self.public)
        self.alg = {"RSA": "RS256", "EC": "ES256", "ED25519": "EdDSA"}[how[1]]

    def sign(self, text):
        if self.alg == "EdDSA":
            path = self.private + ".message"
            with open(path, "wb") as file:
                file.write(text)
            return openssl("pkeyutl", "-sign", "-inkey", self.private, "-rawin", "-in", path)
        signature = openssl("dgst", "-sha256", "-sign", self.private, stdin=text)
        if self.alg == "RS256":
            return signature
        out, at = b"", 2  # SEQUENCE { INTEGER r, INTEGER s } of less than 128 bytes
        for _ in range(2):
            size = signature[at + 1]
            out += signature[at + 2:at + 2 + size].lstrip(b"\0").rjust(32, b"\0")
            at += 2 + size
        return out

    def token(self, claim, **header):
        text = unsigned(claim, alg=self.alg, **header)
        return text + "." + base64url(self.sign(text.encode()))

    def jwk(self, kid):
        der = openssl("pkey", "-pubin", "-in", self.public, "-outform", "DER")
        if self.alg == "EdDSA":
            return {"kty": "OKP", "crv": "Ed25519", "x": base64url(der[-32:]), "kid": kid, "use": "sig"}
        if self.alg == "ES256":
            return {"kty": "EC", "crv": "P-256", "x": base64url(der[-64:-32]), "y": base64url(der[-32:]), "kid": kid, "use": "sig", "alg": "ES256"}
        modulus = openssl("rsa", "-pubin", "-in", self.public, "-noout", "-modulus").decode().strip().split("=")[1]
        return {"kty": "RSA", "n": base64url(bytes.fromhex(modulus)), "e": "AQAB", "kid": kid, "use": "sig", "alg": "RS256"}


def rsa(folder, name="rsa", bits=2048):
    return Key(folder, name, "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}")


def p256(folder, name="p256"):
    return Key(folder, name, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


def ed25519(folder, name="ed25519"):
    return Key(folder, name, "-algorithm", "ED25519")


class Issuer:
    """A small web server that publishes a key set under any path."""

    def __init__(self, *jwks, tls=None):
        self.keys, self.status, self.asked = list(jwks), 200, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802
                outer.asked.append(self.path)
                body = json.dumps({"keys": outer.keys}).encode()
                self.send_response(outer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


class IssuerTest(FolderTest):
    def write(self, name, content):
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
        return path

    def status(self, server, token):
        return sync_json(server, HELLO, token).status

    def said(self, server, token):
        reply = sync_json(server, HELLO, token)
        self.assertEqual(reply.status, 401, reply)
        self.assertEqual(reply.headers["www-authenticate"], 'Bearer realm="rejoin"')
        return reply.json["error"]["message"]

    def log(self, server):
        with open(server.log_path, encoding="utf-8") as file:
            return file.read()


class KeyFileTest(IssuerTest):
    def test_devices_sync_with_tokens_of_public_keys(self):
        keys = [rsa(self.folder), p256(self.folder), ed25519(self.folder)]
        with Server(self.path("s"), *(word for key in keys for word in ("--jwt-key", key.public))) as server:
            a, b, c = (self.database(name) for name in ("a.db", "b.db", "c.db"))
            for path, key in zip((a, b, c), keys):
                name = os.path.basename(path)
                self.ok("sync", path, server.url, "--token", key.token(claims(device=name, schema=True)))
            db = plain(b)
            db.execute("INSERT INTO todos(id, title) VALUES('1', 'signed by another')")
            db.close()
            for path, key in ((b, keys[1]), (a, keys[0])):
                self.ok("sync", path, server.url, "--token", key.token(claims(device=os.path.basename(path))))
            self.assertEqual(rows(a), [("1", "signed by another", 0, None)])
            # No secret is made that nobody asked for, and none signs.
            self.assertFalse(os.path.exists(self.path("s", "secret")))
            self.assertIn("RS256, ES256, EdDSA", self.said(server, signed("x" * 64, claims())))
            for key in keys:
                with open(key.public, encoding="ascii") as file:
                    self.said(server, signed(file.read(), claims()))
                good = key.token(claims())
                self.assertEqual(self.status(server, good), 200)
                head, body, signature = good.split(".")
                self.said(server, ".".join((head, base64url(json.dumps(claims("rival")).encode()), signature)))
                self.said(server, unsigned(claims(), alg="none") + ".")
                for other in keys:
                    if other is not key:
                        text = unsigned(claims(), alg=other.alg)
                        self.said(server, text + "." + base64url(key.sign(text.encode())))
            self.said(server, rsa(self.folder, "stranger").token(claims()))

    def test_a_key_from_the_environment_and_a_secret_beside_it(self):
        key = ed25519(self.folder)
        os.environ["REJOIN_JWT_KEY"] = p256(self.folder).public + "," + key.public
        self.addCleanup(os.environ.pop, "REJOIN_JWT_KEY", None)
        with Server(self.path("s")) as server:
            self.assertEqual(self.status(server, key.token(claims())), 200)
            self.assertFalse(os.path.exists(self.path("s", "secret")))
        secret = self.write("secret", "0123456789abcdef" * 4)
        os.chmod(secret, 0o600)
        with Server(self.path("s"), "--secret-file", secret) as server:  # explicitly given, it is used too
            self.assertEqual(self.status(server, key.token(claims())), 200)
            self.assertEqual(self.status(server, signed("0123456789abcdef" * 4, claims())), 200)
        del os.environ["REJOIN_JWT_KEY"]
        with Server(self.path("s")) as server:
            self.said(server, key.token(claims()))
            self.assertEqual(self.status(server, signed(secret_of(server), claims())), 200)

    def test_keys_that_cannot_be_used_are_named_before_anything_starts(self):
        serve = ("serve", "--data", self.path("s"), "--listen", "127.0.0.1:0")
        good = p256(self.folder)
        for cure, arguments in (("1024 bits", ("--jwt-key", rsa(self.folder, "weak", 1024).public)), ("-pubout", ("--jwt-key", good.private)),
                                ("PEM", ("--jwt-key", self.write("empty", ""))), ("keys", ("--jwks", self.write("x.json", "{}"))),
                                ("two keys", ("--jwks", self.write("y.json", json.dumps({"keys": [good.jwk("k"), good.jwk("k")]})))),
                                ("https", ("--jwks-url", "http://login.example.com/keys")), ("https", ("--supabase-url", "http://x.supabase.co")),
                                ("--jwks-url", ("--jwks-url", "login.example.com")), ("dots", ("--jwt-key", good.public, "--tenant-claim", "a..b")),
                                ("app_metadata", ("--jwt-key", good.public, "--tenant-claim", "user_metadata.tenant"))):
            self.assertIn(cure, self.refused(2, *serve, *arguments).err)
        self.refused(6, *serve, "--jwt-key", self.path("nowhere"))
        self.refused(6, *serve, "--jwks", self.path("nowhere"))
        self.assertFalse(os.path.exists(self.path("s", "secret")))


class RuleTest(IssuerTest):
    def test_audience_issuer_and_claims(self):
        key = rsa(self.folder)
        keys = self.write("keys.json", json.dumps({"keys": [key.jwk("k1"), {"kty": "oct", "k": "AAAA", "kid": "k1"}]}))
        with Server(self.path("s"), "--jwks", keys, "--jwt-audience", "rejoin", "--jwt-issuer", ISSUER, "--tenant-claim", "app_metadata.tenant",
                    "--device-claim", "device_id") as server:
            def token(kid="k1", **changes):
                claim = {"app_metadata": {"tenant": "acme"}, "device_id": "d", "sub": "someone", "exp": claims()["exp"], "iss": ISSUER,
                         "aud": ["other", "rejoin"], **changes}
                return key.token({name: value for name, value in claim.items() if value is not None}, kid=kid)

            self.assertEqual(self.status(server, token()), 200)
            self.assertEqual(self.status(server, token(aud="rejoin")), 200)
            for why, wrong in (("(aud)", token(aud=None)), ("(aud)", token(aud="other")), ("(aud)", token(aud=[])), ("(iss)", token(iss=None)),
                               ("(iss)", token(iss=ISSUER + "/")), ("(exp)", token(exp=None)), ("expired", token(exp=1)), ("time", token(exp="1")),
                               ("(app_metadata.tenant)", token(app_metadata=None, tenant="acme")), ("(device_id)", token(device_id=None)),
                               ("(kid k2)", token("k2")), ("kid", token("../../etc/passwd")), ("kid", token(["k1"])), ("kid", token("k" * 300))):
                self.assertIn(why, self.said(server, wrong))
            server.stop()
            self.assertIn('"device":"d"', self.log(server))


class AddressTest(IssuerTest):
    def test_keys_come_from_an_address_and_stay_when_it_is_gone(self):
        key, other = p256(self.folder), rsa(self.folder)
        with Issuer(key.jwk("k1")) as issuer, Server(self.path("s"), "--jwks-url", issuer.url + "/keys.json", "--jwt-issuer", ISSUER) as server:
            self.assertEqual(issuer.asked, ["/keys.json"])
            self.assertIn("audience_not_checked", self.log(server))
            good = key.token(claims(iss=ISSUER), kid="k1")
            self.assertEqual(self.status(server, good), 200)
            self.assertEqual(call(server, "GET", "/ready").status, 200)
            self.said(server, other.token(claims(iss=ISSUER), kid="k2"))
            self.assertEqual(len(issuer.asked), 1)  # not so soon after the first
            issuer.__exit__()
            self.assertEqual(self.status(server, good), 200)
            self.assertEqual(server.stop(signal.SIGTERM)[0], 0)

    def test_it_starts_before_the_issuer_answers_and_says_so(self):
        key = p256(self.folder)
        with Issuer(key.jwk("k1")) as issuer:
            issuer.status = 503
            with Server(self.path("s"), "--jwks-url", issuer.url) as server:
                reply = sync_json(server, HELLO, key.token(claims(), kid="k1"))
                if reply.status != 200:  # a device comes again, and does not throw its token away
                    self.assertEqual((reply.status, reply.json["error"]["name"]), (503, "overloaded"), reply)
                    self.assertIn("retry-after", reply.headers)
                self.assertEqual(call(server, "GET", "/ready").status, 503)
                self.assertEqual(call(server, "GET", "/health").status, 200)
                issuer.status = 200
                wait_for(lambda: call(server, "GET", "/ready").status == 200)
                self.assertEqual(self.status(server, key.token(claims(), kid="k1")), 200)
                self.assertIn("jwks_failed", self.log(server))

    def test_https_with_an_authority_of_ones_own(self):
        key = ed25519(self.folder)
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.path("tls.key"), "-out", self.path("tls.crt"), "-days", "2", "-subj",
                "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
        with Issuer(key.jwk("k1"), tls=(self.path("tls.crt"), self.path("tls.key"))) as issuer:
            with Server(self.path("s"), "--jwks-url", issuer.url + "/keys") as server:  # a certificate of nobody that is known
                self.assertEqual(sync_json(server, HELLO, key.token(claims(), kid="k1")).status, 503)
                self.assertIn("certificate", self.log(server))
            self.assertEqual(issuer.asked, [])
            os.environ["SSL_CERT_FILE"] = self.path("tls.crt")
            self.addCleanup(os.environ.pop, "SSL_CERT_FILE", None)
            with Server(self.path("s"), "--jwks-url", issuer.url + "/keys") as server:
                self.assertEqual(self.status(server, key.token(claims(), kid="k1")), 200)

    def test_supabases_conventions(self):
        key = p256(self.folder)
        with Issuer(key.jwk("k1")) as issuer, Server(self.path("s"), "--supabase-url", issuer.url + "/") as server:
            self.assertEqual(issuer.asked, ["/auth/v1/.well-known/jwks.json"])

            def token(**changes):
                claim = {"iss": issuer.url + "/auth/v1", "aud": "authenticated", "role": "authenticated", "sub": "user-1", "session_id": "session-1",
                         "exp": claims()["exp"], "app_metadata": {"provider": "email", "tenant": "acme", "schema": True},
                         "user_metadata": {"tenant": "rival"}, **changes}
                return key.token(claim, kid="k1")

            path = self.database("a.db")
            self.ok("sync", path, server.url, "--token", token())  # `schema` of app_metadata lets it bring its table
            self.assertTrue(os.path.exists(self.path("s", "tenants", "acme.db")))
            for why, wrong in (("(app_metadata.tenant)", token(app_metadata={}, tenant="acme")), ("(aud)", token(aud="anon")),
                               ("(iss)", token(iss=issuer.url))):
                self.assertIn(why, self.said(server, wrong))
            self.assertEqual(self.status(server, token(app_metadata={"tenant": "acme"})), 200)
            server.stop()
            self.assertIn('"device":"session-1"', self.log(server))


if __name__ == "__main__":
    unittest.main(verbosity=2)
