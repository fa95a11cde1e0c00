"""Warnings that are missing, and those that are too many, break a promise."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.warned import warned_of

LOGGER = logging.getLogger("crashmatrix.reference_wal.log.recovery")
TORN, STRANGE = Path("/log/t/0-.arrows"), Path("/log/t/strange")


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    level = LOGGER.level
    LOGGER.setLevel(logging.WARNING)
    yield
    LOGGER.setLevel(level)


def test_as_it_is_due() -> None:
    """In any order; words, other levels, other packages and failed calls do not count."""
    with warned_of([TORN, STRANGE]) as failed:
        LOGGER.warning("%s is not one of the log's files", STRANGE)
        LOGGER.info("%s is removed", STRANGE)
        LOGGER.warning("%s is cut off at byte %d", TORN, 7)
        logging.getLogger("deltalake").warning("%s is strange", STRANGE)
        LOGGER.warning("%s: the end could not be noted: %s", TORN.parent, OSError())
    assert failed == [TORN.parent]
    LOGGER.warning("%s: nobody listens any more", TORN)


@pytest.mark.parametrize(
    ("warnings", "due", "text"),
    [
        ([], [TORN], "recovery warns of nothing, where t/0-.arrows is due"),
        ([STRANGE, TORN], [TORN], "recovery warns of t/0-.arrows, t/strange, where t/0-.arrows is due"),
        ([TORN, TORN], [TORN], "recovery warns of t/0-.arrows, t/0-.arrows, where"),
        ([TORN], [], "where nothing is due"),
    ],
)
def test_others(warnings: list[Path], due: list[Path], text: str) -> None:
    """Each file that is due has one warning, and no other file has any."""
    with pytest.raises(PromiseBroken, match=text), warned_of(due):
        for path in warnings:
            LOGGER.warning("%s: look at it", path)


def test_an_error_passes() -> None:
    """A call that failed explains why there was no warning."""
    with pytest.raises(OSError, match="the disk"), warned_of([TORN]):
        raise OSError("the disk")


def test_where_nobody_is_to_be_warned() -> None:
    """If warnings are switched off, none is due."""
    logging.disable(logging.CRITICAL)
    try:
        with warned_of([TORN]):
            LOGGER.warning("%s: look at it", STRANGE)
    finally:
        logging.disable(logging.NOTSET)
