"""Arrays are made as requested, with what nobody sees; Arrow's own functions would not make some of them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from crashmatrix.scenarios.systems.reference.rows.column import (
    DAY,
    dates,
    inner,
    ints,
    listed,
    mapped,
    names,
    required,
    structs_of,
    texts,
)

MAKERS = [pa.list_, pa.large_list, pa.list_view, pa.large_list_view]


@pytest.mark.parametrize("make", MAKERS)
def test_lists(make: object) -> None:
    """Each kind with offsets is made; the null list keeps its items."""
    kind = make(pa.int64())  # type: ignore[operator]  # any of them
    assert listed(kind, ints(1, 2, 3), [1, 2, 3]).to_pylist() == [[1], [2], [3]]
    null = listed(kind, ints(1, 2, 3), [1, 2, 3], null=1)
    assert null.to_pylist() == [[1], None, [3]] and len(null.values) == 3


def test_others() -> None:
    """Structs, maps, dates, text and dictionaries."""
    kind = pa.struct([required("x", pa.int64())])
    assert structs_of(kind, ints(1, None), null=1).to_pylist() == [{"x": 1}, None]
    marks = mapped(pa.map_(pa.string(), pa.int64()), pa.array(["a", "b"]), ints(1, 2), [1, 2], 0)
    assert marks.to_pylist() == [None, [("b", 2)]]
    assert dates(1, None).cast(pa.int64()).to_pylist() == [DAY, None]
    assert inner(texts(b"\xff", b"a", b"\xff")).to_pylist() == ["a"]
    beyond = names([0, 9], ["a"])
    with pytest.raises(pa.ArrowInvalid):
        beyond.validate(full=True)
