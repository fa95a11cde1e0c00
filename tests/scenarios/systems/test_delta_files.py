"""The data files of a Delta table, by their paths: whatever the folder is called."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from crashmatrix.scenarios.systems.delta_files import delta_files


@pytest.mark.parametrize("name", ["table", "with a space", "été", "a:b", "a#b", "a+b&c"])
def test_paths(name: str, tmp_path: Path) -> None:
    """Every file that the newest version names is found, and no other."""
    folder = tmp_path / name
    for number in range(3):
        write_deltalake(str(folder), pa.table({"x": [number]}), mode="append" if number < 2 else "overwrite")
    (file,) = delta_files(folder)
    assert file.is_file()
    assert len(list(folder.glob("*.parquet"))) == 3
