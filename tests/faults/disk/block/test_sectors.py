"""The bytes of a disk in a crash state, against a model that builds every image in full."""

import itertools

import pytest

from crashmatrix.faults.disk import CrashState, CrashStates, StateOptions, Trace
from crashmatrix.faults.disk.block.sectors import content, patches
from tests.faults.disk.block.support import image_of
from tests.faults.disk.support import random_trace


def laid_over(image: bytearray, pieces: list[tuple[int, memoryview]]) -> bytes:
    for offset, data in pieces:
        image[offset : offset + len(data)] = data
    return bytes(image)


def patched(trace: Trace, state: CrashState) -> bytes:
    durable = image_of(trace, CrashState(state.cut, 0))
    return laid_over(bytearray(durable), list(patches(trace, state)))


@pytest.mark.parametrize("seed", range(4))
def test_pieces_make_the_image_by_definition(seed: int) -> None:
    """The pieces give the image by definition, over the durable content of the cut and over an empty disk."""
    trace = random_trace(seed)
    for state in itertools.islice(CrashStates(trace, StateOptions(seed=seed)), 150):
        image = image_of(trace, state)
        assert patched(trace, state) == image
        whole = [(offset, memoryview(data)) for offset, data in content(trace, state)]
        assert laid_over(bytearray(trace.size_bytes), whole) == image
