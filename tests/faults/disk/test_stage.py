"""Common to all stages: planned faults as text, and notes of one line."""

import os
from pathlib import Path

import pytest

from crashmatrix.faults.disk import DiskFault, InvalidOption, Machine
from crashmatrix.faults.disk.nudges import Nudger


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (DiskFault(request="write", nth=1), "write 1 EIO once"),
        (DiskFault(request="flush", nth=3, error="ENOSPC", always=True), "flush 3 ENOSPC always"),
    ],
)
def test_a_fault_as_the_recorders_command(fault: DiskFault, text: str) -> None:
    assert str(fault) == text


@pytest.mark.parametrize(
    ("request_", "nth", "error"), [("trim", 1, "EIO"), ("write", 0, "EIO"), ("write", 1, "ENOSUCH")]
)
def test_impossible_faults_are_refused(request_: str, nth: int, error: str) -> None:
    with pytest.raises(InvalidOption, match="fail `write`, `flush` or `read`"):
        DiskFault(request=request_, nth=nth, error=error)


def test_a_note_is_one_line(tmp_path: Path) -> None:
    """A note with a line end is refused: it would be two notes."""
    descriptor = os.open(tmp_path / "notes", os.O_WRONLY | os.O_CREAT)
    nudger = Nudger("none", 0, tmp_path, tmp_path / "unrelated")
    machine = Machine(root=tmp_path, notes=tmp_path / "notes", nudger=nudger, descriptor=descriptor)
    machine.note(b"ack 1")
    with pytest.raises(InvalidOption, match="a note is one line"):
        machine.note(b"ack 2\nack 3")
    os.close(descriptor)
    assert (tmp_path / "notes").read_bytes() == b"ack 1\n"
