"""A trace survives being written and read, and nothing else passes for one."""

from pathlib import Path

import pytest

from crashmatrix.faults.disk import Failure, InvalidTrace, Note, Trace, Write
from crashmatrix.faults.disk.trace.operations import Operation, operation_from_row, operation_row
from tests.faults.disk.support import random_trace, synthetic_trace


def test_load_returns_what_was_saved(tmp_path: Path) -> None:
    operations: list[Operation] = [Failure("flush", 0, 0, 5), Note(b"\x00\xff"), Note(b""), Write(512, b"x" * 512)]
    for trace in [random_trace(1), synthetic_trace(operations), synthetic_trace([])]:
        trace.save(tmp_path / "a.trace")
        loaded = Trace.load(tmp_path / "a.trace")
        assert loaded == trace
        assert loaded.identity == trace.identity
    assert [path.name for path in tmp_path.iterdir()] == ["a.trace"]


def test_large_traces_are_split_into_batches(tmp_path: Path) -> None:
    trace = synthetic_trace([Write(0, bytes([i]) * (1 << 20)) for i in range(20)])
    trace.save(tmp_path / "a.trace")
    assert Trace.load(tmp_path / "a.trace") == trace
    assert (tmp_path / "a.trace").stat().st_size < 1 << 16


def test_damage_anywhere_is_refused(tmp_path: Path) -> None:
    """No byte of the stored operations can change unnoticed."""
    random_trace(2).save(tmp_path / "a.trace")
    whole = (tmp_path / "a.trace").read_bytes()
    good = Trace.load(tmp_path / "a.trace")
    damaged = tmp_path / "b.trace"
    for position in range(0, len(whole), 97):
        damaged.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            loaded = Trace.load(damaged)
        except InvalidTrace as error:
            assert "record anew" in str(error)
        else:  # Padding, or a field of the metadata that the identity does not cover.
            assert loaded.operations == good.operations
            assert loaded.base == good.base
    for length in range(0, len(whole), 211):
        damaged.write_bytes(whole[:length])
        with pytest.raises(InvalidTrace):
            Trace.load(damaged)


def test_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Trace.load(tmp_path / "absent")


def test_writes_that_are_no_sectors_are_refused() -> None:
    for offset, data in [(1, b"x" * 512), (0, b"x" * 511), (0, b"")]:
        with pytest.raises(ValueError, match="sectors"):
            operation_from_row(*operation_row(Write(offset, data)))


def test_notes_before_a_cut() -> None:
    trace = synthetic_trace([Note(b"a"), Write(0, bytes(512)), Note(b"b")])
    assert [trace.notes_before(cut) for cut in range(5)] == [(), (), (b"a",), (b"a",), (b"a", b"b")]
    assert (trace.start, trace.finish) == (1, 4)
