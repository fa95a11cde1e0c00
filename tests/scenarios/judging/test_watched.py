"""Which runs are watched for what; the runs themselves are tested where experiments are."""

from __future__ import annotations

import pytest

from crashmatrix.scenarios.judging.watched import Hit, wants_stores

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
