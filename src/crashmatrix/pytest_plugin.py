"""The pytest plugin. Installing crashmatrix adds it; there is nothing to import.

    def test_my_store_survives(crash_matrix):
        crash_matrix(MyStore(), experiments=["kill", "power"]).assert_safe()

``MyStore`` is a `crashmatrix.SystemUnderTest` at the top of some module; its arguments are JSON values. With the marker, each
experiment is a test of its own, which pytest-xdist spreads over its workers:

    @pytest.mark.crash_matrix("kill", "power")
    def test_my_store_survives(crash_matrix):
        crash_matrix(MyStore()).assert_safe()

If this machine cannot run an experiment, the test is skipped, but only after the others have found nothing.

Every pytest on a machine with crashmatrix loads this module. So it imports pytest and no other module of crashmatrix: projects
that do not use the fixture lose no time, and a project with a package named `scenarios` gets its own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from crashmatrix.scenarios.pytest_fixture import CrashMatrix

__all__ = ["CrashMatrix", "crash_matrix", "pytest_addoption", "pytest_configure", "pytest_generate_tests"]

BUDGET = 300
"""Default number of hits and of crash states; a run on the command line takes more."""

_MARKER = "crash_matrix"
_PARAMETER = "_crash_experiment"


def _leave_assertions_as_they_are() -> None:
    """Take this package off the list of those whose assertions pytest rewrites when they are imported.

    pytest puts every package there that has a plugin. To rewrite the modules that a run needs takes seconds, in each process
    where Python keeps no compiled files (PYTHONDONTWRITEBYTECODE, common in containers), and no test is among them. pytest has
    no public call for it; in a version that keeps its list elsewhere, the modules are rewritten, which does no harm.
    """
    for finder in sys.meta_path:
        names, known = getattr(finder, "_must_rewrite", None), getattr(finder, "_marked_for_rewrite_cache", None)
        if isinstance(names, set) and isinstance(known, dict):
            names.discard("crashmatrix")
            known.clear()


_leave_assertions_as_they_are()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("crashmatrix", "crash-consistency tests")
    group.addoption(
        "--crash-budget", type=int, metavar="N", default=BUDGET,
        help=f"at most so many hits of failpoints and crash states a test (default {BUDGET})",
    )  # fmt: skip
    group.addoption("--crash-seed", type=int, metavar="S", default=0, help="draws everything random (default 0)")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", f"{_MARKER}(*experiments): make each of these experiments a test of its own.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make each experiment of the marker a test of its own."""
    marker = metafunc.definition.get_closest_marker(_MARKER)
    if marker is not None and marker.args and _MARKER in metafunc.fixturenames:
        metafunc.fixturenames.append(_PARAMETER)
        metafunc.parametrize(_PARAMETER, marker.args)


@pytest.fixture
def crash_matrix(request: pytest.FixtureRequest, tmp_path: Path) -> CrashMatrix:
    """Crash a system in every way: ``crash_matrix(MyStore()).assert_safe()``."""
    from crashmatrix.scenarios.pytest_fixture import CrashMatrix

    call = getattr(request.node, "callspec", None)
    chosen = call.params.get(_PARAMETER) if call is not None else None
    return CrashMatrix(request.config, tmp_path, [chosen] if chosen else [])


def __getattr__(name: str) -> Any:
    """`CrashMatrix`, for annotations; imported when needed."""
    if name == "CrashMatrix":
        from crashmatrix.scenarios import pytest_fixture

        return pytest_fixture.CrashMatrix
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
