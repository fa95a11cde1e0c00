"""One crash told in plain sentences: what had been acknowledged, where the crash came, what it took, and why that matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faults.disk import Note, Trace
from faults.disk.named import DATA, NAMES, SIZE, in_words
from scenarios.power_record import Recording, is_journal_line, journal_before
from scenarios.remedies import BEFORE_ACK, BEFORE_RENAME, Remedy, pattern_of
from scenarios.unsynced import Missing

__all__ = ["Cause", "acknowledged", "cause_of", "journal_lines", "shown", "where"]

_SHOWN_CHARACTERS = 80
_HARNESS = "journal."
"""Failpoints of the journal itself: its lines say the same."""


def acknowledged(lines: Sequence[str]) -> str:
    """How much had been promised, and by which line of the journal last."""
    acks = [number for number, line in enumerate(lines, 1) if line.startswith("ack ")]
    attempts = sum(line.startswith("attempt ") for line in lines)
    if not acks:
        return f"Nothing had been acknowledged yet; {_count(attempts, 'item')} had been attempted."
    last = acks[-1]
    item = shown(lines[last - 1].removeprefix("ack "))
    few = f"{len(acks)} of {_count(attempts, 'item')} attempted had been acknowledged"
    if len(acks) == attempts == 1:
        few = "The one item attempted had been acknowledged"
    elif len(acks) == attempts:
        few = f"All {attempts} items attempted had been acknowledged"
    return f"{few}: the last one, {item}, by line {last} of the journal."


def where(trace: Trace, cut: int, recording: Recording, declared: Mapping[str, str]) -> str:
    """Between which lines of the journal and hits of failpoints the power went; ``declared`` is name to place."""
    before = [note.decode(errors="replace") for note in trace.notes_before(cut)]
    operations = trace.operations[cut : trace.finish]
    after = [operation.text.decode(errors="replace") for operation in operations if isinstance(operation, Note)]
    known = len(recording.before)
    lines = [note for note in before if is_journal_line(note.encode())]
    hits = [note for note in before if note.startswith("hit ") and not note.startswith(f"hit {_HARNESS}")]
    parts = []
    if lines:
        parts.append(f"after line {known + len(lines)} of the journal ({shown(lines[-1])})")
    elif known:
        parts.append(f"after line {known} of the journal ({shown(recording.before[-1])})")
    if hits:
        parts.append(f"{'and ' if parts else ''}after {_hit(hits[-1], declared)}")
    following = next((note for note in after if not note.startswith(f"hit {_HARNESS}")), "")
    if following.startswith("hit "):
        parts.append(f"and before {_hit(following, declared)}")
    elif following:
        parts.append(f"and before line {known + len(lines) + 1} ({shown(following)})")
    text = " ".join(parts) or "before the first line of the journal"
    return f"The power failed {text}."


def _hit(note: str, declared: Mapping[str, str]) -> str:
    name, _, number = note.removeprefix("hit ").rpartition(" ")
    place = declared.get(name, "")
    return f"hit {number} of failpoint {name}{f' ({place})' if place else ''}"


@dataclass(frozen=True)
class Cause:
    """Why, as far as the lost changes say: in one line, in a sentence more, and what could be tried; all may be empty."""

    cause: str = ""
    because: str = ""
    suggestion: str = ""
    remedies: tuple[Remedy, ...] = ()


def cause_of(missing: Sequence[Missing], acked_lines: int, acked: str) -> Cause:
    """Derive the cause from what the crash took.

    Args:
        missing: the lost changes, in order.
        acked_lines: the number of the journal line that acknowledged last; 0 if none did.
        acked: what it acknowledged.
    """
    owed = [each for each in missing if each.lines < acked_lines]
    if not owed:
        return _disorder(missing)
    item = f"the acknowledgement of {acked}"
    objects: dict[tuple[bool, str], list[Missing]] = {}
    for each in owed:
        objects.setdefault((each.named.kind == NAMES, each.named.now or each.named.path), []).append(each)
    causes, remedies = [], []
    # The latest first: what was asked for last before the acknowledgement is nearest to it.
    for (names, path), changes in sorted(objects.items(), key=lambda item: -item[1][-1].at):
        last = changes[-1].named
        if names:
            causes.append(f"no fsync of directory {path} between '{last.what}' and {item}")
        else:
            causes.append(f"no fsync of {path} between the write to it and {item}")
        remedies.append(Remedy(BEFORE_ACK, (_pattern(path, names),)))
    every = tuple(dict.fromkeys(remedy.paths[0] for remedy in remedies))
    if len(every) > 1:
        remedies.append(Remedy(BEFORE_ACK, every))
    rest = f"; and {len(causes) - 1} more like it" if len(causes) > 1 else ""
    because = (
        "What was acknowledged lay in memory only: "
        + "; ".join(in_words(each.named for each in owed)[:4])
        + ". Nothing had made it durable."
    )
    return Cause(causes[0] + rest, because, "", tuple(dict.fromkeys(remedies)))


def _disorder(missing: Sequence[Missing]) -> Cause:
    """Nothing lost was owed: something later survived that needed it."""
    if not missing:
        return Cause()
    data = [each.named for each in missing if each.named.kind in (DATA, SIZE)]
    renamed = [named for named in data if named.now and named.now != named.path]
    if renamed:
        first = renamed[0]
        return Cause(
            f"no fsync of {first.path} before its rename to {first.now}",
            f"The name {first.now} led to a file whose content was not durable: the rename reached the disk before the data.",
            "",
            (Remedy(BEFORE_RENAME, (_pattern(first.path, False),)),),
        )
    first = missing[0].named
    words = in_words([first])[0]
    what = f"directory {first.path}" if first.kind == NAMES else first.path
    return Cause(
        f"what came later was there without {words}",
        f"Nothing was in between that makes {what} durable first, so the disk may take them in any order.",
    )


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
