"""Checks that a batch fits its table: the table's own schema, and nulls only where it allows them."""

from __future__ import annotations

import pyarrow as pa

from crashmatrix.reference_wal.errors import InvalidInput

__all__ = ["BatchCheck"]


class BatchCheck:
    """``check(batch)`` for the table of this name and schema; cheap, since every append calls it."""

    def __init__(self, table: str, schema: pa.Schema) -> None:
        self._table, self._schema = table, schema
        self._required = [(number, field.name) for number, field in enumerate(schema) if not field.nullable]

    def __call__(self, batch: pa.RecordBatch) -> None:
        """Raise InvalidInput unless the batch has the table's schema, and no null where that allows none."""
        if not batch.schema.equals(self._schema):
            raise InvalidInput(
                f"batch has schema {batch.schema.names}, table {self._table!r} has {self._schema.names} or other types"
            )
        for number, name in self._required:
            if batch.column(number).null_count:
                raise InvalidInput(f"column {name!r} of table {self._table!r} takes no nulls, the batch has some")
