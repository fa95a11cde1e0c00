"""The recorder's log: entries come back in order, and one that is cut off is noticed."""

import os
from collections.abc import Iterator

import pytest

from crashmatrix.faults.disk.linux.containment import anonymous_file, run_forked
from crashmatrix.faults.disk.trace.log import FAILED, FLUSH, NOTE, WRITE, Log, read_log

ENTRIES = [(WRITE, 512, b"x" * 1024, 0), (FLUSH, 0, b"", 0), (NOTE, 0, b"ack", 0), (FAILED, 1 << 40, b"write 512", 28)]


@pytest.fixture
def file() -> Iterator[int]:
    with anonymous_file("log") as descriptor:
        yield descriptor


def test_entries_come_back_in_order(file: int) -> None:
    """Entries come back in order, and an entry's data can be read at the place that `append` returned."""
    log = Log(file)
    places = [log.append(*entry) for entry in ENTRIES]
    assert list(read_log(memoryview(os.pread(file, 1 << 20, 0)))) == ENTRIES
    found = bytearray(1024)
    log.read_into(memoryview(found), places[0])
    assert found == b"x" * 1024


def test_an_entry_that_is_cut_off_is_noticed(file: int) -> None:
    """A log that is cut off at any byte within an entry is refused."""
    log = Log(file)
    ends = [0, *(log.append(*entry) + len(entry[2]) for entry in ENTRIES)]
    data = memoryview(os.pread(file, 1 << 20, 0))
    assert ends[-1] == len(data)
    for length in range(len(data)):
        if length in ends:
            assert list(read_log(data[:length])) == ENTRIES[: ends.index(length)]
        else:
            with pytest.raises(ValueError, match="ends inside an entry"):
                list(read_log(data[:length]))


def test_a_recorder_that_cannot_log_ends(capfd: pytest.CaptureFixture[str]) -> None:
    """A recorder that cannot log ends: a gap in the order would accuse correct systems."""
    full = os.open("/dev/full", os.O_WRONLY)
    assert run_forked(lambda: Log(full).append(FLUSH)) == 1
    os.close(full)
    assert "cannot write the log" in capfd.readouterr().err


def test_a_log_begins_anew(file: int) -> None:
    """Entries from before are gone, and the next one is at the start."""
    log = Log(file)
    places = [log.append(*entry) for entry in ENTRIES]
    log.clear()
    assert log.entries == 0
    assert [log.append(*entry) for entry in ENTRIES[:2]] == places[:2]
    assert list(read_log(memoryview(os.pread(file, 1 << 20, 0)))) == ENTRIES[:2]
