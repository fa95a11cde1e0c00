"""Columns whose values are by dictionary, or have others inside: lists of five kinds, structs, maps, and these in one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from crashmatrix.scenarios.systems.reference.rows.column import (
    ROWS,
    Column,
    inner,
    ints,
    listed,
    mapped,
    names,
    required,
    structs_of,
    texts,
)

__all__ = ["encoded_columns", "list_columns", "map_columns", "struct_columns"]

_NAMES = pa.dictionary(pa.int8(), pa.string())
_POINT = pa.struct([required("x", pa.int64()), pa.field("y", pa.string())])
_ENDS = [1, 2, 3, 4]


def encoded_columns() -> list[Column]:
    """Columns by dictionary. A value that no index names may be anything, and one may be there twice."""
    numbers = pa.DictionaryArray.from_arrays(pa.array([1, None, 2, 0], pa.uint64()), ints(7, 7, None, 9))
    ordered = pa.DictionaryArray.from_arrays(pa.array([1, 0, 1, 0], pa.int16()), pa.array(["b", "a"]), ordered=True)
    raw = pa.DictionaryArray.from_arrays(pa.array([0, None, 1, 0], pa.int32()), pa.array([b"\xff", b""]))
    return [
        Column(
            required("state", _NAMES), inner(names([1, 0, 2, 0, 2, None], ["on", None, "off"])), ["on", "off", "on", "off"],
            {
                "a null by its value": names([0, 0, 0, 1], ["on", None]), "a null by its index": names([0, 0, 0, None], ["on"]),
                "an index beyond the values": names([0, 0, 0, 2], ["on", "off"]),
            },
        ),
        Column(
            pa.field("name", _NAMES), names([0, None, 2, 1], ["a", "a", None]), ["a", None, None, "a"],
            {"no UTF-8": pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int8()), texts(b"\xff"))},
        ),
        Column(pa.field("number", numbers.type), numbers, [7, None, None, 7], {}),
        Column(pa.field("ordered", ordered.type), ordered, ["a", "b", "a", "b"], {}),
        Column(pa.field("raw", raw.type), raw, [b"\xff", None, b"", b"\xff"], {}),
    ]  # fmt: skip


_Kind = Callable[[pa.Field], pa.DataType]
_LISTS: dict[str, _Kind] = {
    "list": pa.list_, "large list": pa.large_list, "view": pa.list_view, "large view": pa.large_list_view,
}  # fmt: skip


def list_columns() -> list[Column]:
    """Lists: of numbers, text, structs, lists and dictionaries; the second one is null, and has what no list may have."""
    found = [column for name, kind in _LISTS.items() for column in _lists_of(name, kind, is_view="view" in name)]
    return [*found, *_few(), *_deep_lists()]


def _lists_of(name: str, kind: _Kind, *, is_view: bool) -> list[Column]:
    numbers, words = kind(required("item", pa.int64())), kind(pa.field("item", pa.string()))
    points = kind(pa.field("item", _POINT))
    spots = structs_of(_POINT, ints(1, None, None, 4, 5), texts(b"a", b"b", b"c", b"d", None), null=2)
    seen = [[1], None, [3, 4], []]
    around = listed(numbers, ints(None, 1, None, 3, 4, None), [1, 2, 3, 5, 5, 6], null=2)
    said = [[{"x": 1, "y": "a"}], None, [None, {"x": 4, "y": "d"}], [{"x": 5, "y": None}]]
    unseen = [] if is_view else [
        Column(
            pa.field(f"{name} of words", words), listed(words, texts(b"a", b"\xff", b"b", b"c"), _ENDS, null=1),
            [["a"], None, ["b"], ["c"]],
            {"no UTF-8": listed(words, texts(b"a", b"a", b"b", b"\xff"), _ENDS, null=1)},
        ),
    ]  # Arrow looks at the whole of what a view may show.  # fmt: skip
    return [
        Column(
            pa.field(f"{name} of numbers", numbers), inner(around), seen,
            {
                "a null": listed(numbers, ints(1, 2, 3, None), _ENDS, null=1),
                "a null at the start": listed(numbers, ints(None, 2, 3, 4), _ENDS, null=1),
                **({} if is_view else {"ends that go back": listed(numbers, ints(1, 2, 3, 4), [3, 1, 2, 3])}),
            },
        ),
        *unseen,
        Column(
            pa.field(f"{name} of points", points), listed(points, spots, [1, 2, 4, 5], null=1), said,
            {"a null": listed(points, structs_of(_POINT, ints(1, 2, 3, None), texts(*[b"a"] * 4)), _ENDS)},
        ),
    ]  # fmt: skip


def _few() -> list[Column]:
    """Lists of a fixed number of items."""
    pairs, strict = pa.list_(pa.int64(), 2), pa.list_(required("item", pa.int64()), 2)
    items = ints(None, None, 1, None, None, None, 3, 4, 5, 6, None, None)
    mask = pa.array([False, False, True, False, False, False])
    values = [[1, 2], None, [3, 4], [5, 6]]
    whole = ints(None, None, 1, 2, None, None, 3, 4, 5, 6, None, None)
    return [
        Column(
            pa.field("pairs", pairs), inner(pa.FixedSizeListArray.from_arrays(items, type=pairs, mask=mask)),
            [[1, None], None, [3, 4], [5, 6]], {},
        ),
        Column(
            pa.field("strict pairs", strict), inner(pa.FixedSizeListArray.from_arrays(whole, type=strict, mask=mask)), values,
            {"a null": pa.FixedSizeListArray.from_arrays(ints(1, 2, 3, 4, 5, 6, 7, None), type=strict)}, in_delta=False,
        ),
    ]  # fmt: skip


def _deep_lists() -> list[Column]:
    """Lists of what has nulls by itself: dictionaries, lists, and structs of maps of lists."""
    words, numbers = pa.list_(required("item", _NAMES)), pa.list_(required("item", pa.int64()))
    many = pa.large_list(pa.field("item", _NAMES))
    rows = pa.large_list(required("item", numbers))
    deep = pa.map_(pa.string(), required("value", numbers))
    point = pa.struct([required("deep", deep)])
    deepest = pa.list_(required("item", point))
    keys = pa.array(["k"] * ROWS)

    def within(items: pa.Array) -> pa.Array:
        return structs_of(point, mapped(deep, keys, listed(numbers, items, _ENDS), _ENDS))

    return [
        Column(
            pa.field("words", words), listed(words, names([0, 1, 2, 0], ["a", None, "b"]), _ENDS, null=1),
            [["a"], None, ["b"], ["a"]],
            {
                "a null by its value": listed(words, names([0, 0, 0, 1], ["a", None]), _ENDS, null=1),
                "an index beyond the values": listed(words, names([0, 0, 0, 2], ["a", "b"]), _ENDS, null=1),
            },
        ),
        Column(
            pa.field("many words", many), listed(many, names([0, 1, 2, 0], ["a", None, "b"]), [1, 2, 4, 4]),
            [["a"], [None], ["b", "a"], []], {},
        ),
        Column(
            pa.field("rows", rows), listed(rows, listed(numbers, ints(1, None, 3, 4), _ENDS, null=1), _ENDS, null=1),
            [[[1]], None, [[3]], [[4]]],
            {
                "a null list": listed(rows, listed(numbers, ints(1, 2, 3, 4), _ENDS, null=2), _ENDS, null=1),
                "a null in a list": listed(rows, listed(numbers, ints(1, 2, 3, None), _ENDS), _ENDS, null=1),
            },
        ),
        Column(
            pa.field("deep", deepest), listed(deepest, within(ints(1, None, 3, 4)), _ENDS, null=1),
            [[{"deep": [("k", [1])]}], None, [{"deep": [("k", [3])]}], [{"deep": [("k", [4])]}]],
            {"a null deep down": listed(deepest, within(ints(1, 2, 3, None)), _ENDS, null=1)},
        ),
    ]  # fmt: skip


def struct_columns() -> list[Column]:
    """Structs: the second one is null; a field that allows none has a null beneath it."""
    outer = pa.struct([required("point", _POINT), required("many", pa.list_(_POINT)), required("flag", pa.bool_())])
    spots = structs_of(_POINT, ints(1, None, 3, 4), texts(b"a", b"b", None, b"d"), null=1)
    lists = listed(pa.list_(_POINT), structs_of(_POINT, ints(1, 2, None, 4), texts(*[b"y"] * 4), null=2), _ENDS, null=1)
    flags = pa.array([True, None, False, True])
    named = pa.struct([pa.field("name", _NAMES), required("code", pa.binary(2))])
    codes, nobody = pa.array([b"ab", None, b"cd", b"ef"], pa.binary(2)), names([0] * ROWS, ["a"])

    def point(x: int, y: str | None) -> dict[str, Any]:
        return {"x": x, "y": y}

    return [
        Column(
            pa.field("point", _POINT),
            inner(structs_of(_POINT, ints(None, 1, None, 3, 4, None), texts(b"", b"a", b"b", None, b"d", b"\xff"), null=2)),
            [point(1, "a"), None, point(3, None), point(4, "d")],
            {
                "a null": structs_of(_POINT, ints(1, 2, 3, None), texts(*[b"a"] * 4)),
                "a null besides one that is hidden": structs_of(_POINT, ints(1, None, 3, None), texts(*[b"a"] * 4), null=1),
                "no UTF-8": structs_of(_POINT, ints(1, 2, 3, 4), texts(b"a", b"a", b"a", b"\xff"), null=1),
            },
        ),
        Column(
            pa.field("outer", outer), structs_of(outer, spots, lists, flags, null=1),
            [
                {"point": point(1, "a"), "many": [point(1, "y")], "flag": True}, None,
                {"point": point(3, None), "many": [None], "flag": False},
                {"point": point(4, "d"), "many": [point(4, "y")], "flag": True},
            ],
            {
                "a null struct": structs_of(outer, spots.take(pa.array([0, 1, 2, 1])), lists, flags, null=1),
                "a null list": structs_of(outer, spots, listed(pa.list_(_POINT), spots, _ENDS, null=3), flags, null=1),
                "a null flag": structs_of(outer, spots, lists, pa.array([True, None, None, True]), null=1),
            },
        ),
        Column(
            pa.field("named", named), structs_of(named, names([0, 0, None, 1], ["a", "b"]), codes, null=1),
            [{"name": "a", "code": b"ab"}, None, {"name": None, "code": b"cd"}, {"name": "b", "code": b"ef"}],
            {
                "an index beyond the values": structs_of(named, names([0, 0, 0, 9], ["a", "b"]), codes, null=1),
                "a null code": structs_of(named, nobody, pa.array([b"ab", None, None, b"ef"], pa.binary(2)), null=1),
            },
        ),
        Column(
            pa.field("nameless", pa.struct([pa.field("name", _NAMES)])),
            pa.array([None] * ROWS, pa.struct([pa.field("name", _NAMES)])), [None] * ROWS, {},
        ),  # In place of each null Arrow has the index 0, and the dictionary is empty.
    ]  # fmt: skip


def map_columns() -> list[Column]:
    """Maps: the second one is null; keys and values of structs and lists have nulls of their own."""
    marks, places = pa.map_(pa.string(), required("value", pa.int64())), pa.map_(_POINT, pa.list_(_POINT))
    labels = pa.map_(pa.string(), _NAMES)
    keys = texts(b"a", b"b", b"c", b"d")
    spots = structs_of(_POINT, ints(1, 2, 3, 4), texts(b"a", b"b", None, b"d"))
    lists = listed(pa.list_(_POINT), structs_of(_POINT, ints(1, 2, None, 4), texts(*[b"y"] * 4), null=2), _ENDS, null=3)

    def entry(x: int, y: str | None, *values: Any) -> list[tuple[Any, Any]]:
        return [({"x": x, "y": y}, None if values == ("none",) else [*values])]

    return [
        Column(
            pa.field("marks", marks),
            inner(mapped(marks, texts(b"\xff", *[b"k"] * 4, b"\xff"), ints(None, 1, None, 3, 4, None), [1, 2, 3, 5, 5, 6], 2)),
            [[("k", 1)], None, [("k", 3), ("k", 4)], []],
            {
                "a null": mapped(marks, keys, ints(1, None, 3, None), _ENDS, 1),
                "a null at the start": mapped(marks, keys, ints(None, None, 3, 4), _ENDS, 1),
                "no UTF-8": mapped(marks, texts(b"a", b"b", b"c", b"\xff"), ints(1, 2, 3, 4), _ENDS, 1),
                "ends that go back": mapped(marks, keys, ints(1, 2, 3, 4), [3, 1, 2, 3]),
            },
        ),
        Column(
            pa.field("places", places), mapped(places, spots, lists, _ENDS, 1),
            [entry(1, "a", {"x": 1, "y": "y"}), None, entry(3, None, None), entry(4, "d", "none")],
            {
                "a null in a key": mapped(places, structs_of(_POINT, ints(1, 2, 3, None), texts(*[b"a"] * 4)), lists, _ENDS, 1),
                "a null in a value": mapped(
                    places, spots, listed(pa.list_(_POINT), structs_of(_POINT, ints(1, 2, 3, None), texts(*[b"y"] * 4)), _ENDS),
                    _ENDS, 1,
                ),
            },
        ),
        Column(
            pa.field("labels", labels), mapped(labels, keys, names([0, None, 2, 1], ["a", "b", None]), _ENDS, 1),
            [[("a", "a")], None, [("c", None)], [("d", "b")]],
            {"an index beyond the values": mapped(labels, keys, names([0, None, 9, 1], ["a", "b"]), _ENDS, 1)},
            in_delta=False,
        ),
    ]  # fmt: skip
