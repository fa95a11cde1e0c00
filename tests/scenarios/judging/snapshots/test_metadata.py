"""Owner, attributes, permissions and times are set in an order in which none undoes another; a link is never followed."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from crashmatrix.scenarios.judging.snapshots.metadata import attributes_of, kind_of_mode, put_metadata
from crashmatrix.scenarios.judging.snapshots.tree import Entry

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")
CAPABILITY = struct.pack("<5I", 0x02000000, 1 << 10, 0, 0, 0)

ENTRIES = [
    pytest.param(Entry("file", 0o444, attributes=(("user.a", b"1"),), modified_ns=1, accessed_ns=2), id="read-only"),
    pytest.param(Entry("file", 0o6755, owner=(1000, 1001), modified_ns=3), id="set-user-ID", marks=NEEDS_ROOT),
    pytest.param(
        Entry("file", 0o755, owner=(1000, 1001), attributes=(("security.capability", CAPABILITY),)),
        id="capability", marks=NEEDS_ROOT,
    ),
]  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES)
def test_none_undoes_another(entry: Entry, tmp_path: Path) -> None:
    """A file without write permission keeps its attributes, and one that belongs to another user its set-user-ID bit."""
    (tmp_path / "f").touch(0o600)
    owner = entry.owner if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    folder = os.open(tmp_path, os.O_RDONLY)
    put_metadata(
        folder,
        "f",
        Entry(entry.kind, entry.mode, "", owner, entry.attributes, "", entry.accessed_ns, entry.modified_ns),
    )
    state = (tmp_path / "f").stat()
    assert state.st_mode & 0o7777 == entry.mode
    assert (state.st_uid, state.st_gid) == owner
    assert (state.st_atime_ns, state.st_mtime_ns) == (entry.accessed_ns, entry.modified_ns)
    assert attributes_of(folder, "f") == entry.attributes
    os.close(folder)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """The file that a link leads to, outside of the folder perhaps, is neither read nor changed."""
    target = tmp_path / "target"
    target.write_text("x")
    os.setxattr(target, "user.secret", b"1")
    before = target.stat()
    (tmp_path / "link").symlink_to(target)
    folder = os.open(tmp_path, os.O_RDONLY)
    assert attributes_of(folder, "link") == ()
    put_metadata(folder, "link", Entry("link", 0o777, owner=(os.geteuid(), os.getegid()), modified_ns=7, accessed_ns=7))
    os.close(folder)
    assert target.stat() == before
    assert (tmp_path / "link").lstat().st_mtime_ns == 7


def test_labels_of_security_modules_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the machine's, and no other file may have them."""
    names = ["security.selinux", "security.ima", "security.capability", "user.a", "system.posix_acl_access", "btrfs.x"]
    monkeypatch.setattr(os, "listxattr", lambda *_, **__: names)
    monkeypatch.setattr(os, "getxattr", lambda *_, **__: b"")
    assert [name for name, _ in attributes_of(0)] == ["security.capability", "system.posix_acl_access", "user.a"]


@pytest.mark.parametrize(("mode", "kind"), [(0o100644, "file"), (0o040755, "directory"), (0o010600, "fifo")])
def test_kind(mode: int, kind: str) -> None:
    assert kind_of_mode(mode) == kind
