"""Where in the program the power failed: between which lines of the journal, and which hits of failpoints."""

from __future__ import annotations

from collections.abc import Mapping

from crashmatrix.faults.disk import Note, Trace
from crashmatrix.scenarios.judging.words import shown
from crashmatrix.scenarios.power.recording import Recording, journal_before

__all__ = ["journal_lines", "place_of", "where"]

_HARNESS = "hit journal."
"""What the notes of the journal's own failpoints begin with: its lines say the same."""


def where(trace: Trace, cut: int, recording: Recording, declared: Mapping[str, str]) -> str:
    """Say after and before what the power failed; ``declared`` is where failpoints are declared, by name."""
    before = [note.decode(errors="replace") for note in trace.notes_before(cut)]
    lines = journal_lines(trace, cut, recording)
    hits = [note for note in before if note.startswith("hit ") and not note.startswith(_HARNESS)]
    parts = [f"after line {len(lines)} of the journal ({shown(lines[-1])})"] if lines else []
    parts += [f"after {_hit(hits[-1], declared)}"] if hits else []
    following = _following(trace, cut)
    if following.startswith("hit "):
        parts.append(f"before {_hit(following, declared)}")
    elif following:
        parts.append(f"before line {len(lines) + 1} ({shown(following)})")
    first = f"{', '.join(parts[:-1])} and " if parts[:-1] else ""
    return f"The power failed {first}{parts[-1] if parts else 'before the first line of the journal'}."


def _following(trace: Trace, cut: int) -> str:
    """The first note after a cut, the journal's own failpoints left out; empty if there is none."""
    operations = trace.operations[cut : trace.finish]
    after = [operation.text.decode(errors="replace") for operation in operations if isinstance(operation, Note)]
    return next((note for note in after if not note.startswith(_HARNESS)), "")


def place_of(operation: object, declared: Mapping[str, str]) -> str:
    """A note as a place in the program."""
    note = operation.text.decode(errors="replace") if isinstance(operation, Note) else ""
    return _hit(note, declared) if note.startswith("hit ") else f"the journal line {shown(note)}"


def _hit(note: str, declared: Mapping[str, str]) -> str:
    name, _, number = note.removeprefix("hit ").rpartition(" ")
    place = declared.get(name, "")
    return f"hit {number} of failpoint {name}{f' ({place})' if place else ''}"


def journal_lines(trace: Trace, cut: int, recording: Recording) -> list[str]:
    """The journal up to a cut, with the lines from before the recording."""
    return [*recording.before, *(line.decode(errors="replace") for line in journal_before(trace, cut))]
