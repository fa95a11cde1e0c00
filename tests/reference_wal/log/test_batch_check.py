"""A table takes batches of its own schema, with nulls only where the schema allows them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from crashmatrix.reference_wal import InvalidInput
from crashmatrix.reference_wal.log.batch_check import BatchCheck

TIME, VALUE = pa.field("time", pa.int64(), nullable=False), pa.field("value", pa.float64())
SCHEMA = pa.schema([TIME, VALUE])


def rows(*fields: pa.Field, time: int | None = 1) -> pa.RecordBatch:
    columns = [pa.array([time if field.name == "time" else None], field.type) for field in fields]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


TAKEN = {
    "its own schema": rows(TIME, VALUE),
    "no rows": rows(TIME, VALUE).slice(0, 0),
    "other metadata": rows(TIME, VALUE).replace_schema_metadata({"made": "today"}),
}
REFUSED = {
    "a column less": (rows(TIME), "has schema"),
    "a column more": (rows(TIME, VALUE, pa.field("more", pa.int8())), "has schema"),
    "another order": (rows(VALUE, TIME), "has schema"),
    "another type": (rows(TIME, pa.field("value", pa.float32())), "other types"),
    "another name": (rows(TIME, pa.field("values", pa.float64())), "has schema"),
    "nullable instead": (rows(pa.field("time", pa.int64()), VALUE), "has schema"),
    "a null that is not allowed": (rows(TIME, VALUE, time=None), "column 'time' of table 't' takes no nulls"),
}


@pytest.mark.parametrize("batch", TAKEN.values(), ids=TAKEN)
def test_taken(batch: pa.RecordBatch) -> None:
    """A batch of the table's schema passes."""
    BatchCheck("t", SCHEMA)(batch)


@pytest.mark.parametrize(("batch", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(batch: pa.RecordBatch, message: str) -> None:
    """Any other batch is refused, and the message names the table."""
    with pytest.raises(InvalidInput, match=message) as caught:
        BatchCheck("t", SCHEMA)(batch)
    assert "'t'" in str(caught.value)
