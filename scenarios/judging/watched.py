"""A system run in a watched process tree: each hit is counted, copied, or made the last thing that it does."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from crashmatrix.scenarios.processes.calls.call_faults import FailingCalls
from crashmatrix.scenarios.processes.calls.long_writes import CUT
from crashmatrix.scenarios.processes.calls.mapped_stores import MAPPED_STORE
from crashmatrix.scenarios.processes.calls.outside_failpoints import failpoint_environment
from crashmatrix.scenarios.processes.calls.own_failpoints import show_own
from crashmatrix.scenarios.processes.calls.system_calls import Coverage, run_watched
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.process_tree import ProcessTree
from crashmatrix.scenarios.processes.result import Relayed, describe
from crashmatrix.scenarios.processes.stopping import stop_here
from crashmatrix.scenarios.target.lives import current

__all__ = ["Hit", "See", "crash_at", "run_watched_system", "wants_stores"]

Hit = tuple[str, int]
"""A failpoint's name and which hit of it, from 1."""

See = Callable[[Hit, ProcessTree, Callable[[], None]], None]
"""Called at a hit, with the tree, and a function that brings about what a crash there leaves."""

_CUTS_IN_RECOVERY = 2
"""How many hits inside long writes each recovery is copied at."""


def crash_at(channel: Channel, watch: Collection[Hit] | None, kill: Hit | None) -> See:
    """Watch a process tree, which is copied, or killed, as one; at a hit that is in both, it is copied and then killed."""

    def die(tree: ProcessTree) -> None:
        tree.kill()
        os.kill(os.getpid(), signal.SIGKILL)

    def see(hit: Hit, tree: ProcessTree, bring_about: Callable[[], None]) -> None:
        copied = hit in watch if watch is not None else hit == kill or _is_copied_in_recovery(hit)
        if copied or hit == kill:
            bring_about()
        if copied:
            with tree.frozen():
                channel.send(hit)
                stop_here()
                if hit == kill:  # Before anything goes on: what is left is what was copied.
                    die(tree)
        elif hit == kill:
            die(tree)

    return see


def _is_copied_in_recovery(hit: Hit) -> bool:
    return hit[1] <= _CUTS_IN_RECOVERY or not hit[0].endswith(CUT)


def run_watched_system(
    names: Sequence[str],
    function: Callable[[], Any],
    root: Path,
    journal: Path | None,
    see: See,
    coverage: Coverage | None = None,
    stores: bool = False,
    failing: FailingCalls | None = None,
    ended: Callable[[], None] = lambda: None,
    own: bool = False,
) -> Any:
    """Call ``function`` in a watched process tree; ``see`` each hit. Returns what it returns, and ends as it ends.

    Args:
        names: the failpoints of its programs.
        failing: answers some of its system calls.
        ended: called once the tree has ended, however that was.
        own: whether its failpoints of Python are hits, too.
    """
    counts: Counter[str] = Counter()

    def at(name: str, tree: ProcessTree, bring_about: Callable[[], None]) -> None:
        counts[name] += 1
        see((name, counts[name]), tree, bring_about)

    with os.fdopen(os.memfd_create("crashmatrix-answer"), "w+b") as answer:

        def body() -> None:
            os.environ.update(failpoint_environment(names))
            current.set(replace(current.get(), watched=True))
            if own:
                show_own()
            pickle.dump(_outcome(function), answer)
            answer.flush()

        status = run_watched(
            body, root=root, journal=journal, failpoints=names, at=at,
            coverage=coverage, stores=stores, failing=failing, own=own,
        )  # fmt: skip
        ended()
        answer.seek(0)
        text = answer.read()
    lacks = coverage.lacks if coverage else []
    if not text:
        if lacks:  # They may be the cause of its death.
            os.write(2, f"\nnote: kill does not cover {'; nor '.join(lacks)}\n".encode())
        _end_like(status)
    returned, content = pickle.loads(text)  # noqa: S301  # from our own child
    if not returned:
        note = f" (note: kill does not cover {'; nor '.join(lacks)})" if lacks else ""
        raise Relayed(replace(content, message=content.message + note))
    return content


def _outcome(function: Callable[[], Any]) -> tuple[bool, Any]:
    owner = os.getpid()
    try:
        outcome = True, function()
    except BaseException as error:  # A panic or an exit is a way to end, too.
        outcome = False, describe(error)
    if os.getpid() != owner:
        os._exit(0)  # A copy, made by a function that forks.
    return outcome


def _end_like(status: int) -> NoReturn:
    """End this process as another one ended."""
    if status < 0:
        with contextlib.suppress(OSError, ValueError):  # SIGKILL, and those that the C library keeps to itself
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def wants_stores(watch: Collection[Hit] | None, kill: Hit | None) -> bool:
    """Whether a run must stop before stores to mapped files, to be crashed at one."""
    return any(name == MAPPED_STORE for name, _ in [*(watch or ()), *([kill] if kill else [])])
