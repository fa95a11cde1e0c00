"""Jobs that hold a program before its system calls, and look at its stack."""

from __future__ import annotations

import os
from pathlib import Path

from crashmatrix.scenarios.judging.native_lines import native_line
from crashmatrix.scenarios.processes.calls.system_calls import run_watched
from crashmatrix.scenarios.processes.calls.unwinding import callers
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.process_tree import ProcessTree

__all__ = ["look_at"]


def look_at(_: Channel, program: str, root: Path) -> dict[str, tuple[str, list[str]]]:
    """Run a program in a folder; return the line of each call that changes the folder, and the files of its frames."""
    found: dict[str, tuple[str, list[str]]] = {}

    def at(name: str, tree: ProcessTree, _: object) -> None:
        assert tree.waiting
        thread = tree.waiting.thread
        found[name] = native_line(thread), [Path(frame.path).name for frame in callers(thread)]

    def body() -> None:
        os.chdir(root)
        os.execv(program, [program])

    run_watched(body, root=root, journal=None, failpoints=(), at=at)
    return found
