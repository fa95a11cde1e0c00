"""Ways in which a program may damage its folder. Each function is one way; it gets that folder and another one, outside, which
must survive. The same ways are a system under test (`Hostile`); `python -m tests.hostile WAY STATE OUTSIDE` removes and reports.

The ways in `MOUNTING` may run only in a mount namespace of their own (`in_namespace`).
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crashmatrix import Journal, SystemUnderTest
from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore

__all__ = ["Hostile", "in_namespace", "innocents", "outside_folder"]


def outside_folder(place: Path) -> Path:
    """A folder with what a careless clean-up could harm."""
    (place / "folder").mkdir(parents=True)
    (place / "file").write_bytes(b"precious")
    (place / "folder" / "other").write_bytes(b"precious, too")
    (place / "root").mkdir()
    (place / "root" / "kept").write_bytes(b"of the same name as what is removed")
    (place / "file").chmod(0o640)
    (place / "folder").chmod(0o510)
    return place


def innocents(place: Path) -> dict[str, Any]:
    """Every entry of a folder: path, mode and content."""
    found: dict[str, Any] = {}
    for path in sorted((place, *place.rglob("*"))):
        mode = stat.filemode(path.lstat().st_mode)
        found[str(path.relative_to(place))] = mode, path.read_bytes() if path.is_file() else b""
    return found


def in_namespace(command: Sequence[str]) -> list[str]:
    """The command, in a mount namespace of its own. No other PID namespace: other runs' processes are to be seen."""
    return ["unshare", "--mount", *command]


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)


def plain(root: Path, outside: Path) -> None:
    pass


def link(root: Path, outside: Path) -> None:
    shutil.rmtree(root)
    root.symlink_to(outside)


def dangling_link(root: Path, outside: Path) -> None:
    shutil.rmtree(root)
    root.symlink_to(outside / "not-there")


def file(root: Path, outside: Path) -> None:
    shutil.rmtree(root)
    root.write_bytes(b"x")


def fifo(root: Path, outside: Path) -> None:
    shutil.rmtree(root)
    os.mkfifo(root)


def linked_parent(root: Path, outside: Path) -> None:
    root.parent.rename(root.parent.with_name(f"moved-{root.parent.name}"))
    root.parent.symlink_to(outside)


def bind(root: Path, outside: Path) -> None:
    (root / "m").mkdir()
    _mount("--bind", outside, root / "m")


def bind_deep(root: Path, outside: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    bind(root / "a" / "b", outside)


def bind_twice(root: Path, outside: Path) -> None:
    bind(root, outside)
    _mount("--bind", outside, root / "m")


def bind_file(root: Path, outside: Path) -> None:
    (root / "m").write_bytes(b"")
    _mount("--bind", outside / "file", root / "m")


def bind_over(root: Path, outside: Path) -> None:
    _mount("--bind", outside, root)


def bind_same_filesystem(root: Path, outside: Path) -> None:
    """The device number is that of the folder itself."""
    near = outside_folder(root.parent.parent / "near")
    (root / "m").mkdir()
    _mount("--bind", near, root / "m")


def tmpfs(root: Path, outside: Path) -> None:
    (root / "m").mkdir()
    _mount("-t", "tmpfs", "none", root / "m")
    (root / "m" / "file").write_bytes(b"x")


def rbind_of_shared(root: Path, outside: Path) -> None:
    """Detaching the copy must not detach the mounts of the original, as it would if mount events passed between the two."""
    original = root.parent.parent / "original"
    original.mkdir()
    _mount("--bind", original, original)
    _mount("--make-shared", original)
    (original / "inner").mkdir()
    _mount("--bind", outside, original / "inner")
    (root / "m").mkdir()
    _mount("--rbind", original, root / "m")


def modes(root: Path, outside: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "f").write_bytes(b"x")
    for path in (root / "a" / "b", root / "a", root):
        path.chmod(0)


def hard_link(root: Path, outside: Path) -> None:
    os.link(outside / "file", root / "f")


def links_within(root: Path, outside: Path) -> None:
    (root / "to-file").symlink_to(outside / "file")
    (root / "to-folder").symlink_to(outside / "folder")


def nested(root: Path, outside: Path) -> None:
    """Make a tree deeper than Python's stack."""
    deep(root, outside, "d")


def deep(root: Path, outside: Path, name: str = "some-name") -> None:
    """A path longer than any call takes, too."""
    folder = os.open(root, os.O_RDONLY)
    for _ in range(1000):
        os.mkdir(name, dir_fd=folder)
        inner = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)


def names(root: Path, outside: Path) -> None:
    for name in (b"\xff\xfe", b"new\nline", b"-rf", b"\x01", b" ", b"n" * 255, "é".encode()):
        os.mkdir(os.fsencode(root) + b"/" + name)  # noqa: PTH102  # a path of bytes
        os.close(os.open(os.fsencode(root) + b"/" + name + b"/" + name, os.O_CREAT | os.O_WRONLY))


def immutable(root: Path, outside: Path) -> None:
    (root / "a").mkdir()
    (root / "a" / "f").write_bytes(b"x")
    (root / "gone").write_bytes(b"x")
    subprocess.run(["chattr", "+i", root / "a" / "f"], check=True)


MOUNTING = (bind, bind_deep, bind_twice, bind_file, bind_over, bind_same_filesystem, tmpfs, rbind_of_shared)
REPLACING = {link: "symbolic link", dangling_link: "symbolic link", file: "file", fifo: "FIFO", bind_over: "mount"}
WAYS: dict[str, Callable[[Path, Path], None]] = {
    way.__name__: way
    for way in (
        plain, link, dangling_link, file, fifo, linked_parent, modes, hard_link, links_within, nested, deep,
        names, immutable, *MOUNTING,
    )
}  # fmt: skip


class Hostile(SystemUnderTest):
    """Stores three items, then spoils its folder: the environment says how (WAY), and when (WHEN: workload or recovery)."""

    seconds_max = 10.0

    def _spoil(self, when: str, root: Path) -> None:
        if os.environ["WHEN"] == when:
            WAYS[os.environ["WAY"]](root, Path(os.environ["OUTSIDE"]))

    def prepare(self, root: Path) -> None:
        (root / "seed").write_text("x")

    def workload(self, root: Path, journal: Journal) -> None:
        for i in range(3):
            with journal.attempt(i), (root / str(i)).open("w") as made:
                made.write("x")
                os.fsync(made.fileno())
        self._spoil("workload", root)

    def recover(self, root: Path) -> list[Any]:
        found = sorted(int(path.name) for path in root.iterdir() if path.name.isdigit())
        self._spoil("recovery", root)
        return found


def report(way: str, state: Path, outside: Path) -> dict[str, Any]:
    """Spoil the folder ``root`` in ``state``; snapshot it, and remove all of ``state``."""
    blobs = state.parent / "blobs-of-store"
    blobs.mkdir()
    (state / "root").mkdir()
    WAYS[way](state / "root", outside)
    tree = SnapshotStore(blobs, names=2).capture(state / "root")
    left = remove_tree(state)
    mounts = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return {
        "read": [path for path, _ in tree.entries],
        "unusable": [str(part) for part in tree.unusable or ()],
        "left": left,
        "there": os.path.lexists(state),
        "mounts": [place for place in mounts if Path(place).is_relative_to(state.parent)],
        "blobs": len(list((blobs / "blobs").iterdir())),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(report(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
