"""A stage with a recorded tree, mounted through FUSE; the recorder's own files are beside the directory under test."""

from pathlib import Path

from crashmatrix.faults.disk.posix.layout import lay_out
from crashmatrix.faults.disk.posix.recorder import TreeRecorder
from crashmatrix.faults.disk.posix.tree import Trees
from crashmatrix.faults.disk.stage import DATA, Stage

__all__ = ["TreeStage"]


class TreeStage(Stage):
    """A recorded tree."""

    def _place_files(self, folder: Path) -> Path:
        return folder / "disk"  # Beside the directory under test, on the same mount.

    def _mount(self) -> None:
        self._start(TreeRecorder(self._log, DATA))
        self.is_spent = True  # Its recorder does not begin again.
        self._mounted = True
        if self._crashed is not None:
            trace, state_left = self._crashed
            lay_out(Trees(trace).of(state_left), self.mount_point / DATA)
