"""The workbench: what the jobs of a run find loaded."""

import pytest

from crashmatrix.scenarios.campaign.experiments import EXPERIMENTS, by_default
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from tests.processes import value
from tests.scenarios import job_functions as do

TARGET = "tests.scenarios.toy_systems:Store"


@pytest.mark.experiment
@pytest.mark.parametrize("named", [(), ("io-error",)])
def test_modules_of_the_experiments_that_run(named: tuple[str, ...]) -> None:
    """Without names, those of the experiments that run by default are loaded, and no others."""
    runs = named or by_default()
    wanted = {module for name in runs for module in EXPERIMENTS[name].modules}
    others = {module for kind in EXPERIMENTS.values() for module in kind.modules} - wanted
    assert others
    with workbench(Plan(target=TARGET, experiments=named)) as (checker, _):
        loaded = [value(checker.jobs.run(do.loaded, module, seconds_max=60)) for module in (*wanted, *others)]
    assert loaded == [True] * len(wanted) + [False] * len(others)
