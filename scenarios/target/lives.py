"""The part of a target that runs in this process: its workload, its recovery and so on; and parts written as ``async def``.

    current.get().part        "workload", "recover", ... within a call of that method; empty outside

A part that is ``async def`` is run to its end by `asyncio.run`. Called from a part that is itself running in an event loop, it
returns its coroutine, to be awaited as usual.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crashmatrix.scenarios.target.writers import begin_life

__all__ = ["PARTS", "Life", "as_part", "current", "repeating"]

PARTS = ("prepare", "workload", "resume", "recover", "verify")
"""The methods of a target that are parts."""


@dataclass(frozen=True)
class Life:
    """The code that runs in this process: the part of a target, and the target's folder outside of the crash."""

    part: str = ""
    workspace: Path | None = None
    again: bool = False
    """Whether this is a repetition, on what an orderly end left."""
    watched: bool = False
    """Whether it is stopped before its system calls, so that its times mean nothing."""


current: ContextVar[Life] = ContextVar("crashmatrix_life", default=Life())  # noqa: B039  # it is frozen
"""The part that runs now."""


@contextmanager
def repeating() -> Iterator[None]:
    """For the block, what runs is a repetition on what an orderly end left."""
    token = current.set(Life(again=True))
    try:
        yield
    finally:
        current.reset(token)


def as_part(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a target's method such that it is known while it runs, and runs to its end if it is ``async def``."""

    @functools.wraps(function)
    def part(system: Any, *arguments: Any, **options: Any) -> Any:
        if not current.get().part:
            begin_life()
        token = current.set(replace(current.get(), part=name, workspace=getattr(system, "workspace", None)))
        try:
            returned = function(system, *arguments, **options)
            return _run(returned) if inspect.iscoroutine(returned) else returned
        finally:
            current.reset(token)

    return part


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end; within an event loop, return it."""
    import asyncio  # Most targets do without it, in every process.

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    return coroutine
