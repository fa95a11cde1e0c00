"""A trace survives being written and read, and nothing else passes for one."""

from dataclasses import replace
from pathlib import Path

import pytest

from crashmatrix.faults.disk import Failure, InvalidTrace, Note, Operation, Write, load_trace, save_trace
from tests.faults.disk.support import random_trace, synthetic_trace


def test_load_returns_what_was_saved(tmp_path: Path) -> None:
    operations: list[Operation] = [Failure("flush", 0, 0, 5), Note(b"\x00\xff"), Note(b""), Write(512, b"x" * 512)]
    for trace in [random_trace(1), synthetic_trace(operations), synthetic_trace([])]:
        save_trace(trace, tmp_path / "a.trace")
        loaded = load_trace(tmp_path / "a.trace")
        assert loaded == trace
        assert loaded.identity == trace.identity
    assert [path.name for path in tmp_path.iterdir()] == ["a.trace"]


def test_the_clock_is_kept(tmp_path: Path) -> None:
    """Times are not what happened, so they change no identity. A trace made before there was a clock has none."""
    plain = synthetic_trace([Note(b"")])
    timed = replace(plain, clock=((0, 10**18), (2, 10**18 + 1)))
    assert timed.identity == plain.identity
    for trace in (plain, timed):
        save_trace(trace, tmp_path / "a.trace")
        assert load_trace(tmp_path / "a.trace") == trace
    assert [timed.time_at(position) for position in range(4)] == [10**18 + later for later in (0, 1, 1, 2)]
    assert plain.time_at(3) == 0


def test_large_traces_are_split_into_batches(tmp_path: Path) -> None:
    trace = synthetic_trace([Write(0, bytes([i]) * (1 << 20)) for i in range(20)])
    save_trace(trace, tmp_path / "a.trace")
    assert load_trace(tmp_path / "a.trace") == trace
    assert (tmp_path / "a.trace").stat().st_size < 1 << 17


def test_damage_anywhere_is_refused(tmp_path: Path) -> None:
    """No byte of a stored trace can change, vanish or be added unnoticed, not even in its header."""
    trace = synthetic_trace([Failure("flush", 0, 0, 5), Note(b"ack 1"), Write(512, b"x" * 512)])
    save_trace(trace, tmp_path / "a.trace")
    whole = (tmp_path / "a.trace").read_bytes()
    damaged = tmp_path / "b.trace"
    changed = [
        whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :] for at in range(len(whole)) for bits in (1, 0xFF)
    ]
    cut = [whole[:length] for length in range(len(whole))]
    for data in [*changed, *cut, whole + b"\0", whole + whole]:
        damaged.write_bytes(data)
        with pytest.raises(InvalidTrace, match="record anew"):
            load_trace(damaged)


def test_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_trace(tmp_path / "absent")
