"""The place in the program where the power failed: between two lines of the journal, and two hits of failpoints."""

from __future__ import annotations

from collections.abc import Mapping

from crashmatrix.faults.disk import Note, Trace
from crashmatrix.scenarios.judging.words import shown
from crashmatrix.scenarios.recorded.recording import Recording, journal_before
from crashmatrix.scenarios.target.notes import KILLED, RESUMED, AnyNote, HitNote, parse

__all__ = ["is_harness", "journal_lines", "place_before", "where"]

_HARNESS = "journal."
"""The journal's own failpoints begin with this. Their hits are left out, since its lines say the same."""


def where(trace: Trace, cut: int, recording: Recording, declared: Mapping[str, str]) -> str:
    """Say after and before what the power failed; ``declared`` is where failpoints are declared, by name."""
    lines = journal_lines(trace, cut, recording)
    hits = [note for note in map(parse, trace.notes_before(cut)) if isinstance(note, HitNote) and not is_harness(note)]
    parts = [f"after line {len(lines)} of the journal ({shown(lines[-1])})"] if lines else []
    parts += [f"after {_hit(hits[-1], declared)}"] if hits else []
    following = _following(trace, cut)
    if isinstance(following, HitNote):
        parts.append(f"before {_hit(following, declared)}")
    elif following:
        parts.append(f"before line {len(lines) + 1} ({_text(following)})")
    first = f"{', '.join(parts[:-1])} and " if parts[:-1] else ""
    return f"The power failed {first}{parts[-1] if parts else 'before the first line of the journal'}."


def _following(trace: Trace, cut: int) -> AnyNote | None:
    """The first note after a cut, the journal's own failpoints left out; None if there is none."""
    operations = trace.operations[cut : trace.finish]
    after = (parse(operation.text) for operation in operations if isinstance(operation, Note))
    return next((note for note in after if not is_harness(note)), None)


def place_before(trace: Trace, position: int, declared: Mapping[str, str]) -> str:
    """The last note before a position of the trace, as a place in the program; empty if there is none."""
    notes = (parse(each.text) for each in reversed(trace.operations[:position]) if isinstance(each, Note))
    note = next((note for note in notes if not is_harness(note)), None)
    if note is None:
        return ""
    return _hit(note, declared) if isinstance(note, HitNote) else f"the journal line {_text(note)}"


def is_harness(note: AnyNote) -> bool:
    """Whether a note is a hit of one of the journal's own failpoints."""
    return isinstance(note, HitNote) and note.name.startswith(_HARNESS)


def _text(note: AnyNote) -> str:
    return shown(note.encoded().decode(errors="replace"))


def _hit(hit: HitNote, declared: Mapping[str, str]) -> str:
    if hit == KILLED:
        return "the kill of the process"
    if hit == RESUMED:
        return "the system was resumed"
    place = declared.get(hit.name, "")
    return f"hit {hit.number} of failpoint {hit.name}{f' ({place})' if place else ''}"


def journal_lines(trace: Trace, cut: int, recording: Recording) -> list[str]:
    """The journal up to a cut, with the lines from before the recording."""
    return [*recording.before, *(line.decode(errors="replace") for line in journal_before(trace, cut))]
