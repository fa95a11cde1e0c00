"""Nudges make the kernel write unsynced data, and so make crash states differ."""

import itertools
import os
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from crashmatrix.faults.disk import (
    NUDGES,
    CrashImages,
    CrashStates,
    Flush,
    Machine,
    RecordOptions,
    Trace,
    Write,
    record,
)
from crashmatrix.faults.disk.nudges import ASYNCHRONOUS, Nudger
from tests.faults.disk.support import ON_DISK, in_child, tree

pytestmark = pytest.mark.usefixtures("disk")


def test_a_seed_fixes_what_is_nudged_and_last_changed_files_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root" / "deep").mkdir(parents=True)
    for number in range(10):
        path = tmp_path / "root" / ("deep" if number % 2 else ".") / f"file{number}"
        path.write_bytes(bytes(40_000))
        os.utime(path, (number, number))

    def nudged(seed: int) -> list[tuple[str, int, int]]:
        done: list[tuple[str, int, int]] = []
        monkeypatch.setattr(
            "crashmatrix.faults.disk.nudges.start_writeback",
            lambda descriptor, *pages: done.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, *pages)),
        )
        nudger = Nudger("writeback", seed, tmp_path / "root", tmp_path / "unrelated")
        for _ in range(400):
            nudger.nudge()
        return done

    first = nudged(1)
    assert first == nudged(1) != nudged(2)
    assert 100 < len(first) < 300
    assert all(offset % 4096 == 0 and 0 < length <= 40_960 - offset for _, offset, length in first)
    names = Counter(name for name, _, _ in first)
    assert len(names) == 10
    assert names.most_common(1)[0][0] == "file9"


@pytest.mark.parametrize(
    ("kind", "done"),
    [
        ("commit", {"commit"}),
        ("writeback", {"write"}),
        ("mixed", {"write", "commit", "write commit"}),
        ("async", {"write", "commit"}),
        ("storm", {"write", "commit"}),
    ],
)
def test_what_a_nudge_does(kind: str, done: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `mixed`, data that was just written back is committed at once in one of three, so part of a write is durable."""
    (tmp_path / "file").write_bytes(bytes(9000))
    calls: list[str] = []
    monkeypatch.setattr("crashmatrix.faults.disk.nudges.start_writeback", lambda *_: calls.append("write"))
    monkeypatch.setattr(os, "fsync", lambda _: calls.append("commit"))
    nudger, seen = Nudger(kind, 3, tmp_path, tmp_path / "file"), Counter[str]()
    for _ in range(300):
        nudger.nudge_now()
        seen[" ".join(calls)] += 1
        calls.clear()
    assert seen.keys() == done
    assert kind != "mixed" or min(seen.values()) > 60


def test_another_draw_of_a_seed_has_other_nudges() -> None:
    """The filesystem is made by the seed alone."""
    seeds = {RecordOptions(seed=seed, draw=draw).nudge_seed for seed in (1, 2) for draw in (1, 2, 3)}
    assert len(seeds) == 6


COMMITS_SELDOM = (
    "ext4:commit=300"  # The kernel would commit by itself after five seconds, which a busy machine may take.
)


def lazy(machine: Machine) -> None:
    """Writes ten files over and over, and syncs nothing."""
    for number in range(30):
        (machine.root / f"file{number % 10}").write_bytes(b"%2d" % number * 6000)
        machine.note(b"%d" % number)


def lazy_for_long(machine: Machine) -> None:
    """Goes on until the disk was flushed three times, by any process: asynchronous nudges have no fixed times."""
    device = machine.root.stat().st_dev
    counters = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")

    def flushes() -> int:
        return int(counters.read_text().split()[15])  # Documentation/block/stat.rst

    enough = flushes() + 3
    while flushes() < enough:
        lazy(machine)


def recorded(kind: str, filesystem: str = "ext4", seed: int = 1) -> Trace:
    workload = lazy_for_long if kind in ASYNCHRONOUS else lazy
    return record(workload, options=RecordOptions(nudge=kind, filesystem=filesystem, seed=seed))


def counts(trace: Trace) -> tuple[int, int]:
    """Writes and flushes while the workload ran."""
    running = trace.operations[trace.start : trace.finish]
    return sum(isinstance(op, Write) for op in running), sum(isinstance(op, Flush) for op in running)


def can_do_without_flush(kind: str) -> bool:
    """Whether some recording has no flush: any other program on the machine may call sync(2), which flushes every disk."""
    return any(counts(recorded(kind, COMMITS_SELDOM))[1] == 0 for _ in range(10))


def test_without_nudges_nothing_becomes_durable() -> None:
    """ext4 writes files that were emptied and rewritten when they are closed, but without a flush."""
    assert can_do_without_flush("none")


@pytest.mark.parametrize("kind", [kind for kind in NUDGES if kind != "none"])
def test_each_kind_makes_the_kernel_write(kind: str) -> None:
    writes, flushes = counts(recorded(kind, COMMITS_SELDOM))
    assert writes > 3
    if kind == "writeback":  # It must not flush: data without metadata is its point.
        assert can_do_without_flush(kind)
    else:
        assert flushes > 0


@pytest.mark.parametrize("filesystem", ON_DISK)
def test_commits_make_metadata_durable_without_data(filesystem: str) -> None:
    """On each filesystem, an unsynced file can come back with a name and without its content.

    The kernel decides which file a commit finds without its content, so the test looks in several recordings.
    """
    whole = {b"%2d" % number * 6000 for number in range(30)}

    def shows(trace: Trace) -> bool:
        with CrashImages(trace) as images:
            for state in itertools.islice(CrashStates(trace), 40):
                with images.mounted(state) as root:
                    if any(content not in whole for content in tree(root).values()):
                        return True
        return False

    recordings = (recorded("commit", filesystem, seed) for seed in range(10))
    assert any(in_child(partial(shows, trace)) for trace in recordings)


def test_the_root_of_the_system_under_test_stays_its_own() -> None:
    """Nudges write outside the directory they nudge."""
    trace = recorded("mixed")

    def run() -> set[str]:
        with CrashImages(trace) as images, images.mounted(CrashStates(trace).clean) as root:
            return set(tree(root))

    assert in_child(run) == {f"file{number}" for number in range(10)}
