"""A run's memory survives a SIGKILL up to its last whole frame; nothing damaged is believed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports.folder import Folder
from crashmatrix.reports.unfinished import ledger as ledger_module
from crashmatrix.reports.unfinished.ledger import RESUME, Ledger, Synced


@dataclass(frozen=True)
class Value:
    """A value with what real ones have."""

    items: tuple[Any, ...]
    data: bytes = b""
    place: Path = Path()


@contextmanager
def opened(report: Path, *, resume: bool = False) -> Iterator[Ledger]:
    ledger, synced = Ledger(), Synced()
    ledger.expect()
    with Folder.open(report) as folder:
        if resume:
            ledger.load(folder, synced)
        ledger.begin(folder, synced)
        yield ledger
        synced.close()
        ledger.close()
        assert synced.error is None


def test_values_come_back(tmp_path: Path) -> None:
    """Values are read back as the type that the reader names, whether put before the report began or after."""
    value = Value((["key", 1], {"a": None}, 0.5), b"\xff", Path("/x/y"))
    ledger, synced = Ledger(), Synced()
    ledger.expect()
    ledger.put("early", value)
    with Folder.open(tmp_path) as folder:
        assert not (tmp_path / RESUME).exists()
        ledger.begin(folder, synced)
        ledger.put("late", value)
        synced.close()
        ledger.close()
    with opened(tmp_path, resume=True) as again:
        assert again.resumes
        assert [again.get(key, Value) for key in ("early", "late", "never")] == [value, value, None]
        assert again.get("late", int) is None
    with opened(tmp_path) as fresh:
        assert not fresh.resumes


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (lambda data: data, ["a", "b", "c"]),
        (lambda data: data[:-1], ["a", "b"]),
        (lambda data: data[:5], []),
        (lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:], ["a"]),
        (lambda data: data + b"\0" * 40, ["a", "b", "c"]),
        (lambda data: data + b"\xff" * 7, ["a", "b", "c"]),
    ],
)
def test_damage_ends_the_ledger(damage: Callable[[bytes], bytes], left: list[str], tmp_path: Path) -> None:
    """A frame that is torn or damaged ends it, and what is put then follows the last whole frame."""
    with opened(tmp_path) as ledger:
        for key in "abc":
            ledger.put(key, [key])
    file = tmp_path / RESUME / "ledger"
    file.write_bytes(damage(file.read_bytes()))
    with opened(tmp_path, resume=True) as again:
        assert again.keys() == left
        again.put("new", ["new"])
    if left:
        with opened(tmp_path, resume=True) as third:
            assert third.keys() == [*left, "new"]
            assert third.get("new", list[str]) == ["new"]


@pytest.mark.parametrize("value", [2**70, "\udcff", object()])
def test_what_cannot_be_written_is_left_out(value: object, tmp_path: Path) -> None:
    """A resumed run finds it out again; the run itself goes on."""
    with opened(tmp_path) as ledger:
        ledger.put("a", value)
        ledger.put("b", 1)
    with opened(tmp_path, resume=True) as again:
        assert again.keys() == ["b"]


def test_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are kept whole, holes as holes, up to the limit."""
    sparse, small = tmp_path / "sparse", tmp_path / "small"
    with open(sparse, "wb") as file:
        os.truncate(file.fileno(), 2**24)
        os.pwrite(file.fileno(), b"data", 2**23)
    small.write_bytes(b"x" * 5000)
    report = tmp_path / "report"
    report.mkdir()
    monkeypatch.setattr(ledger_module, "CONTENTS_BYTES_MAX", 2**17)
    with opened(report) as ledger:
        assert ledger.keep("one", sparse)
        assert ledger.keep("one", sparse)
        ledger.put("a", 1)
        monkeypatch.setattr(ledger_module, "CONTENTS_BYTES_MAX", 4096)
        assert not ledger.keep("two", small)
    with opened(report, resume=True) as again:
        assert again.kept("one", tmp_path / "copy")
        assert not again.kept("two", tmp_path / "nothing")
        assert not again.kept("one", tmp_path / "copy")  # It is there.
    assert (tmp_path / "copy").read_bytes() == sparse.read_bytes()
    assert (tmp_path / "copy").stat().st_blocks < 1000


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A ledger that leads elsewhere is refused, and what it leads to stays as it is."""
    with opened(tmp_path) as ledger:
        ledger.put("a", 1)
    file, elsewhere = tmp_path / RESUME / "ledger", tmp_path / "elsewhere"
    file.rename(elsewhere)
    for make in (file.symlink_to, file.hardlink_to):
        make(elsewhere)
        with Folder.open(tmp_path) as folder, pytest.raises(OSError):
            Ledger().load(folder, Synced())
        file.unlink()
    assert elsewhere.stat().st_size


def test_without_a_report_nothing_is_kept(tmp_path: Path) -> None:
    """A mutation run has no report: it remembers nothing and writes nothing."""
    (tmp_path / "file").write_bytes(b"x")
    ledger = Ledger()
    ledger.put("a", 1)
    assert not ledger.keep("name", tmp_path / "file")
    assert ledger.get("a", int) is None
