"""Digests of disks: two states have one digest exactly when their images are equal."""

import itertools
import mmap

import pytest

from crashmatrix.faults.disk import CrashState, CrashStates, Flush, StateOptions, Write
from crashmatrix.faults.disk.block.digests import DiskDigests
from tests.faults.disk.block.support import image_of
from tests.faults.disk.support import random_trace, synthetic_trace


@pytest.mark.daily(2)
@pytest.mark.lengthy
@pytest.mark.parametrize("seed", range(6))
def test_equal_digests_mean_equal_images_and_the_other_way_round(seed: int) -> None:
    """States have equal digests exactly if their images by definition are equal, with overlaps and torn writes."""
    trace = random_trace(seed)
    states = CrashStates(trace, StateOptions(seed=seed))
    digests = DiskDigests(trace)
    by_digest: dict[int, bytes] = {}
    for state in itertools.islice(states, 400):
        image = image_of(trace, state)
        assert by_digest.setdefault(digests.of(state), image) == image
    assert len(set(by_digest.values())) == len(by_digest) == states.coverage.distinct > 40


def test_the_base_has_digest_0_and_so_has_a_write_of_the_same() -> None:
    """Only content counts, not how often it was written."""
    trace = synthetic_trace([Write(4096, b"b" * 512), Write(0, b"x" * 512), Flush(), Write(0, bytes(512))])
    digests = DiskDigests(trace)
    assert [digests.of(CrashState(cut, 0)) for cut in (0, 1, 3)] == [0, 0, 0]
    assert digests.of(CrashState.whole(trace, 3)) == digests.of(CrashState(4, 0)) == digests.of(CrashState(5, 0)) != 0
    assert digests.of(CrashState.whole(trace, 5)) == 0


def test_an_image_that_is_read_has_the_digest_of_its_state() -> None:
    """The digest computed from an image's bytes alone, which is slow, equals that of its state."""
    trace = random_trace(7)
    for state in itertools.islice(CrashStates(trace), 20):
        with mmap.mmap(-1, trace.size_bytes) as image:
            image[:] = image_of(trace, state)
            read = DiskDigests.of_image(trace, image, range(0, trace.size_bytes, 1 << 16))
        assert read == DiskDigests(trace).of(state)


@pytest.mark.parametrize("seed", range(4))
def test_a_sector_is_changed_exactly_if_it_may_have_differed(seed: int) -> None:
    """By definition: some earlier content that the sector can have, durable or of a pending write, is another one."""
    trace = random_trace(seed)
    digests = DiskDigests(trace)
    durable: dict[int, bytes] = dict.fromkeys(range(8, 24), b"b" * 512)
    possible: dict[int, set[bytes]] = {}
    for position, operation in enumerate(trace.operations):
        if isinstance(operation, Flush):
            possible.clear()
        elif isinstance(operation, Write):
            changed = []
            for number in range(len(operation.data) // 512):
                sector, content = operation.offset // 512 + number, operation.data[number * 512 : (number + 1) * 512]
                before = possible.setdefault(sector, {durable.get(sector, bytes(512))})
                changed += [number] if before != {content} else []
                before.add(content)
                durable[sector] = content
            assert digests.changed(position) == tuple(changed)
