"""The demo's server with its embedded store: a SQLite file for each tenant."""

import os

from device import digest


class Store:
    """The same as postgres_store.Store, with less to do."""

    arguments = []  # of `rejoin serve`, besides its folder
    title = "Rejoin: two devices, offline edits, one server"
    equal = "both devices and the server have the same rows"
    name = "server"

    def __init__(self, folder):
        self.file = os.path.join(folder, "server", "tenants", "demo.db")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def prepare(self, tables):
        """Before the devices begin."""

    def written_by_others(self):
        """While the server runs and the devices are in step: what is shown besides. Returns what is wrong."""
        return []

    def where(self):
        return self.file

    def digest(self, tables):
        return digest(self.file, tables)

    def check(self):
        """Of the store itself, at the end."""
