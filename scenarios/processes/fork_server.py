"""Preloaded by multiprocessing's fork server, in that process only: it imports what children need and ties it to us.

The server dies with the process that started it, and each child dies with the server, so a SIGKILL of crashmatrix leaves
no job running. It adopts the processes that dead jobs leave behind, in any session, so that they can be found and ended. It
opens nothing and starts no work: a process that has run deltalake or has a busy pyarrow thread cannot be forked safely; one
that has only imported them can.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings

from crashmatrix.faults.disk import die_with_parent
from crashmatrix.scenarios.processes.job_server import SAFE_PATH, SYS_PATH
from crashmatrix.scenarios.processes.subreaper import adopt_orphans

__all__ = ["PRELOAD_VARIABLE", "SERVER_PID"]

PRELOAD_VARIABLE = "CRASHMATRIX_PRELOAD"
"""Environment variable naming the modules and Python files to import, a line each."""

if os.environ.get("PYTHONSAFEPATH") == SAFE_PATH:
    del os.environ["PYTHONSAFEPATH"]  # Not for what targets start.
if folders := os.environ.pop(SYS_PATH, ""):
    sys.path[:] = folders.split("\n")
SERVER_PID = os.getpid()
die_with_parent(os.getppid())
adopt_orphans()
# An adopted orphan's pid is unexpected there.
warnings.filterwarnings("ignore", message="forkserver: waitpid returned unexpected pid")
for _module in filter(None, os.environ.get(PRELOAD_VARIABLE, "").split("\n")):
    try:
        if _module.endswith(".py"):
            importlib.import_module("crashmatrix.scenarios.systems.loading").load_module(_module)
        else:
            importlib.import_module(_module)
    except Exception:  # noqa: S112  # The child that needs it fails with the same error, where it can be reported.
        continue
