"""Looks of the first run of a campaign, in folders apart: once, without crash points, and every error counts."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import WriteAheadLog
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.apart.first_run import folder_apart, in_first_run, judged


def test_once(tmp_path: Path) -> None:
    """A second run with the same workspace does not look; another workspace is another campaign."""
    looked = list[str]()
    in_first_run(tmp_path, lambda: looked.append("a"), lambda: looked.append("b"))
    in_first_run(tmp_path, lambda: looked.append("again"))
    assert looked == ["a", "b"]
    (tmp_path / "other").mkdir()
    in_first_run(tmp_path / "other", lambda: looked.append("c"))
    assert looked == ["a", "b", "c"]


def test_later_runs_find_the_same(tmp_path: Path) -> None:
    """A broken promise that the first run found is found by each: else a replay would call it safe."""

    def broken() -> None:
        raise PromiseBroken("corrupt", "row 7 differs")

    for look in (broken, lambda: None, lambda: None):
        with pytest.raises(PromiseBroken) as found:
            in_first_run(tmp_path, look)
        assert (found.value.verdict, found.value.explanation) == (Verdict.CORRUPT, "row 7 differs")


def test_a_look_that_failed_is_made_again(tmp_path: Path) -> None:
    """A disk that failed says nothing of the engine."""
    looked = list[str]()

    def failing() -> None:
        raise OSError(errno.EIO, "the disk")

    with pytest.raises(OSError, match="the disk"):
        in_first_run(tmp_path, failing)
    in_first_run(tmp_path, lambda: looked.append("again"))
    assert looked == ["again"]


def test_a_folder_apart() -> None:
    """It is empty, and gone afterwards; neither crash points nor marks count in the block."""
    hits, before = list[str](), faults.entered()
    faults.observe(lambda point, _: hits.append(point.name))
    try:
        with folder_apart() as folder:
            assert not [*folder.iterdir()]
            WriteAheadLog(folder / "wal").close()
            WriteAheadLog(folder / "wal").close()
        assert (hits, faults.entered(), folder.exists()) == ([], before, False)
        with folder_apart() as folder:
            faults.observe(lambda point, _: hits.append(point.name))
            WriteAheadLog(folder / "wal").close()
    finally:
        faults.observe(None)
    assert hits


def test_every_error_is_judged() -> None:
    """But for those of a disk, and for a promise that is broken already."""
    with pytest.raises(PromiseBroken, match="cannot-open: looking raised ZeroDivisionError"), judged("looking"):
        raise ZeroDivisionError
    with pytest.raises(PromiseBroken, match="loses: a row"), judged("looking"):
        raise PromiseBroken("loses", "a row")
    with pytest.raises(OSError, match="full"), judged("looking"):
        raise OSError(errno.ENOSPC, "full")
