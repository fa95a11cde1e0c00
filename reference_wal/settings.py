"""Options set while the engine runs: kept in one small file of its folder, so that they outlast reopening.

    root/options.json           ``{"memory_bytes_max": 1000, "wal": false}``, and a line with the checksum of the first

The file holds what was set and nothing else; every other option is what `StorageEngine.open` is given. A folder in which nothing
was ever set has no file.

Change, write order: 1. the values are checked; 2. the file is replaced (`atomic_file`)  ── promise: they outlast reopening ──
3. the engine goes by them.

    | found at start             | left by                                             | done                                |
    |----------------------------|-----------------------------------------------------|-------------------------------------|
    | no file                    | an engine in which nothing was set                  | the options given                   |
    | a file that fits           | any crash: it is whole before it has its name       | its content and its name are synced |
    |                            |                                                     | before it is believed               |
    | a file that does not fit   | damage                                              | OptionsCorrupted, naming it         |
    | ``options.json.tmp``       | a change cut short, never acknowledged              | removed, once no table is refused   |

No row depends on an option: each table says itself whether it has a log. So a file that somebody removes costs nothing but
the options.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from crashmatrix.faults import mark
from crashmatrix.reference_wal.atomic_file import atomic_file, checked, content_of
from crashmatrix.reference_wal.durable_io import settle, step, sync_directory
from crashmatrix.reference_wal.errors import InvalidInput, OptionsCorrupted
from crashmatrix.reference_wal.option_values import check_values
from crashmatrix.reference_wal.options import EngineOptions

__all__ = ["SETTABLE", "Settings", "check_changes"]

FILE = atomic_file("options.file", "the new options")
SETTLE = step("recovery.options.sync", "options perhaps in the page cache only", "the options are durable")
UNLINK = step("recovery.options.unlink", "options of a change never acknowledged", "gone, not yet durably")

KEPT = mark("rows.options.kept", "options set by an earlier opening, believed once synced")
ABANDONED = mark("rows.options.abandoned", "a change of options cut short, removed")

_NAME, _TEMPORARY, _KIND = "options.json", "options.json.tmp", "options"

SETTABLE = (
    "segment_bytes_max", "generation_bytes_max", "memory_bytes_max", "compressed_bytes_max", "checkpoint_commits",
    "flush_seconds", "idle_seconds", "wal",
)  # fmt: skip
"""The options that can be set while the engine runs; ``wal``: whether tables made from now on have a log."""


class Settings:
    """The options set in the engine's folder ``root``, by whichever opening. Its owner serialises calls."""

    def __init__(self, root: Path, values: Mapping[str, Any]) -> None:
        self._root = root
        self.values = MappingProxyType(dict(values))

    @classmethod
    def read(cls, root: Path) -> Settings:
        """Read the folder's file, durable from now on. Raises OptionsCorrupted, OSError."""
        return cls(root, _settled(root / _NAME))

    def remove_unfinished(self) -> None:
        """Remove what is left of a change cut short. Raises OSError."""
        path = self._root / _TEMPORARY
        if path.exists():
            ABANDONED.enter()
            with UNLINK:  # No sync: a file of this name that comes back is removed again.
                path.unlink()

    def change(self, changes: Mapping[str, Any]) -> None:
        """Set these; durable on return. Raises OSError: they are set in the folder, or they are not."""
        values = {**self.values, **changes}
        content = json.dumps(values, sort_keys=True).encode()
        FILE.put(self._root / _NAME, checked(content, _KIND), temporary=_TEMPORARY)
        self.values = MappingProxyType(values)

    def over(self, given: EngineOptions) -> EngineOptions:
        """Return the options in force, where these were given on opening."""
        known = {field.name for field in fields(given)}
        return replace(given, **{name: value for name, value in self.values.items() if name in known})

    def wal(self, given: bool) -> bool:
        """Return whether new tables have a log, where this was given on opening."""
        return bool(self.values.get("wal", given))


def check_changes(changes: Mapping[str, object]) -> None:
    """Raise InvalidInput unless these options can be set to these values while the engine runs."""
    for name, value in changes.items():
        if name not in SETTABLE:
            raise InvalidInput(f"no option {name!r} to set while the engine runs; there are {', '.join(SETTABLE)}")
        check_values({name: value})


def _settled(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    KEPT.enter()
    with SETTLE:  # A process killed within a change may have left name or content in the page cache only.
        settle(path)
        sync_directory(path.parent)
    return _values_in(path)


def _values_in(path: Path) -> dict[str, Any]:
    content = content_of(path.read_bytes(), _KIND)
    if content is None:
        raise OptionsCorrupted(path, "does not fit its checksum: it was changed or cut")
    values: dict[str, Any] = json.loads(content)
    try:
        check_changes(values)
    except InvalidInput as error:
        raise OptionsCorrupted(path, f"is not a file of this version ({error})") from error
    return values
