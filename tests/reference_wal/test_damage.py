"""One changed byte in any file of the engine, or a cut: an error that names the file, or the same rows. Never other rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import EngineOptions, ReferenceWalError, StorageEngine, WriteAheadLog
from crashmatrix.reference_wal.models.bound import absolute
from tests.reference_wal.support import SCHEMA, batch, flipped, numbers

OPTIONS = EngineOptions(segment_bytes_max=4096, preallocate_bytes=2048, checkpoint_commits=3, identity="sweep")
STRIDE, CLOSER = 1_009, 101
"""The default run damages one byte in so many, and mutation runs (`benchmarks.mutation`); both count on from file to file."""


def with_zeros(number: int) -> pa.RecordBatch:
    """Return a batch with sectors of zeros in its message, which a torn write leaves as well."""
    return batch(*[float(number), *[0.0] * 200, float(number)])


def filled(root: Path, wal: bool) -> None:
    """A table with checkpoints and commits, rows in the log, the note of a transfer cut short, and options that were set."""
    with StorageEngine.open(root, wal, options=OPTIONS) as engine:
        engine.change_options(memory_bytes_max=9_000, idle_seconds=None)
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
        for number in range(5):
            engine.ingest("t", batch(float(number), station="ab"[number % 2]))
            engine.flush()
        if wal:
            for number in range(5, 9):
                engine.ingest("t", with_zeros(number))
        # The receiving table is gone by the next opening, so the note stays.
        engine.transfer("t", root.parent / "gone")
        for number in range(9, 11):
            engine.ingest("t", batch(float(number)))
            engine.flush()
        with faults.scenario("transfer.receive.before_transact=raise(EIO)"), pytest.raises(OSError, match="Input"):
            engine.transfer("t", root.parent / "gone")
    shutil.rmtree(root.parent / "gone")


def modelled(root: Path) -> None:
    """A table by models, and a log of it: a commit of two generations, of which one has a constant, and rows that wait."""
    options = replace(OPTIONS, generation_bytes_max=1, compressed_bytes_max=1 << 20)
    schema = pa.schema([field.with_nullable(False) for field in SCHEMA])
    with StorageEngine.open(root, options=options) as engine:
        engine.create_table("t", schema, timestamp="timestamp", tags=["station"], bounds={"value": absolute(1.0)})
        for first in (0.0, 100.0):
            engine.ingest("t", batch(*[first + 0.01 * number for number in range(12)], schema=schema))
        engine.flush()
        engine.change_options(generation_bytes_max=1_000)
        engine.ingest("t", batch(200.0, schema=schema))


def marked(root: Path) -> None:
    """A log with a set of persisted batches in it."""
    wal = WriteAheadLog(root, segment_bytes_max=4096, preallocate_bytes=0)
    wal.create_table_log("t", SCHEMA, identity="sweep")
    for number in range(6):
        wal.append("t", with_zeros(number))
    wal.mark_persisted("t", [1, 2, 5])
    wal.close()


def rows_of(root: Path, wal: bool) -> list[float]:
    with StorageEngine.open(root, wal, options=OPTIONS) as engine:
        logged = (float(batch_id) for batch_id, _ in engine.unpersisted("t"))
        return [*numbers(engine.read("t")), *logged, float(engine.options.memory_bytes_max)]


def ids_of(root: Path) -> list[float]:
    wal = WriteAheadLog(root, segment_bytes_max=4096, preallocate_bytes=0)
    try:
        return [number for _, rows in wal.unpersisted("t") for number in numbers(rows)]
    finally:
        wal.close()


@dataclass(frozen=True)
class Kind:
    """A folder to damage: how it is made, and what is in it."""

    make: Callable[[Path], None]
    look: Callable[[Path], list[float]]


KINDS = {
    "log": Kind(lambda root: filled(root, True), lambda root: rows_of(root, True)),
    "no log": Kind(lambda root: filled(root, False), lambda root: rows_of(root, False)),
    "models": Kind(modelled, lambda root: rows_of(root, True)),
    "log by itself": Kind(marked, ids_of),
}


def damages(files: list[Path], stride: int) -> Iterator[tuple[Path, int, bytes]]:
    """Yield each file damaged in each place: one bit changed, all of a byte, the file cut there."""
    count = 0
    for file in files:
        data = file.read_bytes()
        for place in range(len(data)):
            for damaged in (flipped(data, place, 1 << place % 8), flipped(data, place), data[:place]):
                count += 1
                if count % stride == 0:
                    yield file, place, damaged


def verdict(look: Callable[[Path], list[float]], root: Path, file: Path, expected: list[float]) -> str:
    try:
        found = look(root)
    except ReferenceWalError as error:
        named = getattr(error, "path", None)
        return "detected" if named == file else f"names {named} ({error})"
    return "harmless" if found == expected else f"silent: {sorted(set(expected) - set(found))} are gone"


@pytest.mark.lengthy
@pytest.mark.parametrize(
    "stride",
    [STRIDE, *(pytest.param(each, marks=[pytest.mark.slow, pytest.mark.timeout(7200)]) for each in (CLOSER, 1))],
)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_shows(kind: str, stride: int, tmp_path: Path) -> None:
    """Damage to a file is refused by an error that names the file, or the rows are the same."""
    base, root, made = tmp_path / "base", tmp_path / "root", KINDS[kind]
    made.make(base)
    files = sorted(path for path in base.rglob("*") if path.is_file() and path.name != ".lock")
    shutil.copytree(base, root)
    expected = made.look(root)
    shutil.rmtree(root)
    wrong: list[str] = []
    seen = {"detected": 0, "harmless": 0}
    for file, place, damaged in damages(files, stride):
        shutil.copytree(base, root)
        there = root / file.relative_to(base)
        there.write_bytes(damaged)
        said = verdict(made.look, root, there, expected)
        if said in seen:
            seen[said] += 1
        else:
            cut = len(damaged) < file.stat().st_size
            wrong.append(f"{file.relative_to(base)}, {'cut at' if cut else 'byte'} {place}: {said}")
        shutil.rmtree(root)
    assert wrong == []
    assert seen["detected"]
