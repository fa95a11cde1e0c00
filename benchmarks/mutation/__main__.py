"""Plant bugs by machine in the reference engine and in the code that judges, and count who notices them.

    python -m benchmarks.mutation --minutes 60       # as `make mutation`: goes on where the run before ended
    python -m benchmarks.mutation --only spill,log   # some groups
    python -m benchmarks.mutation --judge harness    # by the harness alone; the tests may follow in another run
    python -m benchmarks.mutation --judge harness --missed-by tests
    python -m benchmarks.mutation --again            # judge the survivors once more, after a better workload or test
    python -m benchmarks.mutation --document         # only write docs/mutation.md from the results
    python -m benchmarks.mutation --shard 2/4        # a part; afterwards `cat` joins the files of results

Each mutant is judged by the harness, by the sweep of damaged files and by the unit tests. All results are stored, so the
scores of each alone and of some together come from the same mutants.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from benchmarks.mutation.baselines import Baselines
from benchmarks.mutation.by_judge import JUDGES, ResultsByJudge
from benchmarks.mutation.document import document
from benchmarks.mutation.places import GROUPS, ROOT, Group, group_of, sweep_of
from benchmarks.mutation.pytest_judge import EngineTests, UnitTests
from crashmatrix.scenarios.mutation.attempt import Settings
from crashmatrix.scenarios.mutation.bounded import Stopped
from crashmatrix.scenarios.mutation.harness import Harness, Undisturbed, undisturbed
from crashmatrix.scenarios.mutation.mutant import SourceMutant, mutants_of, sampled
from crashmatrix.scenarios.mutation.mutation_run import run_mutants
from crashmatrix.scenarios.mutation.results import Outcome, Tried, equivalents
from crashmatrix.scenarios.mutation.survivors import survivors
from crashmatrix.scenarios.shards import Shard

RESULTS = ROOT / "benchmarks" / "mutation" / "results.jsonl"
BASELINES = ROOT / "benchmarks" / "mutation" / ".baselines.json"
EQUIVALENT = ROOT / "benchmarks" / "mutation" / "equivalent.toml"
REMARKS = ROOT / "benchmarks" / "mutation" / "remarks.md"
DOCUMENT = ROOT / "docs" / "mutation.md"


class Judges:
    """The harness of a mutant's group, and its tests."""

    def __init__(self, stop: threading.Event, baselines: Baselines, results: ResultsByJudge, until: float) -> None:
        """No mutant is begun after ``until``, by the monotonic clock; those begun are judged to the end."""
        self._stop, self._baselines, self._results, self._until = stop, baselines, results, until
        self._tests, self._sweep = UnitTests(baselines), UnitTests(baselines, sweep_of)
        self.engine_tests = EngineTests(baselines)

    def __call__(self, mutant: SourceMutant, stop: threading.Event) -> dict[str, Outcome]:
        """Judge it by each that has not yet, also if the first noticed it."""
        if time.monotonic() > self._until:
            raise Stopped
        outcomes = dict[str, Outcome]()
        for judge in self._results.missing(mutant):
            if judge != "sweep" or "harness" not in outcomes or not outcomes["harness"].killed:
                outcomes[judge] = self._by(judge, mutant, stop)
        return outcomes

    def _by(self, judge: str, mutant: SourceMutant, stop: threading.Event) -> Outcome:
        if judge == "tests":
            return (self.engine_tests if group_of(mutant.path).harnesses else self._tests).judge(mutant, stop)
        if judge == "sweep":
            return self._sweep.judge(mutant, stop)
        return self._by_harness(mutant, group_of(mutant.path), stop)

    def _by_harness(self, mutant: SourceMutant, group: Group, stop: threading.Event) -> Outcome:
        outcomes = []
        for settings in group.harnesses:
            outcomes.append(Harness(settings, self._without_bug(settings)).judge(mutant, stop))
            if outcomes[-1].killed:
                return outcomes[-1]
        order = ("error", "survived", "unreached", "unloaded")  # It is reached if any of them reaches it.
        return min(outcomes, key=lambda outcome: order.index(outcome.kind))

    def _without_bug(self, settings: Settings) -> Undisturbed:
        def run() -> Undisturbed:
            modules = {path for group in GROUPS if settings in group.harnesses for path in group.modules}
            found = undisturbed(settings, sorted(modules), self._stop)
            print(f"{settings.target} without a bug: {found.outcome.about} in {found.outcome.seconds} s", flush=True)
            return found

        return self._baselines.once(msgspec.json.encode(settings).decode(), Undisturbed, run)


def every_mutant(groups: Iterable[Group]) -> list[SourceMutant]:
    return [
        mutant for group in groups for path in group.modules for mutant in mutants_of(path, str(path.relative_to(ROOT)))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="after so many, no mutant is begun")
    parser.add_argument("--sample", type=int, default=100_000, help="how many mutants to try at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", default="", help="names of groups")
    parser.add_argument("--judge", default=",".join(JUDGES), help="who judges")
    parser.add_argument("--missed-by", default="", help="only mutants that these judges have missed")
    parser.add_argument("--shard", default="1/1")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--document", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    groups = [group for group in GROUPS if not given.only or group.name in given.only.split(",")]
    everything = every_mutant(GROUPS)
    judges = given.judge.split(",")
    results, known = ResultsByJudge(given.results, judges), equivalents(EQUIVALENT)
    among = {path for group in groups for path in group.modules}
    drawn = sampled((mutant for mutant in everything if mutant.path in among), len(everything), given.seed)
    order = [*drawn, *(mutant for mutant in everything if mutant.path not in among)]
    if not given.document:
        chosen = drawn[: given.sample]
        if given.again:
            chosen = survivors(chosen, _tried(chosen, results), known, judges)
            results.forget(mutant.id for mutant in chosen)
        if given.missed_by:
            tried, others = _tried(chosen, results), set(given.missed_by.split(","))
            chosen = [mutant for mutant in chosen if mutant.id in tried and others <= tried[mutant.id].outcomes.keys()]
            chosen = survivors(chosen, tried, known, sorted(others))
        chosen.sort(key=lambda mutant: mutant.id in known)  # Equivalent ones take long, and come last.
        shard = Shard.parse(given.shard)
        _run(chosen[shard.number - 1 :: shard.of], results, given.jobs, given.minutes)
    remarks = REMARKS.read_text("utf-8")
    DOCUMENT.write_text(document(order, _tried(order, results), known, given.seed, remarks), "utf-8")
    print(f"wrote {DOCUMENT.relative_to(ROOT)}")


def _tried(mutants: Iterable[SourceMutant], results: ResultsByJudge) -> dict[str, Tried]:
    return {mutant.id: tried for mutant in mutants if (tried := results.known(mutant))}


def _run(mutants: Sequence[SourceMutant], results: ResultsByJudge, workers: int, minutes: float) -> None:
    stop, start = threading.Event(), time.monotonic()
    judges = Judges(stop, Baselines(BASELINES), results, start + 60 * minutes)

    def heard(mutant: SourceMutant, tried: Tried) -> None:
        kinds = ", ".join(f"{judge}: {outcome.kind} {outcome.by}" for judge, outcome in tried.outcomes.items())
        print(f"{time.monotonic() - start:6.0f} s  {mutant.id}  {mutant.about}  {kinds}", flush=True)

    try:
        run_mutants(mutants, judges, results, workers=workers, heard=heard, stop=stop)
    finally:
        judges.engine_tests.close()


if __name__ == "__main__":
    main()
