"""A crash state: the changes that a power cut at one position could leave; and its name.

The model. Power fails at a *cut*, a position between two operations. Every change that an earlier sync made durable is there
(`trace.durability`). The other changes are *pending*: any subset of them is there, each whole or *torn*, with some of its
512-byte sectors missing. They apply in their order: where two overlap, the later one wins. On btrfs, writes tear only
between 4096-byte blocks: its superblock is one block, and a torn one loses the filesystem, which no system under test
could prevent. For the same reason, the two sectors of ext4's superblock are there together or not at all. Not modelled: a
sector half old and half new, and disks that lie about a flush.

A state's id is `<cut>-<kept>[-t<change>.<first>+<count>]...`: kept is `all`, `none`, or the set of kept pending changes
as hexadecimal digits (bit i is the i-th pending change); each t names a kept change and a run of its missing sectors. The id and
the trace determine the image: the same id on the same trace is the same image, bit for bit.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, cast

from crashmatrix.faults.disk.errors import InvalidState
from crashmatrix.faults.disk.trace.operations import SECTOR_BYTES, Change, Data, Write, sectors_of
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = [
    "CrashState",
    "ImageNames",
    "OutcomeNames",
    "StateNames",
    "Tear",
    "pending_at",
    "pieces_of",
    "tears_by_change",
]


@dataclass(frozen=True, slots=True)
class Tear:
    """Sectors missing from pending change number `write`: `count` of them from `first` on, counted from the change's first.

    A change may have several of these.
    """

    write: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class CrashState:
    """The disk after a cut at position `cut`: pending change i if bit i of `kept` is set, less the sectors torn off."""

    cut: int
    kept: int
    tears: tuple[Tear, ...] = ()
    pending: int = 0
    """How many changes are pending at the cut."""

    def __str__(self) -> str:
        every = (1 << self.pending) - 1
        kept = "none" if not self.kept else "all" if self.kept == every else f"{self.kept:x}"
        return "-".join([str(self.cut), kept, *(f"t{t.write}.{t.first}+{t.count}" for t in self.tears)])

    @classmethod
    def whole(cls, trace: Trace, cut: int) -> "CrashState":
        """The state in which every change before the cut is there."""
        pending = len(trace.pending(cut))
        return cls(cut, (1 << pending) - 1, (), pending)

    @classmethod
    def parse(cls, text: str, trace: Trace) -> "CrashState":
        """Parse an id. Raises InvalidState if the text is not an id, or not one of this trace."""
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
            what = "is not the id of a crash state, which reads CUT-KEPT, such as 241-none, 241-all or 241-3f"
            raise InvalidState(f"{text!r} {what}", remedy) from error
        fits = all(kept >> t.write & 1 and 0 < t.count <= sectors_of(pending[t.write]) - t.first for t in tears)
        if kept & ~every or kept < 0 or not fits:
            raise InvalidState(f"state {text!r} keeps or tears changes that are not pending there", remedy)
        return cls(cut, kept, tears, len(pending))


class StateNames(Protocol):
    """Names for a trace's crash states that are cheap to compute.

    A *digest* names the image: two states have the same digest exactly if their images are equal. An *outcome* names the folder
    that the mounted image shows: two states with the same outcome show equal folders.
    """

    def of(self, state: CrashState, /) -> int:
        """The name of what is left in this state."""


class ImageNames(StateNames, Protocol):
    """Digests, which also know what each change changes."""

    def changed(self, position: int, /) -> tuple[int, ...] | None:
        """The sectors of a change that may differ from what they were before it, counted from the change's first.

        All others have one content, whether they were written or not. None if the change is there or not, and cannot be torn.
        """


class OutcomeNames(StateNames, Protocol):
    """Outcomes, which also know what no recovery sees."""

    def inert(self, cut: int, /) -> frozenset[int]:
        """The positions of pending changes that cannot affect the folder, whichever of the pending changes are there."""


def tears_by_change(state: CrashState) -> dict[int, list[Tear]]:
    """The tears of each torn change, by its number among the pending ones."""
    found: dict[int, list[Tear]] = {}
    for tear in state.tears:
        found.setdefault(tear.write, []).append(tear)
    return found


def pending_at(trace: Trace, cut: int) -> list[Change]:
    """The changes before position `cut` that no sync made durable, in order."""
    return [cast("Change", trace.operations[position]) for position in trace.pending(cut)]


def pieces_of(change: Write | Data, tears: Iterable[Tear] = ()) -> Iterator[tuple[int, memoryview]]:
    """The parts of a change, torn or not, that are there, as (offset, data)."""
    data, origin, start = memoryview(change.data), change.offset // SECTOR_BYTES * SECTOR_BYTES - change.offset, 0
    for tear in sorted(tears, key=lambda tear: tear.first):
        stop = origin + tear.first * SECTOR_BYTES
        if start < stop:
            yield change.offset + start, data[start:stop]
        start = max(start, stop + tear.count * SECTOR_BYTES)
    if start < len(data):
        yield change.offset + start, data[start:]


def _parse_tear(text: str) -> Tear:
    if not text.startswith("t"):
        raise ValueError(f"{text!r} is not a tear")
    write, _, sectors = text[1:].partition(".")
    first, _, missing = sectors.partition("+")
    return Tear(int(write), int(first), int(missing))
