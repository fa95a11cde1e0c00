"""Operations in their stored form: what is read back is what was stored, and nothing impossible is read."""

import pytest

from crashmatrix.faults.disk import Change, Data, Failure, Flush, Mark, Names, Node, Note, Operation, Size, Sync, Write
from crashmatrix.faults.disk.trace.operations import operation_from_row, operation_row, sectors_of


@pytest.mark.parametrize(
    "operation",
    [
        Write(512, b"x" * 1024),
        Flush(),
        Note(b"\x00\xff ="),
        Note(b""),
        Mark("start"),
        Failure("write", 4096, 512, 28),
        Node(7, 0o120777, b"../a b"),
        Names(((2, b"a b", 7),)),
        Names(((2, b"old", 0), (3, b" 1 2 \xff", 7))),
        Data(7, 3, b"/ 1"),
        Size(7, 1 << 40),
        Sync(7),
    ],
    ids=repr,
)
def test_a_row_gives_back_its_operation(operation: Operation) -> None:
    """A row gives back its operation, with spaces, slashes in contents, and bytes that are not text."""
    assert operation_from_row(*operation_row(operation)) == operation


@pytest.mark.parametrize(("offset", "data"), [(1, b"x" * 512), (0, b"x" * 511), (0, b"")])
def test_writes_that_are_no_sectors_are_refused(offset: int, data: bytes) -> None:
    """A write that is not whole sectors is refused."""
    with pytest.raises(ValueError, match="sectors"):
        operation_from_row(*operation_row(Write(offset, data)))


def test_an_unknown_kind_is_refused() -> None:
    """A later format's entries are not taken for anything else."""
    with pytest.raises(ValueError, match="99"):
        operation_from_row(99, 0, b"", 0)


@pytest.mark.parametrize(
    ("change", "sectors"),
    [
        (Write(512, bytes(1536)), 3),
        (Data(7, 0, b"x"), 1),
        (Data(7, 511, b"xx"), 2),
        (Data(7, 512, bytes(512)), 1),
        (Data(7, 100, bytes(1500)), 4),
        (Size(7, 10_000), 0),
        (Names(((2, b"a", 7),)), 0),
    ],
    ids=repr,
)
def test_sectors_between_which_a_change_can_tear(change: Change, sectors: int) -> None:
    """A change can tear between the sectors of the file or disk that it touches; a name or a size stays whole."""
    assert sectors_of(change) == sectors
