"""An inode answers stat(2) as a filesystem would."""

import stat

import pytest

from crashmatrix.faults.disk.inode import Inode


@pytest.mark.parametrize(
    ("inode", "size", "links"),
    [
        (Inode(7, stat.S_IFREG | 0o644, links=1, content=bytearray(b"12345")), 5, 1),
        (Inode(7, stat.S_IFREG | 0o644, links=0), 0, 0),
        (Inode(7, stat.S_IFREG | 0o600, links=1, size_fixed=1 << 30), 1 << 30, 1),
        (Inode(7, stat.S_IFLNK | 0o777, links=1, target=b"../a"), 4, 1),
        (Inode(7, stat.S_IFDIR | 0o755, names={b"a": 8}), 0, 2),
        (Inode(7, stat.S_IFIFO | 0o600, links=3), 0, 3),
    ],
    ids=["file", "nameless", "disk", "symbolic link", "directory", "FIFO"],
)
def test_sizes_and_links(inode: Inode, size: int, links: int) -> None:
    """A link's size is its target's length; a directory has two links."""
    attributes = inode.attributes()
    assert (attributes.size, attributes.links, attributes.mode, attributes.inode) == (size, links, inode.mode, 7)
    assert inode.is_directory == stat.S_ISDIR(inode.mode)


def test_a_change_of_content_dates_it() -> None:
    """A change of content sets both times of change, and not the time of access."""
    inode = Inode(7, stat.S_IFREG, changed_ns=1, modified_ns=2, accessed_ns=3)
    inode.touch()
    attributes = inode.attributes()
    assert attributes.changed_ns == attributes.modified_ns > 3 == attributes.accessed_ns
