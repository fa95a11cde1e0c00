"""Snapshots: a folder comes back as it was, equal folders are known as equal, and a stopped process has stopped."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from crashmatrix import ScenarioError
from crashmatrix.scenarios.judging import snapshot as snapshot
from crashmatrix.scenarios.judging.snapshot import SnapshotStore, Tree, frozen
from crashmatrix.scenarios.processes.held import HeldProcess, child_of_ours
from tests import ROOT

Folder = dict[str, Any]
"""A folder written down: name to (mode, bytes), (mode, folder) or the target of a link."""

names = st.text(alphabet="a.-é\n \udcff", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
files = st.tuples(st.sampled_from([0o600, 0o644, 0o755, 0o400]), st.sampled_from([b"", b"x", b"y" * 5000]))
folders = st.recursive(
    st.dictionaries(names, st.one_of(files, st.sampled_from(["a", "/nowhere", "../a"])), max_size=3),
    lambda inner: st.dictionaries(
        names, st.one_of(files, st.tuples(st.sampled_from([0o700, 0o755, 0o500, 0o1755]), inner)), max_size=3
    ),
    max_leaves=6,
)


def lay_out(place: Path, folder: Folder) -> Path:
    place.mkdir()
    for name, what in folder.items():
        if isinstance(what, str):
            (place / name).symlink_to(what)
        elif isinstance(what[1], bytes):
            (place / name).write_bytes(what[1])
            (place / name).chmod(what[0])
        else:
            lay_out(place / name, what[1]).chmod(what[0])
    return place


def read_back(place: Path) -> Folder:
    found: Folder = {}
    for item in place.iterdir():
        mode = stat.S_IMODE(item.lstat().st_mode)
        if item.is_symlink():
            found[item.name] = str(item.readlink())
        else:
            found[item.name] = mode, read_back(item) if item.is_dir() else item.read_bytes()
    return found


@contextmanager
def workshop() -> Iterator[tuple[Path, SnapshotStore]]:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        yield place, SnapshotStore(place)


@settings(deadline=None, max_examples=60)
@given(folders)
def test_round_trip(folder: Folder) -> None:
    """A folder restored from its snapshot has the same files, directories, links and permissions, under the same names."""
    with workshop() as (place, store):
        tree = store.capture(lay_out(place / "one", folder))
        store.restore(tree, place / "new" / "other")
        assert read_back(place / "new" / "other") == folder
        assert store.capture(place / "new" / "other") == tree
        assert [path for path, _ in tree.entries] == sorted(path for path, _ in tree.entries)


@settings(deadline=None, max_examples=60)
@given(folders, folders)
def test_digest(one: Folder, other: Folder) -> None:
    """Two snapshots have the same digest exactly if the folders are the same, and then differ nowhere."""
    with workshop() as (place, store):
        trees = [store.capture(lay_out(place / name, folder)) for name, folder in (("1", one), ("2", other))]
        again = store.capture(lay_out(place / "3", one))
        assert (trees[0].digest == trees[1].digest) is (one == other)
        assert (trees[0].difference(trees[1]) == []) is (one == other)
        assert again.digest == trees[0].digest


BASE: Folder = {"a": (0o644, b"x"), "d": (0o755, {"b": (0o644, b"x"), "link": "b", "e": (0o755, {})})}


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({}, []),
        ({"a": (0o644, b"y")}, ["a"]),
        ({"a": (0o644, b"")}, ["a"]),
        ({"a": (0o600, b"x")}, ["a"]),
        ({"a": "b"}, ["a"]),
        ({"a": (0o755, {})}, ["a"]),
        ({"a": None, "b": BASE["a"]}, ["a", "b"]),
        ({"z": (0o644, b"x"), "c": (0o755, {})}, ["c", "z"]),
        ({"d": (0o700, BASE["d"][1])}, ["d"]),
        ({"d": (0o755, {**BASE["d"][1], "link": "a"})}, ["d/link"]),
        ({"d": (0o755, {**BASE["d"][1], "e": (0o755, {"new": (0o644, b"")})})}, ["d/e/new"]),
        ({"d": (0o755, {})}, ["d/b", "d/e", "d/link"]),
    ],
)
def test_difference(tmp_path: Path, change: Folder, difference: list[str]) -> None:
    """The difference of two folders names each path at which they differ, in order, whichever way one looks."""
    store = SnapshotStore(tmp_path)
    one = store.capture(lay_out(tmp_path / "one", BASE))
    other = store.capture(
        lay_out(tmp_path / "other", {name: what for name, what in {**BASE, **change}.items() if what})
    )
    assert one.difference(other) == other.difference(one) == difference
    assert (one.digest == other.digest) is (difference == [])


def test_contents_are_kept_once(tmp_path: Path) -> None:
    """A hundred snapshots of one content take the room of one, and outlive the folder they show."""
    store = SnapshotStore(tmp_path)
    root = lay_out(tmp_path / "root", {"a": (0o644, b"x" * 1000), "b": (0o644, b"x" * 1000)})
    trees = [store.capture(root) for _ in range(100)]
    (root / "a").write_bytes(b"changed since")
    assert len(list((tmp_path / "blobs").iterdir())) == 1
    store.restore(trees[50], tmp_path / "restored")
    assert read_back(tmp_path / "restored") == {"a": (0o644, b"x" * 1000), "b": (0o644, b"x" * 1000)}


def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    """A named pipe, as some systems leave, neither blocks a snapshot nor is in it."""
    os.mkfifo(lay_out(tmp_path / "root", {}) / "pipe")
    assert SnapshotStore(tmp_path).capture(tmp_path / "root") == Tree(())


def test_restoring_onto_something(tmp_path: Path) -> None:
    """A folder that is not empty is not mixed with a snapshot."""
    store = SnapshotStore(tmp_path)
    tree = store.capture(lay_out(tmp_path / "root", BASE))
    with pytest.raises(FileExistsError):
        store.restore(tree, lay_out(tmp_path / "other", {"d": (0o755, {})}))


# Stopping a process. Each says a line when it is about to stop, and ends when its input does.

WRITERS = """
import os, sys, threading
from crashmatrix.scenarios.judging.snapshot import stop_here
fds = [os.open(f"{sys.argv[1]}/{n}", os.O_CREAT | os.O_WRONLY | os.O_APPEND) for n in range(3)]
def write(fd):
    while True:
        os.ftruncate(fd, 0)
        os.write(fd, bytes(2**22))  # long enough that the stop comes in the middle of it
for fd in fds:
    threading.Thread(target=write, args=(fd,), daemon=True).start()
for line in sys.stdin:
    print("stopping", flush=True)
    stop_here()
"""

RUNNER_AHEAD = """
import os, sys, threading
from crashmatrix.scenarios.judging.snapshot import stop_here
fd = os.open(f"{sys.argv[1]}/passed", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
def work():
    for line in sys.stdin:
        os.write(1, b"stopping\\n")
        stop_here()
        os.write(fd, b"x")
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""

SHORT_THREADS = """
import sys, threading
from crashmatrix.scenarios.judging.snapshot import stop_here
def spawn():
    while True:
        threads = [threading.Thread(target=int) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
for _ in range(2):
    threading.Thread(target=spawn, daemon=True).start()
for line in sys.stdin:
    print("stopping", flush=True)
    stop_here()
"""


@contextmanager
def child(script: str, place: Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, place], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ask_to_stop(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "stopping\n"


def held(process: "subprocess.Popen[str]") -> HeldProcess:
    found = child_of_ours(process.pid)
    assert found is not None
    return found


def sizes(place: Path) -> list[int]:
    return [(place / name).stat().st_size if (place / name).exists() else 0 for name in "012"]


def test_frozen_stops_every_thread(tmp_path: Path) -> None:
    """While a process is frozen none of its threads changes a file; afterwards all of them go on."""
    with child(WRITERS, tmp_path) as process:
        for _ in range(20):
            ask_to_stop(process)
            with frozen(held(process)):
                before = sizes(tmp_path)
                assert all(sizes(tmp_path) == before for _ in range(500))
            deadline = time.monotonic() + 30
            still = set(range(3))
            while still:
                assert time.monotonic() < deadline, "a thread did not go on"
                still -= {n for n, size in enumerate(sizes(tmp_path)) if size != before[n]}


def test_stop_here_stops_here(tmp_path: Path) -> None:
    """The thread that stops its process does not take one step beyond, though other threads are idle."""
    with child(RUNNER_AHEAD, tmp_path) as process:
        for number in range(300):
            ask_to_stop(process)
            with frozen(held(process)):
                assert (tmp_path / "passed").stat().st_size == number


def test_threads_that_end_meanwhile(tmp_path: Path) -> None:
    """A process whose threads come and go is frozen like any other, and goes on."""
    with child(SHORT_THREADS, tmp_path) as process:
        for _ in range(100):
            ask_to_stop(process)
            with frozen(held(process)):
                assert all(state(process.pid) == "T" for _ in range(20))


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_process_that_does_not_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not stop is given up after a while, with its number."""
    monkeypatch.setattr(snapshot, "_STOP_SECONDS_MAX", 0.05)
    with child("input()", tmp_path) as process:
        with pytest.raises(ScenarioError, match=f"process {process.pid} did not stop"), frozen(held(process)):
            raise AssertionError("not frozen")
        assert process.poll() is None


@pytest.mark.parametrize("reaped", [False, True])
def test_process_that_is_gone(tmp_path: Path, reaped: bool) -> None:
    """A process that died before it stopped is told as gone at once, whether or not its parent has noticed."""
    with child("", tmp_path) as process:
        gone = held(process)
        os.waitid(os.P_PID, process.pid, os.WEXITED | (0 if reaped else os.WNOWAIT))
        started = time.monotonic()
        with pytest.raises(ProcessLookupError), frozen(gone):
            raise AssertionError("not frozen")
        assert time.monotonic() - started < snapshot._STOP_SECONDS_MAX / 2


def test_goes_on_after_an_exception(tmp_path: Path) -> None:
    """A snapshot that fails does not leave the process standing."""
    with child(WRITERS, tmp_path) as process:
        ask_to_stop(process)
        with pytest.raises(ZeroDivisionError), frozen(held(process)):
            raise ZeroDivisionError
        ask_to_stop(process)
        os.kill(process.pid, signal.SIGCONT)
