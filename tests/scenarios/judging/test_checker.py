"""The verdict of one folder under `kill`: the same as that of the same folder under `power`, from the same stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging.checker import Checked, Checker, CrashState
from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.systems.loading import Target
from crashmatrix.scenarios.target.journal import Promises
from tests.scenarios.recorded.test_folder_judge import ONE, SECOND, STARTED, STORES, TWO

OWN = '''

class OwnContract:
    """A contract of the user's, which runs in a process of its own."""

    def check(self, promises, recovered):
        from crashmatrix import Verdict, Violation
        if 1 in recovered:
            raise ValueError("cannot say")
        return [Violation(Verdict.HOLE, "says the contract")] if 2 in recovered else []


class Own(Store):
    from crashmatrix import Contract as _Contract
    contract = type("OwnContract", (_Contract,), {"check": OwnContract.check})()


class ChecksByPromises(Store):
    def verify(self, root, promises):
        if len(promises.attempted) > 1:
            raise PromiseBroken("hole", "says the check")


class Dies(Store):
    def recover(self, root):
        os.kill(os.getpid(), signal.SIGTERM)
'''


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    with Jobs(scratch=tmp_path_factory.mktemp("jobs")) as running:
        yield running


class Bench:
    """A checker of one store."""

    def __init__(self, jobs: Jobs, folder: Path, store: str) -> None:
        (folder / "stores.py").write_text(STORES + OWN)
        (folder / "scratch").mkdir()
        self._folder = folder
        snapshots = SnapshotStore(folder / "scratch", names=2)
        self.checker = Checker(jobs, snapshots, Target(f"{folder / 'stores.py'}:{store}"), folder / "scratch")

    def state(self, journal: str, data: str, *others: str, resumed: bool = False) -> CrashState:
        root = self._folder / "root"
        root.mkdir(exist_ok=True)
        for path in root.iterdir():
            path.unlink()
        (root / "data").write_text(data)
        for name in others:
            (root / name).touch()
        return CrashState(self.checker.store.capture(root), Promises.parse(journal.encode(), ()), resumed)

    def check(self, journal: str, data: str, *others: str, resumed: bool = False) -> Checked:
        return self.checker.check(self.state(journal, data, *others, resumed=resumed))


VERDICTS = [
    *SECOND,
    ("Store", TWO, "0", Verdict.LOSES, "acknowledged, but gone: 1"),
    ("Store", ONE, "0 0", Verdict.DUPLICATE, "came back more often than it was stored: 0"),
    ("Dies", ONE, "0", Verdict.CANNOT_OPEN, "recovery died by SIGTERM"),
    ("Own", ONE, "0", Verdict.SAFE, ""),
    ("Own", ONE, "1", Verdict.UNKNOWN, "the contract's check raised ValueError: cannot say"),
    ("Own", ONE, "2", Verdict.HOLE, "says the contract"),
    ("ChecksByPromises", STARTED, "0", Verdict.HOLE, "says the check"),
]


@pytest.mark.parametrize(("store", "journal", "data", "verdict", "explanation"), VERDICTS)
def test_verdicts(
    store: str, journal: str, data: str, verdict: Verdict, explanation: str, jobs: Jobs, tmp_path: Path
) -> None:
    """Each promise that one folder can break is broken; where none is, the recovered folder is kept for what follows."""
    checked = Bench(jobs, tmp_path, store).check(journal, data, "crashed")
    assert checked.verdict is verdict and checked.explanation.startswith(explanation)
    assert bool(checked.recovered) is (verdict is Verdict.SAFE)


def test_a_check_that_passed_is_due_again_for_other_promises(jobs: Jobs, tmp_path: Path) -> None:
    """The folder is known, the promises are not."""
    bench = Bench(jobs, tmp_path, "ChecksByPromises")
    assert [bench.check(journal, "0").verdict for journal in (ONE, ONE, STARTED, ONE)] == [
        Verdict.SAFE, Verdict.SAFE, Verdict.HOLE, Verdict.SAFE,
    ]  # fmt: skip


def test_a_recovery_that_passed_is_repeated_for_another_folder(jobs: Jobs, tmp_path: Path) -> None:
    """A second recovery of one folder says nothing of another."""
    bench = Bench(jobs, tmp_path, "Repeats")
    assert bench.check(ONE, "").verdict is Verdict.LOSES
    assert bench.check("", "").verdict is Verdict.SAFE
    assert bench.check(ONE, "0").verdict is Verdict.DUPLICATE


def test_what_a_second_life_left(jobs: Jobs, tmp_path: Path) -> None:
    """It is recovered and judged, and that is all; the verdict says that it is about a second life."""
    bench = Bench(jobs, tmp_path, "Repeats")
    assert bench.check(ONE, "0", resumed=True).verdict is Verdict.SAFE
    checked = bench.check(TWO, "0", resumed=True)
    assert checked.verdict is Verdict.LOSES and checked.explanation.startswith("after it was resumed: ")


def test_the_end_of_an_undisturbed_run(jobs: Jobs, tmp_path: Path) -> None:
    """It is judged by the contract; a recovery that fails is a verdict of each crash."""
    bench = Bench(jobs, tmp_path, "Store")
    assert bench.checker.undisturbed(bench.state(ONE, "0")) is None
    violation = bench.checker.undisturbed(bench.state(TWO, "0"))
    assert violation is not None and violation.verdict is Verdict.LOSES


def test_differences(jobs: Jobs, tmp_path: Path) -> None:
    """A store without a fingerprint of its own has each difference."""
    bench = Bench(jobs, tmp_path, "Store")
    one, other = bench.state(ONE, "0").tree, bench.state(ONE, "1").tree
    assert bench.checker.difference(one, other) == "data"
    assert bench.checker.difference(one, bench.state(ONE, "0").tree) is None
