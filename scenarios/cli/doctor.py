"""``crashmatrix doctor``: the experiments that this machine can run, and what it lacks for the others."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from crashmatrix.faults.disk import FILESYSTEMS, Filesystem, requirements
from crashmatrix.scenarios.extras import EXTRAS, install_command
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.sandbox.cell import NOT_COVERED, lacking as no_cells

__all__ = ["Finding", "examine"]


@dataclass(frozen=True)
class Finding:
    """A part of the machine, examined. ``needed``: no experiment runs without it."""

    what: str
    well: bool
    detail: str
    needed: bool = True


def examine() -> list[Finding]:
    """Examine the machine; changes nothing."""
    return [
        *_interpreter(),
        *(_library(extra, name) for extra, names in EXTRAS.items() for name in names),
        *_machine(),
        *(_program(each) for each in map(Filesystem.parse, FILESYSTEMS) if each.on_disk),
        *(_power_cuts(name) for name in ("ext4", "posix")),
    ]


def _interpreter() -> list[Finding]:
    version = platform.python_version()
    return [
        Finding("Python 3.11 or newer", sys.version_info >= (3, 11), version),
        Finding("Linux", sys.platform == "linux", f"{platform.system()} {platform.release()}"),
    ]


def _library(extra: str, name: str) -> Finding:
    if util.find_spec(name) is None:
        return Finding(name, False, f"missing; run: {install_command(extra)}", needed=False)
    return Finding(name, True, metadata.version(name), needed=False)


def _machine() -> list[Finding]:
    shm = Path("/dev/shm")  # noqa: S108  # looked at, not written
    free = shutil.disk_usage(shm).free if shm.is_dir() else 0
    cores = len(os.sched_getaffinity(0))
    return [
        Finding(
            "memory file system",
            free >= 2**30,
            f"{free / 2**30:.1f} GiB free in {shm}; with less than 1, runs use the disk",
            False,
        ),
        Finding("processors", cores > 1, f"{cores}; the default of --jobs", False),
        Finding(
            "stopping at system calls",
            not lacking(),
            lacking() or "systems are killed at each of their calls",
            needed=False,
        ),
        Finding(
            "sandbox",
            not no_cells(),
            f"{no_cells()}. {NOT_COVERED}" if no_cells() else "each run has processes, files and network of its own",
            needed=False,
        ),
        Finding(
            "root",
            os.geteuid() == 0,
            "needed by power cuts on real filesystems, and by io-error with --fs",
            False,
        ),
    ]


def _program(filesystem: Filesystem) -> Finding:
    name = filesystem.program
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    return Finding(name, found is not None, found or f"missing; run: sudo apt-get install {filesystem.package}", False)


def _power_cuts(filesystem: str) -> Finding:
    missing = "; ".join(map(str, requirements((filesystem,))))
    return Finding(f"power cuts, --fs {filesystem}", not missing, missing or "this machine can", False)
