"""Stores that keep an absolute path in their folder, every step of it synced: right, wherever recovery is run."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crashmatrix import Journal, SystemUnderTest


class PathInAFile(SystemUnderTest):
    """The name of the newest version stands in a file, as an absolute path."""

    contract = "latest"

    def workload(self, root: Path, journal: Journal) -> None:
        folder = os.open(root, os.O_RDONLY)
        for i in range(2):
            with journal.attempt(["version", i]):
                self.write(root / f"v{i}", str(i))
                os.fsync(folder)
                self.point(root / "new", root / f"v{i}")
                (root / "new").rename(root / "current")
                os.fsync(folder)

    def write(self, path: Path, text: str) -> None:
        with path.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def point(self, path: Path, to: Path) -> None:
        self.write(path, str(to))

    def target(self, path: Path) -> Path:
        return Path(path.read_text())

    def recover(self, root: Path) -> Sequence[Any]:
        current = root / "current"
        return [["version", int(self.target(current).read_text())]] if os.path.lexists(current) else []


class AbsoluteLink(PathInAFile):
    """The newest version is what an absolute symbolic link points to."""

    def point(self, path: Path, to: Path) -> None:
        path.unlink(missing_ok=True)
        path.symlink_to(to)

    def target(self, path: Path) -> Path:
        return path.readlink()
