"""docs/mutation.md: the figures of a mutation run, and each bug that nobody noticed."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from statistics import median

from benchmarks.mutation.places import group_of, judges_of
from crashmatrix.scenarios.mutation.mutant import SourceMutant
from crashmatrix.scenarios.mutation.operators.table import OPERATORS
from crashmatrix.scenarios.mutation.results import KILLED, Tried
from crashmatrix.scenarios.mutation.survivors import Score, outcomes_in_words, scores, survivors, table

__all__ = ["document"]

_JUDGES = {
    "harness": ["harness"],
    "harness, damage": ["harness", "sweep"],
    "unit tests": ["tests"],
    "all": ["harness", "sweep", "tests"],
}
_FENCE = "```"
_DURABLE = ("log", "delta", "transfer", "table", "spill")
"""The groups that promise durability."""

_HEAD = """# Mutants by machine

`make mutation` writes this page. It plants bugs by machine in the reference engine and in the code
that judges, one at a time, and counts who notices them: the harness, the sweep of damaged files,
the unit tests, and any of these. [The guide](mutate.md) says what the bugs are, and does the same
to your own store.

    make mutation                                    # an hour; goes on where the run before ended
    python -m benchmarks.mutation --only spill       # some modules
    python -m benchmarks.mutation --judge harness    # by the harness alone; the others may follow
    python -m benchmarks.mutation --judge harness --missed-by tests
    python -m benchmarks.mutation --document         # only write this page again

The results are in `benchmarks/mutation/results.jsonl`, a line for each mutant and judge. The
harness judges a sample of crash states with `kill`, then with `power` on `posix`, then of calls
that fail with `io-error`: 8 to 60 of each, second lives and crashes in recovery included
(`benchmarks/mutation/places.py`). `crashmatrix run` judges thousands. No crash damages what was
durable. So workloads damage two dozen files of copies of their folder, and the sweep one byte in a
hundred of all files; no other rows may come back (`tests/reference_wal/test_damage.py`). The sweep
judges mutants that the harness missed, unless `--judge` leaves it out. The unit tests of the engine
are those quick ones of `tests/reference_wal` that run the line with the bug; coverage.py says which
they are. Code that judges has the tests of the module, then the quick ones of its folder. Tests
elsewhere that would notice a bug do not count.

A mutant that the tests noticed need not be judged by the harness to count as noticed by any of
them; one that nobody has noticed so far counts as missed."""


def document(
    order: Sequence[SourceMutant],
    tried: Mapping[str, Tried],
    equivalent: Mapping[str, str],
    seed: int,
    remarks: str = "",
) -> str:
    """Return the page; ``order`` is that in which the mutants were drawn, ``remarks`` are a person's, on this run."""
    judged = [mutant for mutant in order if mutant.id in tried]
    if not judged:
        return f"{_HEAD}\n\nNo run is recorded yet.\n"
    sample = f"The sample: {len(judged):,} of {len(order):,} mutants, drawn with seed {seed}, each module and operator in turn."
    lines = [_HEAD, "", *textwrap.wrap(sample, 100), "", *_seconds(judged, tried), ""]
    lines += [remarks.strip(), ""] if remarks.strip() else []
    durable = [mutant for mutant in judged if _group(mutant) in _DURABLE]
    lines += ["## Modules that promise durability", "", _table("group", durable, tried, equivalent, _durable), ""]
    lines += ["## By module", "", _table("module", judged, tried, equivalent, _group), ""]
    lines += ["## By operator", "", _table("operator", judged, tried, equivalent, _operator), ""]
    lines += ["## How they fared", "", *_kinds(judged, tried, equivalent), ""]
    lines += [*_survivors(judged, tried, equivalent), *_equivalent(judged, equivalent)]
    return "\n".join(lines).rstrip() + "\n"


def _seconds(mutants: Sequence[SourceMutant], tried: Mapping[str, Tried]) -> Iterator[str]:
    """How long a judge took, for those that noticed the bug and those that ran to the end."""
    for name, judge in (("harness", "harness"), ("damage", "sweep"), ("unit tests", "tests")):
        found = [tried[mutant.id].outcomes[judge] for mutant in mutants if judge in tried[mutant.id].outcomes]
        for what, kinds in (("noticed", KILLED), ("survived", {"survived"})):
            if times := sorted(outcome.seconds for outcome in found if outcome.kind in kinds):
                yield f"- {name}, {what}: {len(times)}, median {median(times):.0f} s, longest {times[-1]:.0f} s"


def _group(mutant: SourceMutant) -> str:
    return group_of(mutant.path).name


def _operator(mutant: SourceMutant) -> str:
    return f"`{mutant.operator}`: {OPERATORS[mutant.operator].about}"


def _table(
    title: str,
    mutants: Sequence[SourceMutant],
    tried: Mapping[str, Tried],
    equivalent: Mapping[str, str],
    key: Callable[[SourceMutant], str],
) -> str:
    """A row for each key, a column for each group of judges. Code that only tests judge has a dash for the harness."""
    columns = dict[str, dict[str, Score]]()
    for name, judges in _JUDGES.items():
        fair = _drawn_for_the_harness(mutants, tried) if judges[0] == "harness" and name != "all" else mutants
        among = [mutant for mutant in fair if _counts(mutant, tried[mutant.id], judges)]
        columns[name] = scores(among, tried, equivalent, judges, key)
    return table(title, columns)


def _drawn_for_the_harness(mutants: Sequence[SourceMutant], tried: Mapping[str, Tried]) -> list[SourceMutant]:
    """Return the first mutants, up to one that the harness did not judge. Later ones it judged because others missed them."""

    def drawn(mutant: SourceMutant) -> bool:
        return "harness" not in judges_of(mutant.path) or "harness" in tried[mutant.id].outcomes

    return list(takewhile(drawn, mutants))


def _counts(mutant: SourceMutant, tried: Tried, judges: Sequence[str]) -> bool:
    """Whether these have judged it; of all, it is enough that one has: what nobody has noticed so far is missed.

    The sweep judges only mutants that the harness missed.
    """
    if judges == _JUDGES["all"]:
        return True
    due = [judge for judge in judges if judge != "sweep" and judge in judges_of(mutant.path)]
    return bool(due) and all(judge in tried.outcomes for judge in due)


def _durable(mutant: SourceMutant) -> str:
    del mutant
    return ", ".join(_DURABLE)


def _kinds(mutants: Sequence[SourceMutant], tried: Mapping[str, Tried], equivalent: Mapping[str, str]) -> Iterator[str]:
    for name in ("harness", "sweep", "tests"):
        among = [mutant for mutant in mutants if name in tried[mutant.id].outcomes]
        for score in scores(among, tried, equivalent, [name]).values():
            kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(score.kinds.items()))
            yield f"- {name}: {kinds}"


def _survivors(
    mutants: Sequence[SourceMutant], tried: Mapping[str, Tried], equivalent: Mapping[str, str]
) -> Iterator[str]:
    missed = survivors(mutants, tried, equivalent, _JUDGES["all"])
    yield f"## Survivors: {len(missed)} that nobody noticed"
    for mutant in missed:
        outcomes = outcomes_in_words(tried[mutant.id])
        yield f"\n`{mutant.id}`\n({outcomes})\n\n{_FENCE}diff\n{mutant.diff()}\n{_FENCE}"


def _equivalent(mutants: Sequence[SourceMutant], equivalent: Mapping[str, str]) -> Iterator[str]:
    found = [mutant for mutant in mutants if mutant.id in equivalent]
    if found:
        yield "\n## Equivalent: no run can tell these from the original\n"
    for mutant in found:
        yield textwrap.fill(
            f"- `{mutant.id}`: {equivalent[mutant.id]}", 100, subsequent_indent="  ", break_long_words=False
        )
