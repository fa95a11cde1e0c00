"""Without a log: ids go on, nothing is held, nothing is written."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from crashmatrix.reference_wal import EngineClosed, InvalidInput
from crashmatrix.reference_wal.log.optional import NoLog
from tests.reference_wal.support import SCHEMA, batch


def test_ids_go_on_from_where_they_were() -> None:
    """Each append gets the next id, from any thread; what was persisted or truncated does not matter."""
    log = NoLog("t", SCHEMA, "log", next_id=7)
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda _: log.append(batch(1.0)), range(50)))
    log.mark_persisted(range(7, 57))
    log.truncate()
    assert sorted(ids) == list(range(7, 57))
    assert (log.next_id, log.append(batch(1.0))) == (57, 57)


def test_nothing_is_held() -> None:
    """There is nothing to replay, and nothing that could fail."""
    log = NoLog("t", SCHEMA, "log")
    log.append(batch(1.0))
    log.refuse_if_poisoned()
    assert list(log.unpersisted()) == []


def test_refusals() -> None:
    """A batch of another schema is refused and takes no id; a log that is closed takes no batch."""
    log = NoLog("t", SCHEMA, "log", next_id=3)
    with pytest.raises(InvalidInput):
        log.append(batch(1.0).select(["value"]))
    assert log.append(batch(1.0)) == 3
    log.closed = True
    with pytest.raises(EngineClosed):
        log.append(batch(1.0))
