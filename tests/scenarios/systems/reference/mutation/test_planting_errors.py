"""The planted handling of errors is wrong in the way that it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crashmatrix.scenarios.systems.reference.mutation import planting_errors


def test_a_failed_sync_is_made_once_more() -> None:
    """The first error is forgotten; a second one is not."""
    calls: list[int] = []

    def sync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) in (1, 3, 4):
            raise OSError

    again = planting_errors.once_more(sync)
    again(7)
    assert calls == [7, 7]
    with pytest.raises(OSError):
        again(7)


def test_a_write_is_taken_for_whole(tmp_path: Path) -> None:
    """One write is made, whatever it returns."""
    fd = os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY)
    planting_errors.whatever_was_written(None)(fd, [b"ab", b"c"], 0)
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == b"abc"


class Segment:
    """As much of an active segment as the planted steps touch."""

    def __init__(self, path: Path) -> None:
        self.path, self.end_bytes = path, 10


def _full(*_: object, **__: object) -> float:
    raise OSError("full")


def test_an_error_is_swallowed(tmp_path: Path) -> None:
    """Records that could not be written count as written."""
    segment = Segment(tmp_path / "segment")
    assert planting_errors.swallowed(_full)(segment, [b"abc"]) == 0.0
    assert segment.end_bytes == 13
    assert planting_errors.commit_swallowed(_full)(None) is None


def test_an_error_removes_the_segment(tmp_path: Path) -> None:
    """The error goes on, and the file is gone."""
    segment = Segment(tmp_path / "segment")
    segment.path.touch()
    with pytest.raises(OSError, match="full"):
        planting_errors.removed(_full)(segment, [b"abc"])
    assert not segment.path.exists()
