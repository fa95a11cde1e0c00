"""Room for what a run makes on the way: folders named after this process, so that once it is gone anybody may remove them."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.util import Finalize
from pathlib import Path

import psutil

__all__ = ["own_folder", "own_sockets", "remove_own", "scratch_folder"]

_PREFIX = "crashmatrix-"
_SHM = Path("/dev/shm")  # noqa: S108  # only if there is room; every run has a folder of its own in it
_SHM_BYTES_MIN = 2**30
_SOCKETS_BYTES_MAX = 60
_made: list[Path] = []  # Of this process, which one interrupt can keep from removing them.


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in memory if there is room, else where temporary files go; also removes what killed runs left."""
    roomy = _SHM.is_dir() and os.access(_SHM, os.W_OK) and shutil.disk_usage(_SHM).free >= _SHM_BYTES_MIN
    parent = _SHM if roomy and "TMPDIR" not in os.environ else Path(tempfile.gettempdir())
    for place in {parent, _place_of_sockets()}:
        _remove_abandoned(place)
    with own_folder(parent) as scratch:
        yield Path(scratch)


def own_folder(parent: Path | None) -> tempfile.TemporaryDirectory[str]:
    """A folder in ``parent``, or where temporary files go, that is known for ours should this process be killed."""
    folder = tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent)
    _made.append(Path(folder.name))
    return folder


def remove_own() -> None:
    """Remove what is left of this process's folders; call it last."""
    for folder in _made:
        shutil.rmtree(folder, ignore_errors=True)


def own_sockets() -> None:
    """Have multiprocessing make its sockets where they are found should this process be killed; they go when it ends."""
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]  # it has no public setter
    if config.get("tempdir") is None:
        config["tempdir"] = folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_place_of_sockets())
        Finalize(None, shutil.rmtree, args=(folder,), kwargs={"ignore_errors": True}, exitpriority=-100)


def _place_of_sockets() -> Path:
    """Where temporary files go; for a name that leaves no room for a socket's, which may have 107 bytes, the usual place."""
    place = Path(tempfile.gettempdir())
    return place if len(os.fsencode(place)) <= _SOCKETS_BYTES_MAX else Path("/tmp")  # noqa: S108  # mkdtemp draws the name


def _remove_abandoned(parent: Path) -> None:
    for left in parent.glob(f"{_PREFIX}[0-9]*-*"):
        if not psutil.pid_exists(int(left.name.split("-")[1])):
            shutil.rmtree(left, ignore_errors=True)
