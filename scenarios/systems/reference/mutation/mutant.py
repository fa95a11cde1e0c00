"""A planted bug: what is broken, how, and where it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Mutant"]


@dataclass(frozen=True)
class Mutant:
    """A planted bug.

    Attributes:
        plant: breaks the engine in the calling process.
        dies: the part that must die for the bug to show: the process, the machine with its page cache, or a call.
        filesystems: the filesystems on which power is cut.
        on_disk: whether it shows only if calls or disks fail on these filesystems.
        target: the system whose workload reaches the bug; ``options`` go to its constructor.
    """

    name: str
    broken: str
    plant: Callable[[], None]
    dies: Literal["process", "machine", "call"] = "process"
    filesystems: tuple[str, ...] = ("ext4",)
    target: str = "reference"
    options: Mapping[str, Any] = field(default_factory=dict)
    on_disk: bool = False
