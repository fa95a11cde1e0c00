"""The cause where no loss is known: the syncs that the run's next writes suggest. Only a trial confirms one.

none, and no call between attempt    the item was in memory only: in a mapped file without msync, or not yet handed over
and acknowledgement
unknown, as memory is not known      perhaps the next write of the run
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from crashmatrix.faults.disk.trace.named import DATA, NAMES, Named, in_words, is_outside
from crashmatrix.scenarios.power.explain.causes import (
    SUSPECTS_ALONE_MAX,
    Cause,
    Suspect,
    object_in_words,
    object_pattern,
)
from crashmatrix.scenarios.recorded.remedies import BEFORE_ACK, Remedy, pattern_of

__all__ = ["cause_of_later", "cause_of_unwritten"]

_WORDS_MAX = 4
_UNWRITTEN = (
    "No system call between the attempt and the acknowledgement changed the folder: the item was in memory only. A store to a "
    "mapped file stays there until msync; what a program buffers, until it writes."
)


def cause_of_later(later: Sequence[Named], acked: str) -> Cause:
    """Suspect what the run wrote to the disk next, where it is not known what was in memory. Only a trial confirms it."""
    inside = [named for named in later if named.path and not is_outside(named)]
    if not inside:
        return Cause()
    objects = dict.fromkeys((named.kind == NAMES, named.now or named.path) for named in inside)
    shown = _alike_as_one([path for _, path in objects])
    suspects = [
        Suspect(
            f"no fsync of {object_in_words(shown[path], names)} before the acknowledgement of {acked}",
            Remedy(BEFORE_ACK, (object_pattern(path, names),)),
        )
        for names, path in objects
    ]
    because = f"In the recorded run, the next writes to the disk were: {'; '.join(in_words(inside)[:_WORDS_MAX])}."
    alone = list(dict.fromkeys(suspects))
    patterns = tuple(suspect.remedy.paths[0] for suspect in alone)
    every = [Suspect(f"no fsync of what {acked} consists of before its acknowledgement", Remedy(BEFORE_ACK, patterns))]
    return Cause("", because, (*alone[:SUSPECTS_ALONE_MAX], *(every if len(patterns) > 1 else [])))


def cause_of_unwritten(later: Sequence[Named], acked: str) -> Cause:
    """The cause of the loss of an item for which the workload called nothing; a mapped file written later is suspected."""
    written = dict.fromkeys(named.now or named.path for named in later if named.kind == DATA and not is_outside(named))
    shown = _alike_as_one(written)
    suspects = [
        Suspect(
            f"no msync of {shown[path]} before the acknowledgement of {acked}", Remedy(BEFORE_ACK, (pattern_of(path),))
        )
        for path in written
    ]
    alone = tuple(dict.fromkeys(suspects))[:SUSPECTS_ALONE_MAX]
    otherwise = f"{acked} was acknowledged before anything of it was handed to the kernel"
    return Cause("", _UNWRITTEN, alone, otherwise=otherwise)


def _alike_as_one(paths: Collection[str]) -> dict[str, str]:
    """How to name each path: by its pattern if others have that, too, since it is not known which of them was lost."""
    patterns = Counter(map(pattern_of, dict.fromkeys(paths)))
    return {path: path if patterns[pattern_of(path)] == 1 else pattern_of(path) for path in paths}
