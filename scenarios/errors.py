"""Errors that keep an experiment from running, as opposed to its findings (those are verdicts).

ScenarioError
├── UsageError         the user's input cannot be used: unknown target, unreadable data, malformed scenario id
│   └── TargetFails    the target itself fails before anything is crashed
├── EnvironmentLacks   this machine cannot run it: a missing package, permission or device
│   └── ForkServerDied the process that forks jobs was killed: the results of running jobs are unknown
└── PromiseBroken      raised by a system's own checks: the verdict and why

RunStopped, which is not an Exception, passes through everything that catches these.
"""

from __future__ import annotations

import re

from crashmatrix.reports import Verdict

__all__ = [
    "EnvironmentLacks",
    "ForkServerDied",
    "PromiseBroken",
    "RunStopped",
    "ScenarioError",
    "TargetFails",
    "UsageError",
    "claimed",
    "text_of",
]

_TEXT_CHARACTERS_MAX = 4000
_LONG = re.compile(r'"(?:[^"\\]|\\.){240,}"|\S{240,}')
_START, _END = 120, 40


class ScenarioError(Exception):
    """Base of everything this package raises."""


class UsageError(ScenarioError):
    """One line: what is wrong with the input, and what to do."""


class TargetFails(UsageError):
    """One line: which part of a target failed in an undisturbed run, and how. If a bug was planted, this is a finding."""


class EnvironmentLacks(ScenarioError):
    """One line: what this machine lacks, and how to get it."""


class ForkServerDied(EnvironmentLacks):
    """The run cannot go on, and the ends of its jobs say nothing about the system. One line: how it died, what to do."""


class RunStopped(BaseException):
    """The run is being stopped, and has ended its jobs. How they ended says nothing about the system."""


class PromiseBroken(ScenarioError):
    """A system under test found on its own that a promise is broken: ``PromiseBroken("corrupt", "row 7 differs")``.

    A verdict that says of no promise that it is broken (``safe``, a misspelt one) counts as ``unknown``.
    """

    def __init__(self, verdict: Verdict | str, explanation: str) -> None:
        self.verdict, self.explanation = claimed(verdict, explanation)
        super().__init__(f"{self.verdict}: {self.explanation}")


def claimed(verdict: object, explanation: object) -> tuple[Verdict, str]:
    """Return the verdict that a system or a contract claims, and its explanation: a broken promise, or ``unknown``.

    A long item in the explanation keeps its beginning and its end.
    """
    text = text_of(_LONG.sub(_shortened, explanation) if isinstance(explanation, str) else explanation)
    known = {one.value: one for one in Verdict if one.broken or one is Verdict.UNKNOWN}
    name = str.__str__(verdict) if isinstance(verdict, str) else ""
    if name in known:
        return known[name], text
    return Verdict.UNKNOWN, f"{text} (it claims the verdict {text_of(verdict)!r}; use one of {', '.join(known)})"


def _shortened(long: re.Match[str]) -> str:
    """The beginning and the end of an item, or of a text in one, that would fill the page."""
    text = long[0]
    return f"{text[:_START]}...{text[-_END:]} ({len(text):,} characters)"


def text_of(thing: object) -> str:
    """Return ``str(thing)``, whatever that does: not too long, and fit to be written as UTF-8."""
    try:
        text = str.__str__(str(thing))[:_TEXT_CHARACTERS_MAX]
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = f"(its text cannot be shown: {type(error).__name__})"
    return text.encode(errors="backslashreplace").decode()
