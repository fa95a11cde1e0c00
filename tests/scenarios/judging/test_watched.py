"""Which runs are watched for what; the runs themselves are tested where experiments are."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.scenarios.judging.watched import Hit, run_watched_system, wants_stores
from crashmatrix.scenarios.target.lives import current

STORE, CALL = ("mapped.store", 3), ("call.write", 1)


@pytest.mark.parametrize(
    ("watch", "kill", "wanted"),
    [
        (None, None, False),
        ([], None, False),
        ([CALL], CALL, False),
        ([CALL, STORE], None, True),
        ([], STORE, True),
        (None, STORE, True),
    ],
)
def test_wants_stores(watch: list[Hit] | None, kill: Hit | None, wanted: bool) -> None:
    """A run that is crashed at no store is not slowed down by stops at stores."""
    assert wants_stores(watch, kill) is wanted


def test_a_watched_part_knows_that_it_is(tmp_path: Path) -> None:
    """Its times mean nothing, so a server does not note how long it took to start there."""
    assert run_watched_system([], lambda: current.get().watched, tmp_path, None, lambda *_: None)
    assert not current.get().watched
