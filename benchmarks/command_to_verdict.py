"""Seconds from a command to its verdict, and the processor time of all its processes, for a store of thirty lines.

    python -m benchmarks.command_to_verdict [--rounds N] [--only kill] [--before CHECKOUT]

The store writes a new file, syncs it, renames it over the old one and syncs the folder, for each of 20 items. The commands run
one after the other, and all of them once more in each round. With ``--before``, each also runs with the packages of another
checkout, right after. A first round is not counted: it compiles the modules of both, as an installer does.

Processor time is that of the whole tree, the fork server and what it left behind included: a busy machine changes it by a
third, and the seconds by any factor. The experiments on a recorded disk need root.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_MAIN = "from crashmatrix.scenarios.cli.main import main; main()"

STORE = """
import json
import os

from crashmatrix import SystemUnderTest
from crashmatrix.faults import declare

OPENED = declare("store.put.after_open", "the new file is opened, and not written")


class Store(SystemUnderTest):
    contract = "latest"

    def workload(self, root, journal):
        for i in range(20):
            with journal.attempt([f"key{i % 5}", i]):
                items = {**dict(self.recover(root)), f"key{i % 5}": i}
                with open(root / "store.new", "w") as file:
                    OPENED.hit()
                    json.dump(items, file)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(root / "store.new", root / "store.json")
                folder = os.open(root, os.O_RDONLY)
                os.fsync(folder)
                os.close(folder)

    def recover(self, root):
        path = root / "store.json"
        return list(json.loads(path.read_text()).items()) if path.exists() else []
"""

COMMANDS = {
    "targets": ["targets"],
    "doctor": ["doctor"],
    "kill": ["run", "store.py:Store", "--experiments", "kill"],
    "power": ["run", "store.py:Store", "--experiments", "power"],
    "io-error": ["run", "store.py:Store", "--experiments", "io-error"],
    "sqlite, power": ["run", "sqlite:wal-full", "--experiments", "power", "--budget", "1000"],
}


@dataclass(frozen=True)
class Run:
    """Seconds of one run of a command, by the clock and of the processors."""

    seconds: float
    processor: float


def adopt_what_is_left() -> None:
    """Have this process inherit what commands leave, so that it can wait for all of it, and add its times."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def measured(command: list[str], folder: Path, checkout: Path) -> Run:
    """Run a command with the packages of a checkout. Raises RuntimeError if it did not end in order."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(checkout / "src"), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    before, begun = _spent(), time.perf_counter()
    found = subprocess.run(
        [sys.executable, "-c", _MAIN, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    seconds = time.perf_counter() - begun
    if found.returncode:
        raise RuntimeError(f"{' '.join(command)} with {checkout}: status {found.returncode}: {found.stderr[-500:]}")
    while _waited_for_one():
        pass
    return Run(seconds, _spent() - before)


def _spent() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _waited_for_one() -> bool:
    try:
        os.wait()
    except ChildProcessError:
        return False
    return True


def row(name: str, runs: list[Run]) -> str:
    """One line of the table."""
    spread = [
        f"{statistics.median(values):>9.2f}{min(values):>7.2f}{max(values):>7.2f}"
        for values in ([run.seconds for run in runs], [run.processor for run in runs])
    ]
    return f"{name:<24}{''.join(spread)}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="commands whose names contain it")
    parser.add_argument("--before", type=Path)
    options = parser.parse_args()
    adopt_what_is_left()
    checkouts = {"": ROOT, **({" before": options.before.resolve()} if options.before else {})}
    chosen = {name: command for name, command in COMMANDS.items() if options.only in name}
    runs: dict[str, list[Run]] = {f"{name}{which}": [] for name in chosen for which in checkouts}
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "store.py").write_text(STORE)
        for number in range(options.rounds + 1):
            for name, command in chosen.items():
                for which, checkout in checkouts.items():
                    run = measured(command, Path(folder), checkout)
                    runs[f"{name}{which}"] += [run] if number else []
    print(f"{'':<24}{'seconds':>9}{'min':>7}{'max':>7}{'CPU s':>9}{'min':>7}{'max':>7}")
    for name, each in runs.items():
        print(row(name, each))


if __name__ == "__main__":
    main()
