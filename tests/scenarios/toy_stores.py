"""Small stores for `CrashStateMachine`, each right, and wrong in one way. Apart from the tests: children need no Hypothesis."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from crashmatrix.faults import declare

ADDING = declare("toy_store.adding", "nothing is written yet")
TRUNCATED = declare("toy_store.truncated", "the old file is empty, the new content not written")
WRITTEN = declare("toy_store.written", "the new content is in the page cache")
RECOVERED = declare("toy_store.recovered", "the log is read back, and about to be begun anew")


class Rewriting:
    """Keys and values in one file, written anew each time: replaced by renaming, or in place (wrong)."""

    def __init__(self, root: Path, *, in_place: bool = False) -> None:
        self._path, self._in_place = root / "store.json", in_place
        self._found: dict[str, int] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def put(self, key: str, value: int) -> None:
        self._found[key] = value
        path = self._path if self._in_place else self._path.with_suffix(".new")
        with path.open("w") as file:
            TRUNCATED.hit()
            json.dump(self._found, file)
        WRITTEN.hit()
        path.replace(self._path)

    def items(self) -> list[tuple[str, int]]:
        return list(self._found.items())

    def get(self, key: str) -> int:
        return self._found[key]

    def die(self) -> None:
        os.abort()

    def hang(self) -> None:
        threading.Event().wait()


class Appending:
    """A line a number: synced, or not (wrong). A torn last line is cut off."""

    def __init__(self, root: Path, *, synced: bool = True) -> None:
        path, self._synced = root / "lines", synced
        found = path.read_bytes() if path.exists() else b""
        whole = found[: found.rfind(b"\n") + 1]
        self._items = [int(line) for line in whole.splitlines()]
        self._file = path.open("ab")
        self._file.truncate(len(whole))
        self._sync(root)

    def add(self, number: int) -> None:
        ADDING.hit()
        self._file.write(b"%d\n" % number)
        self._file.flush()
        WRITTEN.hit()
        if self._synced:
            os.fsync(self._file.fileno())
        self._items.append(number)

    def _sync(self, root: Path) -> None:
        if self._synced:
            os.fsync(self._file.fileno())
            folder = os.open(root, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

    def items(self) -> list[int]:
        return self._items


class Compacting:
    """A log that recovery writes anew: under another name first, or after it has emptied the old one (wrong)."""

    def __init__(self, root: Path, *, careless: bool = False) -> None:
        self._path = root / "log"
        self._items = [int(line) for line in self._path.read_text().split()] if self._path.exists() else []
        path = self._path if careless else root / "log.new"
        with path.open("w") as file:
            RECOVERED.hit()
            file.writelines(f"{item}\n" for item in self._items)
        path.replace(self._path)

    def add(self, number: int) -> None:
        with self._path.open("a") as file:
            file.write(f"{number}\n")
        WRITTEN.hit()
        self._items.append(number)

    def items(self) -> list[int]:
        return self._items
