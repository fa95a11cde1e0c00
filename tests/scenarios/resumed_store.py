"""A store for runs that are resumed: no failpoints, a recovery that writes, a second life. Its directory is synced too rarely."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from crashmatrix import Journal, SystemUnderTest


class Store(SystemUnderTest):
    contract = "latest"

    def workload(self, root: Path, journal: Journal) -> None:
        for number in range(8):
            self._store(root, journal, f"key{number % 3}", number)

    def resume(self, root: Path, journal: Journal) -> None:
        self._store(root, journal, "again", 1)

    def _store(self, root: Path, journal: Journal, key: str, value: int) -> None:
        with journal.attempt([key, value]):
            items = {**dict(self.recover(root)), key: value}
            with open(root / "store.new", "w") as file:
                json.dump(items, file)
                file.flush()
                os.fsync(file.fileno())
            (root / "store.new").rename(root / "store.json")

    def recover(self, root: Path) -> list[list[Any]]:
        (root / "opened").write_text("x")
        path = root / "store.json"
        return [[key, value] for key, value in json.loads(path.read_text()).items()] if path.exists() else []
