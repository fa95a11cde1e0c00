"""The plan of an ext4 disk, read from one that mkfs has just made; and what a directory's blocks say."""

import shutil
import struct
from collections.abc import Callable

import pytest

from crashmatrix.faults.disk import Filesystem
from crashmatrix.faults.disk.block.base import BLOCK
from crashmatrix.faults.disk.block.ext4.journal import Ext4Journal
from crashmatrix.faults.disk.block.ext4.layout import Ext4Layout, names_in, to_be_recovered

SIZE = 256 << 20


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Disks as mkfs leaves them, in several groups of blocks; making one needs neither root nor a mount."""
    made = {}
    for name in ("ext4", "ext2", "xfs"):
        path = tmp_path_factory.mktemp("disk") / name
        filesystem = Filesystem.parse(name)
        if not shutil.which(filesystem.program, path="/usr/sbin:/sbin:/usr/bin:/bin"):
            pytest.skip(f"{filesystem.program} is not installed")
        with path.open("wb") as file:
            file.truncate(SIZE if name != "xfs" else 1 << 30)
        filesystem.make(str(path), seed=1)
        with path.open("rb") as file:
            made[name] = file.read(SIZE)
    return made


def reader(disk: bytes) -> Callable[[int], bytes]:
    return lambda block: disk[block * BLOCK : (block + 1) * BLOCK]


@pytest.mark.lengthy
@pytest.mark.parametrize("name", ["ext4", "ext2"])
def test_the_plan_of_a_new_disk(name: str, disks: dict[str, bytes]) -> None:
    """The plan says where blocks are: the free maps know which blocks of their group are taken."""
    read = reader(disks[name])
    layout = Ext4Layout.read(read)
    assert layout
    assert layout.understood
    assert (layout.blocks, len(layout.free_maps)) == (SIZE // BLOCK, -(-SIZE // BLOCK // layout.per_group))
    assert (layout.plain(0), layout.plain(1)) == ("superblock", "group descriptors")
    for group, free in enumerate(layout.free_maps):
        assert layout.plain(free) == "which blocks are free"
        if free // layout.per_group == group:
            place = free % layout.per_group
            assert read(free)[place >> 3] >> (place & 7) & 1, "the map's own block is taken"
    assert not to_be_recovered(read(0))


@pytest.mark.lengthy
def test_the_journal_is_found(disks: dict[str, bytes]) -> None:
    """The journal's first block is its superblock, with nothing to replay; ext2 has no journal."""
    read = reader(disks["ext4"])
    layout = Ext4Layout.read(read)
    assert layout
    assert layout.journal
    assert len(layout.journal.blocks) == 1024  # 4 MiB, an option of mkfs.
    assert layout.journal.kind(read(layout.journal.blocks[0]))[0] == "superblock"
    assert Ext4Journal.superblock(read(layout.journal.blocks[0])).start == 0
    assert layout.journal.understood
    plain = Ext4Layout.read(reader(disks["ext2"]))
    assert plain
    assert plain.journal is None


def test_inodes_are_known_by_number(disks: dict[str, bytes]) -> None:
    """A changed inode in a block of the table is named; the root directory's is number 2."""
    read = reader(disks["ext4"])
    layout = Ext4Layout.read(read)
    assert layout
    (table,) = (block for block in range(layout.blocks) if list(layout.inodes(block, *changed(256)) or ()) == [2])
    assert struct.unpack_from("<H", read(table), 256)[0] & 0xF000 == 0x4000, "a directory"
    assert layout.inodes(0, *changed(0)) is None
    assert list(layout.inodes(table + 1, *changed(0, 4095)) or ()) == [17, 32]
    assert list(layout.inodes(table, *changed()) or ()) == []


def test_generations_of_inodes(disks: dict[str, bytes]) -> None:
    """Each inode of a block has its generation; a block without inodes has none."""
    read = reader(disks["ext4"])
    layout = Ext4Layout.read(read)
    assert layout
    (table,) = (block for block in range(layout.blocks) if list(layout.inodes(block, *changed(256)) or ()) == [2])
    block = bytearray(read(table + 1))
    block[256 + 0x64 : 256 + 0x68] = struct.pack("<I", 77)
    found = layout.generations(table + 1, bytes(block))
    assert (list(found), found[18]) == (list(range(17, 33)), 77)
    assert layout.generations(0, read(0)) == {}


def changed(*places: int) -> tuple[bytes, bytes]:
    after = bytearray(BLOCK)
    for place in places:
        after[place] = 1
    return bytes(BLOCK), bytes(after)


@pytest.mark.lengthy
@pytest.mark.parametrize(
    ("at", "data"),
    [(1024 + 0x38, b"\0\0"), (1024 + 0x18, b"\0"), (1024 + 0x60, b"\xd2")],
    ids=["no magic number", "other blocks", "meta_bg"],
)
def test_another_disk_has_no_plan(at: int, data: bytes, disks: dict[str, bytes]) -> None:
    """A disk unlike those that mkfs.ext4 makes here gets no plan."""
    other = bytearray(disks["ext4"][: 4 * BLOCK])
    other[at : at + len(data)] = data
    assert Ext4Layout.read(reader(bytes(other).ljust(SIZE, b"\0"))) is None
    assert Ext4Layout.read(reader(disks["xfs"])) is None


def test_the_mark_for_a_replay() -> None:
    block = bytearray(BLOCK)
    assert not to_be_recovered(bytes(block))
    block[1024 + 0x60] = 4
    assert to_be_recovered(bytes(block))


def entry(inode: int, name: bytes, length: int) -> bytes:
    return (struct.pack("<IHBB", inode, length, len(name), 1) + name).ljust(length, b"\0")


@pytest.mark.parametrize(
    ("block", "names"),
    [
        (bytes(BLOCK), {}),
        (entry(2, b".", 12) + entry(2, b"..", 12) + entry(12, b"a", 12), {"a": 12}),
        (entry(12, b"a", 12) + entry(0, b"gone", 12) + entry(13, b"b", 12), {"a": 12, "b": 13}),
        (entry(12, b"a", 12) + struct.pack("<IHBB", 13, 4, 1, 1) + b"b", {"a": 12}),
        (entry(12, b"a", 12) + struct.pack("<IHBB", 13, 4096, 1, 1) + b"b", {"a": 12}),
        (entry(12, "ü".encode(), 12), {"ü": 12}),
    ],
    ids=["empty", "dots", "removed", "too short", "too long", "not ASCII"],
)
def test_names_in_a_block(block: bytes, names: dict[str, int]) -> None:
    """A directory's names are read up to the first damage."""
    assert names_in(block) == names
