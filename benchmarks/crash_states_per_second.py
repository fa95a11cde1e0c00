"""Crash states checked a second, the time of each step, and the cost of recording.

    python -m benchmarks.crash_states_per_second [--states N] [--filesystem ext4] [--rounds N] [--targets A,B]

First the disk by itself: every image is mounted and checked. Then whole runs of the power experiment, with recordings and with
predicted states, which are not mounted.

The system is SQLite in WAL mode with synchronous=FULL. A checked state is: image applied, mounted (the filesystem
recovers), a checker forked that opens the database, checks its integrity and reads all rows, unmounted. Each worker
is a process pinned to one CPU with its own image. The median of several rounds is printed, and the spread, since the
machine may be busy with other work. Needs root.
"""

import argparse
import itertools
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from crashmatrix.faults.disk import (
    CrashImages,
    CrashState,
    CrashStates,
    Machine,
    RecordOptions,
    Trace,
    check_requirements,
    record,
)

ROWS = 60


def insert(root: Path, machine: Machine | None = None) -> float:
    """The workload; seconds it took."""
    start = time.perf_counter()
    db = sqlite3.connect(root / "rows.db", isolation_level=None)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=full")
    db.execute("create table rows (number integer primary key, filler)")
    for number in range(ROWS):
        db.execute("insert into rows values (?, ?)", (number, "filler" * 40))
        if machine:
            machine.note(b"ack %d" % number)
    db.close()
    return time.perf_counter() - start


def ingest(root: Path) -> float:
    """Ingest as many batches into the reference engine, which commits them ten at a time; return the seconds it took."""
    import pyarrow as pa  # Here, so that forks of what is above stay small.

    from crashmatrix.reference_wal import StorageEngine

    start = time.perf_counter()
    schema = pa.schema([("time", pa.timestamp("us")), ("value", pa.float64())])
    with StorageEngine.open(root / "engine") as engine:
        engine.create_table("t", schema, timestamp="time")
        for number in range(ROWS):
            times = pa.array(range(100 * number, 100 * number + 100), pa.timestamp("us"))
            engine.ingest("t", pa.record_batch([times, pa.array([float(number)] * 100)], schema=schema))
            if number % 10 == 9:
                engine.flush()
    return time.perf_counter() - start


def note_seconds(work: Callable[[Path], float], machine: Machine) -> None:
    machine.note(b"%f" % work(machine.root))


def insert_with_notes(machine: Machine) -> None:
    insert(machine.root, machine)


def check(root: Path, acknowledged: int) -> bool:
    try:
        db = sqlite3.connect(root / "rows.db", isolation_level=None)
        whole = db.execute("pragma integrity_check").fetchall() == [("ok",)]
        rows = db.execute("select count(*) from rows").fetchone()[0]
    except sqlite3.Error:
        return not acknowledged
    return bool(whole and rows >= acknowledged)


def check_in_fork(root: Path, acknowledged: int) -> bool:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            code = 0 if check(root, acknowledged) else 2
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def work(trace: Trace, states: list[CrashState]) -> dict[str, float]:
    """A worker's share; return the seconds by phase, and how many states broke a promise."""
    notes = [len(trace.notes_before(state.cut)) for state in states]
    broken, start = 0, time.perf_counter()
    with CrashImages(trace) as images:
        for state, acknowledged in zip(states, notes, strict=True):
            with images.mounted(state) as root:
                broken += not check_in_fork(root, acknowledged)
        seconds = time.perf_counter() - start
        spent = images.seconds
    return {**spent, "check": seconds - sum(spent.values()), "broken": broken}


def explore(trace: Trace, states: list[CrashState], workers: int) -> tuple[float, dict[str, float]]:
    """Seconds altogether, and seconds by phase summed over the workers."""
    # Neighbours in the trace go to one worker: moving an image between near cuts is cheap.
    ordered = sorted(states, key=lambda state: state.cut)
    size = -(-len(ordered) // workers)
    cpus = sorted(os.sched_getaffinity(0))
    start = time.perf_counter()
    children = []
    for number in range(workers):
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                os.sched_setaffinity(0, {cpus[number % len(cpus)]})
                spent = work(trace, ordered[number * size : (number + 1) * size])
                os.write(writer, json.dumps(spent).encode())
            finally:
                os._exit(0)
        os.close(writer)
        children.append((pid, reader))
    phases: dict[str, float] = {}
    for pid, reader in children:
        with os.fdopen(reader) as pipe:
            for name, value in json.load(pipe).items():
                phases[name] = phases.get(name, 0) + value
        os.waitpid(pid, 0)
    return time.perf_counter() - start, phases


def print_exploration(trace: Trace, states: list[CrashState], rounds: int) -> None:
    names = ("apply", "mount", "check", "unmount")
    print(f"{'workers':>8}{'states/s':>10}{'min':>7}{'max':>7}   milliseconds a state:", *(f"{n:>9}" for n in names))
    for workers in (1, 2):
        results = [explore(trace, states, workers) for _ in range(rounds)]
        assert not any(phases["broken"] for _, phases in results), "SQLite broke a promise it keeps"
        rates = [len(states) / seconds for seconds, _ in results]
        each = [statistics.median(phases[name] for _, phases in results) / len(states) * 1e3 for name in names]
        print(f"{workers:>8}{statistics.median(rates):>10.0f}{min(rates):>7.0f}{max(rates):>7.0f}", " " * 24, end="")
        print(*(f"{value:>9.2f}" for value in each))


def print_recording(filesystem: str, rounds: int) -> Trace:
    """Print the times of workloads on this machine's own disk and recorded, and of a whole recording; return a recording."""
    for name, work in ((f"{ROWS} commits of SQLite", insert), (f"{ROWS} batches, reference engine", ingest)):
        plain, recorded, whole = [], [], []
        for _ in range(rounds):
            directory = os.environ.get("BENCHMARK_DIRECTORY", "/var/tmp")
            with tempfile.TemporaryDirectory(dir=directory) as folder, get_context("fork").Pool(1) as child:
                plain.append(
                    child.apply(work, (Path(folder),))
                )  # Loaded packages such as deltalake do not survive a fork.
            start = time.perf_counter()
            trace = record(partial(note_seconds, work), options=RecordOptions(filesystem=filesystem))
            whole.append(time.perf_counter() - start)
            recorded.append(float(trace.notes_before(len(trace.operations))[-1]))
        ratio = statistics.median(its / own for its, own in zip(recorded, plain, strict=True))
        own, its, in_all = (statistics.median(seconds) * 1e3 for seconds in (plain, recorded, whole))
        print(f"{name:<34}{own:8.1f} ms on this machine's own disk,{its:8.1f} ms recorded: x {ratio:.2f};", end="")
        print(f"{in_all:8.1f} ms with mkfs, mount and trace")
    options = RecordOptions(filesystem=filesystem, nudge="mixed", seed=rounds - 1)
    return record(insert_with_notes, options=options)


def print_runs(targets: list[str], filesystem: str, states: int) -> None:
    """Whole power experiments, as `crashmatrix run` makes them."""
    from crashmatrix.scenarios.campaign.plan import Plan  # Here, so that forks of what is above stay small.
    from crashmatrix.scenarios.campaign.workbench import workbench
    from crashmatrix.scenarios.power.experiment import POWER

    print(
        f"{'a whole run':<20}{'recordings':>12}{'states':>8}{'mounted':>9}{'seconds':>9}{'states/s':>10}{'judging alone':>15}"
    )
    for target in targets:
        with tempfile.TemporaryDirectory() as folder:
            plan = Plan(target=target, budget=states, filesystems=(filesystem,), report=Path(folder))
            with workbench(plan) as (checker, _):
                experiment = POWER.experiment(checker, plan.experiment_options)
                start = time.perf_counter()
                experiment.run()
                seconds = time.perf_counter() - start
        assert {result.verdict.value for result in experiment.ordered()} == {"safe"}
        recordings, number = experiment.details["recordings"], len(experiment.results)
        mounted = sum(recording["mounted"] for recording in recordings)
        print(f"{target:<20}{len(recordings):>12}{number:>8}{mounted:>9}", end="")
        print(f"{seconds:>9.1f}{number / seconds:>10.0f}", end="")
        print(f"{experiment.details['states_per_second']:>15.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=600)
    parser.add_argument("--filesystem", default="ext4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--targets", default="sqlite:wal-full,reference")
    options = parser.parse_args()
    check_requirements((options.filesystem,))
    print(f"{options.filesystem}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    trace = print_recording(options.filesystem, options.rounds)
    every = CrashStates(trace)
    start = time.perf_counter()
    states = list(itertools.islice(every, options.states))
    seconds = time.perf_counter() - start
    coverage = every.coverage
    print(
        f"{len(trace.operations)} operations, {coverage.cuts} cuts, {coverage.enumerated} states enumerated in "
        f"{seconds * 1e3:.0f} ms, {coverage.distinct} distinct images, {len(states)} to check"
    )
    print_exploration(trace, states, options.rounds)
    for budget in (1000, 4000):
        print_runs(options.targets.split(","), options.filesystem, budget)


if __name__ == "__main__":
    main()
