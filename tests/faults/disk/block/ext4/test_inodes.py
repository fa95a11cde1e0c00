"""The files of an ext4 disk as a reader sees them: each change of a disk made by hand either shows, or it does not."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable

import pytest

from crashmatrix.faults.disk.block.base import BLOCK
from crashmatrix.faults.disk.block.ext4.inodes import Files
from crashmatrix.faults.disk.block.ext4.layout import Ext4Layout, names_in
from crashmatrix.faults.disk.block.ext4.replay import Contents

UNSEEN = "unrelated"
PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
LINK = "x" * 100


class Disk:
    """A disk with files, to be changed block by block."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        self.layout = Ext4Layout(self.read)
        assert self.layout.journal
        self.journal = self.layout.journal.index
        self.blocks = {
            block for block in range(self.layout.blocks) if block not in self.journal and any(self.read(block))
        }

    def read(self, block: int) -> bytes:
        return self.image[block * BLOCK : (block + 1) * BLOCK]

    def inode(self, number: int) -> tuple[int, int]:
        """The block of an inode, and its place there."""
        table = self.layout.inode_tables[0]  # One group.
        block, place = divmod((number - 1) * self.layout.inode_bytes, BLOCK)
        return table.start + block, place

    def find(self, *names: str) -> int:
        """The number of the inode that these names lead to."""
        number = 2
        for name in names:
            number = names_in(self.read(self.first_block(number)))[name]
        return number

    def first_block(self, number: int) -> int:
        """The first block of a file with one level of extents, or its first lower node."""
        block, place = self.inode(number)
        node = self.read(block)[place + 0x28 :]
        (depth,) = struct.unpack_from("<H", node, 6)
        return int(struct.unpack_from("<I", node, 12 + (4 if depth else 8))[0])

    def with_bytes(self, block: int, at: int, data: bytes) -> dict[int, bytes]:
        content = bytearray(self.read(block))
        content[at : at + len(data)] = data
        return {block: bytes(content)}

    def in_inode(self, number: int, at: int, data: bytes) -> dict[int, bytes]:
        block, place = self.inode(number)
        return self.with_bytes(block, place + at, data)

    def seen(self, *changes: dict[int, bytes], torn: bool = False) -> list[list[int] | None]:
        """Return the numbers of the disk with each of these changes; `torn` if the filesystem never wrote them."""
        contents = Contents()
        disks = [{block: contents.number(self.read(block)) for block in self.blocks} for _ in changes]
        contents.settled = torn
        for disk, change in zip(disks, changes, strict=True):
            disk.update((block, contents.number(content)) for block, content in change.items())
        contents.settled = True
        files = Files(self.layout, contents, self.blocks, self.read, UNSEEN)
        found = [files.seen(disk) for disk in disks]
        return [None if each is None else list(each) for each in found]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    """Files of many kinds, written by mkfs itself, which needs neither root nor a mount."""
    program = shutil.which("mkfs.ext4", path=PATH)
    if not program:
        pytest.skip("mkfs.ext4 is not installed")
    folder, image = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("disk") / "image"
    (folder / "data").mkdir()
    (folder / "data" / "plain").write_bytes(b"p" * 10_000)
    (folder / "data" / "link").symlink_to(LINK)
    (folder / "data" / "short").symlink_to("y")
    (folder / "data" / "twin").write_bytes(b"t" * 5000)
    (folder / UNSEEN).write_bytes(b"u" * 5000)
    with (folder / "data" / "holes").open("wb") as file:  # So many extents that they take a node of their own.
        for number in range(12):
            file.seek(2 * number * BLOCK)
            file.write(b"h" * BLOCK)
    with image.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(
        [program, "-q", "-F", "-b", "4096", "-J", "size=4", "-N", "64", "-O", "^resize_inode", "-d", folder, image], check=True,
        capture_output=True,
    )  # fmt: skip
    return Disk(image.read_bytes())


Change = Callable[[Disk], dict[int, bytes]]


def in_file(name: str, at: int) -> Change:
    return lambda disk: disk.with_bytes(disk.first_block(disk.find("data", name)) + at // BLOCK, at % BLOCK, b"!")


def in_inode(name: str, at: int, data: bytes) -> Change:
    return lambda disk: disk.in_inode(disk.find("data", name), at, data)


def in_unseen(disk: Disk) -> dict[int, bytes]:
    return disk.with_bytes(disk.first_block(disk.find(UNSEEN)), 7, b"!")


def in_node(disk: Disk) -> dict[int, bytes]:
    """The first extent of a node begins at another block of the file."""
    return disk.with_bytes(disk.first_block(disk.find("data", "holes")), 12, struct.pack("<I", 1))


def behind_node(disk: Disk) -> dict[int, bytes]:
    node = disk.read(disk.first_block(disk.find("data", "holes")))
    return disk.with_bytes(struct.unpack_from("<I", node, 12 + 8)[0], 100, b"!")


def in_free_map(disk: Disk) -> dict[int, bytes]:
    return disk.with_bytes(disk.layout.free_maps[0], 500, b"\xff")


def in_superblock(disk: Disk) -> dict[int, bytes]:
    """When it was last written to."""
    return disk.with_bytes(0, 1024 + 0x30, b"1234")


SHOWS = {
    "a byte of a file": in_file("plain", 4097),
    "the last byte": in_file("plain", 9999),
    "a name": lambda disk: disk.with_bytes(disk.first_block(disk.find("data")), 30, b"!"),
    "permissions": in_inode("plain", 0, struct.pack("<H", 0o100600)),
    "a user": in_inode("plain", 2, b"\7"),
    "a size": in_inode("plain", 4, struct.pack("<I", 9998)),
    "how many names": in_inode("plain", 0x1A, b"\2"),
    "a size beyond 4 GiB": in_inode("plain", 0x6C, b"\1"),
    "an extent that moves to another block": in_inode("plain", 0x28 + 12 + 8, struct.pack("<I", 5)),
    "a block of attributes": lambda disk: disk.in_inode(
        disk.find("data", "plain"), 0x68, struct.pack("<I", disk.first_block(2))
    ),
    "attributes within the inode": in_inode("plain", 0xA8, b"!"),
    "a long link": in_file("link", 3),
    "a short link": in_inode("short", 0x28, b"z"),
    "a node of extents": in_node,
    "a block below a node": behind_node,
}

DOES_NOT_SHOW = {
    "a byte behind the end of a file": in_file("plain", 10_001),
    "a time of change": in_inode("plain", 0x10, b"1234"),
    "a checksum": in_inode("plain", 0x7C, b"12"),
    "the number of its blocks": in_inode("plain", 0x1C, b"\x70"),
    "a file that nobody looks at": in_unseen,
    "which blocks are free": in_free_map,
    "when the disk was written to": in_superblock,
}


@pytest.mark.parametrize("what", SHOWS)
def test_it_shows(disk: Disk, what: str) -> None:
    one, other = disk.seen({}, SHOWS[what](disk))
    assert one is not None
    assert other is not None
    assert one != other


@pytest.mark.parametrize("what", DOES_NOT_SHOW)
def test_it_does_not_show(disk: Disk, what: str) -> None:
    change = DOES_NOT_SHOW[what](disk)
    assert any(disk.read(block) != content for block, content in change.items())
    one, other = disk.seen({}, change)
    assert one == other is not None


@pytest.mark.parametrize("lost", ["deleted", "unwritten", "cut off"])
def test_blocks_that_are_nobodys(disk: Disk, lost: str) -> None:
    """The content of a file that is deleted, was never written, or ends before it shows no more."""
    number = disk.find("data", "plain")
    block, place = disk.inode(number)
    change = {
        "deleted": disk.in_inode(number, 0x1A, bytes(2)),
        "unwritten": disk.in_inode(number, 0x28 + 12 + 4, struct.pack("<H", 0x8000 + 3)),
        "cut off": disk.in_inode(number, 4, struct.pack("<I", 4096)),
    }[lost]
    assert disk.read(block)[place + 0x28 + 12 + 4 :][:2] == struct.pack("<H", 3)
    one, other, whole = disk.seen(change, change | in_file("plain", 4097)(disk), {})
    assert one == other != whole
    assert one is not None


def test_the_place_of_a_block_does_not_show(disk: Disk) -> None:
    """A file of three blocks that lies elsewhere reads as before."""
    number = disk.find("data", "plain")
    place, elsewhere = disk.first_block(number), disk.layout.blocks - 10
    contents = {elsewhere + each: disk.read(place + each) for each in range(3)}
    assert not contents.keys() & disk.blocks
    disk.blocks |= contents.keys()
    before, after = disk.seen({}, disk.in_inode(number, 0x28 + 12 + 8, struct.pack("<I", elsewhere)) | contents)
    disk.blocks -= contents.keys()
    assert before == after is not None


@pytest.mark.parametrize("what", ["when the disk was written to", "a size", "a node of extents"])
def test_nothing_is_said_of_torn_structures(disk: Disk, what: str) -> None:
    """A block of the filesystem's own that it never wrote so is for the kernel to judge; a file's may be torn."""
    change = (SHOWS | DOES_NOT_SHOW)[what](disk)
    one, other = disk.seen({}, change, torn=True)
    assert one is not None
    assert other is None
    assert None not in disk.seen(in_file("plain", 0)(disk), torn=True)


def test_nothing_is_said_of_maps_of_blocks(disk: Disk) -> None:
    """A file as ext3 had it is not understood; nor is a tree of extents that contradicts itself."""
    for change in (in_inode("plain", 0x20, bytes(4)), in_inode("plain", 0x28, b"\0"), in_inode("plain", 0x2A, b"\x09")):
        assert disk.seen({}, change(disk))[1] is None


def test_what_was_read_once_is_right_again(disk: Disk) -> None:
    """The same disk has the same numbers, whichever were looked at before it."""
    change = in_file("plain", 1)(disk)
    first, second, third, node = disk.seen(change, {}, change, in_node(disk))
    assert first == third != second
    assert node not in (first, second)
