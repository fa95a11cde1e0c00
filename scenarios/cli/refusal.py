"""Refusals: the exceptions of a command that could not do its work; `main` prints one line. Standard library only."""

from __future__ import annotations

__all__ = ["DEBUG", "OutputFailed", "Refused"]

DEBUG = "--debug"
"""Option of every command: print the traceback of an internal error."""


class Refused(Exception):
    """An expected failure, in one line that says what to do."""


class OutputFailed(Exception):
    """Standard output took no more. Not an OSError: libraries take some of those for a reason to exit with status 1."""
