"""Fault injection for storage engines: named places in code where a test can make something happen.

In the engine, a failpoint is a module constant, hit where a crash would be interesting:

    from crashmatrix.faults import declare

    BEFORE_SYNC = declare("wal.append.before_sync", "written to the page cache, not yet durable")

    def append(self, record):
        self._file.write(record)
        BEFORE_SYNC.hit()
        self._file.sync_data()

In a test, a text says what happens there:

    from crashmatrix import faults

    with faults.scenario("wal.append.before_sync=2*off->raise(ENOSPC)"):
        ...  # the third append runs out of space

or, for a whole program, `FAILPOINTS='wal.append.before_sync=2*off->kill' python program.py`.

The language is that of the Rust crate fail, extended; `crashmatrix.faults.actions` describes it. This package needs only
the standard library. The recording disk is in `crashmatrix.faults.disk` and is not imported from here.

Read `failpoints` (the registry) first, then `actions` (the language) and `errors`.
"""

import os

from crashmatrix.faults.actions import Return, Task, Term, parse, render
from crashmatrix.faults.errors import (
    AlreadyDeclared,
    FaultsError,
    InvalidAction,
    InvalidName,
    NotDeclared,
    Panic,
    ScenarioNotHit,
)
from crashmatrix.faults.failpoints import (
    FailPoint,
    Observer,
    catalogue,
    configure,
    configure_callback,
    configure_from_environment as _configure_from_environment,
    configured,
    declare,
    hits,
    observe,
    remove,
    reset_hits,
    scenario,
    seed,
)
from crashmatrix.faults.marks import Mark, entered, mark, uncounted

__all__ = [
    "AlreadyDeclared",
    "FailPoint",
    "FaultsError",
    "InvalidAction",
    "InvalidName",
    "Mark",
    "NotDeclared",
    "Observer",
    "Panic",
    "Return",
    "ScenarioNotHit",
    "Task",
    "Term",
    "catalogue",
    "configure",
    "configure_callback",
    "configured",
    "declare",
    "entered",
    "hits",
    "mark",
    "observe",
    "parse",
    "remove",
    "render",
    "reset_hits",
    "scenario",
    "seed",
    "uncounted",
]

_configure_from_environment(os.environ)
