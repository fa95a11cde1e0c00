"""Adopting orphans: a process below us that loses its parent becomes our child, and not init's, so that it can be ended."""

from __future__ import annotations

import ctypes

__all__ = ["adopt_orphans"]

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_libc = ctypes.CDLL(None)


def adopt_orphans() -> None:
    """Have this process adopt them from here on. Its own children do not inherit that."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
