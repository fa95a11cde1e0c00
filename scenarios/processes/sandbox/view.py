"""The files that a target sees: its folder always at the same path, the rest of the machine read-only.

    /tmp/crashmatrix      the folder above the folder under test, so the target's root is always `/tmp/crashmatrix/data`
    /tmp, /dev/shm        empty and its own, gone with its processes
    writable folders      at their own paths: the target's workspace
    the kernel's boot id  another one after a power cut
    everything else       as on the machine, read-only

The path is fixed because a program may store absolute paths: it has to find them again in the copy that is recovered, and in the
image of a disk that lost power. It lies below /tmp: every machine has /tmp, and the target's /tmp is a new, empty filesystem, so
nothing of the machine's can be in the way, and no folder has to be made on the machine itself.

A folder below /tmp or /dev/shm that the target needs (its own file's, the current folder, those of ``sys.path``, those of the
programs that a TOML file names) stays visible at its path, read-only. Where that is /tmp or /dev/shm itself, its content shows
through, and a private layer takes the writes.

The folder above the root is bound, and not the root: a program may replace or remove its root, and that must show.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from crashmatrix.faults.disk.linux.containment import run_contained
from crashmatrix.faults.disk.stage import DATA
from crashmatrix.scenarios.processes.sandbox import calls
from crashmatrix.scenarios.processes.sandbox.limits import breach

__all__ = [
    "FOLDER",
    "ROOT_NAME",
    "ConfinedHere",
    "OpenedView",
    "View",
    "needed_folders",
    "show_machine",
    "without_paths",
]

FOLDER: Final = Path("/tmp/crashmatrix")  # noqa: S108  # in a filesystem that is mounted for one job
"""Where a target finds the folder that holds its root."""

ROOT_NAME: Final = DATA
"""The name of the folder under test in every experiment."""

NOTES: Final = Path("/tmp/crashmatrix-notes")  # noqa: S108  # as above
"""Where a target finds the file for notes, if it is not beside its root."""

_PRIVATE = (Path("/tmp"), Path("/dev/shm"))  # noqa: S108  # the target's own
_TEMPORARY = ("TMPDIR", "TEMP", "TMP")
_PROTECTED = (Path("/proc/sys"), Path("/proc/sysrq-trigger"))


_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_OUR_FOLDERS = [path.resolve() for path in Path(__file__).parents[3].iterdir() if path.is_symlink()]
"""In an editable installation, links lead from the package to folders elsewhere."""


@dataclass(frozen=True)
class View:
    """A target's view of the files.

    Attributes:
        folder: holds the folder under test; None if the job has none.
        notes: a file elsewhere that the target writes to.
        visible: further folders, read-only, that may lie where the target has a filesystem of its own.
        writable: folders that the target may write to, at their own paths.
        boot: the kernel's boot id; empty for that of the machine.
    """

    folder: Path | None = None
    notes: Path | None = None
    visible: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    boot: str = ""

    def inside(self, value: Any) -> Any:
        """Return the path at which the target has a path of ours; anything else as it is."""
        if isinstance(value, Path):
            for ours, place in self._moved():
                if value.is_relative_to(ours):
                    return place / value.relative_to(ours)
        return value

    def _moved(self) -> list[tuple[Path, Path]]:
        apart = self.notes and not (self.folder and self.notes.is_relative_to(self.folder))
        pairs = ((self.folder, FOLDER), (self.notes if apart else None, NOTES))
        return [(ours, place) for ours, place in pairs if ours is not None]

    def open(self) -> OpenedView:
        """Take hold of everything to be shown, in the mount namespace where it lies. Raises OSError."""
        shown = [(path, path, True) for path in self.visible if path.is_dir()]
        kept = [(path, path, False) for path in self.writable]
        opened = OpenedView([], self.boot)
        try:
            for place, folder, read_only in (*shown, *kept, *((place, ours, False) for ours, place in self._moved())):
                opened.trees.append((place, calls.tree_of(folder, read_only=read_only)))
        except OSError:
            opened.close()
            raise
        return opened


@dataclass(frozen=True)
class OpenedView:
    """Mounts that are attached nowhere yet, and their places; ``boot`` is as of `View`."""

    trees: list[tuple[Path, int]]
    boot: str = ""

    def close(self) -> None:
        """Let go of them, in a process that shows them nowhere."""
        for _, tree in self.trees:
            os.close(tree)

    def show(self) -> None:
        """Attach them, in a mount namespace of this process's own in which all else is read-only. Raises OSError."""
        layered = {path for path, _ in self.trees} & set(_PRIVATE)
        for private in _PRIVATE:
            if private in layered:
                _layer(private, next(tree for path, tree in self.trees if path == private))
            else:
                calls.mount("tmpfs", private, "mode=1777")
        for path, tree in self.trees:
            if path not in layered:
                _make_place(tree, path)
                calls.attach_tree(tree, path)
            os.close(tree)
        if self.boot:
            _show_boot(self.boot)
        os.environ.update({name: str(_PRIVATE[0]) for name in _TEMPORARY if name in os.environ})
        tempfile.tempdir = None


@dataclass(frozen=True)
class ConfinedHere:
    """A process that moves into a view of the files and a network of its own, in the PID namespace where it is."""

    view: View

    def run(self, function: Callable[[], None], *, time_limit_seconds: float) -> tuple[int, str]:
        """Run a function in such a process, with as many others as the limits allow; as `run_contained` does."""

        def enter_and_run() -> None:
            self._enter()
            function()

        return run_contained(enter_and_run, time_limit_seconds=time_limit_seconds, breach=breach)

    def _enter(self) -> None:
        """Move this process, which has one thread. Raises OSError."""
        opened, folder = self.view.open(), os.getcwd()  # noqa: PTH109  # as it is
        calls.leave_namespaces(calls.MOUNTS | calls.NETWORK)
        show_machine()
        calls.start_loopback()
        opened.show()
        with contextlib.suppress(OSError):
            os.chdir(folder)
        calls.drop_capabilities()

    def inside(self, path: Path) -> Path:
        """The path at which it has a path of ours."""
        return cast("Path", self.view.inside(path))


def _show_boot(boot: str) -> None:
    """Put a file in the place of the kernel's boot id."""
    file = _PRIVATE[0] / "crashmatrix-boot-id"
    file.write_text(f"{boot}\n")
    tree = calls.tree_of(file, read_only=True)
    calls.attach_tree(tree, _BOOT_ID)
    os.close(tree)
    file.unlink()


def _make_place(tree: int, path: Path) -> None:
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        path.mkdir(parents=True, exist_ok=True)
    else:
        path.touch()


def _layer(private: Path, tree: int) -> None:
    """Have a private layer over a folder of the machine take all writes."""
    below = Path(f"/proc/self/fd/{tree}")
    calls.mount("tmpfs", _PRIVATE[1], "mode=0755")
    upper, work = (_PRIVATE[1] / name for name in ("upper", "work"))
    upper.mkdir(mode=0o1777)
    upper.chmod(0o1777)
    work.mkdir()
    calls.mount("overlay", private, f"lowerdir={below},upperdir={upper},workdir={work}")


def show_machine() -> None:
    """In this process's own mount namespace, make every file read-only, and have /proc show this PID namespace.

    Raises OSError.
    """
    calls.make_private()
    calls.make_read_only(Path("/"))
    calls.mount("proc", Path("/proc"), source="proc")
    for path in _PROTECTED:
        with contextlib.suppress(OSError):
            tree = calls.tree_of(path, read_only=True)
            calls.attach_tree(tree, path)
            os.close(tree)


def _is_hidden(path: str) -> bool:
    """Whether a private filesystem of the target would hide a path."""
    return any(f"{path}/".startswith(f"{private}/") for private in _PRIVATE)


def _outermost(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return those paths that no other of them is above."""
    hidden = set(paths)
    return tuple(sorted(path for path in hidden if not hidden & set(path.parents)))


def needed_folders(further: Iterable[Path] = ()) -> tuple[Path, ...]:
    """Return the folders that a program needs and would not see: the current one, those of modules and libraries, and others."""
    program = Path(sys.executable)
    named: list[str | Path] = [sys.prefix, sys.base_prefix, program.parent, program.resolve().parent]
    with contextlib.suppress(FileNotFoundError):
        named.append(os.getcwd())  # noqa: PTH109  # a string, as the others
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    folders = (*named, *_OUR_FOLDERS, *sys.path, *os.get_exec_path(), *libraries, *further)
    every = [str(path) for path in folders if str(path)]
    paths = {os.path.abspath(path) for path in every} | {os.path.realpath(path) for path in every}  # noqa: PTH100  # keeps links
    hidden = filter(_is_hidden, paths)
    shown = (path if os.path.isdir(path) else os.path.dirname(path) for path in hidden if os.path.exists(path))  # noqa: PTH110, PTH112, PTH120  # Path's raise
    return _outermost(map(Path, shown))


def without_paths(text: str, *folders: Path | None) -> str:
    """Replace the path of the folder under test, as the machine and as the target see it, by ``ROOT``."""
    for path in (*folders, FOLDER / ROOT_NAME):
        text = text.replace(str(path), "ROOT") if path is not None else text
    return text
