"""How a job ended: one of four classes, each with the last of the job's output.

    match jobs.run(function, argument, seconds_max=5):
        case Returned(value):                            # the function returned; `value` has its return type
            ...
        case Raised() as raised if raised.is_a(UsageError):
            ...
        case Raised() | Died() | TimedOut() as failed:   # str(failed): "raised OSError: disk full", "died by SIGKILL"
            ...

An exception crosses from the job's process as text: its class need not exist in the process that reads it.
"""

from __future__ import annotations

import signal
import traceback
from dataclasses import dataclass
from typing import Generic, TypeVar

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import PromiseBroken, claimed, text_of
from crashmatrix.scenarios.last_words import last_words

__all__ = [
    "Died",
    "JobResult",
    "Raised",
    "Relayed",
    "Returned",
    "TimedOut",
    "claim_of",
    "describe",
    "exit_text",
    "signal_name",
    "was_killed",
]

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Returned(Generic[T_co]):
    """The function returned ``value``."""

    value: T_co
    output: str = ""

    def __str__(self) -> str:
        return "returned"


@dataclass(frozen=True)
class Raised:
    """The function ended with an exception. ``kinds`` are the names of its class and of that class's bases."""

    kinds: tuple[str, ...]
    message: str
    traceback: str
    claim: tuple[Verdict, str] | None = None
    """Verdict and explanation of a `PromiseBroken`; None for any other exception."""
    output: str = ""

    def is_a(self, kind: type[BaseException]) -> bool:
        """Return whether the exception was of this class, going by the class's name."""
        return kind.__name__ in self.kinds

    def __str__(self) -> str:
        return f"raised {self.kinds[0]}: {self.message}"


@dataclass(frozen=True)
class Died:
    """The process ended before the function did. ``exit_code`` is multiprocessing's: -9 for SIGKILL."""

    exit_code: int
    output: str = ""

    def __str__(self) -> str:
        printed = last_words(self.output)
        return exit_text(self.exit_code) + (f"; it printed: {printed}" if printed else "")


@dataclass(frozen=True)
class TimedOut:
    """The job reached its time limit and was killed."""

    output: str = ""

    def __str__(self) -> str:
        return "ran out of time"


JobResult = Returned[T_co] | Raised | Died | TimedOut


def was_killed(result: JobResult[object]) -> bool:
    """Return whether SIGKILL ended the job."""
    return isinstance(result, Died) and result.exit_code == -signal.SIGKILL


class Relayed(Exception):
    """Raised in a job for an exception that was raised in a process it had started: the job ends as if with that one."""

    def __init__(self, raised: Raised) -> None:
        self.raised = raised
        super().__init__(str(raised))


def exit_text(exit_code: int) -> str:
    """Say how a process ended: ``died by SIGKILL``, ``exited with status 3``."""
    return f"died by {signal_name(-exit_code)}" if exit_code < 0 else f"exited with status {exit_code}"


def signal_name(number: int) -> str:
    """Return the name of any signal: ``SIGKILL``, ``signal 40``."""
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals
        return f"signal {number}"


def describe(error: BaseException) -> Raised:
    """Put an exception into words that can be sent."""
    kinds = tuple(kind.__name__ for kind in type(error).__mro__ if kind is not object)
    broken = issubclass(type(error), PromiseBroken)  # isinstance would read the exception's own `__class__`.
    return Raised(kinds, text_of(error), _traceback(), claim_of(error) if broken else None)


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
