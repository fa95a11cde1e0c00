"""A step does what its name says, each time that it is taken: one that syncs calls fsync, one that unlinks calls unlink.

A step without its call hits both its failpoints all the same, and no crash in the page cache shows what was left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from crashmatrix import faults
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


def noting(name: str, noted: list[str]) -> Callable[..., object]:
    call = getattr(os, name)

    def noted_call(*arguments: object, **options: object) -> object:
        noted.append(name)
        return call(*arguments, **options)

    return noted_call


def test_every_step_makes_its_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every operation is made once, so that every step is taken."""
    noted, begun, taken = list[str](), dict[str, int](), set[str]()
    for name in {name for calls in CALLS.values() for name in calls}:
        monkeypatch.setattr(os, name, noting(name, noted))

    def see(point: faults.FailPoint, _: int) -> None:
        if point.name in STEPS:
            begun[point.name] = len(noted)
        elif (before := point.name.replace(".after_", ".before_")) in STEPS:
            made = noted[begun[before] :]
            assert set(made) & set(STEPS[before]), f"{before} was followed by {made}"
            taken.add(before)

    bases = make_bases(tmp_path)
    for number, trigger in enumerate(TRIGGERS):
        sweep = Sweep.begin(trigger, bases, tmp_path / f"{number}")
        faults.observe(see)
        try:
            sweep.strike()
        finally:
            faults.observe(None)
        assert sweep.system is not None
        sweep.system.close()
    assert taken == set(STEPS)
