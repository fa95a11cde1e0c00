"""A bare start of a server, and one on what a crash left, are two figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.scenarios.systems.server_times import note_start, times_in_words
from crashmatrix.scenarios.target.lives import Life


def test_medians(tmp_path: Path) -> None:
    """Starts in recovery are one figure, all others the bare start beside it."""
    for seconds in (0.1, 0.3, 0.2):
        note_start(Life("recover", tmp_path), seconds)
    note_start(Life("workload", tmp_path), 0.05)
    note_start(Life("recover", tmp_path, watched=True), 9.0)  # Most of this is our own doing.
    note_start(Life("recover", tmp_path, again=True), 0.07)
    expected = "server: ready 0.200 s after its start on what a crash left (median of 3; slowest 0.300 s); a bare start 0.060 s"
    assert times_in_words(str(tmp_path)) == expected


def test_no_server(tmp_path: Path) -> None:
    """A target without a server, or without a workspace, has no such line."""
    note_start(Life("recover", None), 1.0)
    assert times_in_words("") == times_in_words(str(tmp_path)) == ""


@pytest.mark.parametrize("content", [b"\xff\xfe", b"recovery x\nrecovery 1e9\nfirst nan\n", b""])
def test_a_file_that_a_target_wrote(content: bytes, tmp_path: Path) -> None:
    """The file lies where the target may write: other lines than ours do not count."""
    (tmp_path / "server-starts").write_bytes(content)
    assert times_in_words(str(tmp_path)) == ""


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link in the place of the file is neither read nor written through."""
    (tmp_path / "other").write_text("recovery 1.0\n")
    (tmp_path / "server-starts").symlink_to("other")
    note_start(Life("recover", tmp_path), 0.1)
    assert (tmp_path / "other").read_text() == "recovery 1.0\n"
    assert times_in_words(str(tmp_path)) == ""
