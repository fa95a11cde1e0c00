"""One scenario of the experiment, made again: its id names the fault and the ending, and the workload is run anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.experiment import CrashedFolder, ExperimentOptions, Workbench
from crashmatrix.scenarios.io_error.again import again, again_on_disk
from crashmatrix.scenarios.io_error.disk.source import DiskSource
from crashmatrix.scenarios.io_error.faults import Fault, RequestFault
from crashmatrix.scenarios.io_error.runs import prepare
from crashmatrix.scenarios.judging.checker import Checked, Checker
from crashmatrix.scenarios.processes.sandbox.view import ROOT_NAME

__all__ = ["IoErrorScenario"]


@dataclass(frozen=True)
class IoErrorScenario:
    """One fault and one ending, made again."""

    name: str
    fault: Fault
    ending: str
    met: str = ""
    """The call that failed when this was found, if a report knows it."""

    def replay(self, workbench: Workbench, keep: Path | None) -> Checked:
        """Run the workload with the fault, and judge the ending; ``keep`` gets ``crashed`` and ``journal``."""
        with workbench() as checker:
            if isinstance(self.fault, RequestFault):
                return self._on_disk(checker, self.fault, keep)
            found = again(checker, prepare(checker), self.fault, self.ending, met=self.met)
            state = found.run.before(self.ending)
            if keep is not None and state is not None:
                keep.mkdir(parents=True)
                if not state.tree.unusable:
                    checker.store.restore(state.tree, keep / "crashed")
                (keep / "journal").write_bytes(found.run.journal)
            return found.checked

    def _on_disk(self, checker: Checker, fault: RequestFault, keep: Path | None) -> Checked:
        disk = DiskSource(checker, ExperimentOptions(), fault.filesystem, ())
        run, checked = again_on_disk(disk, fault, self.ending)
        if keep is not None:
            keep.mkdir(parents=True)
            (keep / "journal").write_bytes(run.journal)
        return checked

    @contextmanager
    def crashed(self, workbench: Workbench) -> Iterator[CrashedFolder]:
        """Run the workload with the fault; for the block, the folder is as this ending leaves it. Raises UsageError."""
        if isinstance(self.fault, RequestFault):
            raise UsageError(f"{self.name} leaves a disk that is not kept; replay it with --keep for its journal")
        with workbench() as checker:
            found = again(checker, prepare(checker), self.fault, self.ending, met=self.met)
            state = found.run.before(self.ending)
            if state is None or state.tree.unusable:
                raise UsageError(f"{self.name} left nothing to look at")
            left = checker.folder()
            checker.store.restore(state.tree, left / ROOT_NAME)
            yield CrashedFolder(
                left / ROOT_NAME, f"the folder before recovery; the journal is {found.folder / 'journal'}"
            )
