"""Options set while the engine runs: kept whole, believed only if they are what was written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import EngineOptions, InvalidInput, OptionsCorrupted, StorageEngine
from crashmatrix.reference_wal.settings import SETTABLE, Settings, check_changes
from tests.reference_wal.support import flipped

STEPS = ("write", "sync", "rename", "sync_folder")
POINTS = [f"options.file.{side}_{step}" for step in STEPS for side in ("before", "after")]

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"segment_bytes_max": 0}, "1 or more"),
    ({"segment_bytes_max": 1.5}, "whole number"),
    ({"generation_bytes_max": True}, "whole number"),
    ({"memory_bytes_max": -1}, "0 or more"),
    ({"checkpoint_commits": "3"}, "whole number"),
    ({"flush_seconds": 0}, "above 0"),
    ({"flush_seconds": float("nan")}, "above 0"),
    ({"flush_seconds": float("inf")}, "above 0"),
    ({"flush_seconds": True}, "above 0"),
    ({"idle_seconds": -1}, "above 0"),
    ({"compressed_bytes_max": 0.5}, "whole number"),
    ({"wal": 1}, "True or False"),
    ({"identity": "x"}, "no option 'identity'"),
    ({"memory_bytes_max": 1, "speed": 1}, "no option 'speed'"),
]
NEVER_SET: list[tuple[dict[str, Any], str]] = [
    ({"preallocate_bytes": -1}, "0 or more"),
    ({"identity": None}, "a text"),
    ({"clock": 0.0}, "a function"),
]
"""Options that only an opening can give."""
NEVER_POSSIBLE = [case for case in REFUSED if "no option" not in case[1]]
TAKEN: dict[str, Any] = {
    "segment_bytes_max": 1, "generation_bytes_max": 7, "memory_bytes_max": 0, "checkpoint_commits": 1, "flush_seconds": None,
    "wal": False, "compressed_bytes_max": 0, "idle_seconds": 9.5,
}  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), REFUSED)
def test_what_is_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    """An option that there is not, or a value that it cannot have, is refused, and nothing is set."""
    with StorageEngine.open(tmp_path) as engine:
        with pytest.raises(InvalidInput, match=said):
            engine.change_options(**changes)
        assert (engine.options_set, (tmp_path / "options.json").exists()) == ({}, False)


@pytest.mark.parametrize(("given", "said"), [*NEVER_POSSIBLE, *NEVER_SET])
def test_what_is_refused_on_opening(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    """The same values are refused on opening, with the same words; nothing is made in the folder."""
    root, ((name, value),) = tmp_path / "engine", given.items()
    with pytest.raises(InvalidInput, match=re.escape(f"option {name} cannot be {value!r}; ") + f".*{said}"):
        if name == "wal":
            StorageEngine.open(root, value)
        else:
            StorageEngine.open(root, options=EngineOptions(**given))
    assert not root.exists()


def test_they_outlast_reopening(tmp_path: Path) -> None:
    """An option that was set holds in later openings, whatever they are given; the last value counts; the rest is as given."""
    assert set(TAKEN) == set(SETTABLE)
    given = EngineOptions(segment_bytes_max=5, checkpoint_commits=9)
    with StorageEngine.open(tmp_path, options=given) as engine:
        engine.change_options(segment_bytes_max=70)
        engine.change_options(memory_bytes_max=8)
        engine.change_options(segment_bytes_max=60)
    with StorageEngine.open(tmp_path, options=given) as engine:
        found = engine.options
        assert (found.segment_bytes_max, found.memory_bytes_max, found.checkpoint_commits) == (60, 8, 9)
        engine.change_options(**TAKEN)
    with StorageEngine.open(tmp_path, options=EngineOptions(flush_seconds=3600)) as engine:
        assert engine.options_set == TAKEN
        assert engine.options.flush_seconds is None


@pytest.mark.parametrize("fault", ["panic", "raise(EIO)"])
@pytest.mark.parametrize("point", POINTS)
def test_a_change_cut_short(point: str, fault: str, tmp_path: Path) -> None:
    """Wherever a change stops, all of it is set after reopening, or nothing of it; and it can be made again."""
    with StorageEngine.open(tmp_path) as engine:
        engine.change_options(segment_bytes_max=5, memory_bytes_max=6)
        with faults.scenario(f"{point}={fault}"), pytest.raises((faults.Panic, OSError)):
            engine.change_options(segment_bytes_max=50, memory_bytes_max=60)
    new = POINTS.index(point) >= POINTS.index("options.file.after_rename")
    for _ in range(2):
        with StorageEngine.open(tmp_path) as engine:
            expected = (50, 60) if new else (5, 6)
            assert (engine.options.segment_bytes_max, engine.options.memory_bytes_max) == expected
            assert not (tmp_path / "options.json.tmp").exists()
    with StorageEngine.open(tmp_path) as engine:
        engine.change_options(segment_bytes_max=4)
        assert dict(engine.options_set) == {"segment_bytes_max": 4, "memory_bytes_max": expected[1]}


def test_every_damage_is_named(tmp_path: Path) -> None:
    """Each changed byte, each cut and each addition is an error that names the file; nothing is changed by the refusal."""
    Settings(tmp_path, {}).change({"segment_bytes_max": 5, "wal": False})
    path = tmp_path / "options.json"
    data = path.read_bytes()
    for damaged in [change for at in range(len(data)) for change in (flipped(data, at), data[:at])] + [data + b"\n"]:
        path.write_bytes(damaged)
        with pytest.raises(OptionsCorrupted, match="remove it to go on") as caught:
            Settings.read(tmp_path)
        assert (caught.value.path, path.read_bytes()) == (path, damaged)
    path.write_bytes(data)
    assert Settings.read(tmp_path).values == {"segment_bytes_max": 5, "wal": False}


def test_options_of_another_version(tmp_path: Path) -> None:
    """A file that was written whole, by a version with other options, is named."""
    Settings(tmp_path, {}).change({"speed": 5})
    with pytest.raises(OptionsCorrupted, match="not a file of this version"):
        StorageEngine.open(tmp_path)


def test_what_can_be_set() -> None:
    """Each option takes the least value that it can have."""
    check_changes(TAKEN)
