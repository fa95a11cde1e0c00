"""The changes that a crash took, by name: writes that the disk lacks, and changes that had not even reached it.

On a real filesystem a change may be in memory only, where the recording does not show it. It is known by comparison with
the workload's calls, recorded on the `posix` filesystem (`unsynced`), if there is such a recording.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from crashmatrix.faults.disk import CrashImages, CrashState, Trace, load_trace
from crashmatrix.faults.disk.change_names import changes_named
from crashmatrix.faults.disk.filesystem import Filesystem
from crashmatrix.faults.disk.posix.tree import Trees
from crashmatrix.faults.disk.trace.named import DATA, NAMES, Named, folder_in_words, in_words
from crashmatrix.faults.disk.trace.operations import Data, Size, Write
from crashmatrix.scenarios.power.explain.comparison import missing_from, names_here
from crashmatrix.scenarios.power.explain.unsynced import Lost, Missing, lines_before, lost_in
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.recorded.restarts import restarted_at

__all__ = ["Loss", "loss_of"]

_LATER_OPERATIONS = 60
_LOST_SHOWN, _IN_TEXT = 24, 4
_IN_MEMORY = "in memory only: "
_WITHOUT_METADATA = "on the disk, without the metadata that leads there: "
_BEYOND_SIZE = "with the size: "
_BLAMELESS = "as well, and not to blame: "


@dataclass(frozen=True)
class Loss:
    """The changes before its cut that a crash state lacks.

    Attributes:
        names: what each change before the cut is about, by position.
        gone, torn: positions of the changes that are missing, or missing in part.
        pending: how many changes were not durable at the cut.
        missing: the workload's changes that are missing; None if that is not known.
        unsynced: all the workload's changes that nothing had synced.
        survived: the workload's changes after the first missing one that are there.
        later: what the recorded run wrote next, if no loss is known.
        on_the_disk: those of the missing changes whose bytes had reached the disk, as sync_file_range(2) makes them. The file
            does not have them, since its size, or the account of its blocks, was lost.
        beyond_size: on `posix`, changes that were not lost themselves, but with the size of their file.
        blameless: the workload's changes that are missing, too, without which the promise is broken all the same.
        called_to: the cut in the trace of the workload's calls up to which the crash state shows them.
    """

    on_disk: bool
    names: Mapping[int, tuple[Named, ...]]
    gone: tuple[int, ...]
    torn: tuple[int, ...]
    pending: int
    missing: tuple[Missing, ...] | None
    unsynced: tuple[Missing, ...] = ()
    survived: tuple[Missing, ...] = ()
    later: tuple[Named, ...] = ()
    on_the_disk: tuple[Missing, ...] = ()
    beyond_size: tuple[Named, ...] = ()
    blameless: tuple[Missing, ...] = ()
    called_to: int = 0

    def blaming(self, guilty: Sequence[Missing]) -> Loss:
        """Return this loss with the blame for only these of the missing changes."""
        first = min((each.at for each in guilty), default=0)
        return replace(
            self,
            missing=tuple(guilty),
            survived=tuple(each for each in self.survived if guilty and each.at > first),
            on_the_disk=tuple(each for each in self.on_the_disk if each in guilty),
            blameless=tuple(each for each in self.missing or () if each not in guilty),
        )

    def led_by(self, leads: Callable[[str], bool]) -> Loss:
        """Return this loss with changes of some paths first, so that they are shown; a directory's path ends in a slash."""
        if not self.missing:
            return self

        def follows(each: Missing) -> bool:
            path = each.named.now or each.named.path
            return not leads(f"{path}/" if each.named.kind == NAMES else path)

        return replace(self, missing=tuple(sorted(self.missing, key=follows)))

    @property
    def lines(self) -> tuple[str, ...]:
        """The lost writes to the disk, or on `posix` the lost changes, each in one line."""
        lost = in_words(each for at in self.gone for each in self.names[at])
        return (*lost, *(f"{line} (torn)" for line in in_words(each for at in self.torn for each in self.names[at])))

    @property
    def in_memory(self) -> tuple[str, ...]:
        """The changes that had not reached the disk, each in one line."""
        if not self.on_disk:
            return ()
        return tuple(in_words(each.named for each in self.missing or () if each not in self.on_the_disk))

    @property
    def without_metadata(self) -> tuple[str, ...]:
        """The changes whose bytes are on the disk where nothing leads to them, each in one line."""
        return tuple(in_words(each.named for each in self.on_the_disk))

    @property
    def nothing(self) -> bool:
        """Whether no loss is known."""
        return not (self.gone or self.torn or self.in_memory or self.on_the_disk)

    @property
    def listed(self) -> tuple[str, ...]:
        """The lines that a finding shows: no more than fits."""
        lines = [
            *(f"{_IN_MEMORY}{line}" for line in self.in_memory),
            *(f"{_WITHOUT_METADATA}{line}" for line in self.without_metadata),
            *self.lines,
            *(f"{_BEYOND_SIZE}{line}" for line in in_words(self.beyond_size)),
            *(f"{_BLAMELESS}{line}" for line in in_words(each.named for each in self.blameless)),
        ]
        more = len(lines) - _LOST_SHOWN
        return (*lines[:_LOST_SHOWN], *([f"and {more:,} more"] if more > 0 else []))

    @property
    def text(self) -> str:
        """The fate of the changes that were not durable, in a sentence or two."""
        what, sync = ("writes to the disk", "flush") if self.on_disk else ("changes", "sync")
        count = len(self.gone) + len(self.torn)
        if count:
            how = "Lost or torn" if self.gone and self.torn else "Torn" if self.torn else "Lost"
            listed = "; ".join(self.lines[:_IN_TEXT])
            text = f"{how}: {count} of {self.pending} {what} that no {sync} had made durable: {listed}."
        else:
            text = "No write that had reached the disk was lost." if self.on_disk else "Nothing was lost."
        if self.in_memory:
            text += f" Still in memory, and therefore lost: {'; '.join(self.in_memory[:_IN_TEXT])}."
        if self.on_the_disk:
            listed = "; ".join(self.without_metadata[:_IN_TEXT])
            text += f" On the disk, but lost to the file with its metadata: {listed}."
        if self.beyond_size:
            listed = "; ".join(in_words(self.beyond_size)[:_IN_TEXT])
            text += f" Lost with the size of their file: {listed}."
        if self.blameless:
            text += f" Changes of {self._spared} were lost as well, but the promise breaks without that, too."
        return text

    @property
    def _spared(self) -> str:
        """The files and directories with changes that are not to blame."""
        named = [each.named for each in self.blameless]
        objects = [folder_in_words(each.path) if each.kind == NAMES else each.path for each in named]
        found = list(dict.fromkeys(objects))
        more = [f"{len(found) - _IN_TEXT} more"] if len(found) > _IN_TEXT else []
        return " and ".join([*found[:_IN_TEXT], *more])

    def of_workload(self, trace: Trace) -> tuple[Missing, ...]:
        """The workload's changes that are missing; if that is not known, the lost or torn writes about files and names."""
        if self.missing:
            return self.missing
        lines = lines_before(trace)
        written = [
            (at, each)
            for at in sorted({*self.gone, *self.torn})
            for each in self.names[at]
            if each.kind in (DATA, NAMES)
        ]
        return tuple(Missing(at, lines[at], each) for at, each in written)


def loss_of(trace: Trace, state: CrashState, calls: Recording | None) -> Loss:
    """Find out what a crash state lacks. Mounts it.

    Args:
        calls: the same workload recorded on the `posix` filesystem, if there is such a recording.
    """
    on_disk = Filesystem.parse(trace.filesystem).on_disk
    called = load_trace(calls.trace) if on_disk and calls and not restarted_at(trace) else None
    pending = trace.pending(state.cut)
    with CrashImages(trace) as images:
        names = changes_named(trace, state.cut, images)
        lost = _compared(trace, state, images, called) if on_disk else lost_in(trace, state)
        gone = tuple(at for index, at in enumerate(pending) if not state.kept >> index & 1)
        known = gone or state.tears or (lost and lost.missing)
        later = () if known else _later(trace, state.cut, images)
    beyond = {} if on_disk else _beyond_size(trace, state, names)
    return Loss(
        on_disk=on_disk,
        names=names,
        gone=gone,
        torn=tuple(pending[tear.write] for tear in state.tears),
        pending=len(pending),
        missing=None if lost is None else lost.missing,
        unsynced=lost.unsynced if lost else (),
        survived=tuple(each for each in lost.survived if each.at not in beyond) if lost else (),
        later=later,
        on_the_disk=_reached(trace, state, names, called, lost.missing) if called and lost else (),
        beyond_size=tuple(named for each in beyond.values() for named in each),
        called_to=lost.cut if lost else 0,
    )


def _compared(trace: Trace, state: CrashState, images: CrashImages, called: Trace | None) -> Lost | None:
    """The workload's changes that the mounted crash state lacks; None if nothing is known of them."""
    if called is None:
        return None
    with images.mounted(CrashState.whole(trace, len(trace.operations))) as root:
        names = None if root.is_symlink() else names_here(root, called)
    if names is None:
        return None
    with images.mounted(state) as root:
        if root.is_symlink():  # It leads out of the image.
            return None
        return missing_from(root, called, trace.notes_before(state.cut), names)


def _reached(
    trace: Trace, state: CrashState, names: Mapping[int, tuple[Named, ...]], called: Trace, missing: Sequence[Missing]
) -> tuple[Missing, ...]:
    """The missing changes whose bytes the crash state has on the disk: writes that it kept are of that place of the file."""
    taken = _taken(trace, state)
    written: dict[str, list[tuple[int, bytes]]] = {}
    for at in range(state.cut):
        operation = trace.operations[at]
        if isinstance(operation, Write) and at not in taken and len(about := names.get(at, ())) == 1:
            (named,) = about
            if named.kind == DATA:
                data = bytes(operation.data[: named.stop - named.start])
                written.setdefault(named.now or named.path, []).append((named.start, data))
    found = []
    for each in missing:
        change = called.operations[each.at]
        parts = written.get(each.named.now, ())
        if isinstance(change, Data) and parts and _overlaid(parts, change.offset, len(change.data)) == change.data:
            found.append(each)
    return tuple(found)


def _taken(trace: Trace, state: CrashState) -> set[int]:
    """The positions of changes that the crash took, or tore."""
    pending = trace.pending(state.cut)
    torn = {pending[tear.write] for tear in state.tears}
    return torn | {at for index, at in enumerate(pending) if not state.kept >> index & 1}


def _overlaid(parts: Sequence[tuple[int, bytes]], start: int, length: int) -> bytes | None:
    """The bytes from ``start`` on after all writes (offset, data) in order; None if they do not cover it."""
    found, known = bytearray(length), bytearray(length)
    for offset, data in parts:
        first, last = max(offset, start), min(offset + len(data), start + length)
        if first < last:
            found[first - start : last - start] = data[first - offset : last - offset]
            known[first - start : last - start] = b"\1" * (last - first)
    return bytes(found) if all(known) else None


def _beyond_size(
    trace: Trace, state: CrashState, names: Mapping[int, tuple[Named, ...]]
) -> dict[int, tuple[Named, ...]]:
    """Changes on `posix` that the crash kept, of files whose size it took, and that the files do not have; by position."""
    taken, operations = _taken(trace, state), trace.operations
    shrunk = {
        change.inode: at
        for at in reversed(range(state.cut))
        if at in taken and isinstance(change := operations[at], Size)
    }
    if not shrunk:
        return {}
    contents = {node.inode: content for _, node, content in Trees(trace).of(state).entries}
    found: dict[int, tuple[Named, ...]] = {}
    for at in range(min(shrunk.values()), state.cut):
        change = operations[at]
        if (
            isinstance(change, Data)
            and at not in taken
            and at > shrunk.get(change.inode, at)
            and change.inode in contents
        ):
            content = contents[change.inode]
            left = content.read(change.offset, len(change.data))
            if change.offset >= content.size or (left != change.data and not any(left)):  # It may have written zeros.
                found[at] = names.get(at, ())
    return found


def _later(trace: Trace, cut: int, images: CrashImages) -> tuple[Named, ...]:
    """The writes of the recorded run, whose power did not fail, that came next; and those of its orderly end."""
    end = len(trace.operations)
    names = changes_named(trace, end, images)
    places = [*range(cut, min(cut + _LATER_OPERATIONS, trace.finish)), *range(max(cut, trace.finish), end)]
    return tuple(each for at in places for each in names.get(at, ()) if each.kind in (DATA, NAMES))
