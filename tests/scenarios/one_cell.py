"""Preloaded by a fork server: it makes one cell, and no other, as on a machine where a resource has run out."""

import errno
import os

from crashmatrix.scenarios.processes.sandbox.cell import Cell, CellMaker

_make = CellMaker.make


def make(self: CellMaker, number: int) -> Cell:
    if number:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return _make(self, number)


CellMaker.make = make  # type: ignore[method-assign]  # in the fork server only
