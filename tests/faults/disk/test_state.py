"""A crash state's name leads back to it, on its own trace only; torn writes lack whole sectors."""

import itertools

import pytest

from crashmatrix.faults.disk import CrashState, CrashStates, Data, Flush, InvalidState, Tear, Write
from crashmatrix.faults.disk.state import pending_at, pieces_of
from tests.faults.disk.support import random_trace, synthetic_trace


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (CrashState(5, 0, (), 3), "5-none"),
        (CrashState(5, 7, (), 3), "5-all"),
        (CrashState(5, 5, (), 3), "5-5"),
        (CrashState(5, 0xAB, (), 9), "5-ab"),
        (CrashState(5, 0, (), 0), "5-none"),
        (CrashState(5, 7, (Tear(1, 2, 3), Tear(2, 0, 1)), 3), "5-all-t1.2+3-t2.0+1"),
    ],
)
def test_a_state_in_words(state: CrashState, text: str) -> None:
    assert str(state) == text


@pytest.mark.parametrize("seed", range(3))
def test_a_name_read_back_is_the_same_state(seed: int) -> None:
    trace = random_trace(seed)
    for state in itertools.islice(CrashStates(trace), 200):
        assert CrashState.parse(str(state), trace) == state


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "5",
        "5-",
        "-5-all",
        "99999-all",
        "3-zz",
        "3-fffffffff",
        "3--1",
        "3-all-x",
        "3-all-t0.0+999",
        "3-none-t0.0+1",
    ],
)
def test_bad_ids_are_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(InvalidState, match="take an id that was printed for trace") as caught:
        CrashState.parse(text, random_trace(6))
    assert "literal" not in str(caught.value)  # Python's own words say nothing here.


def test_everything_that_was_written_is_whole() -> None:
    """Pending changes are those since the flush, in order."""
    writes = [Write(512 * number, b"%d" % number * 512) for number in range(3)]
    trace = synthetic_trace([writes[0], Flush(), *writes[1:]])
    assert pending_at(trace, 5) == writes[1:]
    assert CrashState.whole(trace, 5) == CrashState(5, 3, (), 2)
    assert CrashState.whole(trace, 3) == CrashState(3, 0, (), 0)


@pytest.mark.parametrize(
    ("change", "tears", "kept"),
    [
        (Write(512, b"abcd" * 512), [], [(512, 2048)]),
        (Write(512, b"abcd" * 512), [Tear(0, 0, 1)], [(1024, 1536)]),
        (Write(512, b"abcd" * 512), [Tear(0, 3, 1)], [(512, 1536)]),
        (Write(512, b"abcd" * 512), [Tear(0, 1, 2)], [(512, 512), (2048, 512)]),
        (Write(512, b"abcd" * 512), [Tear(0, 0, 4)], []),
        (Data(7, 100, b"d" * 1500), [Tear(0, 0, 1)], [(512, 1088)]),
        (Data(7, 100, b"d" * 1500), [Tear(0, 1, 2)], [(100, 412), (1536, 64)]),
        (Data(7, 100, b"d" * 1500), [Tear(0, 3, 1)], [(100, 1436)]),
        (Write(512, b"abcd" * 512), [Tear(0, 3, 1), Tear(0, 0, 2)], [(1536, 512)]),
        (Write(512, b"abcd" * 512), [Tear(0, 0, 3), Tear(0, 1, 1)], [(2048, 512)]),
        (Data(7, 100, b"d" * 1500), [Tear(0, 0, 1), Tear(0, 2, 1)], [(512, 512), (1536, 64)]),
        (Data(7, 100, b"d" * 10), [Tear(0, 0, 1)], []),
    ],
)
def test_what_is_there_of_a_torn_change(change: Write | Data, tears: list[Tear], kept: list[tuple[int, int]]) -> None:
    """The remains of a torn change have offsets and lengths in sectors of the disk or file, not of the write."""
    pieces = list(pieces_of(change, tears))
    assert [(offset, len(data)) for offset, data in pieces] == kept
    for offset, data in pieces:
        start = offset - change.offset
        assert data == change.data[start : start + len(data)]
