"""Crash images of disks: each is what its state says, whatever was done to the one before, and nothing is left behind."""

import contextlib
import itertools
import os
import random
from pathlib import Path

import pytest

from crashmatrix.faults.disk import CrashStates, Machine, MountRefused, RecordOptions, Trace, record
from crashmatrix.faults.disk.block.images import DiskImages
from tests.faults.disk.block.support import image_of
from tests.faults.disk.support import ON_DISK, in_child, random_trace, tree, write_durably

pytestmark = pytest.mark.usefixtures("disk")


def program(machine: Machine) -> None:
    for number in range(6):
        (machine.root / f"loose{number}").write_bytes(b"%d" % number * 6000)
        write_durably(machine.root / f"file{number}", b"%d" % number * 3000)
        machine.note(b"%d" % number)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture(scope="module")
def trace() -> Trace:
    return record(program, options=RecordOptions(nudge="mixed"))


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_states_gives_the_image_of_each(seed: int) -> None:
    """Going to and fro between cuts, with and without tears, never leaves a trace of an earlier state."""
    made_up = random_trace(seed)
    states = list(itertools.islice(CrashStates(made_up), 150))
    random.Random(seed).shuffle(states)

    def run() -> list[int]:
        with DiskImages(made_up) as images:
            return [(images.apply(state), images.digest())[1] for state in states]  # type: ignore[func-returns-value]

    digests = CrashStates(made_up).digests
    assert in_child(run) == [digests.of(state) for state in states]


def test_a_reader_of_the_device_sees_the_image_that_was_applied() -> None:
    """A reader does not see the kernel's cache of the image before."""
    made_up = random_trace(9)
    states = list(itertools.islice(CrashStates(made_up), 20))

    def run() -> list[bytes]:
        with DiskImages(made_up) as images:
            found = []
            for state in states:
                images.apply(state)
                found.append(Path(images.device).read_bytes())
            return found

    assert in_child(run) == [image_of(made_up, state) for state in states]


@pytest.mark.daily(2)
@pytest.mark.parametrize("filesystem", ON_DISK)
def test_what_is_done_to_a_mounted_image_is_undone(filesystem: str) -> None:
    """Recovery, writing, deleting and syncing on one state change nothing in the next."""
    recorded = record(program, options=RecordOptions(filesystem=filesystem))
    states = CrashStates(recorded)
    chosen = list(itertools.islice(states, 10))

    def run() -> None:
        with DiskImages(recorded) as images:
            with images.mounted(states.clean) as root:
                clean = tree(root)
            for state in chosen:
                with images.mounted(state) as root:
                    for path in root.iterdir():
                        path.unlink()
                    (root / "dirt").write_bytes(b"d" * (4 << 20))
                    os.sync()
                images.apply(state)
                assert images.digest() == states.digests.of(state)
            with images.mounted(states.clean) as root:
                assert tree(root) == clean

    in_child(run)


def test_a_busy_image_is_left_to_the_process_that_uses_it(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that will not let go of a mounted image cannot spoil the next one."""
    monkeypatch.setattr("crashmatrix.faults.disk.block.images._BUSY_SECONDS", 0.02)
    states = CrashStates(trace)
    state = next(iter(states))

    def run() -> None:
        with DiskImages(trace) as images:
            before = open_descriptors()
            with images.mounted(state) as root:
                held = (root / "held").open("wb", buffering=0)
            held.write(b"still there")
            images.apply(state)
            assert images.digest() == states.digests.of(state)
            with images.mounted(state) as root:
                assert not (root / "held").exists()
            held.close()
            assert open_descriptors() == before

    in_child(run)


@pytest.mark.parametrize("states", [300, pytest.param(1000, marks=pytest.mark.slow)])
def test_states_leak_nothing(states: int, trace: Trace) -> None:
    """Descriptors, loop devices and memory are the same after many mounted states as after 100; a filesystem may refuse some."""
    chosen = list(itertools.islice(CrashStates(trace), 100))

    def footprint() -> tuple[int, int, int]:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        mounts = len(Path("/proc/self/mountinfo").read_text().splitlines())
        return open_descriptors(), mounts, resident >> 20

    def run() -> tuple[tuple[int, int, int], tuple[int, int, int], set[str]]:
        with DiskImages(trace) as images:
            devices = set()
            early = footprint()
            for number, state in enumerate(itertools.islice(itertools.cycle(chosen), states)):
                with contextlib.suppress(MountRefused), images.mounted(state):
                    devices.add(images.device)
                if number == 100:
                    early = footprint()
            late = footprint()
        return early, late, devices

    early, late, devices = in_child(run)
    assert late[:2] == early[:2]
    assert late[2] - early[2] <= 4
    assert len(devices) == 1


def test_a_saved_image_is_the_crash_state_before_recovery(trace: Trace, tmp_path: Path) -> None:
    """The file is what the disk held, bit for bit, and sparse."""
    state = list(itertools.islice(CrashStates(trace), 30))[-1]

    def run() -> bool:
        with DiskImages(trace) as images:
            images.save(state, tmp_path / "image")
            return Path(images.device).read_bytes() == (tmp_path / "image").read_bytes()

    assert in_child(run)
    assert (tmp_path / "image").stat().st_blocks * 512 < trace.size_bytes // 4
