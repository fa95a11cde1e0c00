"""Notes in the journal: what the workload saw the living system do wrong, before any crash.

A note is an attempt of the item ``["broken", VERDICT, TEXT]``, never acknowledged. So it has its place among all other events, of
a killed process and on a recorded disk alike, and every later state is judged by it.
"""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from crashmatrix.reference_wal import ReferenceWalError
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import PromiseBroken, text_of
from crashmatrix.scenarios.target.contract import Violation
from crashmatrix.scenarios.target.contracts.base import BEFORE_ANY_CRASH
from crashmatrix.scenarios.target.journal import Attempt, Item, Journal, Promises

__all__ = ["claimed_as_broken", "claims_of", "failing", "failing_disk", "note", "noted", "noting"]

_NOTE = "broken"
_OF_RUST = re.compile(r"\(os error (\d+)\)|\bOs \{ code: (\d+),")
"""How Rust's standard library writes the error of a system call: for people, and for programmers."""
_ERRORS: tuple[type[Exception], ...] = (ReferenceWalError, OSError, AssertionError, LookupError, pa.ArrowException)
_OF_A_DISK = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM, errno.EMFILE)


def note(journal: Journal, broken: PromiseBroken) -> None:
    """Put into the journal that the living system broke a promise."""
    journal.write("attempt", [_NOTE, str(broken.verdict), broken.explanation])


def noted(item: Item) -> bool:
    """Whether a journal item is such a note, and not an operation."""
    return bool(item[0] == _NOTE)


def claims_of(promises: Promises) -> list[Violation]:
    """Return the notes in a journal as violations."""
    return [
        Violation(Verdict(event.item[1]), f"{BEFORE_ANY_CRASH}{event.item[2]}", living=True)
        for event in promises.events
        if noted(event.item)
    ]


def failing_disk(error: BaseException | None, *, handled: BaseException | None = None) -> bool:
    """Whether an error comes from a disk that refused something: then the engine may refuse as well.

    Args:
        handled: an error that was being handled when the call was made. It is the context of whatever the call raises, and
            explains that only if it is named as the cause.
    """
    while error is not None:
        number = error.errno if isinstance(error, OSError) and error.errno else _errno_of_rust(error)
        if number in _OF_A_DISK:
            return True
        error = error.__cause__ or (error.__context__ if error.__context__ is not handled else None)
    return False


def _errno_of_rust(error: BaseException) -> int:
    """The error number in the text of deltalake's errors, of any class, which have no other; 0 if there is none."""
    found = _OF_RUST.search(str(error))
    return int(found[1] or found[2]) if found else 0


@contextmanager
def claimed_as_broken(what: str, errors: tuple[type[Exception], ...] = _ERRORS) -> Iterator[None]:
    """Take an error of these kinds in the block for a broken promise, unless a disk failed."""
    handled = sys.exception()
    try:
        yield
    except PromiseBroken:
        raise
    except errors as error:
        if failing_disk(error, handled=handled):
            raise
        text = f"{what} raised {type(error).__name__}: {text_of(error)}"
        raise PromiseBroken(Verdict.CANNOT_OPEN, text) from error


@contextmanager
def failing(attempt: Attempt | None) -> Iterator[None]:
    """Note that the attempt has failed if a call in the block does."""
    try:
        yield
    except (ReferenceWalError, OSError):
        if attempt is not None:
            attempt.fail()
        raise


@contextmanager
def noting(journal: Journal) -> Iterator[None]:
    """End the workload where the living system breaks a promise, and note it."""
    try:
        yield
    except PromiseBroken as broken:
        note(journal, broken)
