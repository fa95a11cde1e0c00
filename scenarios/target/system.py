"""A system under test: what users write.

Write a subclass, name it on the command line (``my_store.py:MyStore``), and every experiment can run it:

    class MyStore(SystemUnderTest):
        contract = "exactly-once"

        def workload(self, root, journal):
            store = Store(root / "data")
            for i in range(50):
                with journal.attempt(i):        # leaving the block without an exception acknowledges
                    store.put(i)

        def recover(self, root):
            return list(Store(root / "data"))
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from crashmatrix.scenarios.target.contract import Contract
from crashmatrix.scenarios.target.journal import Item, Journal, Promises
from crashmatrix.scenarios.target.lives import PARTS, as_part

__all__ = ["SystemUnderTest"]


class SystemUnderTest(ABC):
    """A system under test, as an experiment sees it. Each method runs in a fresh process; share nothing but the disk.

    Attributes:
        contract: a name such as ``latest``, a dict with ``name`` and parameters (`contracts.named`), or a `Contract`.
        boundaries: beginnings of failpoint names; hits next to one of these are never thinned out.
        failpoints_suffice: whether `kill` strikes at its failpoints only, for a system with one on both sides of each change.
        unreached: beginnings of names of failpoints that belong to what this system never does; others never hit are reported.
        stable_recovery: whether recovering twice must leave the folder exactly as recovering once did.
        seconds_max: how long recovery may take before it counts as hanging; the workload gets ten times that.
        disk_bytes: size of the disk under power cuts; 0 for the usual, which is 1 GiB (ext2: 128 MiB).
        workspace: a folder outside the crash, filled by `setup` and only read afterwards.
        seed: the run's seed; the workload derives everything random from it.
        recovers_from_full_disk: whether it stores items again, without a restart, once there is room on a disk that was full.
        fails_reads: whether `io-error` fails the reads of its workload, too.
        resumes: whether the workload goes on from what it finds, and so is the system's second life, too (`resume`).
    """

    contract: ClassVar[str | Mapping[str, Any] | Contract] = "exactly-once"
    boundaries: ClassVar[Sequence[str]] = ()
    failpoints_suffice: ClassVar[bool] = False
    unreached: ClassVar[Sequence[str]] = ()
    stable_recovery: ClassVar[bool] = False
    seconds_max: ClassVar[float] = 30.0
    disk_bytes: ClassVar[int] = 0
    recovers_from_full_disk: ClassVar[bool] = False
    fails_reads: ClassVar[bool] = False
    resumes: ClassVar[bool] = False
    workspace: Path
    seed: int = 0
    _made_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __init_subclass__(cls, **options: Any) -> None:
        """Let each part know that it runs, and run to its end if it is ``async def``."""
        super().__init_subclass__(**options)
        for name in PARTS:
            if callable(function := cls.__dict__.get(name)):
                setattr(cls, name, as_part(name, function))

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Remember how it was made: other processes make their own (`Target.of`)."""
        system = super().__new__(cls)
        system._made_with = arguments, options
        return system

    def setup(self) -> Sequence[str]:
        """Check options and fill ``workspace``, once per run; returns remarks for the report. Raises UsageError."""
        return ()

    def prepare(self, root: Path) -> Sequence[Item] | None:
        """Make what is there before the first crash point; returns the items recovery owes from the start, if any."""
        return None

    @abstractmethod
    def workload(self, root: Path, journal: Journal) -> Any:
        """Store items, telling the journal; may die anywhere. May be ``async def``, as may the other parts: so any type."""

    @abstractmethod
    def recover(self, root: Path) -> Sequence[Item]:
        """Recover what survived in ``root``; return the items found. Raise, and the verdict is ``cannot-open``."""

    def resume(self, root: Path, journal: Journal) -> Any:
        """Go on after a crash and a recovery: store new items, none of ``journal.recovered``, which are those recovered before.

        A client that sends its requests again may attempt those, too, if the contract says so (``retries``).
        Called if a class overrides it or says ``resumes = True``; then it is the workload once more.
        """
        return self.workload(root, journal)

    @classmethod
    def can_resume(cls) -> bool:
        """Whether the system says how to go on after a recovery."""
        return cls.resumes or cls.resume is not SystemUnderTest.resume

    def verify(self, root: Path, promises: Promises) -> None:
        """Check more than the contract says, after recovery, in the same process. Raises PromiseBroken."""
        return

    def failpoints_outside(self) -> Sequence[str]:
        """Return the names of fail-rs's or gofail's failpoints in programs of other languages that the system runs."""
        return ()

    def failing_outside(self) -> Mapping[str, Sequence[str]]:
        """Return those of them that can fail, each with its actions: ``{"put": ["return(EIO)", "panic"]}``."""
        return {}

    def fingerprint(self, root: Path) -> str | None:
        """Return a digest of ``root`` that two runs of one seed share; None if their bytes are the same anyway."""
        return None
