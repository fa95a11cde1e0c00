"""The report of a mutation run: first what to add to the workload, then the figures, then each bug that was missed.

Pure functions from results to Markdown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from crashmatrix.scenarios.mutation.mutant import SourceMutant
from crashmatrix.scenarios.mutation.operators.table import OPERATORS
from crashmatrix.scenarios.mutation.results import KILLED, SURVIVORS_BEGIN, Kind, Tried

__all__ = ["Score", "additions", "outcomes_in_words", "report", "scores", "survivors", "table"]

_FENCE = "```"


@dataclass
class Score:
    """Counts mutants: those that were noticed, and those that count, which are neither equivalent nor undecided."""

    killed: int = 0
    counted: int = 0
    equivalent: int = 0
    undecided: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)

    def __str__(self) -> str:
        if not self.counted:
            return "-"
        return f"{self.killed} of {self.counted} ({100 * self.killed / self.counted:.0f} %)"


def scores(
    mutants: Iterable[SourceMutant],
    tried: Mapping[str, Tried],
    equivalent: Mapping[str, str],
    judges: Sequence[str],
    key: Callable[[SourceMutant], str] = lambda _: "",
) -> dict[str, Score]:
    """Return how many mutants any of these judges noticed, for each key; mutants without a result do not count."""
    found = defaultdict[str, Score](Score)
    for mutant in mutants:
        if (result := tried.get(mutant.id)) is None:
            continue
        score = found[key(mutant)]
        score.kinds.update(_kind(result, judges))
        if result.killed_by(judges):
            score.killed += 1
            score.counted += 1
        elif mutant.id in equivalent:
            score.equivalent += 1
        elif not result.decided(judges):
            score.undecided += 1
        else:
            score.counted += 1
    return dict(found)


def _kind(tried: Tried, judges: Sequence[str]) -> list[Kind]:
    """The outcome that counts: one that noticed the bug before others."""
    kinds = [tried.outcomes[judge].kind for judge in judges if judge in tried.outcomes]
    return sorted(kinds, key=lambda kind: kind not in KILLED)[:1]


def survivors(
    mutants: Iterable[SourceMutant], tried: Mapping[str, Tried], equivalent: Mapping[str, str], judges: Sequence[str]
) -> list[SourceMutant]:
    """Return the mutants that none of these judges noticed and that nobody argued to be equivalent."""
    return [
        mutant
        for mutant in mutants
        if mutant.id in tried
        and mutant.id not in equivalent
        and tried[mutant.id].decided(judges)
        and not tried[mutant.id].killed_by(judges)
    ]


def table(title: str, columns: Mapping[str, Mapping[str, Score]]) -> str:
    """Return a table of scores: a row for each key, a column for each group of judges."""
    keys = sorted({key for column in columns.values() for key in column})
    lines = [f"| {title} | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    lines += [f"| {key} | {' | '.join(str(column.get(key, Score())) for column in columns.values())} |" for key in keys]
    return "\n".join(lines)


def additions(missed: Sequence[SourceMutant], tried: Mapping[str, Tried], judge: str) -> list[str]:
    """Return what to add to the workload, what finds the most bugs first."""
    reasons = defaultdict[str, list[SourceMutant]](list)
    for mutant in missed:
        kind = tried[mutant.id].outcomes[judge].kind
        if kind == "unloaded":
            reasons[f"use {mutant.module}: nothing imports it"].append(mutant)
        elif kind == "unreached":
            reasons[f"reach {mutant.function} in {mutant.module}, line LINES: never executed"].append(mutant)
        else:
            operator = OPERATORS[mutant.operator]
            reasons[f"{operator.noticing} (missed: {operator.about})"].append(mutant)
    ordered = sorted(reasons.items(), key=lambda row: (-len(row[1]), row[0]))
    return [f"{_bugs(found)}: {reason.replace('LINES', _lines(found))}" for reason, found in ordered]


def _bugs(mutants: Sequence[SourceMutant]) -> str:
    return f"{len(mutants)} {'bug' if len(mutants) == 1 else 'bugs'}"


def _lines(mutants: Iterable[SourceMutant]) -> str:
    return ", ".join(map(str, sorted({mutant.line for mutant in mutants})))


def report(
    target: str, mutants: Sequence[SourceMutant], tried: Mapping[str, Tried], equivalent: Mapping[str, str], about: str
) -> str:
    """Return the report of a run with the judge ``harness``. ``about`` says how the mutants were tried."""
    judges = ["harness"]
    missed = survivors(mutants, tried, equivalent, judges)
    whole = scores(mutants, tried, equivalent, judges).get("", Score())
    lines = [f"{SURVIVORS_BEGIN}{target} misses {_bugs(missed)}", ""]
    if missed:
        lines += ["## Add to the workload", "", *(f"- {line}" for line in additions(missed, tried, "harness")), ""]
    lines += ["## Figures", "", f"{whole} noticed. {about}", "", _kinds(whole), ""]
    for title, key in (("module", _module), ("operator", _operator)):
        lines += [table(title, {"noticed": scores(mutants, tried, equivalent, judges, key)}), ""]
    lines += _missed(missed, tried)
    lines += [*_undecided(mutants, tried, judges), *_equivalent(mutants, equivalent)]
    return "\n".join(lines).rstrip() + "\n"


def _module(mutant: SourceMutant) -> str:
    return f"`{mutant.module}`"


def _operator(mutant: SourceMutant) -> str:
    return f"`{mutant.operator}`: {OPERATORS[mutant.operator].about}"


def outcomes_in_words(tried: Tried) -> str:
    """Say how each judge ended."""
    return ", ".join(f"{judge}: {outcome.kind}" for judge, outcome in tried.outcomes.items())


def _kinds(score: Score) -> str:
    shown = ", ".join(f"{kind} {count}" for kind, count in sorted(score.kinds.items()))
    return f"Outcomes: {shown}; equivalent {score.equivalent}, undecided {score.undecided}."


def _missed(missed: Sequence[SourceMutant], tried: Mapping[str, Tried]) -> Iterator[str]:
    if missed:
        yield "## The bugs that were missed"
    for mutant in missed:
        outcomes = outcomes_in_words(tried[mutant.id])
        yield f"\n### {mutant.id}\n\nLine {mutant.line}: {mutant.about} ({outcomes})\n\n{_FENCE}diff\n{mutant.diff()}\n{_FENCE}"


def _undecided(mutants: Iterable[SourceMutant], tried: Mapping[str, Tried], judges: Sequence[str]) -> Iterator[str]:
    found = [mutant for mutant in mutants if mutant.id in tried and not tried[mutant.id].decided(judges)]
    if found:
        yield "\n## Undecided: the harness itself failed\n"
    for mutant in found:
        yield f"- `{mutant.id}`: {next(iter(tried[mutant.id].outcomes.values())).about}"


def _equivalent(mutants: Iterable[SourceMutant], equivalent: Mapping[str, str]) -> Iterator[str]:
    found = [mutant for mutant in mutants if mutant.id in equivalent]
    if found:
        yield "\n## Equivalent: no run can tell these from the original\n"
    for mutant in found:
        yield f"- `{mutant.id}`: {equivalent[mutant.id]}"
