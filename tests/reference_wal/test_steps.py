"""A step does what its name says, each time that it is taken, and names and contents are durable when a call returns.

A step without its call hits both its failpoints all the same, and no crash in the page cache shows what was left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from crashmatrix import faults
from tests.reference_wal.heard_calls import CALLS, Late, listen
from tests.reference_wal.sweep import TRIGGERS, Sweep, make_bases

STEPS = {
    point.name: CALLS[verb.partition("_")[0]]
    for point in faults.catalogue()
    if "/reference_wal/" in point.location
    for _, before, verb in [point.name.partition(".before_")]
    if before and verb.partition("_")[0] in CALLS
}

NEVER_SYNCED = ("spill/*/*.arrow", ".removed-*", "wal/.removed-*", "tables/*/_transfer.json.tmp", "options.json.tmp")
"""Names that may come back after a power cut: the next opening removes them, whatever they hold."""


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
    late = Late(monkeypatch)
    for root, sweep in operations(tmp_path):
        late.clear(root)
        sweep.strike()
        paths = [Path(folder, name) for folder, names in late.names.items() for name in names if Path(folder).is_dir()]
        names = [str(path.relative_to(root)) for path in paths if path.is_relative_to(root)]
        assert [name for name in names if not any(fnmatch(name, each) for each in NEVER_SYNCED)] == []


def test_all_contents_are_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is synced after the last byte was written to it, and before its name is moved into place, or is durable.

    So no power cut leaves a name with half of its file, whichever library wrote the file.
    """
    late = Late(monkeypatch)
    for root, sweep in operations(tmp_path):
        late.clear(root)
        sweep.strike()
        assert [path for path in late.contents.values() if path.exists() and path.is_relative_to(root)] == []
        assert [file for file in late.half if not any(map(file.match, NEVER_SYNCED))] == []
    assert late.moved == []


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
