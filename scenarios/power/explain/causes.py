"""One crash told in plain sentences: what had been acknowledged, where the crash came, what it took, and why that matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crashmatrix.faults.disk import Note, Trace
from crashmatrix.faults.disk.trace.named import DATA, NAMES, SIZE, Named, in_words
from crashmatrix.scenarios.power.explain.remedies import (
    BEFORE_ACK,
    BEFORE_RECOVERY,
    BEFORE_RENAME,
    Remedy,
    pattern_of,
)
from crashmatrix.scenarios.power.explain.unsynced import Missing
from crashmatrix.scenarios.power.recording import Recording, is_journal_line, journal_before
from crashmatrix.scenarios.target.notes import AttemptNote, HitNote, acknowledgements, parse

__all__ = [
    "Cause",
    "Suspect",
    "acknowledged",
    "cause_of",
    "cause_of_later",
    "cause_of_restart",
    "journal_lines",
    "place_of",
    "shown",
    "where",
]

_SHOWN_CHARACTERS = 80
_ALONE_MAX, _SPARED_SHOWN = 3, 3
_NAMED_EARLY = "The name was durable before what it leads to: nothing had synced the content before the rename."
_HARNESS = "journal."
"""Failpoints of the journal itself: its lines say the same."""


def acknowledged(lines: Sequence[str], initial: int = 0) -> str:
    """How much had been promised, and by which line of the journal last; ``initial`` items were there before."""
    there = f" Besides, {_count(initial, 'item')} had been there from the start." if initial else ""
    acks = acknowledgements(lines)
    attempts = sum(isinstance(parse(line), AttemptNote) for line in lines)
    if not acks:
        return f"Nothing had been acknowledged yet; {_count(attempts, 'item')} had been attempted.{there}"
    last, note = acks[-1]
    item = shown(note.text)
    few = f"{len(acks)} of {_count(attempts, 'item')} attempted had been acknowledged"
    if len(acks) == attempts == 1:
        few = "The one item attempted had been acknowledged"
    elif len(acks) == attempts:
        few = f"All {attempts} items attempted had been acknowledged"
    return f"{few}: the last one, {item}, by line {last} of the journal.{there}"


def where(trace: Trace, cut: int, recording: Recording, declared: Mapping[str, str]) -> str:
    """Between which lines of the journal and hits of failpoints the power went; ``declared`` is name to place."""
    before = [note.decode(errors="replace") for note in trace.notes_before(cut)]
    operations = trace.operations[cut : trace.finish]
    after = [operation.text.decode(errors="replace") for operation in operations if isinstance(operation, Note)]
    known = len(recording.before)
    lines = [note for note in before if is_journal_line(note.encode())]
    hits = [hit for hit in map(parse, before) if isinstance(hit, HitNote) and not hit.name.startswith(_HARNESS)]
    parts = []
    if lines:
        parts.append(f"after line {known + len(lines)} of the journal ({shown(lines[-1])})")
    elif known:
        parts.append(f"after line {known} of the journal ({shown(recording.before[-1])})")
    if hits:
        parts.append(f"{'and ' if parts else ''}after {_hit(hits[-1], declared)}")
    for following in after:
        note = parse(following)
        if not isinstance(note, HitNote):
            parts.append(f"and before line {known + len(lines) + 1} ({shown(following)})")
            break
        if not note.name.startswith(_HARNESS):
            parts.append(f"and before {_hit(note, declared)}")
            break
    text = " ".join(parts) or "before the first line of the journal"
    return f"The power failed {text}."


def place_of(operation: object, declared: Mapping[str, str]) -> str:
    """A note as a place in the program."""
    text = operation.text.decode(errors="replace") if isinstance(operation, Note) else ""
    note = parse(text)
    return _hit(note, declared) if isinstance(note, HitNote) else f"the journal line {shown(text)}"


def _hit(hit: HitNote, declared: Mapping[str, str]) -> str:
    place = declared.get(hit.name, "")
    return f"hit {hit.number} of failpoint {hit.name}{f' ({place})' if place else ''}"


@dataclass(frozen=True)
class Suspect:
    """A sync that was not made: in one line, and the remedy that would make it."""

    cause: str
    remedy: Remedy


@dataclass(frozen=True)
class Cause:
    """Why, as far as the lost changes say: in one line, and in a sentence more; both may be empty.

    ``suspects`` are the syncs whose lack may be to blame, the likeliest first; ``together`` is all of them and those of what the
    crash spared, if there is such; ``otherwise`` is the cause if none is to blame.
    """

    cause: str = ""
    because: str = ""
    suspects: tuple[Suspect, ...] = ()
    together: Suspect | None = None
    otherwise: str = ""

    @property
    def every(self) -> tuple[Suspect, ...]:
        """In the order in which to try them."""
        return (*self.suspects, *([self.together] if self.together else []))


def cause_of(
    missing: Sequence[Missing], acked_lines: int, acked: str, *, loses: bool = True, unsynced: Sequence[Missing] = ()
) -> Cause:
    """Derive the cause from what the crash took.

    Args:
        missing: the lost changes, in order.
        unsynced: all that it could have taken.
        acked_lines: the number of the journal line that acknowledged last; 0 if none did.
        acked: what it acknowledged.
        loses: something is gone, as opposed to: something is wrong.
    """
    owed = [each for each in missing if each.lines < acked_lines]
    if not owed:
        return _disorder(missing)
    objects: dict[tuple[bool, str], list[Missing]] = {}
    for each in owed:
        objects.setdefault((each.named.kind == NAMES, each.named.now or each.named.path), []).append(each)
    suspects, renamed = list[Suspect](), list[Suspect]()
    # The latest first: what was asked for last before the acknowledgement is nearest to it.
    for (names, path), changes in sorted(objects.items(), key=lambda item: -item[1][-1].at):
        where = f"between '{changes[-1].named.what}'" if names else "between the write to it"
        what = f"directory {path}" if names else path
        cause = f"no fsync of {what} {where} and the acknowledgement of {acked}"
        suspects.append(Suspect(cause, Remedy(BEFORE_ACK, (_pattern(path, names),))))
        renamed += _renamed([each.named for each in changes])
    patterns = tuple(dict.fromkeys(suspect.remedy.paths[0] for suspect in suspects))
    rest = f"; and {len(suspects) - 1} more like it" if len(suspects) > 1 else ""
    every = [Suspect(suspects[0].cause + rest, Remedy(BEFORE_ACK, patterns))] if len(patterns) > 1 else []
    owing = [each.named for each in unsynced if each.lines < acked_lines]
    could = [_pattern(named.now or named.path, named.kind == NAMES) for named in owing]
    spared = tuple(pattern for pattern in dict.fromkeys(could) if pattern not in patterns)
    text = f"{suspects[0].cause}{rest}; nor of {' and '.join(spared[:_SPARED_SHOWN])}, which this crash spared"
    together = Suspect(text, Remedy(BEFORE_ACK, (*patterns, *spared))) if spared else None
    alone = list({suspect.remedy: suspect for suspect in reversed(suspects)}.values())[::-1][:_ALONE_MAX]
    lay = "; ".join(in_words(each.named for each in owed)[:4])
    because = f"What was acknowledged was not durable, nothing had synced it: {lay}."
    if renamed and not loses:
        return Cause(renamed[0].cause, _NAMED_EARLY, (*renamed[:1], *alone, *every), together)
    return Cause(suspects[0].cause + rest, because, (*alone, *every, *renamed[:1]), together)


def _renamed(data: Sequence[Named]) -> list[Suspect]:
    """Files that were given their name before what is in them was durable."""
    moved = [named for named in data if named.kind in (DATA, SIZE) and named.now not in ("", named.path)]
    return [
        Suspect(
            f"no fsync of {named.path} before its rename to {named.now}",
            Remedy(BEFORE_RENAME, (_pattern(named.path, False),)),
        )
        for named in moved[:1]
    ]


def cause_of_later(later: Sequence[Named], acked: str) -> Cause:
    """Where it is not known what was in memory: what the run wrote to the disk next may have been it. Only a trial tells."""
    inside = [named for named in later if named.path and not named.path.startswith("(outside)")]
    if not inside:
        return Cause()
    objects = dict.fromkeys((named.kind == NAMES, named.now or named.path) for named in inside)
    suspects = [
        Suspect(
            f"no fsync of {'directory ' if names else ''}{path} before the acknowledgement of {acked}",
            Remedy(BEFORE_ACK, (_pattern(path, names),)),
        )
        for names, path in objects
    ]
    because = f"Had the power not failed, what was written next is: {'; '.join(in_words(inside)[:4])}."
    alone = list({suspect.remedy: suspect for suspect in suspects}.values())
    patterns = tuple(suspect.remedy.paths[0] for suspect in alone)
    every = [Suspect(f"no fsync of what the acknowledgement of {acked} is about", Remedy(BEFORE_ACK, patterns))]
    return Cause("", because, (*alone[:_ALONE_MAX], *(every if len(patterns) > 1 else [])))


def cause_of_restart() -> Cause:
    """What shows only if the process was killed and restarted before the power went: recovery believed the page cache."""
    cause = "recovery built upon what only the page cache had"
    because = (
        "It shows only where the process was killed and restarted before the power went: recovery reads there what was "
        "written, and what the disk may never have got."
    )
    return Cause(cause, because, (Suspect(cause, Remedy(BEFORE_RECOVERY, ("*",))),))


def _disorder(missing: Sequence[Missing]) -> Cause:
    """Nothing lost was owed: something later survived that needed it."""
    if not missing:
        return Cause()
    renamed = _renamed([each.named for each in missing])
    if renamed:
        return Cause(renamed[0].cause, _NAMED_EARLY, tuple(renamed))
    named = missing[0].named
    words = in_words([named])[0]
    what = f"directory {named.path}" if named.kind == NAMES else named.path
    because = f"Nothing made {what} durable before what came after it, so the disk may take them in any order."
    return Cause(f"what came later was there without {words}", because)


def _pattern(path: str, directory: bool) -> str:
    if not directory:
        return pattern_of(path)
    return "./" if path == "." else f"{pattern_of(path)}/"


def journal_lines(trace: Trace, cut: int, recording: Recording) -> list[str]:
    """The journal up to a cut, of what came before the recording, too."""
    return [*recording.before, *(line.decode(errors="replace") for line in journal_before(trace, cut))]


def shown(text: str) -> str:
    """Text, shortened."""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
