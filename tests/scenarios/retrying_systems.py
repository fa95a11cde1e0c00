"""Small stores whose client sends a request again if it had no answer: each request has an id, which is the item."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from crashmatrix import Journal
from tests.scenarios.second_life_systems import LATER, GoesOnSynced
from tests.scenarios.toy_systems import AFTER_WRITE, BEFORE_WRITE, BETWEEN, ITEMS


class Retries(GoesOnSynced):
    """Right: a request whose item is there is answered, and not carried out again."""

    contract: ClassVar = {"name": "exactly-once", "retries": True}

    def request(self, root: Path, item: int) -> None:
        BEFORE_WRITE.hit()
        if item not in self.recover(root):
            self.put(root, item)
        AFTER_WRITE.hit()

    def workload(self, root: Path, journal: Journal) -> None:
        for item in range(ITEMS):
            with journal.attempt(item):
                self.request(root, item)

    def resume(self, root: Path, journal: Journal) -> None:
        """The client has forgotten which of its requests had an answer, and sends all of them."""
        for item in (*range(ITEMS), *LATER):
            with journal.attempt(item):
                self.request(root, item)


class RetriesTwice(Retries):
    """Wrong: it carries a request out again."""

    def request(self, root: Path, item: int) -> None:
        BEFORE_WRITE.hit()
        self.put(root, item)
        AFTER_WRITE.hit()


class DropsRetries(Retries):
    """Wrong: it notes a request before it carries it out. If a crash comes in between, it takes the retry for carried out."""

    def prepare(self, root: Path) -> None:
        super().prepare(root)
        (root / "known").touch()

    def request(self, root: Path, item: int) -> None:
        if item in self.known(root):
            return
        BEFORE_WRITE.hit()
        with (root / "known").open("a") as file:
            file.write(f"{item}\n")
            file.flush()
            os.fsync(file.fileno())
        BETWEEN.hit()
        self.put(root, item)
        AFTER_WRITE.hit()

    def known(self, root: Path) -> Sequence[Any]:
        return [int(line) for line in (root / "known").read_text().split("\n")[:-1]]
