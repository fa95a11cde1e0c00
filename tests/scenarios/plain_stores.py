"""Stores for `CrashStateMachine` without failpoints, each right, and wrong in one way."""

from __future__ import annotations

import json
import os
from pathlib import Path


class PlainRewriting:
    """Keys and values in one file, written anew each time: replaced by renaming, or in place (wrong)."""

    def __init__(self, root: Path, *, in_place: bool = False) -> None:
        self._path, self._in_place = root / "store.json", in_place
        self._found: dict[str, int] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def put(self, key: str, value: int) -> None:
        self._found[key] = value
        path = self._path if self._in_place else self._path.with_suffix(".new")
        path.write_text(json.dumps(self._found))
        path.replace(self._path)

    def items(self) -> list[tuple[str, int]]:
        return list(self._found.items())

    def die(self) -> None:
        os.abort()


class PlainSynced(PlainRewriting):
    """The same, durable before it returns."""

    def put(self, key: str, value: int) -> None:
        self._found[key] = value
        new = self._path.with_suffix(".new")
        with new.open("w") as file:
            json.dump(self._found, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


class PlainBoots(PlainSynced):
    """The same. It has no items, but the ids of the boots in which it was opened, in order."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        if boot not in self._found:
            self.put(boot, len(self._found))

    def boots(self) -> list[str]:
        return list(self._found)

    def items(self) -> list[tuple[str, int]]:
        return []


class PlainCompacting:
    """A log that recovery writes anew: into a new file, or in place (wrong)."""

    def __init__(self, root: Path, *, careless: bool = False) -> None:
        self._path = root / "log"
        self._found = [int(line) for line in self._path.read_text().split()] if self._path.exists() else []
        new = self._path if careless else root / "log.new"
        new.write_text("".join(f"{number}\n" for number in self._found))
        new.replace(self._path)

    def add(self, number: int) -> None:
        with self._path.open("a") as file:
            file.write(f"{number}\n")
        self._found.append(number)

    def items(self) -> list[int]:
        return self._found
