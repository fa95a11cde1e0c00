"""Names the file, directory or metadata that each write to a recorded disk concerns: afterwards, from the crash images.

    1. crash images are mounted at a few positions of the trace, with every change kept: at the cut, at flushes before it, and at
       the orderly end. Each shows where its files lie (`extents`), their inodes' numbers, and their contents
    2. on ext4, metadata is read from the writes themselves (`ext4.layout`): which names a directory's block changes, whose
       inodes a block holds, and of which block each block of the journal is a copy
    3. on xfs and btrfs, metadata is recognised by its magic numbers; whose metadata it is, is not known
    4. where the filesystem gives no extents, as btrfs with its own addresses, blocks are recognised by their content

A write that none of this explains is called unknown: nothing is guessed.
"""

import contextlib
import os
import stat
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from crashmatrix.faults.disk.block.base import BLOCK, BaseDisk, blocks_of
from crashmatrix.faults.disk.block.ext4.journal import Descriptor, unescaped
from crashmatrix.faults.disk.block.ext4.layout import Ext4Layout, names_in
from crashmatrix.faults.disk.block.ext4.names import Lives, what_changed
from crashmatrix.faults.disk.block.magic import named_by_magic
from crashmatrix.faults.disk.block.parts import PARTS_SHOWN, joined, listed
from crashmatrix.faults.disk.crash_images import CrashImages
from crashmatrix.faults.disk.errors import MountRefused
from crashmatrix.faults.disk.linux.extents import extents_of
from crashmatrix.faults.disk.state import CrashState
from crashmatrix.faults.disk.trace.named import (
    DATA,
    JOURNAL,
    METADATA,
    NAMES,
    OUTSIDE,
    UNKNOWN,
    Named,
    folder_in_words,
)
from crashmatrix.faults.disk.trace.operations import Flush, Write
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["disk_changes"]

_SAMPLES_BEFORE = 6
_ZEROS = bytes(BLOCK)


def disk_changes(trace: Trace, cut: int, images: CrashImages) -> Mapping[int, tuple[Named, ...]]:
    """Name each write before position `cut`, by position; a write may concern several files.

    Raises SystemCallFailed.
    """
    return _BlockMap(trace, cut, images).all()


@dataclass(frozen=True)
class _Owner:
    """A run of blocks on the disk, the file or directory that has them, and the run's first byte in that file."""

    start: int
    stop: int
    path: str
    logical: int
    size: int
    directory: bool


@dataclass
class _Sample:
    """Facts from a mounted image: the owners of blocks; the paths of inodes; files' blocks by their content."""

    position: int
    owners: list[_Owner] = field(default_factory=list)
    inodes: dict[int, str] = field(default_factory=dict)
    blocks: dict[bytes, tuple[str, int, int]] = field(default_factory=dict)

    def owner(self, block: int) -> _Owner | None:
        number = bisect_right(self._starts, block) - 1
        if number >= 0 and block < self.owners[number].stop:
            return self.owners[number]
        return None

    @cached_property
    def _starts(self) -> list[int]:
        self.owners.sort(key=lambda owner: owner.start)
        return [owner.start for owner in self.owners]


class _BlockMap:
    def __init__(self, trace: Trace, cut: int, images: CrashImages) -> None:
        self._trace, self._cut = trace, cut
        self._kind = trace.filesystem.partition(":")[0]
        self._base = BaseDisk(trace)
        self._samples = [self._look(images, position) for position in self._places()]
        self._layout = Ext4Layout.read(self._base.block) if self._kind.startswith("ext") else None
        self._journal = self._layout.journal if self._layout else None
        self._now: dict[int, bytes] = {}
        """The newest content of each block of metadata, even if it is in the journal only."""
        self._moments: dict[int, int] = {}
        """For each of these blocks, the transaction of that content; without a journal, its position."""
        self._lives = Lives(self._layout, base=self._base.block) if self._layout else None

    def all(self) -> dict[int, tuple[Named, ...]]:
        """Name every write before the cut."""
        writes = [(at, op) for at, op in enumerate(self._trace.operations[: self._cut]) if isinstance(op, Write)]
        named: dict[int, tuple[Named, ...]] = {}
        logged = self._logged(writes)
        self._learn_inodes(writes, logged)
        whole: dict[int, list[Named]] = {}
        for at, write in writes:
            parts: list[Named] = []
            for block, data in blocks_of(write.offset, write.data, self._block_before):
                parts += self._in_journal(at, block, data, logged, whole) or [self._at_home(at, block, data)]
            named[at] = tuple(joined(parts, nodes=self._kind == "btrfs"))
        return named

    # Places of blocks.

    def _places(self) -> list[int]:
        """The positions of the samples: some flushes before the cut, the cut, and the end."""
        flushes = [at for at in range(self._trace.start, self._cut) if isinstance(self._trace.operations[at], Flush)]
        spread = flushes[: -_SAMPLES_BEFORE : max(1, len(flushes) // _SAMPLES_BEFORE)]
        return [*spread, *flushes[-_SAMPLES_BEFORE:], self._cut, len(self._trace.operations)]

    def _look(self, images: CrashImages, position: int) -> _Sample:
        sample = _Sample(position)
        # A lost filesystem gives no sample; the other positions may give one.
        with (
            contextlib.suppress(MountRefused),
            images.mounted(CrashState.whole(self._trace, position)) as root,
        ):
            for place, path in _walk(root):
                self._add(sample, place, path)
        return sample

    def _add(self, sample: _Sample, place: Path, path: str) -> None:
        status = place.lstat()
        directory = stat.S_ISDIR(status.st_mode)
        sample.inodes[status.st_ino] = path
        if self._kind == "btrfs":
            if not directory and stat.S_ISREG(status.st_mode):
                _add_blocks(sample, place, path)
            return
        for extent in extents_of(os.fspath(place)):
            first = extent.physical // BLOCK
            stop = (extent.physical + extent.length) // BLOCK
            sample.owners.append(_Owner(first, stop, path, extent.logical, status.st_size, directory))

    def _owner(self, at: int, block: int) -> _Owner | None:
        """The owner of the block in the first sample after a write, else in the last one before."""
        return next(filter(None, (sample.owner(block) for sample in self._nearest(at))), None)

    def _path(self, at: int, inode: int) -> str:
        return next((sample.inodes[inode] for sample in self._nearest(at) if inode in sample.inodes), "")

    def _nearest(self, at: int) -> Iterator[_Sample]:
        """The samples, those after a write first, then those before it from the last one on."""
        yield from (sample for sample in self._samples if sample.position > at)
        yield from (sample for sample in reversed(self._samples) if sample.position <= at)

    def _now_at(self, path: str) -> str:
        """The path, if it is there at the cut."""
        at_cut = next(sample for sample in self._samples if sample.position == self._cut)
        return path if path in at_cut.inodes.values() else ""

    # Names.

    def _at_home(self, at: int, block: int, data: bytes, moment: int = -1) -> Named:
        if self._kind == "btrfs":
            return self._by_content(block, data)
        owner = self._owner(at, block)
        if owner and not owner.directory:
            start = owner.logical + (block - owner.start) * BLOCK
            stop = min(start + BLOCK, owner.size) if start < owner.size else start + BLOCK
            return Named(kind=DATA, path=owner.path, now=self._now_at(owner.path), start=start, stop=stop)
        if self._layout:
            if moment < 0:
                moment = self._moments.get(block, -1) if self._journal else at
            return self._metadata(at, block, data, owner, moment) or Named(kind=UNKNOWN)
        if owner:
            return Named(kind=NAMES, path=owner.path, now=self._now_at(owner.path), what="its names")
        return named_by_magic(self._kind, self._base.block, block, data)

    def _metadata(self, at: int, block: int, data: bytes, owner: _Owner | None, moment: int) -> Named | None:
        """Name a block of ext4 metadata and its changes; None if it is not known."""
        assert self._layout is not None
        before, moment_before = self._block_before(block), self._moments.get(block, -1)
        self._now[block], self._moments[block] = data, moment
        if plain := self._layout.plain(block):
            return Named(kind=METADATA, what=plain)
        if owner and owner.directory:
            words = what_changed(
                names_in(before), names_in(data), lambda inode: self._same(inode, moment_before, moment)
            )
            what = ", ".join(words[:PARTS_SHOWN]) or "its names, as they were"
            return Named(kind=NAMES, path=owner.path, now=self._now_at(owner.path), what=what)
        inodes = self._layout.inodes(block, before, data)
        if inodes is None:
            return None
        places = filter(None, (self._path(at, inode) for inode in inodes))
        paths = list(dict.fromkeys(folder_in_words(path) if path == "." else path for path in places))
        more = f" and {len(paths) - PARTS_SHOWN} more" if len(paths) > PARTS_SHOWN else ""
        return Named(kind=METADATA, what=f"the inode of {', '.join(paths[:PARTS_SHOWN])}{more}" if paths else "inodes")

    def _logged(self, writes: list[tuple[int, Write]]) -> dict[int, list[tuple[int, Descriptor]]]:
        """For each block of the journal: the transactions that logged a copy there, with their positions in the trace."""
        found: dict[int, list[tuple[int, Descriptor]]] = {}
        if not self._journal:
            return found
        for at, write in writes:
            for block, data in blocks_of(write.offset, write.data, self._block_before):
                if block in self._journal.index and (descriptor := self._journal.descriptor(block, data)):
                    for logged in descriptor.home:
                        found.setdefault(logged, []).append((at, descriptor))
        return found

    def _learn_inodes(
        self, writes: list[tuple[int, Write]], logged: Mapping[int, list[tuple[int, Descriptor]]]
    ) -> None:
        if not self._lives:
            return
        for at, write in writes:
            for block, data in blocks_of(write.offset, write.data, self._block_before):
                if not self._journal:
                    self._lives.learn(at, block, data)
                elif block in logged:
                    descriptor = _nearest(logged[block], at)
                    copy = unescaped(data) if block in descriptor.escaped else data
                    self._lives.learn(descriptor.number, descriptor.home[block], copy)

    def _same(self, inode: int, one: int, other: int) -> bool:
        return self._lives is None or self._lives.same(inode, one, other)

    def _in_journal(
        self,
        at: int,
        block: int,
        data: bytes,
        logged: Mapping[int, list[tuple[int, Descriptor]]],
        whole: dict[int, list[Named]],
    ) -> list[Named]:
        """Name a write to ext4's journal; ``whole`` collects each transaction's parts. Empty if it is not in the journal."""
        if not self._journal or block not in self._journal.index:
            return []
        kind, number = self._journal.kind(data)
        if kind:
            about = listed(whole.get(number, ())) if kind == "commit" else ""
            return [Named(kind=JOURNAL, what=f"the {kind}{f' of {about}' if about else ''}")]
        if block not in logged:
            return [Named(kind=JOURNAL)]
        descriptor = _nearest(logged[block], at)
        data = unescaped(data) if block in descriptor.escaped else data
        part = self._at_home(at, descriptor.home[block], data, descriptor.number)
        whole.setdefault(descriptor.number, []).append(part)
        return [replace(part, kind=JOURNAL, what=part.what if part.kind == METADATA else part.text)]

    def _by_content(self, block: int, data: bytes) -> Named:
        for sample in self._samples:
            if known := sample.blocks.get(_digest(data)):
                path, start, stop = known
                return Named(kind=DATA, path=path, now=self._now_at(path), start=start, stop=stop)
        return named_by_magic(self._kind, self._base.block, block, data)

    def _block_before(self, block: int) -> bytes:
        return self._now.get(block) or self._base.block(block)


def _nearest(logged: list[tuple[int, Descriptor]], at: int) -> Descriptor:
    """The descriptor written next to a position: a block of the journal is used again and again."""
    return min(logged, key=lambda entry: abs(entry[0] - at))[1]


def _walk(root: Path) -> Iterator[tuple[Path, str]]:
    """Every file and directory of a mounted image, with its path relative to ``root``, the directory under test."""
    mount_point = root.parent
    for folder, folders, files in os.walk(mount_point):
        for name in (".", *sorted(files), *(link for link in folders if (Path(folder) / link).is_symlink())):
            place = Path(folder) / name
            path = os.path.relpath(place, root)
            outside = path.startswith("..")
            yield place, f"{OUTSIDE} {os.path.relpath(place, mount_point)}" if outside else path


def _add_blocks(sample: _Sample, place: Path, path: str) -> None:
    data = place.read_bytes()
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK].ljust(BLOCK, b"\0")
        if block != _ZEROS:
            sample.blocks.setdefault(_digest(block), (path, start, min(start + BLOCK, len(data))))


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()
