"""Recordings on real filesystems: what was promised is in every state after it, what was not is missing in some."""

import itertools
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from crashmatrix.faults.disk import (
    FILESYSTEMS,
    CrashImages,
    CrashState,
    CrashStates,
    DiskFault,
    Failure,
    InvalidOption,
    Machine,
    Mark,
    MountRefused,
    Note,
    RecordingFailed,
    Recordings,
    RecordOptions,
    Trace,
    WorkloadFailed,
    Write,
    load_trace,
    record,
    save_trace,
)
from crashmatrix.faults.disk.block.fault_switch import FaultSwitch
from crashmatrix.faults.disk.block.images import DiskImages
from tests.faults.disk.support import ON_DISK, in_child, tree, write_durably

pytestmark = pytest.mark.usefixtures("disk")


def program(machine: Machine) -> None:
    """Leave one file to the kernel, make one durable and promise it, and leave one more to the kernel."""
    (machine.root / "unsynced").write_bytes(b"u" * 20_000)
    write_durably(machine.root / "synced", b"s" * 20_000)
    machine.note(b"synced")
    (machine.root / "late").mkdir()
    (machine.root / "late" / "file").write_bytes(b"l" * 5000)
    machine.note(b"late")


def prepare(root: Path) -> None:
    (root / "before").write_bytes(b"p" * 9000)


WANTED = {
    "before": b"p" * 9000,
    "unsynced": b"u" * 20_000,
    "synced": b"s" * 20_000,
    "late/file": b"l" * 5000,
    "late": None,
}


@pytest.mark.daily(2)
@pytest.mark.parametrize("filesystem", ON_DISK)
def test_a_small_program_through_every_crash(filesystem: str, tmp_path: Path) -> None:
    """The promises of fsync hold, nothing else does, and ids rebuild images after the trace was saved and loaded."""
    recorded = record(program, prepare=prepare, options=RecordOptions(filesystem=filesystem, nudge="mixed", seed=3))
    save_trace(recorded, tmp_path / "a.trace")
    trace = load_trace(tmp_path / "a.trace")
    states = CrashStates(trace)
    first = CrashState(trace.start, 0)  # Before anything was done, whatever the kernel made of it later.
    chosen = [first, *itertools.islice(states, 60)]

    def explore() -> tuple[dict[str, bytes | None], list[tuple[str, int, dict[str, bytes | None]]]]:
        with DiskImages(trace) as images:
            with images.mounted(states.clean) as root:
                clean = tree(root)
            seen = []
            for state in chosen:
                images.apply(CrashState.parse(str(state), trace))
                digest = images.digest()
                with images.mounted(state) as root:
                    seen.append((str(state), digest, tree(root)))
            return clean, seen

    clean, seen = in_child(explore)
    assert clean == WANTED
    assert len({digest for _, digest, _ in seen}) > 1
    for state, (name, digest, found) in zip(chosen, seen, strict=True):
        assert str(state) == name
        assert digest == states.digests.of(state) == CrashStates(recorded).digests.of(state)
        assert found.get("before") == WANTED["before"]
        if b"synced" in trace.notes_before(state.cut):
            assert found.get("synced") == WANTED["synced"], name
    assert any(found.get("unsynced") != WANTED["unsynced"] for _, _, found in seen)
    assert any("late/file" not in found for _, _, found in seen)


def test_the_order_of_notes_and_marks() -> None:
    """Notes stand in the trace where they were made, and the flush that a promise rests on stands before it."""
    trace = record(program)
    names = [op.text if isinstance(op, Note) else op.name for op in trace.operations if isinstance(op, Note | Mark)]
    assert names == ["start", b"synced", b"late", "finish"]
    synced = trace.operations.index(Note(b"synced"))
    assert trace.epoch_start(synced) > trace.start
    assert b"s" * 4096 in b"".join(op.data for op in trace.operations[:synced] if isinstance(op, Write))


def test_another_program_writes_notes_as_lines() -> None:
    """Any program that can append lines to a file can make promises: in one write or many, finished or not."""

    def shell(machine: Machine) -> None:
        script = 'cd "$1"; echo "attempt 1" >> "$2"; echo x > a; sync a; printf "ack 1\\nattempt 2\\nac" >> "$2"'
        subprocess.run(["sh", "-c", script, "sh", machine.root, machine.notes], check=True)
        with machine.notes.open("ab", buffering=0) as first, machine.notes.open("ab", buffering=0) as second:
            first.write(b"fir")
            second.write(b"sec")
            first.write(b"st\n")
            second.write(b"ond\n" + b"n" * 200_000 + b"\n")

    notes = record(shell).notes_before(10**9)
    assert notes[:6] == (b"attempt 1", b"ack 1", b"attempt 2", b"ac", b"first", b"second")
    assert notes[6] == b"n" * 200_000


def test_an_exec_of_another_program() -> None:
    """A workload may become another program."""

    def become(machine: Machine) -> None:
        os.execv("/bin/sh", ["sh", "-c", f"echo made > {machine.root}/it; echo done > {machine.notes}"])

    trace = record(become)
    assert trace.notes_before(10**9) == (b"done",)

    def look() -> dict[str, bytes | None]:
        with CrashImages(trace) as images, images.mounted(CrashStates(trace).clean) as root:
            return tree(root)

    assert in_child(look) == {"it": b"made\n"}


def test_threads_and_mapped_memory_are_recorded() -> None:
    """Stores through a mapping reach the trace like any write."""

    def work(machine: Machine) -> None:
        import mmap

        path = machine.root / "mapped"
        path.write_bytes(bytes(8192))
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 8192) as mapped:

            def store() -> None:
                mapped[5000:5006] = b"stored"
                mapped.flush()

            thread = threading.Thread(target=store)
            thread.start()
            thread.join()

    writes = [op.data for op in record(work).operations if isinstance(op, Write)]
    assert any(b"stored" in data for data in writes)


def test_mount_options_reach_the_filesystem() -> None:
    def work(machine: Machine) -> None:
        line = next(line for line in Path("/proc/mounts").read_text().splitlines() if str(machine.root.parent) in line)
        machine.note(line.encode())

    note = record(work, options=RecordOptions(filesystem="ext4:data=journal,noatime")).notes_before(10**9)[0]
    assert b"noatime" in note
    assert b"data=journal" in note


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (DiskFault(request="flush", nth=1), "OSError: [Errno 5]"),
        (DiskFault(request="write", nth=1, error="ENOSPC"), "OSError: [Errno 28]"),
        (DiskFault(request="write", nth=1, always=True), "OSError: [Errno 5]"),
    ],
    ids=str,
)
def test_a_disk_fault_reaches_the_program_and_the_trace(fault: DiskFault, error: str) -> None:
    """The n-th request fails, the trace knows, and the failed write changed nothing; a request of the program's fsync says so.

    The first request may be one of the kernel's own, of which it ignores the error. So later ones fail, too.
    """

    def work(machine: Machine) -> None:
        for number in range(3):
            write_durably(machine.root / f"file{number}", b"f" * 4096)

    for nth in range(1, 10):
        trace = record(work, options=RecordOptions(disk_faults=(replace(fault, nth=nth),)))
        failures = [operation for operation in trace.operations if isinstance(operation, Failure)]
        assert failures[0].request == fault.request
        assert len(failures) == 1 or fault.always
        if trace.exit_status:
            break
    assert error in trace.error
    assert trace.exit_status == 1
    first = trace.operations.index(failures[0])
    before = [op for op in trace.operations[:first] if isinstance(op, Write)]
    there = [op.data for op in before if op.offset <= failures[0].offset < op.offset + len(op.data)]
    if fault.request == "write":
        assert not any(b"f" * 4096 in data for data in there)


def test_a_read_that_fails_reaches_the_program_and_the_trace() -> None:
    """A program that reads what an earlier one stored gets the error; without the fault, its reads are counted."""

    def reads(machine: Machine) -> None:
        assert (machine.root / "stored").read_bytes() == b"s" * 40_000

    stored = record(lambda _: None, prepare=lambda root: write_durably(root / "stored", b"s" * 40_000))
    whole, switch = CrashState.whole(stored, len(stored.operations)), FaultSwitch()
    undisturbed = record(reads, crashed=(stored, whole), options=RecordOptions(switch=switch, cold=True))
    assert undisturbed.exit_status == 0
    assert switch.reads > 0
    faults = (DiskFault(request="read", nth=1, always=True),)
    trace = record(reads, crashed=(stored, whole), options=RecordOptions(disk_faults=faults, cold=True))
    assert "OSError: [Errno 5]" in trace.error
    assert {op.request for op in trace.operations if isinstance(op, Failure)} == {"read"}


def test_an_unfired_fault_leaves_no_failure_in_the_trace() -> None:
    trace = record(program, options=RecordOptions(disk_faults=(DiskFault(request="flush", nth=10**6),)))
    assert not [operation for operation in trace.operations if isinstance(operation, Failure)]
    assert trace.exit_status == 0


def test_a_failing_workload_is_not_a_recording() -> None:
    """An exception, an exit status, a signal and a time limit each end in an error that says so."""

    def raises(machine: Machine) -> None:
        raise ValueError("on purpose")

    def exits(machine: Machine) -> None:
        sys.exit(7)

    def dies(machine: Machine) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def sleeps(machine: Machine) -> None:
        threading.Event().wait()

    for workload, said in [(raises, "on purpose"), (exits, "status 7"), (dies, "status -15")]:
        with pytest.raises(WorkloadFailed, match=said):
            record(workload)
    with pytest.raises(WorkloadFailed, match="status -9"):
        record(sleeps, options=RecordOptions(time_limit_seconds=0.5))
    with pytest.raises(RecordingFailed, match="preparation"):
        record(program, prepare=lambda root: raises(None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [RecordOptions(filesystem="ntfs"), RecordOptions(nudge="hard"), RecordOptions(size_bytes=1000)],
    ids=["filesystem", "nudge", "size"],
)
def test_options_that_do_not_exist_are_refused(options: RecordOptions) -> None:
    with pytest.raises(InvalidOption, match=r"; (use|give) "):
        record(program, options=options)


def test_a_mount_option_that_does_not_exist_is_refused_by_the_filesystem() -> None:
    with pytest.raises(MountRefused, match="as ext4 with nonsense: EINVAL"):
        record(program, options=RecordOptions(filesystem="ext4:nonsense"))


def test_mkfs_that_fails_says_why() -> None:
    with pytest.raises(RecordingFailed, match=r"mkfs\.xfs failed: .*"):
        record(program, options=RecordOptions(filesystem="xfs", size_bytes=1 << 20))


def test_a_range_of_zeros_is_recorded_as_writes() -> None:
    """fallocate's zeroing and hole punching, whatever the filesystem makes of it, gives images with zeros there."""

    def work(machine: Machine) -> None:
        path = machine.root / "file"
        write_durably(path, b"f" * (1 << 20))
        subprocess.run(["fallocate", "--zero-range", "-o", "4096", "-l", "524288", path], check=True)
        subprocess.run(["fallocate", "--punch-hole", "-o", "700000", "-l", "100000", path], check=True)
        subprocess.run(["fstrim", machine.root.parent], check=False, capture_output=True)
        os.sync()
        machine.note(b"zeroed")

    trace = record(work)

    def look() -> dict[str, bytes | None]:
        states = CrashStates(trace)
        cut = next(cut for cut in states.cuts if cut.notes == 1)
        with CrashImages(trace) as images, images.mounted(CrashState(cut.position, 0)) as root:
            return tree(root)

    content = bytearray(b"f" * (1 << 20))
    content[4096 : 4096 + 524288] = bytes(524288)
    content[700000:800000] = bytes(100000)
    assert in_child(look) == {"file": bytes(content)}


def test_what_a_workload_leaves_running_is_ended() -> None:
    """A daemon that outlives the workload keeps neither the disk busy nor the recording waiting."""

    def work(machine: Machine) -> None:
        script = "setsid sh -c 'sleep 60 > held' & while ! [ -e held ]; do sleep 0.01; done"
        subprocess.run(["sh", "-c", script], cwd=machine.root, check=True)
        # Process ids are those of a namespace of its own, and /proc knows them.
        assert Path("/proc/self/cmdline").read_bytes() == Path(f"/proc/{os.getpid()}/cmdline").read_bytes()
        machine.note(str(os.getpid()).encode())

    assert record(work).notes_before(10**9) == (b"2",)


@pytest.mark.parametrize("filesystem", ["ext4", "xfs"])
def test_a_retried_fsync_succeeds_and_the_data_is_gone(filesystem: str) -> None:
    """The kernel marks pages clean after a failed write: the second fsync has nothing to do and says all is well.

    Source: Rebello et al., Can Applications Recover from fsync Failures?, USENIX ATC 2020.
    """

    def work(machine: Machine) -> None:
        with (machine.root / "file").open("r+b", buffering=0) as file:
            file.write(b"new!" * 1024)
            with pytest.raises(OSError, match="Input/output error"):
                os.fsync(file.fileno())
            os.fsync(file.fileno())
            machine.note(b"believed durable")

    options = RecordOptions(filesystem=filesystem, disk_faults=(DiskFault(request="write", nth=1),))
    trace = record(work, prepare=lambda root: write_durably(root / "file", b"old." * 1024), options=options)
    assert (trace.exit_status, trace.error) == (0, "")
    state = CrashState.parse(f"{trace.operations.index(Note(b'believed durable')) + 1}-none", trace)

    def look() -> dict[str, bytes | None]:
        with CrashImages(trace) as images, images.mounted(state) as root:
            return tree(root)

    assert in_child(look) == {"file": b"old." * 1024}


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_a_recording_goes_on_from_a_crash_state(filesystem: str) -> None:
    """The disk of a power cut that hits recovery starts as the first power cut left it."""

    def first(machine: Machine) -> None:
        for number in range(3):
            write_durably(machine.root / f"file{number}", b"%d" % number * 5000)
            machine.note(b"%d" % number)

    def recover(machine: Machine) -> None:
        machine.note(b" ".join(name.encode() for name in tree(machine.root)))
        write_durably(machine.root / "file0", b"repaired")
        machine.note(b"repaired")

    trace = record(first, options=RecordOptions(filesystem=filesystem, seed=3))
    cut = trace.operations.index(Note(b"1")) + 1
    again = record(recover, crashed=(trace, CrashState.parse(f"{cut}-none", trace)))
    assert (again.filesystem, again.size_bytes) == (trace.filesystem, trace.size_bytes)
    assert again.notes_before(again.finish) == (b"file0 file1", b"repaired")

    def contents() -> list[bytes | None]:
        found = []
        with CrashImages(again) as images:
            for cut in (again.start, again.finish):
                with images.mounted(CrashState.parse(f"{cut}-none", again)) as root:
                    found.append(tree(root)["file0"])
        return found

    assert in_child(contents) == [b"0" * 5000, b"repaired"]


@pytest.mark.daily(2)
@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_recordings_begin_with_the_same_disk(filesystem: str) -> None:
    """Many recordings from one crash state: none sees what another one changed, cached or failed."""
    options = RecordOptions(filesystem=filesystem, tolerant=True, write_back=True)
    prepared = record(lambda _: None, prepare=prepare, options=options)
    switch = FaultSwitch()

    def spoil(machine: Machine) -> None:
        write_durably(machine.root / "before", b"x" * 9000)
        machine.note(b"spoilt")
        (machine.root / "more").touch()

    def read(machine: Machine) -> None:
        machine.note((machine.root / "before").read_bytes()[:9])
        machine.note(" ".join(sorted(os.listdir(machine.root))).encode())  # noqa: PTH208  # names only

    def recorded() -> list[Trace]:
        fault = () if filesystem == "posix" else (DiskFault(request="write", nth=2, always=True),)
        with Recordings((prepared, CrashState.whole(prepared, len(prepared.operations))), switch=switch) as recordings:
            return [
                recordings.record(spoil, options),
                recordings.record(read, options),
                recordings.record(spoil, replace(options, disk_faults=fault)),
                recordings.record(read, options),
            ]

    first, second, failed, last = in_child(recorded)
    assert [note.text for note in first.operations if isinstance(note, Note)] == [b"spoilt"]
    for trace in (second, last):
        assert [note.text for note in trace.operations if isinstance(note, Note)] == [b"p" * 9, b"before"]
        assert not [done for done in trace.operations if isinstance(done, Failure)]
    assert bool([done for done in failed.operations if isinstance(done, Failure)]) == (filesystem != "posix")
    assert in_child(lambda: orderly_end(first))["before"] == b"x" * 9000
    assert in_child(lambda: orderly_end(last)) == {"before": b"p" * 9000}


def orderly_end(trace: Trace) -> dict[str, bytes | None]:
    with CrashImages(trace) as images, images.mounted(CrashStates(trace).clean) as root:
        return tree(root)
