"""The parts of one write to a disk, joined: neighbouring ranges of a file, and what a transaction of the journal is about."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from crashmatrix.faults.disk.trace.named import DATA, JOURNAL, METADATA, NAMES, UNKNOWN, Named, is_about_folder

__all__ = ["PARTS_SHOWN", "joined", "listed"]

PARTS_SHOWN = 4
_BOOKKEEPING = {"superblock", "group descriptors", "which blocks are free", "which inodes are free", "inodes"}


def listed(parts: Iterable[Named]) -> str:
    """Parts of a transaction in words, the most telling first; the filesystem's own bookkeeping only if there is nothing else."""
    rank = {NAMES: 0, DATA: 1}
    words = [
        part.what if part.kind == METADATA else part.text for part in sorted(parts, key=lambda p: rank.get(p.kind, 2))
    ]
    telling = [word for word in dict.fromkeys(words) if word and word not in _BOOKKEEPING]
    more = f"; and {len(telling) - PARTS_SHOWN} more" if len(telling) > PARTS_SHOWN else ""
    return "; ".join((telling or list(filter(None, dict.fromkeys(words))))[:PARTS_SHOWN]) + more


def joined(parts: list[Named], *, nodes: bool) -> Iterator[Named]:
    """Join neighbouring ranges of one file, and blocks of the journal; drop repetitions.

    With `nodes`, metadata comes in runs of blocks, and only the first block of a run is recognisable.
    """
    journal = [part for part in parts if part.kind == JOURNAL]
    if journal:
        directory = next((part for part in journal if is_about_folder(part.what)), journal[0])
        ranked = sorted(journal, key=lambda part: not is_about_folder(part.what))
        words = listed(replace(part, kind=METADATA) for part in ranked if part.what != "the descriptor")
        yield replace(directory, what=words or journal[0].what)
    last: Named | None = None
    for part in dict.fromkeys(part for part in parts if part.kind != JOURNAL):
        if nodes and last and last.kind == METADATA and part.kind == UNKNOWN:
            continue
        if last and last.kind == part.kind == DATA and (last.path, last.stop) == (part.path, part.start):
            last = Named(kind=DATA, path=part.path, now=part.now, start=last.start, stop=part.stop)
            continue
        if last:
            yield last
        last = part
    if last:
        yield last
