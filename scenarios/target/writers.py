"""Who writes: a name for each thread, task and process of a workload, so that contracts know which attempts overlap.

    main thread of the workload's process, outside of any task      "" (one writer)
    another thread, a task of asyncio, a child process              its name: "Thread-1-work", "Task-3", "Process-2", "fork-1"

Names are the same in every run that starts its threads, tasks and processes in the same order: none holds a process number.
"""

from __future__ import annotations

import os
import re
import sys
import threading

__all__ = ["begin_life", "checked_name", "writer_here"]

_CHARACTERS_MAX = 80
_FORBIDDEN = re.compile(r"[\s:]+")

_home: list[str] = [""]
"""The name that `multiprocessing` has for the process that runs the workload."""

_forks: list[int] = [0]
"""How this process came about since its program began: the number of each fork on the way, and how many it has made."""


def _about_to_fork() -> None:
    _forks[-1] += 1


def _forked() -> None:
    _forks.append(0)


os.register_at_fork(before=_about_to_fork, after_in_child=_forked)


def checked_name(name: str) -> str:
    """Return a writer's name. Raises ValueError if it cannot stand in a line of the journal."""
    if len(name) > _CHARACTERS_MAX or _FORBIDDEN.search(name):
        raise ValueError(
            f"{name!r:.90} cannot name a writer: use at most {_CHARACTERS_MAX} characters, and no space, line break or colon"
        )
    return name


def writer_here() -> str:
    """Return the name of who calls; empty for the main thread of the process that runs the workload."""
    parts = [_process(), _thread(), _task()]
    return "/".join(_FORBIDDEN.sub("-", part).strip("-") for part in parts if part)[:_CHARACTERS_MAX]


def begin_life() -> None:
    """From here on, this process is the one that runs the workload: its main thread needs no name."""
    _forks[:] = [0]
    _home[:] = [_multiprocessing_name()]


def _multiprocessing_name() -> str:
    """Return the name of this process if `multiprocessing` started it."""
    multiprocessing = sys.modules.get("multiprocessing")
    started = multiprocessing is not None and multiprocessing.parent_process() is not None
    return str(multiprocessing.current_process().name) if multiprocessing and started else ""


def _process() -> str:
    if (name := _multiprocessing_name()) not in _home:
        return name
    return "fork-" + ".".join(map(str, _forks[:-1])) if len(_forks) > 1 else ""


def _thread() -> str:
    thread = threading.current_thread()
    return "" if thread is threading.main_thread() else thread.name


def _task() -> str:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return ""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # There is no loop in this thread.
        return ""
    return task.get_name() if task else ""
