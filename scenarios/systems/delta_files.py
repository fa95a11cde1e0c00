"""The data files of a Delta table, by their paths on disk."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

__all__ = ["delta_files"]


def delta_files(folder: Path) -> list[Path]:
    """Return the files that the newest version of the table in ``folder`` names.

    Not by `DeltaTable.file_uris`: it answers with URLs, in which a space in the folder's path is ``%20``.
    """
    actions = pa.table(DeltaTable(str(folder)).get_add_actions(flatten=True))
    return [folder / name for name in actions["path"].to_pylist()]
