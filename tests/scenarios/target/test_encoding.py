"""Values that are not JSON become items, and come back equal and of the same type."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from crashmatrix import from_item, to_item
from crashmatrix.scenarios.target.journal import item_key

TABLE: list[tuple[Any, str]] = [
    (b"\xff", '{"$bytes":"/w=="}'),
    ((1, 2), '{"$tuple":[1,2]}'),
    (Decimal("1.10"), '{"$decimal":"1.10"}'),
    (float("-inf"), '{"$float":"-inf"}'),
    (datetime(2026, 1, 2), '{"$datetime":"2026-01-02T00:00:00"}'),
    (date(2026, 1, 2), '{"$date":"2026-01-02"}'),
    (time(1, 2), '{"$time":"01:02:00"}'),
    ({1: "a"}, '{"$dict":[[1,"a"]]}'),
    ({"$bytes": "x"}, '{"$dict":[["$bytes","x"]]}'),
    ({2, 1}, '{"$set":[1,2]}'),
    ({"a": [b""]}, '{"a":[{"$bytes":""}]}'),
    ([None, True, 1, 1.5, "x"], '[null,true,1,1.5,"x"]'),
]


@pytest.mark.parametrize(("value", "text"), TABLE)
def test_table(value: Any, text: str) -> None:
    """The encoding is as the documentation says, and comes back."""
    assert item_key(to_item(value)) == text
    assert from_item(json.loads(text)) == value


@pytest.mark.parametrize("value", [object(), 1j, {"a": print}])
def test_other_types_are_refused(value: Any) -> None:
    """A value of another type is refused, not turned into something else."""
    with pytest.raises(TypeError, match="cannot be an item"):
        to_item(value)


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: (value,), lambda value: {1: value}])
def test_what_contains_itself_is_refused(wrap: Callable[[Any], Any]) -> None:
    """So is what is nested too deep to be written down."""
    itself: list[Any] = []
    itself.append(wrap(itself))
    deep: Any = 1
    for _ in range(5000):
        deep = wrap(deep)
    for value in (itself, deep):
        with pytest.raises(TypeError, match="contains itself"):
            to_item(value)


@pytest.mark.parametrize("item", [{"$other": 1}, {"$bytes": "x", "a": 1}, {"$decimal": "x"}, {"$tuple": 1}])
def test_items_of_another_form_are_refused(item: Any) -> None:
    """An item that `to_item` did not make is refused."""
    with pytest.raises(ValueError, match="not an item that to_item made"):
        from_item(item)


PLAIN = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
OTHERS = st.binary() | st.decimals(allow_nan=False) | st.dates() | st.datetimes() | st.times()
VALUES = st.recursive(
    PLAIN | OTHERS,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers() | st.binary(), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=100)
@given(VALUES)
def test_comes_back(value: Any) -> None:
    """Every value comes back equal, and of the same type, through the text of a journal."""
    again = from_item(json.loads(item_key(to_item(value))))
    assert again == value
    assert repr(type(again)) == repr(type(value))
