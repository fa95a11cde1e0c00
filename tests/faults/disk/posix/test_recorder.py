"""The recorded tree is a filesystem like any other, and its trace has every change and every sync in order."""

import itertools
import mmap
import os
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from crashmatrix.faults.disk import (
    CrashImages,
    CrashState,
    CrashStates,
    Machine,
    Names,
    Note,
    Sync,
    load_trace,
    record,
    save_trace,
)
from tests.faults.disk.posix.support import POSIX
from tests.faults.disk.support import in_child, tree


def everything(machine: Machine) -> None:
    """Each thing that programs do to files, once."""
    root = machine.root
    (root / "plain").write_bytes(b"p" * 10_000)
    os.link(root / "plain", root / "linked")
    with (root / "linked").open("r+b") as file, (root / "plain").open("rb") as other:
        file.write(b"both")
        file.flush()
        assert other.read(4) == b"both"  # Both names lead to one inode.
    with (root / "replaced").open("w+b") as open_, (root / "new").open("wb") as new:
        open_.write(b"old")
        open_.flush()
        (root / "new").replace(root / "replaced")
        assert os.fstat(open_.fileno()).st_nlink == 0
        new.write(b"new")
        open_.seek(0)
        assert open_.read() == b"old"
    with tempfile.TemporaryFile(dir=root) as nameless:
        nameless.write(b"n")
        nameless.flush()
        assert os.fstat(nameless.fileno()).st_size == 1
    with (root / "mapped").open("w+b") as file:
        file.truncate(8192)
        with mmap.mmap(file.fileno(), 8192) as mapped:
            mapped[5000:5006] = b"stored"
    with (root / "zeroed").open("w+b") as file:
        file.write(b"z" * 9000)
        file.flush()
        subprocess.run(["fallocate", "--punch-hole", "-o", "100", "-l", "8000", file.name], check=True)
        os.posix_fallocate(file.fileno(), 0, 9500)
    (root / "deep").mkdir(mode=0o700)
    (root / "deep" / "symlink").symlink_to("../plain")
    os.mkfifo(root / "deep" / "fifo")
    script = (
        "cp -r deep copy; mv copy deep/moved; rm -r deep/moved; touch -d 2001-02-03 plain; chmod 600 plain; df . >&2"
    )
    subprocess.run(["sh", "-ec", script], cwd=root, check=True, stderr=subprocess.DEVNULL)
    for number in range(300):
        (root / "deep" / f"{number}").touch()
    for path in (root / "deep").iterdir():
        if path.name.isdigit():
            path.unlink()
    assert sorted(path.name for path in (root / "deep").iterdir()) == ["fifo", "symlink"]
    assert (root / "plain").stat().st_mtime < 10**9
    with pytest.raises(PermissionError):
        (root.parent / "beside").mkdir()
    with pytest.raises(OSError, match="not empty"):
        (root / "deep").rmdir()


@pytest.mark.usefixtures("fuse")
def test_a_recorded_tree_is_a_filesystem() -> None:
    """The orderly end has just what the program made; every state can be laid out, and its id leads back to it."""
    trace = record(everything, options=POSIX)
    states = CrashStates(trace)

    def run() -> tuple[dict[str, bytes | None], int, int]:
        with CrashImages(trace) as images:
            for state in itertools.islice(states, 60):
                assert CrashState.parse(str(state), trace) == state
                with images.mounted(state) as root:
                    tree(root)
            with images.mounted(states.clean) as root:
                (root / "deep" / "fifo").unlink()  # Reading it would block.
                return tree(root), (root / "plain").stat().st_nlink, (root / "plain").stat().st_mode

    # The file replaced was open; its name never led nowhere.
    renames = [change for change in trace.operations if isinstance(change, Names) and len(change.entries) == 2]
    assert [change.entries[1][1] for change in renames] == [b"replaced", b"moved"]
    found, links, mode = in_child(run)
    assert (links, stat.S_IMODE(mode)) == (2, 0o600)
    assert found == {
        "plain": b"both" + b"p" * 9996,
        "linked": b"both" + b"p" * 9996,
        "replaced": b"new",
        "mapped": bytes(5000) + b"stored" + bytes(3186),
        "zeroed": b"z" * 100 + bytes(8000) + b"z" * 900 + bytes(500),
        "deep": None,
        "deep/symlink": b"both" + b"p" * 9996,
    }


@pytest.mark.usefixtures("fuse")
def test_syncs_of_every_kind_are_recorded() -> None:
    """fsync, fdatasync, O_SYNC, O_DSYNC and msync of a file, and fsync of a directory; each after what it makes durable."""

    def work(machine: Machine) -> None:
        def note(text: str) -> None:
            machine.note(text.encode())

        with (machine.root / "file").open("wb", buffering=0) as unbuffered:
            for sync in (os.fsync, os.fdatasync):
                unbuffered.write(b"x")
                sync(unbuffered.fileno())
                note(sync.__name__)
        for flag in (os.O_SYNC, os.O_DSYNC):
            descriptor = os.open(machine.root / "file", os.O_WRONLY | flag)
            os.write(descriptor, b"y")
            note("flag")
        with (machine.root / "file").open("r+b") as file, mmap.mmap(file.fileno(), 2) as mapped:
            mapped[:1] = b"z"
            mapped.flush()
            note("msync")
        folder = os.open(machine.root, os.O_RDONLY)
        (machine.root / "file").rename(machine.root / "renamed")
        os.fsync(folder)
        note("folder")

    trace = record(work, options=POSIX)
    notes = [position for position, operation in enumerate(trace.operations) if isinstance(operation, Note)]
    assert len(notes) == 6
    for position in notes:
        assert isinstance(trace.operations[position - 1], Sync)
        pending = [trace.operations[change] for change in trace.pending(position)]
        assert [change for change in pending if not isinstance(change, Names)] == []
    assert trace.pending(trace.finish) == ()


@pytest.mark.usefixtures("fuse")
def test_notes_marks_and_a_saved_trace(tmp_path: Path) -> None:
    """Notes of any writer share the order of changes; a trace read back gives the same states with the same digests."""

    def work(machine: Machine) -> None:
        script = 'echo x > "$1/a"; echo "attempt 1" >> "$2"; sync "$1/a"; printf "ack 1\\nattempt" >> "$2"'
        subprocess.run(["sh", "-c", script, "sh", machine.root, machine.notes], check=True)
        with machine.notes.open("ab", buffering=0) as first, machine.notes.open("ab", buffering=0) as second:
            first.write(b"fir")
            second.write(b"second\n" + b"n" * 2_000_000 + b"\n")
            first.write(b"st\n")

    def prepare(root: Path) -> None:
        (root / "before").write_bytes(b"b" * 5000)

    trace = record(work, prepare=prepare, options=POSIX)
    assert trace.notes_before(trace.finish) == (
        *(b"attempt 1", b"ack 1", b"attempt", b"second", b"n" * 2_000_000, b"first"),
    )
    save_trace(trace, tmp_path / "a.trace")
    loaded = load_trace(tmp_path / "a.trace")
    assert loaded == trace
    states, again = CrashStates(trace), CrashStates(loaded)
    assert list(map(str, states)) == list(map(str, again))
    digests = {str(state): states.digests.of(state) for state in states}
    assert digests == {str(state): again.digests.of(state) for state in again}
    assert len(set(digests.values())) == states.coverage.distinct > 3
