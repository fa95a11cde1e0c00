"""Nudges make the kernel write what nobody synced, and so make crash states differ."""

import itertools
import time

import pytest

from faults.disk import (
    FILESYSTEMS,
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
from tests.faults_disk.support import in_child, tree

pytestmark = pytest.mark.usefixtures("disk")


def lazy(machine: Machine) -> None:
    """Writes ten files over and over, and syncs nothing."""
    for number in range(30):
        (machine.root / f"file{number % 10}").write_bytes(b"%2d" % number * 6000)
        machine.note(b"%d" % number)
        time.sleep(0.002)


def recorded(kind: str, filesystem: str = "ext4", seed: int = 1) -> Trace:
    return record(lazy, options=RecordOptions(nudge=kind, filesystem=filesystem, seed=seed))


def counts(trace: Trace) -> tuple[int, int]:
    """Writes and flushes while the workload ran."""
    running = trace.operations[trace.start : trace.finish]
    return sum(isinstance(op, Write) for op in running), sum(isinstance(op, Flush) for op in running)


def test_without_nudges_nothing_becomes_durable() -> None:
    """ext4 writes files that were emptied and written anew when they are closed, but nobody asks for a flush."""
    assert counts(recorded("none"))[1] == 0


@pytest.mark.parametrize("kind", [kind for kind in NUDGES if kind != "none"])
def test_each_kind_makes_the_kernel_write(kind: str) -> None:
    writes, flushes = counts(recorded(kind))
    assert writes > 3
    # Writing back is what must not flush: data without metadata is its point.
    assert (flushes == 0) == (kind == "writeback")


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_commits_make_metadata_durable_without_data(filesystem: str) -> None:
    """On each filesystem, a file that nobody synced can come back empty or short: it has a name and no content."""
    trace = recorded("commit", filesystem)

    def run() -> set[int]:
        sizes: set[int] = set()
        with CrashImages(trace) as images:
            for state in itertools.islice(CrashStates(trace), 40):
                with images.mounted(state) as root:
                    sizes.update(len(content) for content in tree(root).values() if content is not None)
        return sizes

    assert 0 in in_child(run)


def test_the_root_of_the_system_under_test_stays_its_own() -> None:
    """Nudges write outside the directory they nudge."""
    trace = recorded("mixed")

    def run() -> set[str]:
        with CrashImages(trace) as images, images.mounted(CrashStates(trace).clean) as root:
            return set(tree(root))

    assert in_child(run) == {f"file{number}" for number in range(10)}
