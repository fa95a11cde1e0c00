"""Damaged copies of a folder: each kind of file is damaged, and its reader has to notice, and to name it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix.reference_wal import WriteAheadLog
from crashmatrix.reference_wal.errors import LogCorrupted, ReferenceWalError
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.damage import refuse_damage

Opened = Callable[[], None]

FILES = {
    "log/0-4.seg": b"four",
    "log/5-7.seg": b"more",
    "log/end": b"9",
    "elsewhere/1.seg": b"not its own",
    "empty": b"",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_bytes(content)
    return tmp_path / "root"


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def damaged(root: Path) -> list[str]:
    """The damaged files of a folder, and those that are gone."""
    there = contents(root)
    return [name for name, content in FILES.items() if there.get(name) != content]


def test_all_is_noticed(root: Path) -> None:
    """So many files of each kind are damaged, one at a time, in several ways; the folder itself stays as it is."""
    met = list[tuple[str, ...]]()

    def look(copy: Path, opened: Opened) -> None:
        opened()
        wrong = damaged(copy)
        met.append((*wrong, *(str(contents(copy).get(name)) for name in wrong)))
        if wrong and wrong != ["empty"]:
            raise LogCorrupted(copy / wrong[0], "damaged")

    for seed in range(20):
        met.clear()
        refuse_damage(root, look, seed, times=6, but_for="elsewhere")
        assert met[0] == ()
        assert {file[0] for file in met[1:] if file} >= {"log/0-4.seg", "log/5-7.seg", "log/end"}
        assert not any("elsewhere" in name for file in met for name in file)
        assert len(met) == 7
        met.clear()
        refuse_damage(root, look, seed, times=3, but_for="elsewhere")
        assert sum("seg" in name for file in met for name in file) == 1
    assert contents(root) == FILES


def test_ways(root: Path) -> None:
    """The seed draws which files are damaged, and how; one seed always the same."""
    met = list[tuple[str, str]]()

    def look(copy: Path, opened: Opened) -> None:
        opened()
        if wrong := damaged(copy):
            met.append((wrong[0], str(contents(copy).get(wrong[0]))))
            raise LogCorrupted(copy / wrong[0], "damaged")

    refuse_damage(root, look, 1)
    once = [*met]
    met.clear()
    refuse_damage(root, look, 1)
    assert met == once
    for seed in range(60):
        refuse_damage(root, look, seed)
    ways = {content for name, content in met if name == "log/0-4.seg"}
    assert {"None", *(str(FILES["log/0-4.seg"][:end]) for end in range(4))} <= ways  # Gone, or cut short.
    assert any(way.endswith("\\x00'") for way in ways)
    assert any(
        way.startswith("b'") and "x00" not in way and len(way) == len("b'four'") and way != "b'four'" for way in ways
    )


def silent(copy: Path, opened: Opened) -> dict[str, bytes]:
    opened()
    return contents(copy)


def other_file(copy: Path, opened: Opened) -> None:
    opened()
    if damaged(copy):
        raise LogCorrupted(copy / "elsewhere" / "1.seg", "damaged")


def no_file(copy: Path, opened: Opened) -> None:
    opened()
    if damaged(copy):
        raise ReferenceWalError("something is damaged")


def another_error(copy: Path, opened: Opened) -> None:
    opened()
    if damaged(copy):
        raise LookupError("no such segment")


def noticed_by_the_reader(copy: Path, opened: Opened) -> None:
    opened()
    if damaged(copy):
        raise PromiseBroken("hole", "1 is not there")


@pytest.mark.parametrize(
    ("look", "verdict", "text"),
    [
        (silent, "corrupt", "the folder returned other rows"),
        (noticed_by_the_reader, "hole", "log/end was .*, and then 1 is not there"),
        (other_file, "cannot-open", "LogCorrupted"),
        (no_file, "cannot-open", "ReferenceWalError"),
        (another_error, "cannot-open", "LookupError"),
    ],
)
def test_wrong(look: object, verdict: str, text: str, root: Path) -> None:
    """Silence, another file's name, and an error of another kind break the promise."""
    with pytest.raises(PromiseBroken, match=text) as caught:
        refuse_damage(root, look, 0)  # type: ignore[arg-type]  # any of them
    assert caught.value.verdict == verdict


def test_while_it_is_open(root: Path) -> None:
    """Half of the files are damaged once the folder is open. A reader that looks only as it opens it does not notice."""
    when = set[bool]()

    def look(copy: Path, opened: Opened) -> list[str]:
        before = damaged(copy)
        opened()
        when.add(before == damaged(copy))
        if before:
            raise LogCorrupted(copy / before[0], "damaged")
        return damaged(copy)

    with pytest.raises(PromiseBroken, match="while it was open, and the folder returned other rows"):
        refuse_damage(root, look, 0)
    assert when == {True, False}


def test_a_data_file_that_lacks_bytes_shows_as_the_folder_is_opened(tmp_path: Path) -> None:
    """One with as many bytes as before shows when it is read, and so does one that loses them later. A cut comes first."""
    (tmp_path / "rows.parquet").write_bytes(b"rows of a table")

    def reads_first(copy: Path, opened: Opened) -> None:
        reader(copy)
        opened()
        reader(copy)

    def reads_later(copy: Path, opened: Opened) -> None:
        opened()
        reader(copy)

    def reader(copy: Path) -> None:
        file = copy / "rows.parquet"
        if not file.exists() or file.read_bytes() != b"rows of a table":
            raise LogCorrupted(file, "damaged")

    def sees_cuts(copy: Path, opened: Opened) -> None:
        if (copy / "rows.parquet").exists():
            reader(copy)
        reads_later(copy, opened)

    for seed in range(10):
        refuse_damage(tmp_path, reads_first, seed)
        with pytest.raises(
            PromiseBroken, match=r"rows.parquet was cut short .* and the folder opened; reading it failed"
        ):
            refuse_damage(tmp_path, reads_later, seed, times=1)
        with pytest.raises(PromiseBroken, match=r"rows.parquet was removed, and the folder opened; reading it failed"):
            refuse_damage(tmp_path, sees_cuts, seed, times=40)


def test_the_newest_commit_stays(tmp_path: Path) -> None:
    """Its removal leaves the table as it was before. It is damaged in other ways."""
    for number in range(3):
        (tmp_path / f"{number}.json").write_bytes(b"commit")
    met = set[tuple[str, bool]]()

    def look(copy: Path, opened: Opened) -> None:
        opened()
        for number in range(3):
            file = copy / f"{number}.json"
            if not file.exists() or file.read_bytes() != b"commit":
                met.add((file.name, file.exists()))
                raise LogCorrupted(file, "damaged")

    for seed in range(60):
        refuse_damage(tmp_path, look, seed)
    assert met == {("0.json", True), ("0.json", False), ("1.json", True), ("1.json", False), ("2.json", True)}


def test_of_a_file_that_is_gone_the_folder_may_be_named(root: Path) -> None:
    """Nobody can know the name of what is not there."""

    def look(copy: Path, opened: Opened) -> None:
        opened()
        if wrong := damaged(copy):
            there = (copy / wrong[0]).exists()
            raise LogCorrupted(copy / wrong[0] if there else (copy / wrong[0]).parent, "damaged")

    for seed in range(20):
        refuse_damage(root, look, seed)


@pytest.mark.parametrize("note", ["whole", "torn", "gone"])
def test_an_end_that_is_not_noted(note: str, tmp_path: Path) -> None:
    """Without the note of its end, damage to the end of a log may be a torn write, so it is left out."""
    wal = WriteAheadLog(tmp_path / "wal", segment_bytes_max=1 << 20, preallocate_bytes=0)
    wal.create_table_log("t", pa.schema([pa.field("x", pa.int64())]))
    for number in range(3):
        wal.append("t", pa.record_batch([pa.array([number])], ["x"]))
    wal.close()
    end = tmp_path / "wal" / "t" / "end"
    if note == "torn":
        end.write_bytes(end.read_bytes()[:-1])
    elif note == "gone":
        end.unlink()
    before, met = contents(tmp_path / "wal"), set[str]()

    def look(copy: Path, opened: Opened) -> None:
        opened()
        there = contents(copy)
        wrong = [name for name, content in before.items() if there.get(name) != content]
        met.update(wrong)
        if wrong:
            raise LogCorrupted(copy / wrong[0], "damaged")

    refuse_damage(tmp_path / "wal", look, 0, times=30)
    assert met == {"whole": {"t/end", "t/0-.arrows"}, "torn": {"t/end"}, "gone": set()}[note]
