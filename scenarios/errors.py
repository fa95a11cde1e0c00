"""What keeps an experiment from being run, as opposed to what it finds (that is a verdict).

ScenarioError
├── UsageError         the user's input cannot be used: unknown target, unreadable data, malformed scenario id
├── EnvironmentLacks   this machine cannot run it: a missing package, permission or device
│   └── ForkServerDied the process that jobs come from was killed: nothing can be said of the jobs that ran
└── PromiseBroken      raised by a system's own checks: the verdict and why
"""

from __future__ import annotations

from reports import Verdict

__all__ = ["EnvironmentLacks", "ForkServerDied", "PromiseBroken", "ScenarioError", "UsageError"]


class ScenarioError(Exception):
    """Base of everything this package raises."""


class UsageError(ScenarioError):
    """One line: what is wrong with the input, and what to do."""


class EnvironmentLacks(ScenarioError):
    """One line: what this machine lacks, and how to get it."""


class ForkServerDied(EnvironmentLacks):
    """The run cannot go on, and how its jobs ended says nothing about the system. One line: how it died, what to do."""


class PromiseBroken(ScenarioError):
    """A system under test found on its own that a promise is broken: ``PromiseBroken("corrupt", "row 7 differs")``."""

    def __init__(self, verdict: Verdict | str, explanation: str) -> None:
        self.verdict = Verdict(verdict)
        self.explanation = explanation
        super().__init__(f"{self.verdict}: {explanation}")
