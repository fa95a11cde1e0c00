"""A pytest file that saves settings in two ways. The plugin comes with crashmatrix; there is nothing to import for it.

    pytest docs/examples/test_settings.py            # test_saved_beside passes; test_saved_in_place fails: cannot-open

A project's own tests have it on their path already; `crash_matrix` is a fixture like any other.
"""

import json
import os

from crashmatrix import SystemUnderTest


class Settings(SystemUnderTest):
    """Defined at the top of the file, since other processes import it. A replay makes it again, so its arguments are JSON."""

    contract = "latest"

    def __init__(self, in_place):
        self.in_place = in_place

    def workload(self, root, journal):
        for version in range(4):
            with journal.attempt(["version", version]):
                self.save(root, {"version": version})

    def save(self, root, settings):
        path = root / "settings.json"
        target = path if self.in_place else path.with_suffix(".new")
        with open(target, "w") as file:  # In place, this has emptied the only copy.
            json.dump(settings, file)
            file.flush()
            os.fsync(file.fileno())
        if not self.in_place:
            os.replace(target, path)
            folder = os.open(root, os.O_RDONLY)
            os.fsync(folder)  # Durable: the name. Before, a power cut may bring the old version back.
            os.close(folder)

    def recover(self, root):
        path = root / "settings.json"
        return list(json.loads(path.read_text()).items()) if path.exists() else []


def test_saved_beside(crash_matrix):
    crash_matrix(Settings(in_place=False), experiments=["kill"], budget=30).assert_safe()


def test_saved_in_place(crash_matrix):
    crash_matrix(Settings(in_place=True), experiments=["kill"], budget=30).assert_safe()
