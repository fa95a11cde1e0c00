"""Failpoints of Python show in a watched process tree, in forked processes and threads, too."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from crashmatrix.faults import declare
from crashmatrix.scenarios.judging.watched import Hit, run_watched_system

HERE = declare("own_failpoints.hére+there", "a name with signs of all kinds")


def hit_everywhere() -> None:
    HERE.hit()
    thread = threading.Thread(target=HERE.hit)
    thread.start()
    thread.join()
    if not (child := os.fork()):
        HERE.hit()
        os._exit(0)
    os.waitpid(child, 0)
    time.sleep(0.001)  # A sleep of the program's own is none of ours.


def watched(root: Path, *, own: bool) -> list[Hit]:
    hits: list[Hit] = []
    run_watched_system([], hit_everywhere, root, None, lambda hit, *_: hits.append(hit), own=own)
    return hits


def test_hits_of_threads_and_forked_processes_are_seen_in_order(tmp_path: Path) -> None:
    """Each hit is seen once, by the failpoint's name, and takes no time."""
    begun = time.monotonic()
    assert watched(tmp_path, own=True) == [(HERE.name, number) for number in (1, 2, 3)]
    assert time.monotonic() - begun < 60


def test_hits_are_shown_only_if_that_is_wanted(tmp_path: Path) -> None:
    """`io-error` has failpoints raise, by its own way."""
    assert watched(tmp_path, own=False) == []
