"""Files are compared by content, whatever their layout on disk, and copied with their holes."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, strategies as st

from crashmatrix.scenarios.judging.snapshots.sparse import chunks, copy_content, look_at

Piece = tuple[int, bytes]

PIECES = st.lists(st.tuples(st.integers(0, 300_000), st.binary(min_size=1, max_size=9)), max_size=6)


def lay_out(path: Path, size: int, pieces: list[Piece], how: str) -> int:
    """A file of that size with these pieces in it, the rest zeros that are allocated, written, or not there."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.ftruncate(file, size)
    if how == "allocated" and size:
        os.posix_fallocate(file, 0, size)
    if how == "written":
        os.pwrite(file, bytes(size), 0)
    for offset, data in pieces:
        os.pwrite(file, data, offset)
    return file


@given(PIECES, st.integers(300_009, 400_000))
def test_a_digest_is_the_content_s(pieces: list[Piece], size: int) -> None:
    """Holes, allocated room and written zeros are one content; another size is another content."""
    for folder in (Path("/dev/shm"), Path("/var/tmp")):
        path = folder / f"crashmatrix-test-{os.getpid()}"
        digests = set()
        try:
            for how in ("holes", "allocated", "written"):
                file = lay_out(path, size, pieces, how)
                digests.add(look_at(file, os.fstat(file).st_size)[0])
                whole = bytearray(size)
                for offset, data in chunks(file):
                    whole[offset : offset + len(data)] = data
                assert whole == path.read_bytes()
                os.ftruncate(file, size + 1)
                assert look_at(file, os.fstat(file).st_size)[0] not in digests
                os.close(file)
            assert len(digests) == 1
        finally:
            path.unlink(missing_ok=True)


@given(PIECES, PIECES)
def test_other_content_has_another_digest(some: list[Piece], others: list[Piece]) -> None:
    contents, digests = set(), set()
    path = Path(f"/dev/shm/crashmatrix-test-{os.getpid()}")
    try:
        for pieces in (some, others):
            file = lay_out(path, 310_000, pieces, "holes")
            contents.add(path.read_bytes())
            digests.add(look_at(file, os.fstat(file).st_size)[0])
            os.close(file)
    finally:
        path.unlink(missing_ok=True)
    assert len(digests) == len(contents)


def test_where_it_is_counts(tmp_path: Path) -> None:
    """The same bytes at two offsets, in files of one size, are two contents."""
    digests = []
    for offset in (0, 1 << 16):
        file = lay_out(tmp_path / f"at {offset}", 1 << 18, [(offset, b"x")], "holes")
        digests.append(look_at(file, os.fstat(file).st_size)[0])
        os.close(file)
    assert digests[0] != digests[1]


def test_a_copy_is_equal_and_as_sparse(tmp_path: Path) -> None:
    """A gigabyte with a byte in it takes a chunk."""
    source = lay_out(tmp_path / "source", 1 << 30, [(700_000_001, b"x")], "holes")
    target = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    copy_content(source, target)
    assert look_at(source, os.fstat(source).st_size)[0] == look_at(target, os.fstat(target).st_size)[0]
    assert os.pread(target, 3, 700_000_000) == b"\0x\0"
    assert os.fstat(target).st_size == 1 << 30
    assert os.fstat(target).st_blocks * 512 <= 1 << 17
    os.close(source)
    os.close(target)
