"""The parts of one write, joined and listed."""

import pytest

from crashmatrix.faults.disk.block.parts import joined, listed
from crashmatrix.faults.disk.trace.named import DATA, JOURNAL, METADATA, NAMES, UNKNOWN, Named


def data(start: int, stop: int, path: str = "a") -> Named:
    return Named(kind=DATA, path=path, start=start, stop=stop)


LOST = Named(kind=UNKNOWN)
NODE = Named(kind=METADATA, what="a node")
FREE = Named(kind=METADATA, what="which blocks are free")
NAME = Named(kind=NAMES, path=".", what="a made")


@pytest.mark.parametrize(
    ("parts", "nodes", "expected"),
    [
        ([data(0, 4), data(4, 8), data(9, 12)], False, [data(0, 8), data(9, 12)]),
        ([data(0, 4), data(4, 8, "b")], False, [data(0, 4), data(4, 8, "b")]),
        ([NODE, LOST, LOST], True, [NODE]),
        ([NODE, LOST, LOST], False, [NODE, LOST]),
    ],
)
def test_joined(parts: list[Named], nodes: bool, expected: list[Named]) -> None:
    """Ranges that touch are one; what follows a node's first block belongs to the node."""
    assert list(joined(parts, nodes=nodes)) == expected


def test_a_journal_is_about_names_first() -> None:
    """Blocks of the journal are one part, which names a folder's change before all else."""
    blocks = [Named(kind=JOURNAL, what=what) for what in ("the descriptor", "inodes", NAME.text)]
    (part,) = joined(blocks, nodes=False)
    assert part.what == "the store's folder: a made"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([FREE, data(0, 4), NAME], "the store's folder: a made; a, bytes 0 to 3"),
        ([FREE], "which blocks are free"),
        (
            [data(0, 4, name) for name in "abcde"],
            "; ".join(f"{name}, bytes 0 to 3" for name in "abcd") + "; and 1 more",
        ),
    ],
)
def test_listed(parts: list[Named], words: str) -> None:
    """Names come first, the filesystem's bookkeeping only alone, and no more than fit."""
    assert listed(parts) == words
