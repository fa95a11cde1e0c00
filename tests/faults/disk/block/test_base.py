"""A disk by its blocks: what a write makes of them is what it makes of the disk."""

import pytest

from crashmatrix.faults.disk.block.base import BLOCK, blocks_of


@pytest.mark.parametrize("offset", [0, 512, BLOCK - 512, BLOCK, BLOCK + 1024])
@pytest.mark.parametrize("length", [512, BLOCK - 512, BLOCK, BLOCK + 512, 2 * BLOCK])
def test_the_blocks_of_a_write(offset: int, length: int) -> None:
    disk = bytearray(b"0123456789abcdef" * (4 * BLOCK // 16))
    blocks = dict(blocks_of(offset, b"w" * length, lambda block: bytes(disk[block * BLOCK : (block + 1) * BLOCK])))
    disk[offset : offset + length] = b"w" * length
    assert list(blocks) == list(range(offset // BLOCK, -(-(offset + length) // BLOCK)))
    assert all(content == disk[block * BLOCK : (block + 1) * BLOCK] for block, content in blocks.items())
