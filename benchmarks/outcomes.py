"""Check that crash images become the folders that are predicted: random use of ext4, every state mounted.

    python -m benchmarks.outcomes [--seconds 60] [--seed 0]

Each recording has another random workload, nudge and mount options; some begin with the disk that a crash left. 150 crash
states of each recording are mounted and compared with the prediction of `faults.disk.CrashStates.outcomes`. A wrong prediction
ends in exit status 1, and the trace is kept. Needs root.
"""

import argparse
import contextlib
import ctypes
import itertools
import os
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from crashmatrix.faults.disk import (
    NUDGES,
    CrashImages,
    CrashStates,
    Machine,
    MountRefused,
    RecordOptions,
    Trace,
    record,
    save_trace,
)

STATES = 150
OPTIONS = (
    *[""] * 5,
    *(":data=journal", ":data=writeback", ":data=writeback,journal_async_commit", ":journal_checksum"),
    *(":commit=1", ":nodelalloc", ":dioread_nolock", ":discard"),
)
_PUNCH_HOLE = 3  # linux/falloc.h, size kept
_libc = ctypes.CDLL(None)


class RandomUse:
    """A workload: files and directories made, changed, renamed, removed and synced at random."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, machine: Machine) -> None:
        self.root, self.chance = machine.root, random.Random(self.seed)
        self.open_files: list[int] = []
        steps = [getattr(self, name) for name in sorted(vars(RandomUse)) if name.startswith("do_")]
        for number in range(self.chance.randrange(20, 70)):
            self.number = number
            with contextlib.suppress(OSError):  # A name taken, a folder gone, a full disk: all part of it.
                self.chance.choice(steps)()
            if self.chance.random() < 0.5:
                machine.note(b"%d" % number)
            else:
                machine.nudge()

    def some_file(self) -> Path:
        files = [path for path in sorted(self.root.rglob("*")) if path.is_file() and not path.is_symlink()]
        return self.chance.choice(files) if files else self.root / "none"

    def some_folder(self) -> Path:
        folders = [path for path in sorted(self.root.rglob("*")) if path.is_dir() and not path.is_symlink()]
        return self.chance.choice([self.root, *folders])

    def content(self, *sizes: int) -> bytes:
        return bytes([self.number]) * self.chance.choice(sizes)

    def with_file(self, act: Callable[[int], object]) -> None:
        descriptor = os.open(self.some_file(), os.O_RDWR)
        try:
            act(descriptor)
        finally:
            os.close(descriptor)

    def do_new(self) -> None:
        (self.some_folder() / f"file{self.number}").write_bytes(self.content(10, 4096, 5000, 20_000, 200_000))

    def do_new_empty(self) -> None:
        folder = self.some_folder()
        for number in range(self.chance.choice((20, 150))):
            (folder / f"many{self.number}-{number}-{'n' * 100}").touch()

    def do_change(self) -> None:
        def change(descriptor: int) -> None:
            size = os.fstat(descriptor).st_size
            os.pwrite(descriptor, self.content(100, 512, 4096, 9000), self.chance.choice((size, size // 2, 0)))
            if self.chance.random() < 0.5:
                os.fdatasync(descriptor)

        self.with_file(change)

    def do_cut_short(self) -> None:
        self.with_file(lambda file: os.ftruncate(file, self.chance.randrange(os.fstat(file).st_size + 5000)))

    def do_allocate(self) -> None:
        self.with_file(lambda file: os.posix_fallocate(file, 0, self.chance.choice((10_000, 300_000))))

    def do_punch(self) -> None:
        self.with_file(lambda file: _libc.fallocate(file, _PUNCH_HOLE, ctypes.c_long(4096), ctypes.c_long(8192)))

    def do_sync(self) -> None:
        self.with_file(self.chance.choice((os.fsync, os.fdatasync, _libc.syncfs)))

    def do_sync_folder(self) -> None:
        descriptor = os.open(self.some_folder(), os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    def do_rename(self) -> None:
        self.some_file().rename(self.some_folder() / self.chance.choice((f"renamed{self.number}", "target")))

    def do_remove(self) -> None:
        self.some_file().unlink()

    def do_remove_open(self) -> None:
        path = self.some_file()
        self.open_files.append(os.open(path, os.O_RDWR))
        path.unlink()
        if len(self.open_files) > 2:
            os.close(self.open_files.pop(0))

    def do_new_folder(self) -> None:
        (self.some_folder() / f"folder{self.number}").mkdir()

    def do_remove_folder(self) -> None:
        folder = self.some_folder()
        if folder != self.root:
            shutil.rmtree(folder)

    def do_link(self) -> None:
        (self.some_folder() / f"link{self.number}").hardlink_to(self.some_file())

    def do_symbolic_link(self) -> None:
        (self.some_folder() / f"symlink{self.number}").symlink_to("x" * self.chance.choice((5, 200)))

    def do_attribute(self) -> None:
        self.with_file(lambda file: os.setxattr(file, "user.name", self.content(10, 3000)))

    def do_mode(self) -> None:
        self.some_file().chmod(self.chance.choice((0o600, 0o644, 0o700)))


@dataclass
class Found:
    """Counts of states, outcomes and folders; for wrong outcomes, the states that became other folders."""

    states: int
    outcomes: int
    folders: int
    wrong: list[list[str]]


def recorded(seed: int) -> Trace:
    chance = random.Random(seed)
    filesystem, nudge = "ext4" + chance.choice(OPTIONS), chance.choice(NUDGES)
    options = RecordOptions(
        filesystem=filesystem, nudge=nudge, seed=seed, size_bytes=chance.choice((None, None, 24 << 20))
    )
    trace = record(RandomUse(seed), options=options)
    if chance.random() < 0.3:
        crashed = chance.choice(list(itertools.islice(CrashStates(trace), 60)))
        with contextlib.suppress(MountRefused):
            return record(RandomUse(-seed), crashed=(trace, crashed), options=RecordOptions(nudge=nudge, seed=seed))
    return trace


def shown(root: Path) -> str:
    paths = sorted(root.rglob("*"))
    return repr([(str(p.relative_to(root)), p.lstat().st_mode, p.is_file() and p.read_bytes()) for p in paths])


def compare(trace: Trace) -> Found:
    """Mount states; in a process of its own."""
    states = CrashStates(trace)
    few = sorted(itertools.islice(states, STATES), key=lambda state: state.cut)
    found: dict[int, dict[str, str]] = defaultdict(dict)
    with CrashImages(trace) as images:
        for state in few:
            try:
                with images.mounted(state) as root:
                    folder = shown(root)
            except MountRefused:
                folder = "refused"
            found[states.outcomes.of(state)].setdefault(folder, str(state))
    folders = set().union(*found.values())
    return Found(len(few), len(found), len(folders), [[*each.values()] for each in found.values() if len(each) > 1])


def compare_in_child(trace: Trace) -> Found:
    with get_context("fork").Pool(1) as child:
        return child.apply(compare, (trace,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start, total, wrong = time.monotonic(), Found(0, 0, 0, []), False
    for seed in itertools.count(options.seed):
        if time.monotonic() - start > options.seconds:
            break
        trace = recorded(seed)
        found = compare_in_child(trace)
        total.states += found.states
        total.outcomes += found.outcomes
        total.folders += found.folders
        if found.wrong:
            wrong = True
            kept = Path(tempfile.gettempdir()) / f"outcomes-{seed}.trace"
            save_trace(trace, kept)
            print(f"seed {seed}, {trace.filesystem}, {trace.nudge}: these become different folders, see {kept}:")
            print(*(f"  {' '.join(states)}" for states in found.wrong), sep="\n")
    number = seed - options.seed
    print(f"{number} recordings: {total.states} states, {total.outcomes} outcomes, {total.folders} folders")
    sys.exit(wrong)


if __name__ == "__main__":
    main()
