"""The cause of a broken promise, from the losses of a power cut: the missing syncs, the likeliest first.

loss                                 cause
a change that was acknowledged       no sync of this change before the acknowledgement
only changes not acknowledged        a later change became durable before a change that it needs: a rename before the content, a
                                     removal before what replaces it, a write to another file; a torn write; a size without the
                                     content
none, or unknown                     see `guesses`
any, after a restart                 recovery read from the page cache what was not durable
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from crashmatrix.faults.disk.trace.named import (
    ATTRIBUTE,
    DATA,
    IN_PLACE,
    NAMES,
    SIZE,
    Named,
    folder_in_words,
    in_words,
)
from crashmatrix.scenarios.power.explain.unsynced import Missing
from crashmatrix.scenarios.recorded.remedies import (
    BEFORE_ACK,
    BEFORE_CHANGE,
    BEFORE_RECOVERY,
    BEFORE_REMOVAL,
    BEFORE_RENAME,
    Remedy,
    pattern_of,
)

__all__ = [
    "SIZE_FIRST",
    "SUSPECTS_ALONE_MAX",
    "Cause",
    "Suspect",
    "cause_of",
    "cause_of_growth",
    "cause_of_restart",
    "object_in_words",
    "object_pattern",
]

SUSPECTS_ALONE_MAX = 3
"""How many syncs are tried alone."""

_SPARED_SHOWN, _WORDS_MAX = 3, 4
_NAMED_EARLY = "The name was durable before the content: nothing had synced the file before it got that name."
_REMOVED_EARLY = "The file was still needed: its replacement was not durable when it was removed."
_TORN = (
    "A power cut can split a write after any sector of 512 bytes, so recovery must be able to tell a whole record from a part of "
    "one: by a checksum, or by writing it elsewhere first."
)
_GROWN = (
    "A power cut can keep the new size of a file and lose its new bytes, so recovery must be able to tell a record from zeros: "
    "by a checksum, for example. A file that is whole from the start can be written under another name, synced, and renamed."
)
_ANY_PART = "A power cut can keep any part of what was not durable, so recovery must cope with each."
SIZE_FIRST = (
    "The filesystem's journal can make the new size of a file durable before any bytes. Where a file grew, the new bytes read as "
    "zeros then, and recovery must be able to tell a record from zeros: by a checksum, for example. Where a file shrank, "
    "everything that was to replace the lost bytes must have been synced before."
)
"""The reason if a crash breaks a promise once an inode is durable."""


@dataclass(frozen=True)
class Suspect:
    """A sync that was not made: in one line, and the remedy that would make it."""

    cause: str
    remedy: Remedy


@dataclass(frozen=True)
class Cause:
    """Why, as far as the lost changes say: in one line, and in a sentence more; both may be empty.

    ``suspects`` are the syncs whose lack may be to blame, the likeliest first; ``together`` is all of them and those of what the
    crash spared, if there is such; ``otherwise`` is the cause if none is to blame. ``refuted`` is what is known, in a line and a
    sentence, if a trial shows that none of them helps.
    """

    cause: str = ""
    because: str = ""
    suspects: tuple[Suspect, ...] = ()
    together: Suspect | None = None
    otherwise: str = ""
    refuted: tuple[str, str] = ("", "")

    @property
    def every(self) -> tuple[Suspect, ...]:
        """All suspects, in the order in which to try them."""
        return (*self.suspects, *([self.together] if self.together else []))


def cause_of(
    missing: Sequence[Missing],
    acked_lines: int,
    acked: str,
    *,
    loses: bool = True,
    unsynced: Sequence[Missing] = (),
    survived: Sequence[Missing] = (),
    torn: Sequence[Named] = (),
) -> Cause:
    """Derive the cause from what the crash took.

    Args:
        missing: the lost changes, in order.
        unsynced: all changes that it could have taken.
        survived: the changes after the first lost one that are there.
        torn: what the writes are about that it took in part.
        acked_lines: the number of the journal line that acknowledged last; 0 if none did.
        acked: what it acknowledged.
        loses: something is gone, as opposed to: something is wrong.
    """
    owed = [each for each in missing if each.lines < acked_lines]
    if not owed:
        return _disorder(missing, unsynced, survived, torn)
    suspects = _suspects(owed, acked)
    words, tried, together = _tried(suspects, [each for each in unsynced if each.lines < acked_lines])
    renamed = _renamed([each.named for each in reversed(owed)], (*unsynced, *survived))
    if renamed and not loses:
        return Cause(renamed[0].cause, _NAMED_EARLY, (*renamed, *tried), together)
    lost = "; ".join(in_words(each.named for each in owed)[:_WORDS_MAX])
    because = f"Nothing had synced what was acknowledged, so it was not durable: {lost}."
    return Cause(words, because, (*tried, *renamed), together)


def _suspects(owed: Sequence[Missing], acked: str) -> list[Suspect]:
    """Return a suspect for each file or directory, the latest first: the last change before an acknowledgement is nearest."""
    objects: dict[tuple[bool, str], list[Missing]] = {}
    for each in owed:
        objects.setdefault((each.named.kind == NAMES, each.named.now or each.named.path), []).append(each)
    found = []
    for (names, path), changes in sorted(objects.items(), key=lambda item: -item[1][-1].at):
        said = names or changes[-1].named.kind == ATTRIBUTE
        since = f"'{changes[-1].named.what}'" if said else "the write to it"
        cause = f"no fsync of {object_in_words(path, names)} between {since} and the acknowledgement of {acked}"
        found.append(Suspect(cause, Remedy(BEFORE_ACK, (object_pattern(path, names),))))
    return found


def _distinct(suspects: Sequence[Suspect]) -> list[Suspect]:
    """The first suspect of each remedy, in order."""
    found: dict[Remedy, Suspect] = {}
    for suspect in suspects:
        found.setdefault(suspect.remedy, suspect)
    return list(found.values())


def _patterns(suspects: Sequence[Suspect]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(suspect.remedy.paths[0] for suspect in suspects))


def _tried(suspects: Sequence[Suspect], owing: Sequence[Missing]) -> tuple[str, tuple[Suspect, ...], Suspect | None]:
    """Return all suspects in words; what to try, one by one and then together; and every sync that was owed.

    The last one has the syncs of what this crash spared, too; None if it spared nothing.
    """
    remedy, patterns = suspects[0].remedy, _patterns(suspects)
    cause = suspects[0].cause + (f"; and {len(suspects) - 1} more like it" if len(suspects) > 1 else "")
    every = [Suspect(cause, replace(remedy, paths=patterns))] if len(patterns) > 1 else []
    tried = (*_distinct(suspects)[:SUSPECTS_ALONE_MAX], *every)
    could = [object_pattern(each.named.now or each.named.path, each.named.kind == NAMES) for each in owing]
    spared = tuple(pattern for pattern in dict.fromkeys(could) if pattern not in (*patterns, remedy.changed))
    if not spared:
        return cause, tried, None
    text = f"{cause}; nor of {' and '.join(spared[:_SPARED_SHOWN])}, which this crash spared"
    return cause, tried, Suspect(text, replace(remedy, paths=(*patterns, *spared)))


def _renamed(data: Sequence[Named], others: Sequence[Missing]) -> list[Suspect]:
    """The first file that was given its name, by a rename or as a link, before its content was durable."""
    moved = [named for named in data if named.kind in (DATA, SIZE) and named.now not in ("", named.path)]
    links = [each.named.what for each in others if each.named.kind == NAMES]
    return [
        Suspect(
            f"no fsync of {named.path} before its {'link' if linked else 'rename'} to {named.now}",
            Remedy(BEFORE_RENAME, (object_pattern(named.path, False),)),
        )
        for named in moved[:1]
        for linked in [any(what.endswith(f" linked to {named.path}") for what in links)]
    ]


def cause_of_growth(named: Named) -> Cause:
    """The cause of a crash within a write that makes a file longer: it has its new size, and not its new content."""
    return Cause(_grown(named), f"The power failed within this write. {_GROWN}")


def _grown(named: Named) -> str:
    return f"{named.path} grew without its content: {in_words([named])[0]}, were lost and read as zeros"


def cause_of_restart(
    missing: Sequence[Missing] = (), unsynced: Sequence[Missing] = (), survived: Sequence[Missing] = ()
) -> Cause:
    """The cause of what shows only if the process was killed and restarted before the power failed.

    The changes are those of `cause_of`, as far as they are known, if none of those lost had been acknowledged. They say what is
    wrong if recovery is not to blame: it cannot cope with a part of them.
    """
    cause = "recovery built upon what only the page cache had"
    because = (
        "The process was killed and restarted before the power failed: recovery then read from the page cache what had never "
        "reached the disk."
    )
    plain = _part_of(missing, unsynced, survived) if missing else Cause()
    return Cause(
        cause, because, (Suspect(cause, Remedy(BEFORE_RECOVERY, ("*",))),), refuted=(plain.cause, plain.because)
    )


def _part_of(missing: Sequence[Missing], unsynced: Sequence[Missing], survived: Sequence[Missing]) -> Cause:
    """The cause if only a part of some changes is there; none if a sync may be missing, since that was not tried."""
    if survived or _grew(missing, unsynced):
        found = _disorder(missing, unsynced, survived, ())
        return found if not found.suspects else Cause(found.otherwise, _GROWN if found.otherwise else "")
    lost = "; ".join(in_words(each.named for each in missing)[:_WORDS_MAX])
    return Cause(f"the promise breaks if only the changes before this one are there: {lost}", _ANY_PART)


def _disorder(
    missing: Sequence[Missing], unsynced: Sequence[Missing], survived: Sequence[Missing], torn: Sequence[Named]
) -> Cause:
    """The cause if no lost change had been acknowledged: a later change survived that needed a lost one, or a part of one did."""
    if renamed := _renamed([each.named for each in missing], (*unsynced, *survived)):
        return Cause(renamed[0].cause, _NAMED_EARLY, tuple(renamed))
    if removed := next((each for each in survived if _removes(each.named)), None):
        what = f"'{removed.named.what}' in {object_in_words(removed.named.path, True)}"
        return _early(removed.at, what, _REMOVED_EARLY, missing, unsynced, BEFORE_REMOVAL)
    if torn:
        what = " and ".join(in_words(torn)[:_WORDS_MAX])
        return Cause(f"a torn write: only a part of it reached the disk: {what}", _TORN)
    if not missing:
        return Cause()
    named = missing[0].named
    what = object_in_words(named.path, named.kind == NAMES)
    because = f"Nothing made {what} durable before the changes after it, so the disk may keep any of them without it."
    grown = _grown(named) if _grew(missing, unsynced) else ""
    if overtook := _overtaking(missing, survived):
        path = overtook.named.now
        what = f"the change of {path}"
        found = _early(overtook.at, what, because, missing, unsynced, BEFORE_CHANGE, pattern_of(path))
        return replace(found, otherwise=grown)
    if grown:
        return Cause(grown, _GROWN)
    return Cause(f"later changes survived without this one: {in_words([named])[0]}", because)


def _overtaking(missing: Sequence[Missing], survived: Sequence[Missing]) -> Missing | None:
    """The last change of a file's content that is there, if the file lost nothing itself: the crash was safe before it."""
    lost = {each.named.now for each in missing}
    kept = [each for each in survived if each.named.kind in (DATA, SIZE) and each.named.now not in (*lost, "")]
    return kept[-1] if kept else None


def _removes(named: Named) -> bool:
    """Whether a change takes content away for ever."""
    return named.kind == NAMES and named.what.endswith((" removed", IN_PLACE))


def _early(
    at: int,
    what: str,
    because: str,
    missing: Sequence[Missing],
    unsynced: Sequence[Missing],
    before: str,
    changed: str = "",
) -> Cause:
    """The cause if a change at a position was durable before changes that should have been; ``what`` says which it was."""
    late = [each for each in missing if each.at < at]
    objects = dict.fromkeys((each.named.kind == NAMES, each.named.now or each.named.path) for each in late)
    suspects = [
        Suspect(
            f"no fsync of {object_in_words(path, names)} before {what}",
            Remedy(before, (object_pattern(path, names),), changed),
        )
        for names, path in objects
    ]
    _, tried, together = _tried(suspects, [each for each in unsynced if each.at < at])
    return Cause(suspects[0].cause, because, tried, together)


def _grew(missing: Sequence[Missing], unsynced: Sequence[Missing]) -> bool:
    """Whether only contents were lost, of a file whose new size was not."""
    gone = {each.at for each in missing}
    path = missing[0].named.path
    sized = any(each.named.kind == SIZE and each.named.path == path and each.at not in gone for each in unsynced)
    return sized and all(each.named.kind == DATA and each.named.path == path for each in missing)


def object_in_words(path: str, directory: bool) -> str:
    """Return a file or directory, by its path."""
    return folder_in_words(path) if directory else path


def object_pattern(path: str, directory: bool) -> str:
    """Return the pattern of a file or directory in a remedy."""
    if not directory:
        return pattern_of(path)
    return "./" if path == "." else f"{pattern_of(path)}/"
