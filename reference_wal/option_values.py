"""The values that an option can have, whether it is given on opening or set while the engine runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from crashmatrix.reference_wal.errors import InvalidInput

__all__ = ["POSSIBLE", "check_values"]

Possible = tuple[Callable[[Any], bool], str]
"""Whether an option can have a value, and what to give otherwise."""


def _whole(least: int) -> Possible:
    return lambda value: _is_number(value, int) and value >= least, f"give a whole number, {least} or more"


def _is_period(value: Any) -> bool:
    return value is None or (_is_number(value, int, float) and 0 < value <= threading.TIMEOUT_MAX)


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


_PERIOD: Possible = _is_period, "give a number of seconds above 0, or None for no background thread"

POSSIBLE: Mapping[str, Possible] = {
    "segment_bytes_max": _whole(1),
    "preallocate_bytes": _whole(0),
    "generation_bytes_max": _whole(1),
    "memory_bytes_max": _whole(0),
    "compressed_bytes_max": _whole(0),
    "checkpoint_commits": _whole(1),
    "flush_seconds": _PERIOD,
    "idle_seconds": _PERIOD,
    "identity": (lambda value: isinstance(value, str), "give a text"),
    "clock": (callable, "give a function that returns seconds"),
    "wal": (lambda value: isinstance(value, bool), "give True or False"),
}
"""The possible values of each option of `options.EngineOptions`, and of ``wal``: whether tables made from now on have a log."""


def check_values(values: Mapping[str, object]) -> None:
    """Raise InvalidInput unless each of these options can have its value."""
    for name, value in values.items():
        is_possible, wanted = POSSIBLE[name]
        if not is_possible(value):
            raise InvalidInput(f"option {name} cannot be {value!r}; {wanted}")
