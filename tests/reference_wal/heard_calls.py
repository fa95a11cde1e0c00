"""Calls of the module `os`, heard as they are made: which names and which bytes would a power cut still take?"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.reference_wal.support import opened_as

__all__ = ["CALLS", "Late", "listen"]

CALLS = {
    "delete": ("unlink", "rmdir"),
    "mkdir": ("mkdir",),
    "rename": ("rename", "replace"),
    "sync": ("fsync", "fdatasync"),
    "truncate": ("ftruncate",),
    "unlink": ("unlink",),
}
"""By the first word of a step's verb: the calls of which it makes one at least."""

WRITES = ("write", "pwrite", "pwritev")

Heard = Callable[[str, tuple[Any, ...], dict[str, Any]], None]


def listen(monkeypatch: pytest.MonkeyPatch, heard: Heard) -> None:
    """Have calls of the module ``os`` reported, once they are made, with what they were given."""
    for name in {"open", *WRITES, *(name for calls in CALLS.values() for name in calls)}:
        call = getattr(os, name)

        def made(*given: Any, _name: str = name, _call: Callable[..., Any] = call, **options: Any) -> Any:
            was_there = _name != "open" or os.path.lexists(given[0])
            returned = _call(*given, **options)
            if _name != "open":
                heard(_name, given, options)
            elif not was_there:
                heard("create", given, options)
            return returned

        monkeypatch.setattr(os, name, made)


class Late:
    """The names and the contents that are not durable.

    Attributes:
        names: by folder, the names that were made, moved or removed since it was synced last.
        contents: the files that were written to or cut since they were synced last, by device and inode.
        moved: the names that a file got while its contents were not durable.
        half: the files that were not durable, by whichever library, when their folder was synced and so their name was.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, set[str]] = {}
        self.contents: dict[tuple[int, int], Path] = {}
        self.moved: list[str] = []
        self.half: list[Path] = []
        self._durable: dict[int, bytes] = {}
        """The contents of each file when it was synced last, by its inode."""
        listen(monkeypatch, self._hear)

    def clear(self, root: Path) -> None:
        """Forget all but what was moved: whatever is in this folder by now is durable."""
        self.names.clear()
        self.contents.clear()
        self.half.clear()
        self._durable = {path.stat().st_ino: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def _hear(self, call: str, given: tuple[Any, ...], options: dict[str, Any]) -> None:
        if call in ("fsync", "fdatasync", "ftruncate", *WRITES):
            self._touched(given[0], synced="sync" in call)
            return
        folder = options.get("dir_fd")
        above = Path.cwd() if folder is None else opened_as(folder)
        for name in given[: 2 if call in ("rename", "replace") else 1]:
            path = above / os.fspath(name)
            self.names.setdefault(str(path.parent), set()).add(path.name)
        if call in ("rename", "replace"):
            state = os.lstat(given[1])
            self.moved.extend([str(given[1])] * ((state.st_dev, state.st_ino) in self.contents))

    def _touched(self, descriptor: int, *, synced: bool) -> None:
        state, path = os.fstat(descriptor), opened_as(descriptor)
        if not stat.S_ISREG(state.st_mode):
            self.names.pop(str(path), None)
            self.half.extend(file for file in path.iterdir() if file.is_file() and not self._is_durable(file))
        elif synced:
            self.contents.pop((state.st_dev, state.st_ino), None)
            self._durable[state.st_ino] = path.read_bytes()
        else:
            self.contents[state.st_dev, state.st_ino] = path

    def _is_durable(self, file: Path) -> bool:
        return self._durable.get(file.stat().st_ino) == file.read_bytes()
