"""The worker: whatever `recover` returns becomes plain JSON values, or an error that says what was returned."""

from collections.abc import Iterator
from typing import Any

import pytest

from crashmatrix import UsageError
from crashmatrix.scenarios.judging.worker import recovered_items


class Text(str):
    """A class of a user's."""


def generated() -> Iterator[int]:
    yield from (1, 2)


@pytest.mark.parametrize(
    ("recovered", "items"),
    [
        ([], []),
        ((1, "a", None), [1, "a", None]),
        (generated(), [1, 2]),
        ([("k", 1)], [["k", 1]]),
        ({3: "x"}.keys(), [3]),
        ([Text("a")], ["a"]),
    ],
    ids=lambda value: None if " at 0x" in repr(value) else repr(value),
)
def test_items(recovered: Any, items: list[Any]) -> None:
    """Tuples and subclasses become the plain values that a journal line would hold."""
    found = recovered_items(recovered)
    assert found == items
    assert [type(item) for item in found] == [type(item) for item in items]


@pytest.mark.parametrize(
    "recovered",
    [None, 7, "ab", b"ab", {"k": 1}, [object()], [{1, 2}], [b"x"], [{1: "a"}], [[{None: 1}]]],
    ids=lambda value: None if " at 0x" in repr(value) else repr(value),
)
def test_not_items(recovered: Any) -> None:
    """A mapping or a text is not taken for a list of its parts."""
    with pytest.raises(UsageError, match="recover must return a list of JSON values, not "):
        recovered_items(recovered)


def test_the_method_is_named() -> None:
    with pytest.raises(UsageError, match="prepare must return"):
        recovered_items(7, "prepare")


def test_an_item_that_cannot_be_shown() -> None:
    """The error does not fail for the same reason."""

    class Shy:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    with pytest.raises(UsageError, match="what cannot be shown"):
        recovered_items([Shy()])
