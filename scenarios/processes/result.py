"""How a job ended, in words that can be sent from one process to another."""

from __future__ import annotations

import signal
import traceback
from dataclasses import dataclass
from typing import Any

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import PromiseBroken, claimed, text_of

__all__ = ["Ended", "Raised", "Relayed", "claim_of", "describe", "signal_name"]


@dataclass(frozen=True)
class Raised:
    """The function ended with an exception. ``kinds`` are its class and their bases, by name.

    ``payload`` is the verdict and the explanation of a `PromiseBroken`, of any other exception twice None.
    """

    kinds: tuple[str, ...]
    message: str
    traceback: str
    payload: Any = None

    def __str__(self) -> str:
        return f"{self.kinds[0]}: {self.message}"


class Relayed(Exception):
    """Raised in a job for an exception that was raised in a process it had started: the job ends as if with that one."""

    def __init__(self, raised: Raised) -> None:
        self.raised = raised
        super().__init__(str(raised))


@dataclass(frozen=True)
class Ended:
    """How a job ended: exactly one of a value (``returned``), an exception, a death (signal or exit code), a time-out."""

    returned: bool = False
    value: Any = None
    raised: Raised | None = None
    died: int | None = None
    """multiprocessing's exit code: -9 for SIGKILL."""
    timed_out: bool = False
    output: str = ""
    """The last of what it printed."""

    def __str__(self) -> str:
        if self.returned:
            return "returned"
        if self.timed_out:
            return "ran out of time"
        said = f"; it printed: {self.output.strip()[-300:]}" if self.output.strip() else ""
        if self.raised is not None:
            return f"raised {self.raised}"
        if self.died is not None and self.died < 0:
            return f"died by {signal_name(-self.died)}{said}"
        return f"exited with status {self.died}{said}"


def signal_name(number: int) -> str:
    """Return the name of any signal: ``SIGKILL``, ``signal 40``."""
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals
        return f"signal {number}"


def describe(error: BaseException) -> Raised:
    """Put an exception into words that can be sent."""
    kinds = tuple(kind.__name__ for kind in type(error).__mro__ if kind is not object)
    payload: tuple[str | None, str | None] = None, None
    if issubclass(type(error), PromiseBroken):  # isinstance would ask the exception for its class.
        payload = claim_of(error)
    return Raised(kinds, text_of(error), _traceback(), payload)


def claim_of(error: BaseException) -> tuple[Verdict, str]:
    """Return what a `PromiseBroken` claims by now: its class may be a user's, and its attributes anything."""
    try:
        return claimed(error.verdict, error.explanation)  # type: ignore[attr-defined]  # a PromiseBroken has both
    except Exception:
        return claimed("unknown", error)


def _traceback() -> str:
    try:
        return text_of(traceback.format_exc()[-4000:])
    except Exception:  # An exception can hinder that, too.
        return ""
