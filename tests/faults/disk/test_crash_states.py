"""Crash states: those that are enumerated, their order, and their count. Needs no disk."""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest
from hypothesis import example, given, settings, strategies as st

from crashmatrix.faults.disk import (
    CrashState,
    CrashStates,
    Data,
    Flush,
    InvalidOption,
    Mark,
    Names,
    Node,
    Note,
    Operation,
    Size,
    StateOptions,
    Sync,
    Tear,
    Trace,
    Write,
)
from crashmatrix.faults.disk.posix.tree import Trees
from crashmatrix.faults.disk.state import pending_at
from crashmatrix.faults.disk.trace.operations import ROOT, sectors_of
from tests.faults.disk.block.support import image_of
from tests.faults.disk.posix.support import FILE, A, B, name
from tests.faults.disk.support import random_trace, synthetic_trace
from tests.kept import kept

ALL = StateOptions(exhaustive_max=1 << 20)


def every_state(trace: Trace) -> Iterator[CrashState]:
    """Brute force: at each position, each subset of the pending changes, torn in each way."""
    for cut in range(trace.start, trace.finish + 1):
        ways = [list(ways_of(index, change)) for index, change in enumerate(pending_at(trace, cut))]
        for chosen in itertools.product(*ways):
            kept = sum(1 << index for index, way in enumerate(chosen) if way is not None)
            yield CrashState(cut, kept, tuple(tear for way in chosen for tear in way or ()), len(chosen))


def ways_of(index: int, change: object) -> Iterator[Sequence[Tear] | None]:
    """Not there; or there, with each set of its sectors missing, but not all of them."""
    assert isinstance(change, Write | Data | Size | Names)
    yield None
    sectors = range(sectors_of(change))
    for count in range(max(1, len(sectors))):
        for missing in itertools.combinations(sectors, count):
            yield [Tear(index, sector, 1) for sector in missing]


def cases(
    trace: Trace, states: Iterator[CrashState] | CrashStates, image: Callable[[CrashState], object]
) -> list[tuple[object, int]]:
    return [(image(state), len(trace.notes_before(state.cut))) for state in states]


WRITES = st.builds(
    lambda sector, content: Write(512 * sector, b"".join(bytes([byte]) * 512 for byte in content)),
    st.integers(6, 10),
    st.lists(st.sampled_from(b"\0bx"), min_size=1, max_size=3),  # The base has zeros, then letters b.
)
DISK = st.lists(st.one_of(WRITES, WRITES, st.just(Flush()), st.just(Note(b"ack"))), max_size=6)


@settings(max_examples=60, deadline=None)
@given(DISK)
@example([Write(3072, b"x" * 512), Write(3072, bytes(512))])
def test_every_image_of_a_small_trace_is_given_once(operations: list[Operation]) -> None:
    """The images, with the promises before them, are exactly those of brute force, and each comes once."""
    if sum(sectors_of(each) for each in operations if isinstance(each, Write)) > 9:
        return
    trace = synthetic_trace(operations, size_bytes=16384)
    states = CrashStates(trace, ALL)
    found = cases(trace, states, lambda state: image_of(trace, state))
    assert states.coverage.exhaustive
    assert set(found) == set(cases(trace, every_state(trace), lambda state: image_of(trace, state)))
    assert len(set(found)) == len(found)


DATA = st.builds(
    lambda inode, offset, content: Data(inode, offset, b"".join(bytes([byte]) * 256 for byte in content)),
    st.sampled_from([A, B]),
    st.sampled_from([0, 256, 512]),
    st.lists(st.sampled_from(b"\0x"), min_size=1, max_size=4),
)
TREE = st.lists(
    st.one_of(
        DATA,
        DATA,
        st.builds(Size, st.sampled_from([A, B]), st.sampled_from([300, 1600])),
        st.builds(Sync, st.sampled_from([A, B, ROOT])),
        st.builds(name, st.just(ROOT), st.sampled_from([b"a", b"c"]), st.sampled_from([0, A, B])),
        st.just(Note(b"ack")),
    ),
    max_size=5,
)


@pytest.mark.lengthy
@settings(max_examples=60, deadline=None)
@given(TREE)
@example([Data(A, 0, b"y" * 512), Data(A, 0, b"x" * 700)])
@example([Size(A, 300), Size(A, 1600), Data(A, 256, b"x" * 300)])
def test_every_tree_of_a_small_trace_is_given_once(operations: list[Operation]) -> None:
    """On `posix`, too: each tree of brute force, with the order of its files' times, comes once after the same promises."""
    prepared: list[Operation] = [Node(A, FILE), Node(B, FILE), name(ROOT, b"a", A), name(ROOT, b"b", B)]
    prepared += [Size(A, 1600), Size(B, 1600), Data(A, 0, b"x" * 700)]
    listed: tuple[Operation, ...] = (*prepared, Mark("start"), *operations, Mark("finish"))
    clock = tuple((position, 1000 + position) for position in range(len(listed)))
    trace = Trace(filesystem="posix", size_bytes=0, base=(), operations=listed, clock=clock)
    trees = Trees(trace)
    states = CrashStates(trace, ALL)
    found = cases(trace, states, lambda state: trees.of(state).digest)
    assert states.coverage.exhaustive
    assert set(found) == set(cases(trace, every_state(trace), lambda state: trees.of(state).digest))
    assert len(set(found)) == len(found)


def test_enumeration_is_deterministic_and_restarts() -> None:
    trace = random_trace(3)
    states = CrashStates(trace, StateOptions(seed=5))
    first = list(states)
    assert list(states) == first == list(CrashStates(trace, StateOptions(seed=5)))
    assert first != list(CrashStates(trace, StateOptions(seed=6)))


@pytest.mark.lengthy
def test_every_state_can_be_parsed_again() -> None:
    trace = random_trace(8)
    assert all(CrashState.parse(str(state), trace) == state for state in CrashStates(trace))


def test_every_subset_of_a_small_epoch_is_found_and_none_twice() -> None:
    """Three pending writes have eight subsets: all are given, each once."""
    trace = synthetic_trace([Write(512 * i, b"%d" % i * 512) for i in range(3)])
    images = [image_of(trace, state) for state in CrashStates(trace)]
    assert len(images) == len(set(images)) == 8


def test_a_block_overwritten_in_place_has_as_many_outcomes_as_its_changed_sectors_have_subsets() -> None:
    """Three sectors of 256 KiB differ: eight images in all, and the torn ones come first."""
    before, after = bytearray(b"o" * (1 << 18)), bytearray(b"o" * (1 << 18))
    for sector in (0, 9, 10):
        after[512 * sector] = 0
    trace = synthetic_trace(
        [Write(0, bytes(before)), Flush(), Note(b"begun"), Write(0, bytes(after)), Note(b"done"), Flush()]
    )
    states = CrashStates(trace, StateOptions(first_cut=4))
    found = list(states)
    assert len({image_of(trace, state) for state in found}) == 8
    assert states.coverage.exhaustive
    assert any(state.tears for state in found[:5])


@pytest.mark.lengthy
def test_small_budgets_see_every_kind_of_state_and_soon_every_cut() -> None:
    """The states `all` and `none` come early for every cut; torn writes come among them."""
    trace = random_trace(4, length=120)
    states = CrashStates(trace)
    order = list(states)
    seen = {states.digests.of(state) for state in order[: 8 * len(states.cuts)]}
    for choices in states.choices:
        assert {states.digests.of(choices.state(bits)) for bits in (0, choices.every)} <= seen
    few = order[:40]
    assert sum(not state.tears for state in few) >= 10
    assert sum(bool(state.tears) for state in few) >= 3


def test_nothing_outside_the_marks_is_cut() -> None:
    trace = random_trace(5)
    later = Trace(
        filesystem="ext4",
        size_bytes=trace.size_bytes,
        base=trace.base,
        operations=(*trace.operations, Write(0, b"l" * 512), Flush(), Write(512, b"l" * 512)),
    )
    assert [str(s) for s in CrashStates(later)] == [str(s) for s in CrashStates(trace)]
    assert CrashStates(later).clean.cut == len(later.operations)


def test_an_image_is_given_again_when_more_was_promised() -> None:
    """An image is given again once another promise was made, and not for other notes."""
    trace = synthetic_trace([Write(0, b"x" * 512), Note(b"a"), Note(b"b")])
    assert [(s.cut, s.kept) for s in sorted(CrashStates(trace), key=str)] == [
        *[(1, 0), (2, 1), (3, 1), (3, 0), (4, 1), (4, 0)],
    ]
    only_a = CrashStates(trace, is_promise=lambda note: note == b"a")
    assert sorted({s.cut for s in only_a}) == [1, 2, 3]


def test_tears_respect_what_the_disk_writes_whole() -> None:
    trace = synthetic_trace([Write(0, bytes(range(1, 256)) * 64 + bytes(64))], filesystem="btrfs")
    tears = [tear for state in CrashStates(trace) for tear in state.tears]
    assert tears
    assert all(tear.first % 8 == 0 and tear.count % 8 == 0 for tear in tears)
    fine = [t for s in CrashStates(trace, StateOptions(atomic_bytes=512)) for t in s.tears]
    assert any(tear.first % 8 or tear.count % 8 for tear in fine)
    with pytest.raises(InvalidOption):
        CrashStates(trace, StateOptions(atomic_bytes=100))


def test_the_superblock_of_ext4_is_never_torn() -> None:
    """Its two sectors are there together or not at all, however the disk writes what is around them."""
    block = [bytes([number + 1]) * 512 for number in range(8)]
    for first in (0, 1, 2):
        trace = synthetic_trace([Write(512 * first, b"".join(block[first:]))])
        states, inside = CrashStates(trace), 3 - first
        torn = {(tear.first, tear.first + tear.count) for state in states for tear in state.tears}
        assert torn
        assert all(inside not in ends for ends in torn)
        fine = CrashStates(trace, StateOptions(atomic_bytes=512))
        assert any(inside in (tear.first, tear.first + tear.count) for state in fine for tear in state.tears)


def test_coverage_counts() -> None:
    trace = synthetic_trace([Write(512 * i, b"%d" % (i % 10) * 512) for i in range(10)])
    states = CrashStates(trace)
    found = list(states)
    coverage = states.coverage
    assert (coverage.cuts, coverage.pending_most, coverage.choices, coverage.possible_log2) == (1, 10, 10, 10.0)
    assert coverage.distinct == len(found) == 1 << 10 <= coverage.enumerated
    assert coverage.exhaustive
    many = CrashStates(synthetic_trace([Write(0, bytes([i % 7 + 1]) * 512) for i in range(5000)])).coverage
    assert many.possible_log2 > 4990
    assert not many.exhaustive


@pytest.mark.parametrize("recording", ["outcomes-0", "outcomes-3", "named"])
def test_a_recording_is_exhausted(recording: str) -> None:
    """On real recordings, power cuts drawn anywhere, with any writes missing or torn, lead to no outcome that was not given."""
    trace, chance = kept(recording), random.Random(recording)
    states = CrashStates(trace)
    given_ = {(states.outcomes.of(state), len(trace.notes_before(state.cut))) for state in by_cut(states)}
    assert states.coverage.exhaustive
    for state in by_cut(drawn_state(trace, chance) for _ in range(400)):
        assert (states.outcomes.of(state), len(trace.notes_before(state.cut))) in given_, state


def by_cut(states: Iterable[CrashState]) -> list[CrashState]:
    return sorted(states, key=lambda state: state.cut)  # Outcomes are cheapest in this order.


def drawn_state(trace: Trace, chance: random.Random) -> CrashState:
    cut = chance.randint(trace.start, trace.finish)
    pending = pending_at(trace, cut)
    kept_, tears = chance.getrandbits(len(pending) + 1) >> 1, list[Tear]()
    for index, change in enumerate(pending):
        sectors = sectors_of(change)
        if kept_ >> index & 1 and sectors > 1 and chance.random() < 0.6:
            first = chance.randrange(sectors)
            tears.append(Tear(index, first, min(sectors - first, chance.randint(1, sectors - 1))))
    return CrashState(cut, kept_, tuple(tears), len(pending))
