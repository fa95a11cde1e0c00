"""Experiments on storage systems: kill the process, and see whether recovery keeps what was promised.

`SystemUnderTest` is what you subclass; ``crashmatrix run my_store.py:MyStore`` does the rest. `CrashStateMachine` is for
property-based tests, and needs Hypothesis.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crashmatrix.scenarios.errors import EnvironmentLacks, PromiseBroken, ScenarioError, UsageError
    from crashmatrix.scenarios.stateful.state_machine import CrashStateMachine
    from crashmatrix.scenarios.target.contract import Contract, Violation
    from crashmatrix.scenarios.target.journal import Journal, Promises
    from crashmatrix.scenarios.target.system import SystemUnderTest, Target

__all__ = [
    "Contract",
    "CrashStateMachine",
    "EnvironmentLacks",
    "Journal",
    "PromiseBroken",
    "Promises",
    "ScenarioError",
    "SystemUnderTest",
    "Target",
    "UsageError",
    "Violation",
]


_HOMES = {
    "contract": ("Contract", "Violation"),
    "errors": ("EnvironmentLacks", "PromiseBroken", "ScenarioError", "UsageError"),
    "journal": ("Journal", "Promises"),
    "state_machine": ("CrashStateMachine",),
    "system": ("SystemUnderTest", "Target"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is: pytest loads our plugin in every project, and Hypothesis is optional."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"scenarios.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
