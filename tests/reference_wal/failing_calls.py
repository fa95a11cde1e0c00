"""System calls of the engine that fail: the call itself, which then was not made, or with an error after it was made.

A failpoint's error strikes before a step or after it. So code within the step, which makes the call and deals with its error, is
never put to the test by failpoints. Here, the function of `os` itself fails, wherever it is called.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

__all__ = ["CallPlace", "Failing", "calls_seen"]

NAMES = (
    "fdatasync", "fsync", "ftruncate", "mkdir", "open", "posix_fallocate", "pwrite", "pwritev",
    "rename", "rmdir", "unlink", "write",
)  # fmt: skip
"""The calls that change or sync something; `open` only where it may create a file."""

When = Literal["instead", "afterwards"]


@dataclass(frozen=True, order=True)
class CallPlace:
    """A call, and the line of the engine that makes it."""

    module: str
    line: int
    name: str


@dataclass
class Failing:
    """The first call from this place fails."""

    place: CallPlace
    when: When
    error: int = errno.EIO
    struck: bool = field(default=False, init=False)

    def answer(self, place: CallPlace, call: Callable[[], Any]) -> Any:
        """Make the call, or fail."""
        if self.struck or place != self.place:
            return call()
        self.struck = True
        if self.when == "afterwards":
            made = call()
            if place.name == "open":
                os.close(made)  # The caller has no descriptor to close.
        raise OSError(self.error, os.strerror(self.error))

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Fail that call in the block."""
        with _intercepted(self.answer):
            yield


@contextlib.contextmanager
def calls_seen() -> Iterator[list[CallPlace]]:
    """Note the places of the calls that are made in the block, each once."""
    seen = dict[CallPlace, None]()

    def answer(place: CallPlace, call: Callable[[], Any]) -> Any:
        seen[place] = None
        return call()

    found: list[CallPlace] = []
    with _intercepted(answer):
        yield found
    found += seen


@contextlib.contextmanager
def _intercepted(answer: Callable[[CallPlace, Callable[[], Any]], Any]) -> Iterator[None]:
    before = {name: getattr(os, name) for name in NAMES}

    def interceptor(name: str) -> Callable[..., Any]:
        def intercepted(*args: Any, **options: Any) -> Any:
            place = _place(name)
            reads = name == "open" and not args[1] & os.O_CREAT
            if place is None or reads:
                return before[name](*args, **options)
            return answer(place, lambda: before[name](*args, **options))

        return intercepted

    try:
        for name in NAMES:
            setattr(os, name, interceptor(name))
        yield
    finally:
        for name, function in before.items():
            setattr(os, name, function)


def _place(name: str) -> CallPlace | None:
    """The engine's innermost line on the stack."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if "reference_wal" in path.parts and "tests" not in path.parts:
            return CallPlace(path.name, frame.f_lineno, name)
        frame = frame.f_back
    return None
