"""A step does what its name says, each time that it is taken, and names and contents are durable when a call returns.

A step without its call hits both its failpoints all the same, and no crash in the page cache shows what was left out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from crashmatrix import faults
from tests.reference_wal.support import opened_as
from tests.reference_wal.sweep import TRIGGERS, Sweep, make_bases

CALLS = {
    "delete": ("unlink", "rmdir"),
    "mkdir": ("mkdir",),
    "rename": ("rename", "replace"),
    "sync": ("fsync", "fdatasync"),
    "truncate": ("ftruncate",),
    "unlink": ("unlink",),
}
"""By the first word of a step's verb: the calls of which it makes one at least."""

STEPS = {
    point.name: CALLS[verb.partition("_")[0]]
    for point in faults.catalogue()
    if "/reference_wal/" in point.location
    for _, before, verb in [point.name.partition(".before_")]
    if before and verb.partition("_")[0] in CALLS
}

WRITES = ("write", "pwrite", "pwritev")

NEVER_SYNCED = ("spill/*/*.arrow", ".removed-*", "wal/.removed-*", "tables/*/_transfer.json.tmp")
"""Names that may come back after a power cut: the next opening removes them, whatever they hold."""

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


def operations(tmp_path: Path) -> Iterator[tuple[Path, Sweep]]:
    """Yield each operation of the engine and of its log, ready to be made, and its folder; together they take every step."""
    bases = make_bases(tmp_path / "bases")
    for number, trigger in enumerate(TRIGGERS):
        sweep = Sweep.begin(trigger, bases, tmp_path / f"{number}")
        yield tmp_path / f"{number}", sweep
        assert sweep.system is not None
        sweep.system.close()


def test_every_step_makes_its_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that syncs calls fsync, one that unlinks calls unlink."""
    noted, begun, taken = list[str](), dict[str, int](), set[str]()
    listen(monkeypatch, lambda name, *_: noted.append(name))

    def see(point: faults.FailPoint, _: int) -> None:
        if point.name in STEPS:
            begun[point.name] = len(noted)
        elif (before := point.name.replace(".after_", ".before_")) in STEPS:
            made = noted[begun[before] :]
            assert set(made) & set(STEPS[before]), f"{before} was followed by {made}"
            taken.add(before)

    for _, sweep in operations(tmp_path):
        faults.observe(see)
        try:
            sweep.strike()
        finally:
            faults.observe(None)
    assert taken == set(STEPS)


def test_every_name_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is synced after the last name in it was made, moved or removed, unless its name does not matter."""
    late = dict[str, set[str]]()

    def hear(call: str, given: tuple[Any, ...], options: dict[str, Any]) -> None:
        if call in ("fsync", "fdatasync"):
            late.pop(str(opened_as(given[0])), None)
        elif call not in ("ftruncate", *WRITES):
            folder = options.get("dir_fd")
            above = Path.cwd() if folder is None else opened_as(folder)
            for name in given[: 2 if call in ("rename", "replace") else 1]:
                path = above / os.fspath(name)
                late.setdefault(str(path.parent), set()).add(path.name)

    listen(monkeypatch, hear)
    for root, sweep in operations(tmp_path):
        late.clear()
        sweep.strike()
        paths = [Path(folder, name) for folder, names in late.items() for name in names if Path(folder).is_dir()]
        names = [str(path.relative_to(root)) for path in paths if path.is_relative_to(root)]
        assert [name for name in names if not any(fnmatch(name, each) for each in NEVER_SYNCED)] == []


def test_all_contents_are_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is synced after the last byte was written to it, and before its name is moved into place, or is durable.

    So no power cut leaves a name with half of its file, whichever library wrote the file.
    """
    late, moved, half = dict[tuple[int, int], Path](), list[str](), list[Path]()
    synced = dict[int, bytes]()
    """By inode: what was in a file when it was synced."""

    def hear(call: str, given: tuple[Any, ...], _: dict[str, Any]) -> None:
        if call in ("fsync", "fdatasync", "ftruncate", *WRITES):
            state, path = os.fstat(given[0]), opened_as(given[0])
            if stat.S_ISREG(state.st_mode):
                late[state.st_dev, state.st_ino] = path
                if "sync" in call:
                    del late[state.st_dev, state.st_ino]
                    synced[state.st_ino] = path.read_bytes()
            elif "sync" in call:
                half.extend(file for file in path.iterdir() if file.is_file() and not is_synced(file))
        elif call in ("rename", "replace"):
            state = os.lstat(given[1])
            moved.extend([str(given[1])] * ((state.st_dev, state.st_ino) in late))

    def is_synced(file: Path) -> bool:
        return synced.get(file.stat().st_ino) == file.read_bytes() or any(map(file.match, NEVER_SYNCED))

    listen(monkeypatch, hear)
    for root, sweep in operations(tmp_path):
        late.clear()
        half.clear()
        synced.clear()
        synced.update((path.stat().st_ino, path.read_bytes()) for path in root.rglob("*") if path.is_file())
        sweep.strike()
        assert [path for path in late.values() if path.exists() and path.is_relative_to(root)] == []
        assert half == []
    assert moved == []


def test_no_file_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each descriptor that a call opens is closed by the end of it, or when the engine or its log is closed."""
    files, opens, closes = dict[int, str](), os.open, os.close

    def opened(name: Any, *given: Any, **options: Any) -> int:
        descriptor = opens(name, *given, **options)
        files[descriptor] = str(name)
        return descriptor

    def closed(descriptor: int) -> None:
        files.pop(descriptor, None)
        closes(descriptor)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "close", closed)
    for _, sweep in operations(tmp_path):
        sweep.strike()
    assert files == {}
