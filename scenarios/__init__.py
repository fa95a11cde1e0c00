"""Experiments on storage systems: kill the process, and see whether recovery keeps what was promised.

`SystemUnderTest` is what you subclass; ``crashmatrix run my_store.py:MyStore`` does the rest. `CrashStateMachine` is for
property-based tests, and needs Hypothesis.
"""

from typing import TYPE_CHECKING, Any

from scenarios.contract import Contract, Violation
from scenarios.errors import EnvironmentLacks, PromiseBroken, ScenarioError, UsageError
from scenarios.journal import Journal, Promises
from scenarios.system import SystemUnderTest, Target

if TYPE_CHECKING:
    from scenarios.state_machine import CrashStateMachine

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


def __getattr__(name: str) -> Any:
    if name == "CrashStateMachine":
        from scenarios.state_machine import CrashStateMachine  # only when asked for: Hypothesis is optional

        return CrashStateMachine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
