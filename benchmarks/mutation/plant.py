"""Run any command with one bug planted: to look at a survivor, or to try it with other budgets.

    python -m benchmarks.mutation.plant reference_wal/spill.py:Spill.add:drop-call:1 crashmatrix run --experiments kill
    python -m benchmarks.mutation.plant reference_wal/spill.py:Spill.add:drop-call:1 pytest --assert=plain tests/reference_wal

No file is changed: Python loads another text, in all processes of the command. pytest needs ``--assert=plain``, else it loads our
modules by itself. The exit status is the command's; it is 2 if nothing loaded the module.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.mutation.places import ROOT
from crashmatrix.scenarios.mutation.mutant import SourceMutant, mutants_of
from crashmatrix.scenarios.mutation.overlay import Overlay

__all__ = ["main"]


def main(name: str, command: list[str]) -> int:
    """Show the bug, and run the command with it."""
    mutant = _named(name)
    print(mutant.diff(), flush=True)
    with tempfile.TemporaryDirectory(prefix="crashmatrix-mutation-") as folder:
        overlay = Overlay(Path(folder), {mutant.path: mutant.text()})
        status = subprocess.run(command, env=overlay.environment(), check=False).returncode
        if not overlay.was_loaded():
            print("no process of the command loaded the module", file=sys.stderr)
            return 2
        return status


def _named(name: str) -> SourceMutant:
    module = name.partition(":")[0]
    found = [mutant for mutant in mutants_of(ROOT / module, module) if mutant.id == name]
    if not found:
        raise SystemExit(f"no mutant {name!r}; `python -m benchmarks.mutation` prints the ids")
    return found[0]


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
