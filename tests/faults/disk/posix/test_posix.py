"""The weakest filesystem: what fsync(2) promises is in every state, and all that it does not promise is missing in some."""

import ctypes
import itertools
import mmap
import os
import signal
import stat
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from crashmatrix.faults.disk import (
    CrashImages,
    CrashState,
    CrashStates,
    Data,
    DiskFault,
    Filesystem,
    InvalidOption,
    Machine,
    Mark,
    Missing,
    Names,
    Node,
    Note,
    Operation,
    RecorderFailed,
    RecordOptions,
    Size,
    Sync,
    Trace,
    die_with_parent,
    load_trace,
    record,
    requirements,
    save_trace,
)
from crashmatrix.faults.disk.linux.containment import anonymous_file
from crashmatrix.faults.disk.linux.kernel import mount
from crashmatrix.faults.disk.linux.namespace import enter_private_namespace
from crashmatrix.faults.disk.posix.stage import TreeStage
from crashmatrix.faults.disk.trace.operations import ROOT
from tests.faults.disk.support import in_child, tree, wait_dead, write_durably
from tests.processes import alive, descendants

POSIX = RecordOptions(filesystem="posix")

FILE, FOLDER = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
_MS_BIND, _PR_SET_DUMPABLE = 0x1000, 4  # linux/mount.h, linux/prctl.h
A, B, C = ROOT + 1, ROOT + 2, ROOT + 3


pytestmark = pytest.mark.usefixtures("fuse")


def made_up(*operations: Operation) -> Trace:
    """A trace that nobody recorded."""
    return Trace(filesystem="posix", size_bytes=0, base=(), operations=(*operations, Mark("finish")))


def name(folder: int, text: bytes, inode: int) -> Names:
    return Names(((folder, text, inode),))


def rename(old: tuple[int, bytes], new: tuple[int, bytes], inode: int) -> Names:
    return Names(((*old, 0), (*new, inode)))


Files = frozenset[tuple[str, bytes | None]]


def trees_of(trace: Trace, cut: int | None = None) -> set[Files]:
    """All trees that a power cut at a position (the end) can leave."""
    position = trace.finish if cut is None else cut
    pending = len(trace.pending(position))

    def run() -> set[Files]:
        found = set()
        with CrashImages(trace) as images:
            for kept in range(1 << pending):
                with images.mounted(CrashState(position, kept, (), pending)) as root:
                    found.add(frozenset(tree(root).items()))
        return found

    return in_child(run)


def files(**contents: bytes | None) -> Files:
    return frozenset(contents.items())


TWO = (Node(A, FILE), name(ROOT, b"a", A), Size(A, 1), Data(A, 0, b"1"))


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        pytest.param(
            TWO, [{}, {"a": b""}, {"a": b"\0"}, {"a": b"1"}], id="nothing synced: no name, no size, no data, or all"
        ),
        pytest.param((*TWO, Sync(A)), [{}, {"a": b"1"}], id="fsync of the file: whole, if it has its name"),
        pytest.param(
            (*TWO, Sync(ROOT)), [{"a": b""}, {"a": b"\0"}, {"a": b"1"}], id="fsync of the directory: the name only"
        ),
        pytest.param((*TWO, Sync(A), Sync(ROOT)), [{"a": b"1"}], id="both: durable"),
        pytest.param((*TWO, Mark("start")), [{"a": b"1"}], id="prepared: durable"),
        pytest.param(
            (*TWO, Mark("start"), rename((ROOT, b"a"), (ROOT, b"b"), A)),
            [{"a": b"1"}, {"b": b"1"}],
            id="a rename is whole",
        ),
        pytest.param(
            (*TWO, Mark("start"), name(ROOT, b"b", A), name(ROOT, b"a", 0)),
            [{"a": b"1"}, {"a": b"1", "b": b"1"}, {"b": b"1"}, {}],
            id="link and unlink are two: the file can be lost",
        ),
        pytest.param(
            (*TWO, Node(B, FOLDER), name(ROOT, b"d", B), Mark("start"), rename((ROOT, b"a"), (B, b"a"), A), Sync(B)),
            [{"d": None, "d/a": b"1"}],
            id="a rename between directories is durable with either",
        ),
        pytest.param(
            (Node(B, FOLDER), name(ROOT, b"d", B), Node(A, FILE), name(B, b"a", A), Sync(A), Sync(B)),
            [{}, {"d": None, "d/a": b""}],
            id="a directory without a name takes what is below it along",
        ),
        pytest.param(
            (
                *(Node(B, FOLDER), name(ROOT, b"x", B), Mark("start")),
                *(rename((ROOT, b"x"), (ROOT, b"y"), B), rename((ROOT, b"y"), (ROOT, b"z"), B)),
            ),
            [{"x": None}, {"y": None}, {"z": None}],
            id="a name's changes are in order: a directory is in one place",
        ),
        pytest.param(
            (*TWO, Mark("start"), Size(A, 0), Size(A, 2), Data(A, 0, b"22")),
            [{"a": b"1"}, {"a": b""}, {"a": b"1\0"}, {"a": b"\0\0"}, {"a": b"22"}, {"a": b"2"}],
            id="emptied and written anew: any of it",
        ),
        pytest.param(
            (*TWO, Size(A, 3), Data(A, 0, b"123"), Mark("start"), Size(A, 1), Size(A, 2)),
            [{"a": b"123"}, {"a": b"1"}, {"a": b"12"}, {"a": b"1\0"}],
            id="what was cut off is not there when the file grows again",
        ),
        pytest.param(
            (
                *(*TWO, Node(B, FOLDER), name(ROOT, b"b", B), Node(C, FOLDER), name(ROOT, b"c", C), Mark("start")),
                *(rename((ROOT, b"a"), (B, b"a"), A), rename((B, b"a"), (C, b"a"), A), Sync(C)),
            ),
            [{"b": None, "c": None, "c/a": b"1"}],
            id="a rename that is durable is so with the one before it",
        ),
    ],
)
def test_what_a_power_cut_leaves(operations: tuple[Operation, ...], expected: list[dict[str, bytes | None]]) -> None:
    """The promises of fsync(2) hold, rename(2) is one change, and every combination of the rest is a crash state."""
    assert trees_of(made_up(*operations)) == {files(**tree_) for tree_ in expected}


def test_torn_writes_miss_sectors_of_the_file() -> None:
    """A write tears between the file's 512-byte sectors, wherever it begins; what is missing is as it was before."""
    trace = made_up(
        *(Node(A, FILE), name(ROOT, b"a", A), Size(A, 2000), Data(A, 0, b"o" * 2000), Mark("start")),
        Data(A, 100, b"n" * 1500),
    )
    state = CrashState.parse(f"{trace.finish}-all-t0.1+2", trace)

    def run() -> bytes:
        with CrashImages(trace) as images, images.mounted(state) as root:
            return (root / "a").read_bytes()

    assert in_child(run) == b"o" * 100 + b"n" * 412 + b"o" * 1024 + b"n" * 64 + b"o" * 400


def everything(machine: Machine) -> None:
    """What programs do to files, once each."""
    root = machine.root
    (root / "plain").write_bytes(b"p" * 10_000)
    os.link(root / "plain", root / "linked")
    with (root / "linked").open("r+b") as file, (root / "plain").open("rb") as other:
        file.write(b"both")
        file.flush()
        assert other.read(4) == b"both"  # One inode, whatever it is called.
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
                (root / "deep" / "fifo").unlink()  # Nobody writes to it.
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


def test_notes_marks_and_a_saved_trace(tmp_path: Path) -> None:
    """Notes share the order of changes, whoever writes them; a trace read back gives the same states with the same digests."""

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


def small(machine: Machine) -> None:
    (machine.root / "loose").write_bytes(b"l" * 6000)
    write_durably(machine.root / "synced", b"s" * 3000)
    machine.note(b"synced")


def test_equal_digests_mean_equal_trees() -> None:
    """Two states have one digest exactly when what is laid out is the same."""
    trace = record(small, options=POSIX)
    states = CrashStates(trace)

    def run() -> dict[str, Files]:
        with CrashImages(trace) as images:
            found = {}
            for state in states:
                with images.mounted(state) as root:
                    found[str(state)] = frozenset(tree(root).items())
            return found

    found = in_child(run)
    digests = {str(state): states.digests.of(state) for state in states}
    pairs = {(digests[state], found[state]) for state in found}
    assert len(pairs) == len({digest for digest, _ in pairs}) == len({files_ for _, files_ in pairs}) > 5


def test_a_hard_link_is_not_a_copy() -> None:
    """Files that are one and files that are only equal are different trees."""
    copy = (Node(B, FILE), Size(B, 1), Data(B, 0, b"1"), Mark("start"), name(ROOT, b"b", A), name(ROOT, b"b", B))
    trace = made_up(*TWO, *copy)
    digests = [CrashStates(trace).digests.of(CrashState(trace.finish, kept, (), 2)) for kept in range(4)]
    assert len({*digests}) == 3  # Neither, the link, the copy; which is never there without the link before it.

    def run() -> list[int]:
        links = []
        with CrashImages(trace) as images:
            for kept in (1, 2):
                with images.mounted(CrashState(trace.finish, kept, (), 2)) as root:
                    links.append((root / "a").stat().st_nlink)
        return links

    assert in_child(run) == [2, 1]


def test_what_is_done_to_a_state_reaches_no_other(tmp_path: Path) -> None:
    """Each state's files are its own; a saved one is a tar archive of them."""
    trace = record(small, options=POSIX)
    states = CrashStates(trace)
    name_ = str(tmp_path / "tree.tar")

    def run() -> None:
        with CrashImages(trace) as images:
            for _ in range(2):
                with images.mounted(states.clean) as root:
                    assert tree(root) == {"loose": b"l" * 6000, "synced": b"s" * 3000}
                    (root / "loose").unlink()
                    (root / "synced").write_bytes(b"dirt")
                    (root / "more").mkdir()
            images.save(states.clean, Path(name_))

    in_child(run)
    with tarfile.open(name_) as archive:
        assert sorted(archive.getnames()) == ["data", "data/loose", "data/synced"]


def test_what_does_not_apply_is_refused() -> None:
    """There is no disk to be sized or to fail, and there are no mount options."""
    for options in (
        RecordOptions(filesystem="posix:noatime"),
        RecordOptions(filesystem="posix", size_bytes=1 << 20),
        RecordOptions(filesystem="posix", disk_faults=(DiskFault(request="write", nth=1),)),
    ):
        with pytest.raises(InvalidOption, match=r"; (use|give) "):
            record(small, options=options)


def test_a_dead_server_is_an_error_and_not_a_plain_directory() -> None:
    """Whoever writes to a filesystem whose server is gone gets errors."""

    def run() -> None:
        with anonymous_file("log") as log, TreeStage(-1, log, filesystem=Filesystem.parse("posix")) as stage:
            stage.open_disk()
            (stage.mount_point / "data" / "file").write_bytes(b"x")
            pid = stage.state()["pid"]
            assert isinstance(pid, int)
            os.kill(pid, signal.SIGKILL)
            for path in ("data/file", "data/other", "notes"):
                with pytest.raises(OSError, match=r"Errno (103|107)"):
                    (stage.mount_point / path).write_bytes(b"y")
            with pytest.raises(RecorderFailed, match="did not take 'mark start'"):
                stage.command("mark start")

    in_child(run)


def test_killing_a_recording_leaves_nothing() -> None:
    """A SIGKILL in the middle leaves no mount and no process."""
    reader, writer = os.pipe()
    parent = os.getpid()

    def hangs(machine: Machine) -> None:
        os.write(writer, str(machine.root.parent).encode())
        signal.pause()

    pid = os.fork()
    if not pid:
        try:
            die_with_parent(parent)
            record(hangs, options=RecordOptions(filesystem="posix", time_limit_seconds=1000))
        finally:
            os._exit(0)
    os.close(writer)
    mounted = os.read(reader, 1000).decode()
    os.close(reader)
    processes = descendants(pid)
    wait_dead(pid)
    assert mounted
    assert processes
    assert alive(processes) == []
    assert mounted not in Path("/proc/self/mountinfo").read_text()


def test_it_takes_no_root() -> None:
    """Whoever may open /dev/fuse can record and explore, in a user namespace."""

    def as_nobody() -> tuple[list[Missing], Files]:
        scratch = enter_private_namespace()
        os.mknod(scratch / "fuse", stat.S_IFCHR | 0o666, Path("/dev/fuse").stat().st_rdev)
        (scratch / "fuse").chmod(0o666)
        mount(str(scratch / "fuse"), Path("/dev/fuse"), "none", _MS_BIND)  # As most machines have it.
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1)  # Giving up root took the right to its own /proc/self.

        def explore() -> tuple[list[Missing], Files]:
            missing = requirements(("posix",))
            trace = record(small, options=POSIX)
            with CrashImages(trace) as images, images.mounted(CrashStates(trace).clean) as root:
                return missing, frozenset(tree(root).items())

        return in_child(explore)

    if os.geteuid():
        pytest.skip("root is needed to give it up")
    assert in_child(as_nobody) == ([], files(loose=b"l" * 6000, synced=b"s" * 3000))
