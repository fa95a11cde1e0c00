"""Experiments on storage systems: kill the process, and see whether recovery keeps what was promised.

`SystemUnderTest` is what you subclass; ``crashmatrix run my_store.py:MyStore`` does the rest.
"""

from scenarios.contract import Contract, Violation
from scenarios.errors import EnvironmentLacks, PromiseBroken, ScenarioError, UsageError
from scenarios.journal import Journal, Promises
from scenarios.system import SystemUnderTest, Target

__all__ = [
    "Contract",
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
