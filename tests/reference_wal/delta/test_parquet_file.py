"""A committed Parquet file that changed is refused by name, wherever it is read; never are its rows taken for the right ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from crashmatrix import faults
from crashmatrix.reference_wal import ParquetDamaged, StorageEngine, TableCorrupted, TransferFailed
from crashmatrix.reference_wal.delta import parquet_file
from crashmatrix.reference_wal.delta.parquet_file import read_files, read_rows, rows_in
from crashmatrix.reference_wal.models.bound import LOSSLESS, Bound
from crashmatrix.reference_wal.models.segments import Shape
from tests.reference_wal.delta.stores import unsealed
from tests.reference_wal.support import SCHEMA, batch, flipped, numbers

SECTOR_BYTES = 512


def opened(root: Path, bounds: dict[str, Bound] | None = None) -> StorageEngine:
    """Open an engine with a table of two files, with the rows 0 and 1 in one and 2 in the other."""
    engine = StorageEngine.open(root / "engine")
    if not engine.tables:
        schema = SCHEMA if bounds is None else pa.schema([field.with_nullable(False) for field in SCHEMA])
        engine.create_table("t", schema, timestamp="timestamp", tags=["station"], bounds=bounds)
        for values in ((0.0, 1.0), (2.0,)):
            engine.ingest("t", batch(*values, schema=schema))
            engine.flush()
    return engine


def received(there: Path) -> list[float]:
    """Return the values in the receiving table; every file is verified."""
    if not (there / "_delta_log").exists():
        return []
    files = [there / name for name in pa.table(DeltaTable(there).get_add_actions())["path"].to_pylist()]
    return sorted(value for file in files for value in numbers(read_rows(file)))


def refused(read: Callable[[], object], file: Path) -> bool:
    """Return whether reading fails because of this file; any other error is a failure of the test."""
    try:
        read()
    except ParquetDamaged as error:
        assert error.path == file and str(file) in str(error) and "restore" in str(error)
        return True
    return False


def sectors_lost(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), SECTOR_BYTES):
        yield (data[:start] + bytes(SECTOR_BYTES) + data[start + SECTOR_BYTES :])[: len(data)]


DAMAGES: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "one bit": lambda data: (flipped(data, position, 0x01) for position in range(len(data))),
    "one byte": lambda data: (flipped(data, position, 0xFF) for position in range(len(data))),
    "a sector": sectors_lost,
    "cut": lambda data: (data[:length] for length in range(0, len(data), 7)),
    "grown": lambda data: iter((data + b"\0", data + data, b"\0" + data)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_changed_file_is_refused(damage: Callable[[bytes], Iterator[bytes]], tmp_path: Path) -> None:
    """Whichever byte changed, and however, reading names the file; restored, it is read again."""
    with opened(tmp_path) as engine:
        file = engine.files("t")[0]
        data = file.read_bytes()
        for number, changed in enumerate(damage(data)):
            file.write_bytes(changed)
            assert refused(lambda: engine.read("t"), file), number
        file.write_bytes(data)
        assert numbers(engine.read("t")) == [0.0, 1.0, 2.0]


def test_opening_refuses_a_file_of_another_size(tmp_path: Path) -> None:
    """A file that was cut, or has grown, is named already when the engine is opened."""
    with opened(tmp_path) as engine:
        file = engine.files("t")[0]
    data = file.read_bytes()
    for changed in (b"", data[:-1], data + b"\0"):
        file.write_bytes(changed)
        with pytest.raises(TableCorrupted) as caught:
            opened(tmp_path)
        assert caught.value.path == file


@pytest.mark.parametrize("reopen", [False, True])
def test_files_that_changed_places_are_refused(reopen: bool, tmp_path: Path) -> None:
    """A whole file of the table under another's name is none of the table's."""
    engine = opened(tmp_path)
    one, other = engine.files("t")
    engine.close()
    shutil.copyfile(one, tmp_path / "kept")
    one.write_bytes(other.read_bytes())
    other.write_bytes((tmp_path / "kept").read_bytes())
    if one.stat().st_size == other.stat().st_size or not reopen:
        with pytest.raises(TableCorrupted), opened(tmp_path) as engine:
            engine.read("t")
    assert refused(lambda: read_rows(one), one) and refused(lambda: read_rows(other), other)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    """A file removed while the engine is open is refused like a changed one."""
    with opened(tmp_path) as engine:
        file = engine.files("t")[0]
        file.unlink()
        assert refused(lambda: engine.read("t"), file)


def test_an_error_of_the_disk_is_no_damage(tmp_path: Path) -> None:
    """A file that cannot be read is neither gone nor damaged: the disk's error says so, on reading and on opening."""
    with opened(tmp_path) as engine:
        file = engine.files("t")[0]
        file.unlink()
        file.symlink_to(file.name)
        with pytest.raises(OSError, match="symbolic links"):
            engine.read("t")
    with pytest.raises(OSError, match="symbolic links"):
        opened(tmp_path)


@pytest.mark.parametrize("remote", [False, True])
def test_a_changed_file_is_not_transferred(remote: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed file is neither sent nor removed, and the engine goes on. Once restored, the file is transferred."""
    from crashmatrix.reference_wal.delta import transfer as transfer_module
    from crashmatrix.reference_wal.delta.receiver import Receiver

    if remote:
        monkeypatch.setattr(transfer_module, "receiver_at", lambda uri, options, base: Receiver(str(uri), options))
    there = tmp_path / "there"
    with opened(tmp_path) as engine:
        file = engine.files("t")[1]
        data = file.read_bytes()
        for position in range(0, len(data), 61):
            file.write_bytes(flipped(data, position))
            assert refused(lambda: engine.transfer("t", str(there)), file), position
        assert received(there) == []
        file.write_bytes(data)
        assert engine.ingest("t", batch(3.0)) == 2
        assert engine.transfer("t", str(there)) == 3
        assert numbers(engine.read("t")) == [3.0]
    if not remote:  # There deltalake writes files of its own.
        assert received(there) == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("moment", ["transfer.copy.before_write", "transfer.intent.after_sync_folder"])
def test_damage_during_a_transfer(moment: str, tmp_path: Path) -> None:
    """A file that changes once the transfer has begun is refused or sent as it was; the next transfer sends it, once."""
    there = tmp_path / "there"
    with opened(tmp_path) as engine:
        file = engine.files("t")[1]
        data = file.read_bytes()
        faults.configure_callback(moment, lambda: file.write_bytes(flipped(data, len(data) // 2)))
        try:
            assert refused(lambda: engine.transfer("t", there), file)
        finally:
            faults.remove(moment)
        assert received(there) == []
        file.write_bytes(data)
        assert engine.transfer("t", there) == 3
        assert received(there) == [0.0, 1.0, 2.0] and engine.read("t").num_rows == 0


def test_a_copy_that_does_not_read_back(tmp_path: Path) -> None:
    """A copy that the disk changed is found before the rows are removed here."""
    there = tmp_path / "there"

    def damage() -> None:
        copy = next(there.glob("*.parquet"))
        copy.write_bytes(flipped(copy.read_bytes(), 100))

    with opened(tmp_path) as engine:
        faults.configure_callback("transfer.copy.after_write", damage)
        try:
            with pytest.raises(TransferFailed, match=r"there/.*\.parquet.*nothing was removed"):
                engine.transfer("t", there)
        finally:
            faults.remove("transfer.copy.after_write")
        assert received(there) == [] and numbers(engine.read("t")) == [0.0, 1.0, 2.0]
        assert engine.transfer("t", there) == 3
        assert received(there) == [0.0, 1.0, 2.0]


def test_a_changed_copy_is_refused(tmp_path: Path) -> None:
    """A transferred file carries its checksum along: any changed byte shows."""
    there = tmp_path / "there"
    with opened(tmp_path) as engine:
        engine.transfer("t", there)
    for copy in there.glob("*.parquet"):
        data = copy.read_bytes()
        for position in range(len(data)):
            copy.write_bytes(flipped(data, position, 0x01))
            assert refused(lambda: read_rows(copy), copy), position  # noqa: B023  # called at once
        copy.write_bytes(data)
    assert received(there) == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("bounds", [None, {"value": LOSSLESS}], ids=["rows", "models"])
def test_pages_have_checksums_of_their_own(bounds: dict[str, Bound] | None, tmp_path: Path) -> None:
    """A reader who does not know what the name means can verify the pages: Arrow finds a changed body, of any column."""
    with opened(tmp_path, bounds) as engine:
        file = engine.files("t")[0]
    stranger, columns = tmp_path / "stranger.parquet", pq.read_metadata(file).row_group(0)
    for number in range(columns.num_columns):
        column = columns.column(number)
        first_byte = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
        last_byte = first_byte + column.total_compressed_size - 1
        stranger.write_bytes(flipped(file.read_bytes(), last_byte))
        with (
            pytest.raises(OSError, match=r"(?i)crc"),
            pq.ParquetFile(stranger, page_checksum_verification=True) as opened_file,
        ):
            opened_file.read()


# --- tables written before there were checksums


def make_old(root: Path) -> list[Path]:
    """Give the table's files the names they had before: the batches, no checksum."""
    old = []
    for file in sorted((root / "engine" / "tables" / "t").glob("*.parquet")):
        name = file.name[: 2 * 20 + 1] + ".parquet"
        for commit in (file.parent / "_delta_log").glob("*.json"):
            unsealed(commit)
            commit.write_text(commit.read_text().replace(file.name, name))
        old.append(file.rename(file.with_name(name)))
    return old


def test_an_older_table_still_opens(tmp_path: Path) -> None:
    """A table without checksums is read and transferred as before; new files beside the old ones carry checksums."""
    opened(tmp_path).close()
    old = make_old(tmp_path)
    with opened(tmp_path) as engine:
        assert engine.files("t") == old
        engine.ingest("t", batch(3.0))
        engine.flush()
        assert numbers(engine.read("t")) == [0.0, 1.0, 2.0, 3.0]
        new = next(file for file in engine.files("t") if file not in old)
        data = new.read_bytes()
        new.write_bytes(flipped(data, 50))
        assert refused(lambda: engine.read("t"), new)
        new.write_bytes(data)
        assert engine.transfer("t", tmp_path / "there") == 4
    assert received(tmp_path / "there") == [0.0, 1.0, 2.0, 3.0]


UNREADABLE: dict[str, Callable[[bytes], bytes]] = {
    "zeros": lambda data: bytes(len(data)),
    "a name that is not text": lambda data: data.replace(b"station", b"stati\xffn"),
}


@pytest.mark.parametrize("damage", UNREADABLE.values(), ids=UNREADABLE)
def test_an_older_file_that_is_no_parquet_is_named(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """If Arrow notices the damage, its error becomes the package's, which names the file."""
    opened(tmp_path).close()
    file = make_old(tmp_path)[0]
    with opened(tmp_path) as engine:
        file.write_bytes(damage(file.read_bytes()))
        assert refused(lambda: rows_in(file, pa.py_buffer(file.read_bytes())), file)
        assert refused(lambda: engine.read("t"), file)
        assert refused(lambda: engine.transfer("t", tmp_path / "there"), file)


@pytest.mark.parametrize(
    ("other", "error", "problem"),
    [
        pytest.param({"x": [1]}, ParquetDamaged, "has other columns", id="names"),
        pytest.param({"timestamp": ["a"], "station": ["b"], "value": ["c"]}, TransferFailed, "string here", id="types"),
    ],
)
def test_an_older_file_with_other_columns_is_named(
    other: dict[str, list[object]], error: type[Exception], problem: str, tmp_path: Path
) -> None:
    """A whole file that is not of the table has other columns, or values that are not of their types; it stays here."""
    opened(tmp_path).close()
    file = make_old(tmp_path)[0]
    with opened(tmp_path) as engine:
        pq.write_table(pa.table(other), file)
        assert refused(lambda: engine.read("t"), file)
        with pytest.raises(error, match=problem):
            engine.transfer("t", tmp_path / "there")
        assert received(tmp_path / "there") == []
        engine.ingest("t", batch(3.0))


def test_a_lack_of_memory_is_not_damage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody shall restore a file from a copy because this process has no memory; once it has, the file is read."""
    with opened(tmp_path) as engine:

        def fail(*_: object) -> None:
            raise MemoryError

        with monkeypatch.context() as patch:
            patch.setattr(parquet_file, "encoded", fail)
            with pytest.raises(MemoryError):
                engine.read("t")
        assert numbers(engine.read("t")) == [0.0, 1.0, 2.0]


def test_segments_with_a_null_are_damage(tmp_path: Path) -> None:
    """A file of segments without a checksum, whose columns are right, is named if a segment lacks a part."""
    schema = pa.schema(
        [pa.field("at", pa.timestamp("us"), nullable=False), pa.field("x", pa.float64(), nullable=False)]
    )
    shape = Shape(schema, "at", [], {})
    file = tmp_path / f"{0:020d}-{0:020d}.parquet"
    pq.write_table(pa.table([pa.nulls(1, field.type) for field in shape.segments], schema=shape.segments), file)
    assert refused(lambda: read_files([file], schema, shape), file)


def test_a_name_without_a_checksum_is_not_taken_for_the_file(tmp_path: Path) -> None:
    """Removing the checksum from a file's name does not avoid the check: the commit has the full name."""
    with opened(tmp_path) as engine:
        file = engine.files("t")[0]
    file.rename(file.with_name(file.name[: 2 * 20 + 1] + ".parquet"))
    with pytest.raises(TableCorrupted, match="is gone") as caught:
        opened(tmp_path)
    assert caught.value.path == file
