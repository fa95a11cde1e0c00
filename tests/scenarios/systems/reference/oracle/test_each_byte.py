"""Each byte of a small file is changed: its reader has to notice, and to name it, or to return the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from crashmatrix.reference_wal.errors import LogCorrupted, ReferenceWalError
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.each_byte import (
    SMALL_BYTES_MAX,
    refuse_each_byte,
    refuse_while_open,
)

CONTENTS = {"small": b"0-3,7-9", "large": b"x" * (SMALL_BYTES_MAX + 1), "empty": b""}
PART = Path("log", "t")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in (PART, Path("log", "other")):
        (tmp_path / folder).mkdir(parents=True)
        for name, content in CONTENTS.items():
            (tmp_path / folder / name).write_bytes(content)
    return tmp_path


def test_all_of_them(root: Path) -> None:
    """Each byte of the small file changes once, in a copy that has nothing else; the folder itself stays."""
    met = list[bytes]()

    def look(copy: Path) -> bytes:
        assert [path.name for path in (copy / "log").iterdir()] == ["t"]
        met.append((copy / PART / "small").read_bytes())
        if met[-1] != CONTENTS["small"]:
            raise LogCorrupted(copy / PART / "small", "damaged")
        return met[-1]

    refuse_each_byte(root, PART, look)
    assert met[0] == CONTENTS["small"]
    assert [[a == b for a, b in zip(met[0], data, strict=True)].index(False) for data in met[1:]] == list(range(7))
    assert {name: (root / PART / name).read_bytes() for name in CONTENTS} == CONTENTS


@pytest.mark.parametrize("read_bytes", [0, 6])
def test_a_byte_that_nobody_checks(read_bytes: int, root: Path) -> None:
    """A reader that returns what is there, and one that leaves out the last byte of its checksum, are found."""

    def look(copy: Path) -> bytes:
        data = (copy / PART / "small").read_bytes()
        if data[:read_bytes] != CONTENTS["small"][:read_bytes]:
            raise LogCorrupted(copy / PART / "small", "damaged")
        return data

    with pytest.raises(
        PromiseBroken, match=f"byte {read_bytes} of t/small was changed .*, and other rows were returned"
    ):
        refuse_each_byte(root, PART, look)


def test_another_error(root: Path) -> None:
    """An error that names no file breaks the promise."""

    def look(copy: Path) -> None:
        if (copy / PART / "small").read_bytes() != CONTENTS["small"]:
            raise ReferenceWalError("something is damaged")

    with pytest.raises(PromiseBroken, match="raised ReferenceWalError: something is damaged"):
        refuse_each_byte(root, PART, look)


def test_a_file_that_cannot_be_read(root: Path) -> None:
    """A folder in its place is not taken for a file that is not there; an error without the file's name is another."""

    def look(copy: Path, error: type[Exception] = OSError, there: bytes = b"") -> bytes:
        file = copy / PART / "small"
        try:
            data = file.read_bytes()
        except error:
            return there
        if data != CONTENTS["small"]:
            raise LogCorrupted(file, "damaged")
        return data

    refuse_each_byte(root, PART, partial(look, error=FileNotFoundError))
    refuse_each_byte(root, PART, partial(look, there=CONTENTS["small"]))
    with pytest.raises(PromiseBroken, match="a folder is in the place of t/small, and other rows were returned"):
        refuse_each_byte(root, PART, look)

    def unnamed(copy: Path) -> bytes:
        if (copy / PART / "small").is_dir():
            raise IsADirectoryError("something is a folder")
        return look(copy)

    with pytest.raises(PromiseBroken, match="in the place of t/small raised IsADirectoryError"):
        refuse_each_byte(root, PART, unnamed)


def opened(
    refuses: Callable[[bytes], bool], *, returns_all: bool = False
) -> Callable[[Path], Iterator[tuple[list[Path], Callable[[], object]]]]:
    def open_in(copy: Path) -> Iterator[tuple[list[Path], Callable[[], object]]]:
        file = copy / PART / "large"

        def read() -> object:
            if refuses(data := file.read_bytes()):
                raise LogCorrupted(file, "damaged")
            return data if returns_all else None

        yield [file], read
        assert file.read_bytes() == CONTENTS["large"]

    return open_in


def test_while_it_is_open(root: Path) -> None:
    """The first and the last bytes of a file are changed, and some between them; each is put back."""
    met = set[int]()

    def refuses(data: bytes) -> bool:
        changed = {place for place, byte in enumerate(data) if byte != ord("x")}
        met.update(changed)
        assert len(changed) <= 1
        return bool(changed)

    refuse_while_open(root, opened(refuses), 0, times=20, strict=True)
    assert met > {*range(8), *range(SMALL_BYTES_MAX - 7, SMALL_BYTES_MAX + 1)} and len(met) > 30
    assert (root / PART / "large").read_bytes() == CONTENTS["large"]


def test_the_bytes_before_a_message_of_arrow(root: Path) -> None:
    """A log says there what its record is."""
    content = b"x" * 150 + b"\xff" * 4 + b"x" * 150
    (root / PART / "large").write_bytes(content)
    met = set[int]()

    def open_in(copy: Path) -> Iterator[tuple[list[Path], Callable[[], object]]]:
        file = copy / PART / "large"
        yield (
            [file],
            lambda: met.update(place for place, byte in enumerate(file.read_bytes()) if byte != content[place]),
        )

    refuse_while_open(root, open_in, 0, times=0)
    assert met == {*range(8), *range(142, 150), *range(len(content) - 8, len(content))}


def test_nobody_notices(root: Path) -> None:
    """The same rows will do, unless each change must be refused; other rows never do."""
    refuse_while_open(root, opened(lambda _: False), 0, times=1)
    with pytest.raises(PromiseBroken, match="byte 0 of t/large was changed while it was open, and nobody noticed"):
        refuse_while_open(root, opened(lambda _: False), 0, times=1, strict=True)
    with pytest.raises(PromiseBroken, match="and other rows were returned"):
        refuse_while_open(root, opened(lambda _: False, returns_all=True), 0, times=1)
