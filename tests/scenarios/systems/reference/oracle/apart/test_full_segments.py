"""A log that closes its segments a byte later, or sooner, than it says."""

from __future__ import annotations

from typing import Any

import pytest

from crashmatrix.reference_wal import WriteAheadLog
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.apart.full_segments import closes_when_full


@pytest.mark.parametrize(
    ("more", "text"), [(0, ""), (1, "and the next batch is in 1"), (-1, "and the next batch is in 2")]
)
def test_to_the_byte(more: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the byte."""
    create = WriteAheadLog.create_table_log

    def of_another_size(wal: WriteAheadLog, *args: Any, **kwargs: Any) -> None:
        wal.segment_bytes_max += more
        create(wal, *args, **kwargs)

    monkeypatch.setattr(WriteAheadLog, "create_table_log", of_another_size)
    if not text:
        closes_when_full()
        return
    with pytest.raises(PromiseBroken, match=text):
        closes_when_full()
