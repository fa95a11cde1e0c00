"""Values that are not JSON, as items: bytes, tuples, decimals, times, and dictionaries whose keys are no strings.

    to_item(b"\\xff")                {"$bytes": "/w=="}               base64, as in RFC 4648
    to_item((1, 2))                 {"$tuple": [1, 2]}
    to_item(Decimal("1.10"))        {"$decimal": "1.10"}             not equal to 1.1: a decimal keeps its zeros
    to_item(float("nan"))           {"$float": "nan"}                also inf and -inf
    to_item(datetime(2026, 1, 2))   {"$datetime": "2026-01-02T00:00:00"}     also $date and $time, in ISO 8601
    to_item({1: "a"})               {"$dict": [[1, "a"]]}            also one with a key that begins with $
    to_item({1, 2})                 {"$set": [1, 2]}                 in the order of their texts

JSON values stay as they are, and `from_item` makes the values again. A program in another language writes the same objects.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from crashmatrix.scenarios.target.journal import Item, item_key

__all__ = ["from_item", "to_item"]


def to_item(value: Any) -> Item:
    """Return a value as an item. Raises TypeError if it is of another type than those above, or contains itself."""
    try:
        return _item(value)
    except RecursionError:
        raise TypeError("a value that contains itself, or is nested a thousand times, cannot be an item") from None


def _item(value: Any) -> Item:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else {"$float": str(value)}
        case bytes() | bytearray() | memoryview():
            return {"$bytes": base64.b64encode(value).decode()}
        case Decimal():
            return {"$decimal": str(value)}
        case datetime():
            return {"$datetime": value.isoformat()}
        case date():
            return {"$date": value.isoformat()}
        case time():
            return {"$time": value.isoformat()}
        case tuple():
            return {"$tuple": [_item(part) for part in value]}
        case list():
            return [_item(part) for part in value]
        case set() | frozenset():
            return {"$set": sorted((_item(part) for part in value), key=item_key)}
        case dict():
            return _dictionary(value)
    raise TypeError(
        f"a {type(value).__name__} cannot be an item; use JSON values, bytes, tuples, decimals, times, sets, dictionaries"
    )


def _dictionary(value: dict[Any, Any]) -> Item:
    if all(isinstance(name, str) and not name.startswith("$") for name in value):
        return {name: _item(part) for name, part in value.items()}
    pairs = ([_item(name), _item(part)] for name, part in value.items())
    return {"$dict": sorted(pairs, key=item_key)}


_MAKERS: dict[str, Callable[[Any], Any]] = {
    "$float": float,
    "$bytes": base64.b64decode,
    "$decimal": Decimal,
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$tuple": lambda parts: tuple(map(from_item, parts)),
    "$set": lambda parts: set(map(from_item, parts)),
    "$dict": lambda pairs: {from_item(name): from_item(part) for name, part in pairs},
}


def from_item(item: Item) -> Any:
    """Return the value of which `to_item` made an item. Raises ValueError if it made it of none."""
    if isinstance(item, list):
        return [from_item(part) for part in item]
    if not isinstance(item, dict):
        return item
    name = next(iter(item), "")
    if not name.startswith("$"):
        return {name: from_item(part) for name, part in item.items()}
    if len(item) != 1 or name not in _MAKERS:
        raise ValueError(f"{item_key(item)[:60]} is not an item that to_item made; there are {', '.join(_MAKERS)}")
    try:
        return _MAKERS[name](item[name])
    except (ArithmeticError, TypeError, ValueError) as error:
        raise ValueError(f"{item_key(item)[:60]} is not an item that to_item made ({error})") from None
