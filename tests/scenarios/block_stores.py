"""Stores that overwrite one large block in place, under one checksum: few of its sectors change, and a tear among them is fatal.

DuckDB's checkpoint has this shape: a block of 256 KiB, of which three or four sectors differ from what was there.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from crashmatrix import Journal, SystemUnderTest

SECTOR = 512
KIB = 1024


class InPlace(SystemUnderTest):
    """Wrong: the checksum is in the first of `sectors`, and the value in each of the others."""

    contract = "latest"
    bytes_: ClassVar[int] = 256 * KIB
    sectors: ClassVar[tuple[int, ...]] = (1, 8, 9)
    items: ClassVar[int] = 6

    def prepare(self, root: Path) -> None:
        (root / "block").write_bytes(self._block(0))

    def workload(self, root: Path, journal: Journal) -> None:
        file = os.open(root / "block", os.O_WRONLY)
        for value in range(1, self.items + 1):
            with journal.attempt(["value", value]):
                os.pwrite(file, self._block(value), 0)
                os.fsync(file)
        os.close(file)

    def recover(self, root: Path) -> Sequence[Any]:
        block = bytearray((root / "block").read_bytes())
        checksum = self._cut_out(block, self.sectors[0])
        if int.from_bytes(checksum[:8], "little") != zlib.crc32(block):
            raise ValueError("the block does not match its checksum")
        value = int.from_bytes(block[self.sectors[1] * SECTOR :][:8], "little")
        return [["value", value]] if value else []

    def _block(self, value: int) -> bytes:
        """Content that is not zero anywhere, with the value in some sectors."""
        block = bytearray(bytes(range(1, 256)) * (self.bytes_ // 255 + 1))[: self.bytes_]
        for sector in self.sectors[1:]:
            block[sector * SECTOR : sector * SECTOR + 8] = value.to_bytes(8, "little")
        self._cut_out(block, self.sectors[0])
        start = self.sectors[0] * SECTOR
        block[start : start + 8] = zlib.crc32(block).to_bytes(8, "little")
        return bytes(block)

    @staticmethod
    def _cut_out(block: bytearray, sector: int) -> bytes:
        start = sector * SECTOR
        cut = bytes(block[start : start + SECTOR])
        block[start : start + SECTOR] = bytes(SECTOR)
        return cut


class OneSector(InPlace):
    """Wrong: of 1 MiB, only a sector and its neighbour, the checksum, change."""

    bytes_ = KIB * KIB
    sectors = (1200, 1201)


class Doubled(InPlace):
    """Right: the block before stays where it is until the new one is durable; recovery takes the newest whole one."""

    def prepare(self, root: Path) -> None:
        for number in range(2):
            (root / f"block{number}").write_bytes(self._block(0))

    def workload(self, root: Path, journal: Journal) -> None:
        for value in range(1, self.items + 1):
            with journal.attempt(["value", value]):
                file = os.open(root / f"block{value % 2}", os.O_WRONLY)
                os.pwrite(file, self._block(value), 0)
                os.fsync(file)
                os.close(file)

    def recover(self, root: Path) -> Sequence[Any]:
        found = []
        for number in range(2):
            block = bytearray((root / f"block{number}").read_bytes())
            checksum = self._cut_out(block, self.sectors[0])
            if int.from_bytes(checksum[:8], "little") == zlib.crc32(block):
                found.append(int.from_bytes(block[self.sectors[1] * SECTOR :][:8], "little"))
        return [["value", max(found)]] if max(found) else []
