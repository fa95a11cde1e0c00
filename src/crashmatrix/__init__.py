"""Crash a storage system everywhere, let it recover, and say whether it kept its promises.

    import crashmatrix
    from my_store import MyStore                # a subclass of crashmatrix.SystemUnderTest, in a file

    outcome = crashmatrix.run(MyStore())        # kills; power cuts, where this machine can make them
    assert outcome.verdict == "safe", outcome

``crashmatrix run my_store.py:MyStore`` does the same on the command line. `CrashMatrix` is the type of the pytest fixture
``crash_matrix``. `CrashStateMachine` is for property-based tests, and needs Hypothesis. The packages below are
`crashmatrix.faults` (failpoints, recorded disks), `crashmatrix.scenarios` (experiments), `crashmatrix.reports` (evidence)
and `crashmatrix.reference_wal` (the reference log and engine).

The folders of these packages lie at the top of the repository; here are links to them, so that every tool that knows
packages (installers, type checkers, editors, tracebacks) finds one package without a mapping.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crashmatrix.reports import Verdict
    from crashmatrix.scenarios.campaign.library import run
    from crashmatrix.scenarios.campaign.outcome import Outcome
    from crashmatrix.scenarios.errors import EnvironmentLacks, PromiseBroken, ScenarioError, UsageError
    from crashmatrix.scenarios.pytest_fixture import CrashMatrix
    from crashmatrix.scenarios.stateful.state_machine import CrashStateMachine
    from crashmatrix.scenarios.systems.loading import Target
    from crashmatrix.scenarios.systems.server import Server, ServerFailed
    from crashmatrix.scenarios.target.contract import Contract, Violation
    from crashmatrix.scenarios.target.encoding import from_item, to_item
    from crashmatrix.scenarios.target.journal import Item, Journal, Promises
    from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = [
    "Contract",
    "CrashMatrix",
    "CrashStateMachine",
    "EnvironmentLacks",
    "Item",
    "Journal",
    "Outcome",
    "PromiseBroken",
    "Promises",
    "ScenarioError",
    "Server",
    "ServerFailed",
    "SystemUnderTest",
    "Target",
    "UsageError",
    "Verdict",
    "Violation",
    "from_item",
    "run",
    "to_item",
]

_HOMES = {
    "reports": ("Verdict",),
    "scenarios.campaign.library": ("run",),
    "scenarios.campaign.outcome": ("Outcome",),
    "scenarios.errors": ("EnvironmentLacks", "PromiseBroken", "ScenarioError", "UsageError"),
    "scenarios.pytest_fixture": ("CrashMatrix",),
    "scenarios.stateful.state_machine": ("CrashStateMachine",),
    "scenarios.target.contract": ("Contract", "Violation"),
    "scenarios.target.journal": ("Item", "Journal", "Promises"),
    "scenarios.systems.loading": ("Target",),
    "scenarios.systems.server": ("Server", "ServerFailed"),
    "scenarios.target.encoding": ("from_item", "to_item"),
    "scenarios.target.system": ("SystemUnderTest",),
}


def __getattr__(name: str) -> Any:
    """Import a name when it is used: pytest loads our plugin in every project, and Hypothesis is optional."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"crashmatrix.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
