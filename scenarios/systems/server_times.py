"""How long a target's server takes to start: on what `prepare` or an orderly end left, and on what a crash left.

Each start is a line in a file of the target's workspace, written by the job that started the server:

    first 0.041         a start on a folder in order: in the workload, in a second recovery, in a second life
    recovery 0.215      in a recovery: the start contains the server's own recovery

Starts in processes that are stopped before their system calls are left out: they take much longer.

`times_in_words` says in one line for the report what a server costs per scenario, beside its bare start.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from crashmatrix.scenarios.target.lives import Life

__all__ = ["note_start", "times_in_words"]

_FILE = "server-starts"
_LINE = re.compile(r"(first|recovery) (\d{1,6}\.\d{1,6})")
_BYTES_MAX = 1 << 22


def note_start(life: Life, seconds: float) -> None:
    """Note one start in the workspace, if there is one; a note that cannot be made is left out."""
    if life.workspace is None or life.watched:
        return
    kind = "recovery" if life.part == "recover" and not life.again else "first"
    with contextlib.suppress(OSError):
        path = life.workspace / _FILE
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            os.write(descriptor, f"{kind} {seconds:.4f}\n".encode())
        finally:
            os.close(descriptor)


def times_in_words(workspace: str) -> str:
    """Return what the starts of a run took, in one line; empty if there was no server."""
    found: dict[str, list[float]] = {"first": [], "recovery": []}
    for kind, seconds in _LINE.findall(_content(workspace)):
        found[kind].append(float(seconds))
    if not found["recovery"]:
        return ""
    import statistics  # Here: every job would have it, and what it imports.

    bare = f"; a bare start {statistics.median(found['first']):.3f} s" if found["first"] else ""
    return (
        f"server: ready {statistics.median(found['recovery']):.3f} s after its start on what a crash left (median of "
        f"{len(found['recovery']):,}; slowest {max(found['recovery']):.3f} s){bare}"
    )


def _content(workspace: str) -> str:
    if not workspace:
        return ""
    try:
        descriptor = os.open(Path(workspace, _FILE), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return os.read(descriptor, _BYTES_MAX).decode(errors="replace")
    finally:
        os.close(descriptor)
