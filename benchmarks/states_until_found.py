"""Counts the crash states that are judged until a bug shows, with this enumeration and with that of an earlier commit.

    python -m benchmarks.states_until_found [--before COMMIT] [--seeds 20] [--most 1000] [--seconds 200] [CASE ...]

A case is a planted bug that power cuts show (`no-sync-record`), a target (`sqlite:wal-normal`, `package.module:Class`), each with
`@FILESYSTEM` at the end for another one than ext4. Without cases: all planted bugs that power cuts show, the rows of the README's
table that are not safe, and stores that overwrite a large block in place.

For each case, recordings of the workload are made as in a run, until one of them shows the bug. Both enumerations then go through
that same recording with each seed, up to `--most` judged states. They are counted as `--budget` counts them: before, images
after the same promises; now, outcomes. A verdict is found once for each outcome, so both see the same verdicts. A row has
the medians over the seeds, how often nothing was found, and the medians for the older enumeration if it counted outcomes, too.
Needs root, for ext4.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from crashmatrix.faults.disk import CrashState, CrashStates, StateOptions
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.errors import TargetFails
from crashmatrix.scenarios.power.judge import load_alone
from crashmatrix.scenarios.power.rounds import RESTARTS, nudges_on, restart
from crashmatrix.scenarios.power.schedule import Recordings
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.result import Returned
from crashmatrix.scenarios.recorded.recording import Recording, is_journal_line, journal_before
from crashmatrix.scenarios.recorded.restarts import restarted_at
from crashmatrix.scenarios.recorded.state_judge import StateJudge
from crashmatrix.scenarios.systems.loading import Target
from crashmatrix.scenarios.systems.reference.mutation.mutants import MUTANTS

STORES = "tests.scenarios.block_stores"
WITHOUT_CONTENT = "604a54728f5c83acdab133de436a0745accc7a74"
"""The last commit whose enumeration did not look at contents."""
UNSAFE = (
    *("sqlite:wal-normal", "sqlite:delete-full", "lmdb:nometasync", "lmdb:nosync", "replace:fsync", "replace:none"),
    *(
        "deltalake:plain",
        f"{STORES}:InPlace",
        f"{STORES}:OneSector",
        f"{STORES}:InPlace@posix",
        f"{STORES}:OneSector@posix",
    ),
)

Key = tuple[int, int]
Counts = tuple[list[int | None], list[int | None], list[int | None]]
"""For each seed, the states until the bug shows: before, before if outcomes had counted, now. None if it did not show."""


@dataclass(frozen=True)
class Search:
    """How far to look."""

    before: str
    """The module `crash_states` of the earlier commit."""
    seeds: int
    most: int
    seconds: float


def source_at(commit: str) -> str:
    """The module `crash_states` as it was in a commit."""
    command = ["git", "show", f"{commit}:faults/disk/crash_states.py"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def older(source: str) -> ModuleType:
    """An earlier module `crash_states`, on top of everything else of today."""
    module = ModuleType("older_crash_states")
    sys.modules[module.__name__] = module  # Dataclasses look there for their module.
    exec(compile(source, module.__name__, "exec"), module.__dict__)
    return module


def until_found(
    states: Iterable[CrashState], name: Callable[[CrashState], Key], broken: Callable[[CrashState], bool], most: int
) -> int | None:
    """How many states of different names come until one is broken."""
    seen = set[Key]()
    for state in states:
        key = name(state)
        if key not in seen:
            seen.add(key)
            if broken(state):
                return len(seen)
            if len(seen) == most:
                break
    return None


def count(_: Channel, target: Target, recording: Recording, search: Search) -> Counts | None:
    """The counts of one recording; None if no enumeration finds anything in it with the first seeds."""
    trace = load_alone(recording)
    first, end = restarted_at(trace), time.monotonic() + search.seconds
    before, names, verdicts = older(search.before), CrashStates(trace), dict[Key, bool]()
    lines = {}

    def events(state: CrashState) -> int:
        if state.cut not in lines:
            lines[state.cut] = len(journal_before(trace, state.cut))
        return lines[state.cut]

    def image(state: CrashState) -> Key:
        return names.digests.of(state), events(state)

    def outcome(state: CrashState) -> Key:
        return names.outcomes.of(state), events(state)

    with StateJudge(target, recording, trace, frozenset()) as judge:

        def broken(state: CrashState) -> bool:
            key = outcome(state)
            if key not in verdicts:
                verdicts[key] = judge.judge(state).verdict.broken
            return verdicts[key]

        counts: Counts = ([], [], [])
        old, old_outcomes, new = counts
        for seed in range(search.seeds):
            was = before.CrashStates(trace, before.StateOptions(seed=seed, first_cut=first))
            now = CrashStates(trace, StateOptions(seed=seed, first_cut=first), is_journal_line)
            new.append(until_found(now, outcome, broken, search.most))
            old.append(until_found(was, image, broken, search.most))
            old_outcomes.append(until_found(was, outcome, broken, search.most))
            late = time.monotonic() > end
            if (late or seed == 1) and not any(verdicts.values()):
                return None
            if late:
                break
    return counts


def recordings(made: Recordings, filesystem: str) -> Iterator[Recording]:
    """The recordings of a run, without those of a recovery, and without those that the bug itself ends."""
    for nudge in nudges_on(filesystem):
        with contextlib.suppress(TargetFails):
            yield made.record(filesystem, nudge)
    with contextlib.suppress(TargetFails):
        first = made.record(filesystem, nudges_on(filesystem, ("none", "writeback"))[0])
        for number, place in enumerate(made.places_in(first)[:RESTARTS], 1):
            yield made.record(filesystem, restart(number), place)


def measure(case: str, search: Search) -> tuple[str, Counts | None]:
    """The recording in which a case shows, and its counts."""
    name, _, filesystem = case.partition("@")
    plan = Plan(target=name)
    if name in MUTANTS:
        mutant = MUTANTS[name]
        plan = replace(plan, target=mutant.target, mutant=name)
        filesystem = filesystem or mutant.filesystems[0]
    filesystem = filesystem or "ext4"
    with tempfile.TemporaryDirectory() as folder, workbench(replace(plan, report=Path(folder))) as (checker, _):
        made = Recordings(checker.jobs, checker.target, checker.folder(), 0, [])
        for recording in recordings(made, filesystem):
            if recording.problem:
                continue
            result = checker.jobs.run(count, checker.target, recording, search, seconds_max=3 * search.seconds + 100)
            if not isinstance(result, Returned):
                return f"{recording.name}: {result}", None
            if result.value:
                return recording.name, result.value
    return "", None


def median(counts: list[int | None]) -> float:
    """The median, with what was not found last."""
    return statistics.median(float("inf") if number is None else number for number in counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--before", default=WITHOUT_CONTENT)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--most", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=200)
    options = parser.parse_args()
    search = Search(source_at(options.before), options.seeds, options.most, options.seconds)
    cases = options.cases or [*(name for name, bug in MUTANTS.items() if bug.dies == "machine"), *UNSAFE]
    print(f"{'':<40}{'seeds':>6}{'before':>8}{'now':>6}{'ratio':>7}{'not found':>12}{'outcomes before':>17}  recording")
    for case in cases:
        where, counts = measure(case, search)
        if not counts:
            print(f"{case.rpartition('.')[2]:<40} not found {where}", flush=True)
            continue
        old, old_outcomes, new = counts
        missed = f"{old.count(None)}, {new.count(None)}"
        print(
            f"{case.rpartition('.')[2]:<40}{len(new):>6}{median(old):>8.0f}{median(new):>6.0f}{median(old) / median(new):>7.1f}"
            f"{missed:>12}{median(old_outcomes):>17.0f}  {where}",
            flush=True,
        )


if __name__ == "__main__":
    from benchmarks import states_until_found  # Jobs import functions by their module's name.

    states_until_found.main()
