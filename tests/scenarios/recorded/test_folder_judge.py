"""The verdict of one folder: recovered, judged, and checked further where due. No disk is recorded here."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.recorded.folder_judge import FolderJudge
from crashmatrix.scenarios.recorded.state_verdict import REPEATED, Check, Judged
from crashmatrix.scenarios.systems.loading import Target
from crashmatrix.scenarios.target.journal import Promises

STORES = '''
import json
import os
import signal
import time

from crashmatrix import PromiseBroken, SystemUnderTest


class Store(SystemUnderTest):
    """Right: one item a line."""

    seconds_max = 20

    def workload(self, root, journal):
        raise NotImplementedError

    def recover(self, root):
        with (root.parent / "recoveries").open("a") as file:
            file.write(".")
        return [json.loads(line) for line in (root / "data").read_text().split()]

    def tidy(self, root):
        """The first recovery has something to do."""
        for path in root.glob("crashed*"):
            path.unlink()


class Tidies(Store):
    def recover(self, root):
        self.tidy(root)
        return super().recover(root)


class Stable(Tidies):
    stable_recovery = True


class Repeats(Store):
    def recover(self, root):
        items = super().recover(root)
        (root / "data").write_text("".join(f"{item} {item} " for item in items))
        return items


class Invents(Store):
    """The contract has no objection to what was only attempted."""

    def recover(self, root):
        items = super().recover(root)
        (root / "data").write_text("0 1")
        return items


class Reverses(Store):
    def recover(self, root):
        items = super().recover(root)
        (root / "data").write_text(" ".join(map(str, reversed(items))))
        return items


class ReversesALog(Reverses):
    contract = "prefix"


class Counts(Store):
    def recover(self, root):
        (root / "count").write_text(f"{len((root / 'count').read_text()) if (root / 'count').exists() else 0} " * 2)
        return super().recover(root)


class CountsStably(Counts):
    stable_recovery = True


class FailsAgain(Tidies):
    def recover(self, root):
        if not (root / "crashed").exists():
            raise ValueError(f"no crash in {root}")
        return super().recover(root)


class DiesAgain(Tidies):
    def recover(self, root):
        if not (root / "crashed").exists():
            os.kill(os.getpid(), signal.SIGTERM)
        return super().recover(root)


class HangsAgain(Tidies):
    seconds_max = 1

    def recover(self, root):
        while not (root / "crashed").exists():
            time.sleep(60)
        return super().recover(root)


class BecomesAFile(Store):
    def recover(self, root):
        items = super().recover(root)
        (root / "data").unlink()
        root.rmdir()
        root.touch()
        return items


class ObjectsAgain(Tidies):
    def recover(self, root):
        if not (root / "crashed").exists():
            raise PromiseBroken("hole", "says the store")
        return super().recover(root)


class Checks(Tidies):
    def verify(self, root, promises):
        with (root.parent / "verified").open("a") as file:
            file.write(".")
        if (root / "bad").exists():
            raise PromiseBroken("hole", "says the check")
        (root / "data").write_text("0 1 2")  # It works on, and stores what nobody attempted.


class Raises(Store):
    def recover(self, root):
        raise ValueError(f"cannot read {root}")
'''
ONE, TWO = "attempt 0\nack 0\n", "attempt 0\nack 0\nattempt 1\nack 1\n"
STARTED = "attempt 0\nack 0\nattempt 1\n"


class Bench:
    """A judge of one store, and a folder to lay out for it."""

    def __init__(self, folder: Path, store: str, checks: Collection[Check] | None = None) -> None:
        (folder / "scratch").mkdir(parents=True)
        (folder / "stores.py").write_text(STORES)
        self.folder, self.journal = folder, ONE
        self._snapshots = SnapshotStore(folder / "scratch", keep=False)
        self.judge = FolderJudge(
            Target(f"{folder / 'stores.py'}:{store}"),
            lambda _: Promises.parse(self.journal.encode(), ()),
            self._snapshots.capture,
            checks,
        )

    def lay_out(self, data: str = "0", *others: str) -> tuple[Path, str]:
        root = self.folder / "root"
        root.mkdir(exist_ok=True)
        for path in root.iterdir():
            path.unlink()
        (root / "data").write_text(data)
        for name in others:
            (root / name).touch()
        return root, self._snapshots.capture(root).digest

    def check(self, data: str = "0", *others: str) -> Judged:
        root, folder = self.lay_out(data, *others)
        return self.judge.check(root, self._snapshots.capture(root), folder, 0, self.journal.count("\n"))

    def count(self, what: str) -> int:
        path = self.folder / what
        return len(path.read_text()) if path.exists() else 0


REVERSED = "no prefix of what was attempted: 1 came back at place 1, where 0 is due"

SECOND = [
    ("Store", ONE, "0", Verdict.SAFE, ""),
    ("Tidies", ONE, "0", Verdict.SAFE, ""),
    ("Stable", ONE, "0", Verdict.SAFE, ""),
    ("Counts", ONE, "0", Verdict.SAFE, ""),
    ("CountsStably", ONE, "0", Verdict.CORRUPT, "a second recovery changed the folder: count"),
    ("Repeats", ONE, "0", Verdict.DUPLICATE, "after a second recovery: came back more often than it was stored: 0"),
    ("Invents", STARTED, "0", Verdict.CORRUPT, "a second recovery returned other items than the first: 1"),
    ("Reverses", TWO, "0 1", Verdict.SAFE, ""),
    ("ReversesALog", TWO, "0 1", Verdict.REORDERED, f"after a second recovery: {REVERSED}"),
    ("FailsAgain", ONE, "0", Verdict.CANNOT_OPEN, "a second recovery raised ValueError: no crash in ROOT"),
    ("DiesAgain", ONE, "0", Verdict.CANNOT_OPEN, "a second recovery died by SIGTERM"),
    ("HangsAgain", ONE, "0", Verdict.HANGS, "a second recovery was still running at its time limit"),
    ("ObjectsAgain", ONE, "0", Verdict.HOLE, "in a second recovery: says the store"),
    ("Raises", ONE, "0", Verdict.CANNOT_OPEN, "recovery raised ValueError: cannot read ROOT"),
]


@pytest.mark.parametrize(("store", "journal", "data", "verdict", "explanation"), SECOND)
def test_second_recovery(
    store: str, journal: str, data: str, verdict: Verdict, explanation: str, tmp_path: Path
) -> None:
    """A second recovery must return the same items, in order if they are a log, and change nothing if a system promises that."""
    bench = Bench(tmp_path, store, ())
    bench.journal = journal
    judged = bench.check(data, "crashed")
    assert (judged.verdict, judged.explanation) == (verdict, explanation)
    assert bool(judged.recovered) is (verdict is Verdict.SAFE)


def test_the_kind_of_a_recovery(tmp_path: Path) -> None:
    """It says what recovery left, and which kinds of files it changed, numbers apart; of a known recovery, too."""
    bench = Bench(tmp_path, "Tidies", ())
    one, other = bench.check("0", "crashed1"), bench.check("0 ", "crashed23")
    assert one.kind == other.kind and all(one.kind) and one.digest != other.digest
    untouched = bench.check("0")
    assert untouched.kind == (one.kind[0], "")
    bench.journal = STARTED
    assert bench.check("0", "crashed1").kind == one.kind
    assert bench.check("", "crashed1").kind == ("", "")  # A broken promise.


def test_a_folder_that_recovery_replaces(tmp_path: Path) -> None:
    """There is nothing to recover a second time: that is said, as it is under kill."""
    judged = Bench(tmp_path, "BecomesAFile", ()).check()
    assert judged.verdict is Verdict.CANNOT_OPEN
    assert judged.explanation.startswith("after recovery, ")


def test_a_recovery_that_changed_nothing_is_not_repeated(tmp_path: Path) -> None:
    """A second one would begin with the same bytes as the first."""
    bench = Bench(tmp_path, "Tidies", ())
    bench.check()
    assert bench.count("recoveries") == 1
    bench.check("0", "crashed")
    assert bench.count("recoveries") == 3
    assert bench.judge.second_recoveries == 1
    assert (REPEATED, 2) in bench.judge.checks


def test_a_folder_recovered_to_before_is_not_recovered_again(tmp_path: Path) -> None:
    """A second recovery is made once after each journal line, unless every folder is to get one."""
    bench = Bench(tmp_path, "Tidies", ())
    bench.check("0", "crashed")
    bench.check("0", "crashed", "more")
    assert bench.count("recoveries") == 3  # Not due: repeated after this journal line.
    bench.journal = STARTED
    bench.check("0", "crashed-otherwise")
    assert bench.count("recoveries") == 4  # Due, but it led to the same folder.
    bench.check("0", "crashed", "another")
    assert bench.count("recoveries") == 6  # Due: it led to another folder.
    bench.journal = TWO
    bench.judge.forget(bench.check("0 1", "crashed"))
    assert bench.count("recoveries") == 8


def test_a_recovery_that_changes_other_paths_is_repeated(tmp_path: Path) -> None:
    """Others have changed the folder after this journal line, and were repeated; numbers in paths count as equal."""
    bench = Bench(tmp_path, "Tidies", ())
    bench.check("0", "crashed")
    bench.check("0", "crashed-7", "more")
    assert bench.count("recoveries") == 4  # Due: another path is gone.
    bench.check("0", "crashed-8", "less")
    assert bench.count("recoveries") == 5


def test_what_was_checked_in_the_run_before(tmp_path: Path) -> None:
    """Checks that other judges made are not made again."""
    first = Bench(tmp_path / "first", "Checks", ())
    assert first.check("0", "crashed").verdict is Verdict.SAFE
    assert (first.count("verified"), first.count("recoveries")) == (1, 2)
    bench = Bench(tmp_path / "then", "Checks", first.judge.checks)
    assert bench.check("0", "crashed").verdict is Verdict.SAFE
    assert (bench.count("verified"), bench.count("recoveries")) == (0, 1)


def test_every_folder_is_checked_where_single_states_are_judged(tmp_path: Path) -> None:
    """A state that is replayed or minimised gets every check, whatever passed before."""
    bench = Bench(tmp_path, "Checks")
    assert bench.check("0", "crashed").verdict is Verdict.SAFE
    assert bench.check("0", "crashed", "another").verdict is Verdict.SAFE
    assert (bench.count("verified"), bench.count("recoveries")) == (2, 4)
    assert bench.check("0", "bad").explanation == "says the check"


def test_the_system_checks_itself_in_each_recovered_folder(tmp_path: Path) -> None:
    """Once in each, and in the first one after each journal line; a folder that fails the check gets it again."""
    bench = Bench(tmp_path, "Checks", ())
    for _ in range(2):
        bad = bench.check("0", "bad")
        assert (bad.verdict, bad.explanation) == (Verdict.HOLE, "says the check")
    assert bench.count("verified") == 2
    for folder in (["0"], ["0", "other"], ["0"], ["0", "other"]):
        assert bench.check(*folder).verdict is Verdict.SAFE
    assert bench.count("verified") == 4
    bench.journal = STARTED
    assert bench.check("0").verdict is Verdict.SAFE
    assert bench.count("verified") == 5


def test_a_folder_met_again_is_judged_by_what_was_promised_since(tmp_path: Path) -> None:
    """Recovered once, it keeps the promises made by then, and breaks those made later; that takes no process."""
    bench = Bench(tmp_path, "Store", ())
    _, folder = bench.lay_out()
    assert bench.judge.known(folder, 0, 2) is None
    assert bench.check().verdict is Verdict.SAFE
    bench.journal = TWO
    known = bench.judge.known(folder, 0, 4)
    assert known is not None
    assert (known.verdict, known.explanation) == (Verdict.LOSES, "acknowledged, but gone: 1 (of 2 acknowledged)")
    assert bench.judge.known(folder, 0, 4) is known
    assert bench.count("recoveries") == 1
    assert (bench.judge.folders, bench.judge.recovered) == (1, 1)
    bench.judge.forget(known)
    assert bench.judge.known(folder, 0, 4) is None


def test_a_folder_is_not_known_while_the_system_is_to_check_itself(tmp_path: Path) -> None:
    """After another promise, a folder met before is recovered anew, for the system's own check."""
    bench = Bench(tmp_path, "Checks", ())
    _, folder = bench.lay_out()
    bench.check()
    bench.journal = STARTED
    assert bench.judge.known(folder, 0, 2) is not None
    assert bench.judge.known(folder, 0, 3) is None
