"""Results of runs without a bug, in a file, so that a mutation run in several parts makes each of them once.

An entry counts for the very same sources and tests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks.mutation.places import ROOT

__all__ = ["Baselines"]

T = TypeVar("T")

_FOLDERS = ("faults", "reference_wal", "reports", "scenarios", "tests")


class Baselines:
    """The file, by name of the run; thread-safe, and made by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._sources = _digest_of_sources()
        self._known = self._stored()

    def _stored(self) -> dict[str, msgspec.Raw]:
        try:
            sources, known = msgspec.json.decode(self._path.read_bytes(), type=tuple[str, dict[str, msgspec.Raw]])
        except (OSError, msgspec.DecodeError):
            return {}
        return known if sources == self._sources else {}

    def once(self, name: str, kind: type[T], make: Callable[[], T]) -> T:
        """Return what is known of a run; the first time, it is made."""
        with self._lock:
            if name in self._known:
                return msgspec.json.decode(self._known[name], type=kind)
            made = make()
            self._known = {**self._stored(), **self._known}  # Another run may have added some.
            self._known[name] = msgspec.Raw(msgspec.json.encode(made))
            self._path.write_bytes(msgspec.json.encode((self._sources, self._known)))
            return made


def _digest_of_sources() -> str:
    found = blake2b(digest_size=12)
    for path in sorted(path for folder in _FOLDERS for path in (ROOT / folder).rglob("*.py")):
        found.update(f"{path.relative_to(ROOT)} ".encode() + path.read_bytes())
    return found.hexdigest()
