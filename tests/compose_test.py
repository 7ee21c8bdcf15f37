"""deploy/compose.yaml without its containers: all that it names is there, and its commands, with its settings, secrets and health checks, make of PostgreSQL,
HAProxy and the server what its head promises. tests/slow/image_test.py makes the image."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import unittest

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "interop"))
from http_peer import wait_for  # noqa: E402
from support import REJOIN, ROOT, FolderTest, PrivatePostgres, plain, rows  # noqa: E402

DEPLOY = os.path.join(ROOT, "deploy")


def read(name):
    with open(os.path.join(DEPLOY, name), encoding="utf-8") as file:
        return file.read()


def of_image(instruction):
    """What follows it in the last stage of the Dockerfile."""
    text = read("Dockerfile").rsplit("\nFROM ", 1)[1].replace("\\\n", "")
    return re.findall(rf"^{instruction} (.*)$", text, re.M)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class ComposeTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.compose = yaml.safe_load(read("compose.yaml"))
        self.services = self.compose["services"]

    def secrets(self):
        """What the commands in the file's head make, in a copy of deploy/."""
        shutil.copytree(DEPLOY, self.path("deploy"), ignore=shutil.ignore_patterns("secrets"))
        lines = read("compose.yaml").split("\nname:")[0].splitlines()
        commands = [line[3:] for line in lines if line.startswith("#   ")]
        script, up = "\n".join(commands[:-1]), commands[-1]
        self.assertEqual(up.strip(), "docker compose -f deploy/compose.yaml up --build --detach")
        # Whatever the umask of whoever types them.
        subprocess.run(["bash", "-euc", script], cwd=self.folder, check=True, capture_output=True, umask=0o077)

    def test_all_that_it_names_is_there(self):
        self.secrets()
        named = {"secrets": set(), "networks": set(), "volumes": set()}
        for name, service in self.services.items():
            named["secrets"] |= set(service.get("secrets", ()))
            named["networks"] |= set(service.get("networks", ()))
            for source, target, *_ in (volume.split(":") for volume in service.get("volumes", ())):
                self.assertTrue(target.startswith("/"), name)
                if source.startswith("."):
                    self.assertTrue(os.path.isfile(self.path("deploy", source)), source)
                else:
                    named["volumes"].add(source)
            needs = service.get("depends_on", {})
            for other in needs:
                self.assertIn(other, self.services)
                if isinstance(needs, dict) and needs[other]["condition"] == "service_healthy":
                    self.assertIn("test", self.services[other]["healthcheck"])
            used = set(re.findall(r"/run/secrets/(\w+)", json.dumps(service)))
            if name == "postgres":
                used |= set(re.findall(r"/run/secrets/(\w+)", read("postgres-role.sh")))
            self.assertEqual(used, set(service.get("secrets", ())), name)
            if "build" in service:
                context = os.path.normpath(os.path.join(DEPLOY, service["build"]["context"]))
                self.assertTrue(os.path.samefile(os.path.join(context, service["build"]["dockerfile"]), os.path.join(DEPLOY, "Dockerfile")))
            else:
                self.assertIn(":", service["image"], "a version")
        for kind, names in named.items():
            self.assertEqual(names, set(self.compose[kind]), kind)
        for secret in self.compose["secrets"].values():
            # The programs in the containers are not root.
            self.assertEqual(os.stat(self.path("deploy", secret["file"])).st_mode & 0o444, 0o444, secret)
        (published,) = self.services["haproxy"]["ports"]
        self.assertIn(f"\n    bind :{published.split(':')[1]} ssl ", read("haproxy.cfg"))
        servers = dict(re.findall(r"^    server \w+ (\w+):(\d+)$", read("haproxy.cfg"), re.M))
        self.assertEqual(set(servers), set(self.services["haproxy"]["depends_on"]))
        self.assertEqual(set(servers.values()), set(of_image("EXPOSE")))
        (subnet,) = self.compose["networks"]["inside"]["ipam"]["config"]
        self.assertEqual(self.services["one"]["environment"]["REJOIN_TRUSTED_PROXY"], subnet["subnet"])

    def started(self, name, **changes):
        """A service's command with the image's environment and its own: what the container runs, at addresses of this test's."""
        service = self.services[name]
        words = [word.replace("$$", "$") for word in service["entrypoint"] + service["command"]]
        for inside, here in (("/run/secrets/", self.path("deploy", "secrets") + "/"), ("@postgres/", f"@127.0.0.1:{self.postgres_port}/")):
            words = [word.replace(inside, here) for word in words]
        image = dict(pair.split("=", 1) for line in of_image("ENV") for pair in line.split())
        environment = {**image, **service.get("environment", {}), **changes}
        self.assertFalse({"PATH"} & set(environment))
        with open(self.path(f"{name}.log"), "wb") as log:
            return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *words], env={"PATH": f"{os.path.dirname(REJOIN)}:/usr/bin:/bin", **environment},
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def told(self, name):
        with open(self.path(f"{name}.log"), encoding="utf-8") as log:
            return log.read()

    def healthy(self, command, **environment):
        return subprocess.run(command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0

    def postgres(self):
        """As the image makes it: a superuser with a password, a database, and the script."""
        with open(self.path("deploy", "secrets", "postgres"), encoding="ascii") as secret:
            password = secret.read().strip()
        self.postgres_port = free_port()
        store = PrivatePostgres(listen_addresses="127.0.0.1", port=str(self.postgres_port))
        os.environ["PGPORT"] = str(self.postgres_port)
        self.addCleanup(os.environ.pop, "PGPORT")
        store.__enter__()
        self.addCleanup(store.__exit__)
        with open(os.path.join(store.data, "pg_hba.conf"), "a", encoding="ascii") as rules:
            rules.write("host all all 127.0.0.1/32 scram-sha-256\n")
        store.psql(f"SELECT pg_reload_conf(); CREATE ROLE postgres SUPERUSER LOGIN PASSWORD '{password}'")
        database = self.services["postgres"]["environment"]["POSTGRES_DB"]
        store.psql(f"CREATE DATABASE {database} OWNER postgres")
        with open(self.path("role.sh"), "w", encoding="utf-8") as script:
            script.write(read("postgres-role.sh").replace("/run/secrets/", self.path("deploy", "secrets") + "/"))
        subprocess.run(["bash", "-eu", self.path("role.sh")], check=True, stdin=subprocess.DEVNULL, capture_output=True,
                       env={**os.environ, "POSTGRES_DB": database, "PGHOST": store.folder})
        self.assertTrue(self.healthy(self.services["postgres"]["healthcheck"]["test"][1:]))
        return f"postgres://postgres:{password}@127.0.0.1:{self.postgres_port}/{database}"

    def balanced(self, ports):
        """HAProxy with its configuration, TLS included; its port."""
        port, text = free_port(), read("haproxy.cfg")
        text = text.replace("bind :8443", f"bind 127.0.0.1:{port}").replace("/etc/haproxy/tls.pem", self.path("deploy", "secrets", "tls.pem"))
        text = text.replace("maxconn 24000", "maxconn 500")  # this machine may give fewer open files
        for name, to in ports.items():
            text = text.replace(f"server {name} {name}:8427", f"server {name} 127.0.0.1:{to}")
        with open(self.path("haproxy.cfg"), "w", encoding="utf-8") as file:
            file.write(text)
        with open(self.path("haproxy.log"), "wb") as log:
            process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", shutil.which("haproxy") or "/usr/sbin/haproxy", "-W", "-f", self.path("haproxy.cfg")],
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(process.wait, 30)
        self.addCleanup(process.terminate)
        return port

    def test_devices_sync_through_what_it_starts(self):
        self.secrets()
        owner = self.postgres()
        for _ in range(2):  # again it is a no-op
            prepare = self.started("prepare")
            self.assertEqual(prepare.wait(60), 0, self.told("prepare"))
        ports = {}
        for name in ("one", "two"):
            port_file = self.path(name + ".port")
            process = self.started(name, REJOIN_DATA=self.path(name), REJOIN_LISTEN="127.0.0.1:0", REJOIN_PORT_FILE=port_file)
            self.addCleanup(process.wait, 60)
            self.addCleanup(process.terminate)

            def listens():
                self.assertIsNone(process.poll(), self.told(name))
                if os.path.exists(port_file):
                    with open(port_file, encoding="ascii") as file:
                        return file.read().strip()

            ports[name] = wait_for(listens)
            check = json.loads(of_image("HEALTHCHECK")[0].split(" CMD ")[1])
            self.assertTrue(self.healthy([word.replace(":8427/", f":{ports[name]}/") for word in check]))
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", owner], check=True, text=True, capture_output=True, input="""
            CREATE TABLE todos(id text PRIMARY KEY, title text NOT NULL, done bigint DEFAULT 0, priority bigint);
            GRANT SELECT, INSERT, UPDATE, DELETE ON todos TO app_sync""")
        self.ok("pg", "track", "todos", "--tenant", "acme", "--postgres", owner)
        port = self.balanced(ports)
        url, authority = f"https://localhost:{port}", self.path("deploy", "secrets", "tls.crt")

        def asked(path):
            done = subprocess.run(["curl", "-sS", "--cacert", authority, "-o", os.devnull, "-w", "%{http_code}", url + path], capture_output=True, text=True, check=False)
            return done.stdout

        wait_for(lambda: asked("/health") == "200")
        self.assertEqual((asked("/metrics"), asked("/ready")), ("404", "404"))
        with open(self.path("deploy", "secrets", "rejoin"), encoding="ascii") as secret:
            key = secret.read().strip()
        for device, expected in (("a", ["a"]), ("b", ["a", "b"])):
            token = self.ok("token", "--tenant", "acme", "--device", device, env={"REJOIN_SECRET": key}).out.strip()
            path = self.database(device + ".db")
            db = plain(path)
            db.execute("INSERT INTO todos(id, title) VALUES(?, 'x')", (device,))
            db.close()
            self.ok("sync", path, url, "--token", token, "--ca-file", authority)
            self.assertEqual([row[0] for row in rows(path)], expected)


if __name__ == "__main__":
    unittest.main(verbosity=2)
