"""A mutant is judged by the tests that run its line."""

import pytest

from benchmarks.mutation.places import ROOT
from benchmarks.mutation.reach import Reach, measured
from crashmatrix.scenarios.mutation.mutant import SourceMutant, mutants_of

MODULE = "reference_wal/log/folders.py"
OWN, OTHER = "tests/reference_wal/log/test_folders.py::test_a", "tests/reference_wal/test_table.py::test_b"


def mutants() -> list[SourceMutant]:
    """Those of a module of the engine."""
    return mutants_of(ROOT / MODULE, MODULE)


def test_which_tests_judge() -> None:
    """Those that run the line: the module's own by themselves, then those of others; a case of each test comes first."""
    mutant = next(each for each in mutants() if each.in_function)
    seconds = {
        f"{OTHER}[2]": 0.1,
        f"{OTHER}[1]": 0.3,
        OWN: 2.0,
        f"{OTHER}d": 0.2,
        "tests/reference_wal/test_keys.py::test_c": 0.1,
    }
    reach = Reach(seconds, {MODULE: {mutant.line: [0, 1, 2, 3], mutant.line + 1000: [4]}})
    assert reach.tests_of(mutant) == [[OWN], [f"{OTHER}d", f"{OTHER}[1]", f"{OTHER}[2]"]]
    assert Reach(seconds, {MODULE: {mutant.line + 1000: [4]}}).tests_of(mutant) == []
    assert Reach(seconds, {}).tests_of(mutant) == []


def test_a_line_that_runs_at_import() -> None:
    """It is judged by the tests that run anything of the module; by all, if no test does, and they load it."""
    module = "reference_wal/options.py"
    mutant = next(each for each in mutants_of(ROOT / module, module) if not each.in_function)
    reach = Reach({OWN: 0.1, OTHER: 0.1}, {module: {1: [0], 1000: [1]}})
    assert reach.tests_of(mutant) == [[OWN, OTHER]]
    assert Reach(reach.seconds, {module: {1: []}}).tests_of(mutant) == [[OWN, OTHER]]
    assert Reach(reach.seconds, {}).tests_of(mutant) == []


@pytest.mark.slow
def test_measured() -> None:
    """Real tests are run, and known by the lines that they run."""
    reach = measured(["tests/reference_wal/log/test_folders.py"])
    judged = [reach.tests_of(mutant) for mutant in mutants() if mutant.in_function]
    assert any(judged)
    assert {test for parts in judged for part in parts for test in part} <= reach.seconds.keys()
    assert all(test.startswith("tests/reference_wal/log/test_folders.py::") for test in reach.seconds)
