"""The built-in systems, undisturbed: what is stored comes back, whole and in order, however often it is recovered."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crashmatrix.scenarios.judging import worker as work
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.result import Raised
from crashmatrix.scenarios.systems import BUILT_IN
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.systems.values import ITEMS
from crashmatrix.scenarios.target.contract import contract_named
from crashmatrix.scenarios.target.journal import Promises
from crashmatrix.scenarios.target.system import SystemUnderTest
from tests.processes import value

SECONDS_MAX = 250.0
NAMES = sorted(name for name in BUILT_IN if not name.startswith("reference"))  # which have tests of their own


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    """Fresh processes: one that has used deltalake cannot be forked by a later test."""
    modules = sorted({BUILT_IN[name].place.partition(":")[0] for name in NAMES})
    with Jobs(preload=modules) as running:
        yield running


def set_up(jobs: Jobs, target: Target) -> None:
    result = jobs.run(work.setup, target, seconds_max=SECONDS_MAX)
    if isinstance(result, Raised) and "pip install" in result.message:
        pytest.skip(result.message)
    value(result)


@pytest.mark.daily(8)
@pytest.mark.experiment
@pytest.mark.parametrize("name", NAMES)
def test_undisturbed(jobs: Jobs, tmp_path: Path, name: str) -> None:
    """Every item acknowledged comes back from a first recovery and from a second one, in a folder of any name."""
    target, journal = Target(name, seed=3, workspace=str(tmp_path)), tmp_path / "journal"
    root = tmp_path / "été: a folder" / "root"
    root.mkdir(parents=True)
    set_up(jobs, target)
    initial = value(jobs.run(work.prepare, target, root, seconds_max=SECONDS_MAX))
    value(jobs.run(work.workload, target, root, journal, (), None, seconds_max=SECONDS_MAX))
    promises = Promises.parse(journal.read_bytes(), initial)
    assert len(promises.acknowledged) >= ITEMS + len(initial)
    contract = contract_named(load(name).contract)
    for _ in range(2):
        found = value(jobs.run(work.recover, target, root, False, None, seconds_max=SECONDS_MAX))
        assert contract.judge(promises, found.items) == []


@pytest.mark.daily(5)
@pytest.mark.experiment
@pytest.mark.parametrize("name", NAMES)
def test_one_seed_one_fingerprint(jobs: Jobs, tmp_path: Path, name: str) -> None:
    """Two runs of one seed leave folders of the same bytes, or with the same fingerprint."""
    target, prints = Target(name, seed=3, workspace=str(tmp_path)), []
    set_up(jobs, target)
    for run in ("once", "again"):
        folder = tmp_path / run
        folder.mkdir()
        value(jobs.run(work.prepare, target, folder, seconds_max=SECONDS_MAX))
        value(jobs.run(work.workload, target, folder, tmp_path / f"{run}.journal", (), None, seconds_max=SECONDS_MAX))
        content = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        prints.append(value(jobs.run(work.fingerprint, target, folder, seconds_max=SECONDS_MAX)) or content)
    assert prints[0] == prints[1]


@pytest.mark.parametrize("name", NAMES)
def test_documented(name: str) -> None:
    """A system says what its documentation promises and where."""
    kind = load(name)
    assert issubclass(kind, SystemUnderTest)
    assert kind.__doc__ is not None
    assert "http" in kind.__doc__
    assert "safe" in kind.__doc__
