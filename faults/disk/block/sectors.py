"""A disk in a crash state: the bytes that make it, sector by sector."""

from collections.abc import Iterator

from crashmatrix.faults.disk.state import CrashState, pending_at, pieces_of, tears_by_change
from crashmatrix.faults.disk.trace.operations import Write
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["content", "patches"]


def patches(trace: Trace, state: CrashState) -> Iterator[tuple[int, memoryview]]:
    """The (offset, data) to apply, in this order, to the content that is durable at the state's cut."""
    torn = tears_by_change(state)
    for index, write in enumerate(pending_at(trace, state.cut)):
        if state.kept >> index & 1 and isinstance(write, Write):
            yield from pieces_of(write, torn.get(index, ()))


def content(trace: Trace, state: CrashState) -> Iterator[tuple[int, bytes | memoryview]]:
    """The (offset, data) that, applied in this order, turn a disk of zeros into the state's image."""
    yield from trace.base
    for operation in trace.operations[: trace.epoch_start(state.cut)]:
        if isinstance(operation, Write):
            yield operation.offset, operation.data
    yield from patches(trace, state)
