"""One crash state: what a power cut at one position could leave, its name, and its image.

The model. Power goes at a *cut*, a position between two operations. What was written before the last flush is there.
Of the writes after it, the *pending* ones, any subset is there, each write whole, or *torn*: some of its 512-byte
sectors missing. Sectors present have the content of the last write present that covers them, so pending writes land in
their order. Tears fall between 512-byte sectors, on btrfs between 4096-byte blocks: its superblock is one block, and
one that is torn is a filesystem lost, on which every system under test is equally innocent. Not modelled: a sector
half old and half new, and disks that lie about a flush.

A state's id is `<cut>-<kept>[-t<write>.<first>+<count>]...`: kept is `all`, `none`, or the set of pending writes kept
as hexadecimal digits (bit i is the i-th pending write); each t names a kept write and its missing sectors. With the
trace, the id says everything: the same id on the same trace is the same image, bit for bit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from faults.disk.errors import InvalidState
from faults.disk.trace import SECTOR_BYTES, Trace, Write

__all__ = ["CrashState", "Tear", "content", "pending_at", "sectors_of"]


@dataclass(frozen=True, slots=True)
class Tear:
    """Of pending write number `write`, `count` sectors from `first` on are missing."""

    write: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class CrashState:
    """What is left after a cut at position `cut`: pending write i iff bit i of `kept`, less the sectors torn off."""

    cut: int
    kept: int
    tears: tuple[Tear, ...] = ()
    pending: int = 0
    """How many writes are pending at the cut."""

    def __str__(self) -> str:
        every = (1 << self.pending) - 1
        kept = "none" if not self.kept else "all" if self.kept == every else f"{self.kept:x}"
        return "-".join([str(self.cut), kept, *(f"t{t.write}.{t.first}+{t.count}" for t in self.tears)])

    @classmethod
    def parse(cls, text: str, trace: Trace) -> "CrashState":
        """From an id. Raises InvalidState if it is none, or none of this trace."""
        remedy = f"take an id that was printed for trace {trace.identity}"
        try:
            cut_text, kept_text, *tear_texts = text.split("-")
            cut = int(cut_text)
            if not 0 <= cut <= len(trace.operations):
                raise InvalidState(f"state {text!r} lies outside the trace", remedy)
            pending = pending_at(trace, cut)
            every = (1 << len(pending)) - 1
            kept = {"all": every, "none": 0}.get(kept_text)
            kept = int(kept_text, 16) if kept is None else kept
            tears = tuple(_parse_tear(tear) for tear in tear_texts)
        except (ValueError, IndexError) as error:
            if isinstance(error, InvalidState):
                raise
            raise InvalidState(f"{text!r} is not the id of a crash state: {error}", remedy) from error
        fits = all(kept >> t.write & 1 and 0 < t.count <= sectors_of(pending[t.write]) - t.first for t in tears)
        if kept & ~every or kept < 0 or not fits:
            raise InvalidState(f"state {text!r} keeps or tears writes that are not pending there", remedy)
        return cls(cut, kept, tears, len(pending))

    def patches(self, pending: Sequence[Write]) -> Iterator[tuple[int, memoryview]]:
        """The (offset, data) to lay over the durable content, in this order."""
        torn = {tear.write: tear for tear in self.tears}
        for index, write in enumerate(pending):
            if not self.kept >> index & 1:
                continue
            data = memoryview(write.data)
            if index not in torn:
                yield write.offset, data
                continue
            start = torn[index].first * SECTOR_BYTES
            stop = start + torn[index].count * SECTOR_BYTES
            if start:
                yield write.offset, data[:start]
            if stop < len(data):
                yield write.offset + stop, data[stop:]


def pending_at(trace: Trace, cut: int) -> list[Write]:
    """The writes since the last flush before position `cut`, in order."""
    return [op for op in trace.operations[trace.epoch_start(cut) : cut] if isinstance(op, Write)]


def content(trace: Trace, state: CrashState) -> Iterator[tuple[int, bytes | memoryview]]:
    """The (offset, data) that make a disk of zeros the state's image, laid over each other in this order."""
    yield from trace.base
    for operation in trace.operations[: trace.epoch_start(state.cut)]:
        if isinstance(operation, Write):
            yield operation.offset, operation.data
    yield from state.patches(pending_at(trace, state.cut))


def sectors_of(write: Write) -> int:
    """How many sectors a write has."""
    return len(write.data) // SECTOR_BYTES


def _parse_tear(text: str) -> Tear:
    if not text.startswith("t"):
        raise ValueError(f"{text!r} is not a tear")
    write, _, sectors = text[1:].partition(".")
    first, _, missing = sectors.partition("+")
    return Tear(int(write), int(first), int(missing))
