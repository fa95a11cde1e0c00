"""Spill files of a folder that was just opened: they follow on the rows in Delta, one on the other, and nothing else is left.

A file that opening should have removed stays for ever, as nobody looks at it again. Should its ids come to be due some day, its
rows would be taken for theirs.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from crashmatrix.scenarios.errors import PromiseBroken

__all__ = ["check_spills"]

_NAME = re.compile(r"(\d+)-(\d+)-[0-9a-f]+\.arrow")


def check_spills(root: Path, table: str) -> None:
    """Raise PromiseBroken unless the spill files of a table begin behind the last batch in Delta, and leave no gap."""
    folder = root / "spill" / table
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    due = _last_in_delta(root / "tables" / table / "_delta_log") + 1 if names else 0
    for name in names:
        if match := _NAME.fullmatch(name):  # Others are somebody else's.
            if int(match[1]) != due:
                raise PromiseBroken(
                    "corrupt", f"spill/{table}/{name} is there, where a file from batch {due} on is due"
                )
            due = int(match[2]) + 1


def _last_in_delta(log: Path) -> int:
    """Return the id of the last batch in Delta; -1 if there is none. Each commit of batches says it, and clean-up keeps one."""
    for commit in sorted(log.glob("[0-9]*.json"), reverse=True):
        for line in commit.read_bytes().splitlines():
            if said := json.loads(line).get("txn"):
                return int(said["version"])
    return -1
