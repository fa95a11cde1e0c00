"""Each option of an engine has its possible values."""

from __future__ import annotations

from dataclasses import fields

import pytest

from crashmatrix.reference_wal import EngineOptions, InvalidInput
from crashmatrix.reference_wal.option_values import POSSIBLE, check_values
from crashmatrix.reference_wal.settings import SETTABLE

LEAST = {
    "segment_bytes_max": 1, "preallocate_bytes": 0, "generation_bytes_max": 1, "memory_bytes_max": 0, "compressed_bytes_max": 0,
    "checkpoint_commits": 1,
}  # fmt: skip


def test_every_option_is_checked() -> None:
    """No option is left out, neither of those given on opening nor of those set later."""
    assert set(POSSIBLE) == {field.name for field in fields(EngineOptions)} | {"wal"}
    assert set(SETTABLE) < set(POSSIBLE)


@pytest.mark.parametrize(("name", "least"), LEAST.items())
def test_the_least_number(name: str, least: int) -> None:
    """The least number is taken, the one below it is refused, and so is what is not a whole number."""
    check_values({name: least})
    for value in (least - 1, float(least), True, None, "1"):
        with pytest.raises(InvalidInput, match=f"option {name} cannot be .*; give a whole number, {least} or more"):
            check_values({name: value})
