"""The results of each judge by itself, in one file, so that a harness or tests can be tried alone.

A harness's result counts for the settings of the mutant's group, that of others for any: other budgets do not void it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from benchmarks.mutation.places import GROUPS, group_of, judges_of
from crashmatrix.scenarios.mutation.mutant import SourceMutant
from crashmatrix.scenarios.mutation.results import Outcome, ResultsFile, Tried, digest

__all__ = ["JUDGES", "ResultsByJudge"]

JUDGES = ("tests", "harness", "sweep")


class ResultsByJudge:
    """The file, with a line for each judge of a mutant."""

    def __init__(self, path: Path, judges: Collection[str] = JUDGES) -> None:
        """Read what is there. ``judges``: those that are to judge. Raises UsageError if it is not a file of results."""
        self._judges = judges
        self._others = {judge: ResultsFile(path, judge) for judge in JUDGES if judge != "harness"}
        self._harness = {
            group.name: ResultsFile(path, digest(msgspec.json.encode(group.harnesses).decode())) for group in GROUPS
        }

    def _file(self, mutant: SourceMutant, judge: str) -> ResultsFile:
        return self._harness[group_of(mutant.path).name] if judge == "harness" else self._others[judge]

    def known(self, mutant: SourceMutant) -> Tried | None:
        """Return what any judge found, as one result; None if none has judged."""
        found = {judge: tried for judge in JUDGES if (tried := self._file(mutant, judge).of(mutant))}
        if not found:
            return None
        first = next(iter(found.values()))
        outcomes = {judge: tried.outcomes[judge] for judge, tried in found.items()}
        return msgspec.structs.replace(first, outcomes=outcomes)

    def missing(self, mutant: SourceMutant) -> list[str]:
        """Return the judges, of those chosen, that have still to judge: the sweep only where the harness noticed nothing."""
        due = (judge for judge in judges_of(mutant.path) if judge in self._judges)
        found = [judge for judge in due if self._file(mutant, judge).of(mutant) is None]
        known = self.known(mutant)
        missed = known is not None and "harness" in known.outcomes and not known.killed_by(["harness"])
        return [judge for judge in found if judge != "sweep" or missed or "harness" in found]

    def of(self, mutant: SourceMutant) -> Tried | None:
        """Return the result of earlier runs, once all of the judges chosen have judged."""
        return None if self.missing(mutant) else self.known(mutant)

    def add(self, mutant: SourceMutant, outcomes: dict[str, Outcome]) -> Tried:
        """Append these results, and make them durable. Raises OSError."""
        for judge, outcome in outcomes.items():
            self._file(mutant, judge).add(mutant, {judge: outcome})
        tried = self.known(mutant)
        assert tried is not None
        return tried

    def forget(self, mutants: Iterable[str]) -> None:
        """Let the judges chosen judge these mutants again: their lines stay in the file, and the next ones count."""
        gone = set(mutants)
        files = [file for judge, file in self._others.items() if judge in self._judges]
        for file in [*files, *(self._harness.values() if "harness" in self._judges else ())]:
            file.forget(gone)
