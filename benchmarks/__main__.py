"""All benchmarks, as one page: docs/benchmarks.md.

    python -m benchmarks                  # quick: minutes, fewer rounds; the figures for a look
    python -m benchmarks --full           # an hour or so: the figures to quote
    python -m benchmarks --only append    # those whose names contain it; the page keeps the others as they are

Each benchmark is a program of its own (`python -m benchmarks.NAME`) that runs what it compares interleaved, and prints medians
with the smallest and the largest value. This module runs them one after the other and writes down what they print, with the
machine, the versions and the commands. Run it on a quiet machine: the page states the load before each.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from crashmatrix.scenarios.campaign.versions import PACKAGES, versions

PAGE = Path("docs/benchmarks.md")
WIDTH = 130
STORES = ("lmdb", "rocksdict", "plyvel", "distributed")


@dataclass(frozen=True)
class Benchmark:
    """A program; its arguments in quick mode and in full; what it measures, and beside what."""

    name: str
    about: str
    quick: str = ""
    full: str = ""
    only_full: bool = False

    def command(self, full: bool) -> list[str]:
        return ["python", "-m", f"benchmarks.{self.name}", *(self.full if full else self.quick).split()]


BENCHMARKS = (
    Benchmark("failpoint_cost", "A disabled failpoint, beside an empty method call, in one process."),
    Benchmark(
        "append",
        "Durable appends a second: the reference log beside a bare loop of write and fdatasync on the same disk, and beside "
        "SQLite, LMDB, RocksDB and LevelDB with the same payloads. `x base` is the ratio to the loop on a growing file.",
        "--rounds 2",
        "--rounds 15",
    ),
    Benchmark(
        "replay",
        "Replay of a log with every checksum verified, beside pyarrow's reader alone on the same files.",
        "--rounds 2 --mebibytes 64",
        "--rounds 9",
    ),
    Benchmark("opening_cost", "Opening an engine after many commits, beside one after few.", only_full=True),
    Benchmark(
        "command_to_verdict",
        "From a command to its verdict, for a store of thirty lines; beside commands that run nothing.",
        "--rounds 2",
        "--rounds 7",
    ),
    Benchmark(
        "crash_states_per_second",
        "Crash states of SQLite judged a second, every image mounted, beside making the images alone.",
        only_full=True,
    ),
    Benchmark(
        "states_until_found",
        "Crash states judged until a planted bug shows, beside enumeration that does not look at contents.",
        full="--seconds 60",
        only_full=True,
    ),
    Benchmark(
        "time_left",
        "The estimate of the time that a run takes still, a tenth into the run, beside what it took.",
        "replace:fsync-dir=kill=100",
        "",
    ),
    Benchmark(
        "growth",
        "The holdings of a long campaign, as it goes on: memory, open files, loop devices, mounts, processes.",
        "20",
        "3600",
    ),
    Benchmark(
        "report_opening",
        "The page of 100,000 scenarios, opened in Chromium until the list is painted; to be under 3 s.",
        "100000",
        "100000",
    ),
    Benchmark(
        "cluster", "A Dask cluster on this machine, beside the local pool on the same processors.", "pool 2", "pool 9"
    ),
    Benchmark(
        "cluster",
        "Simulated workers, which sleep for the measured time of a judgement: speed beside the ideal, and the load of the "
        "coordinator, which is one processor at most. `limit at` is how many workers would take all of it.",
        "simulated 8 64",
        "simulated 8 16 32 64 128",
    ),
)


def machine() -> str:
    """The machine in one line."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} processors ({model[1] if model else platform.machine()}), {memory:.0f} GiB of memory"


def head(full: bool) -> str:
    """The page's beginning."""
    found = ", ".join(f"{name} {number}" for name, number in versions((*PACKAGES, *STORES)).items())
    mode = "in full" if full else "in the quick mode: few rounds, so the spread is wide"
    about = (
        "`make bench` writes this page; `make bench-full` makes more rounds and takes an hour. Each table comes from one "
        "program, which runs what it compares interleaved, so that a change of the machine's speed meets all of it. Ratios "
        "last; absolute figures are of this machine."
    )
    lines = (f"- Machine: {machine()}", f"- Versions: {found}", f"- Written: {datetime.now(UTC):%Y-%m-%d}, {mode}")
    return f"# Benchmarks\n\n{wrapped(about)}\n\n" + "\n".join(map(wrapped, lines)) + "\n"


def wrapped(text: str) -> str:
    """As the guides: the prose wraps at column 100."""
    return textwrap.fill(
        text, 100, subsequent_indent="  " * text.startswith("- "), break_long_words=False, break_on_hyphens=False
    )


def sections(chosen: tuple[Benchmark, ...], full: bool) -> Iterator[str]:
    """Run benchmarks; yields the section of each."""
    for benchmark in chosen:
        command = benchmark.command(full)
        print(" ".join(command), flush=True)
        load, begun = os.getloadavg()[0], time.monotonic()
        run = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True)
        output = "\n".join(line[:WIDTH].rstrip() for line in run.stdout.splitlines())
        if run.returncode:
            output += f"\nfailed with status {run.returncode}: {run.stderr.strip().splitlines()[-1:]}"
        yield (
            f"## {title(benchmark)}\n\n{wrapped(benchmark.about)}\n\n    {' '.join(command)}\n\n"
            f"```text\n{output.strip()}\n```\n\n"
            f"Load before: {load:.1f}; took {time.monotonic() - begun:.0f} s.\n"
        )


def title(benchmark: Benchmark) -> str:
    """A section's heading, by which its old text is found."""
    what = benchmark.quick.partition(" ")[0] if benchmark.name == "cluster" else ""
    return f"{benchmark.name}{f' {what}' if what else ''}"


def old_sections(page: Path) -> dict[str, str]:
    """The sections of the page as it is, by heading."""
    text = page.read_text() if page.exists() else ""
    return {part.partition("\n")[0]: f"## {part}" for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    able = tuple(each for each in BENCHMARKS if options.full or not each.only_full)
    chosen = tuple(each for each in able if options.only in each.name)
    found = old_sections(options.out) if options.only else {}
    for benchmark, section in zip(chosen, sections(chosen, options.full), strict=True):
        found[title(benchmark)] = section
        order = [title(each) for each in BENCHMARKS if title(each) in found]
        options.out.write_text("\n".join([head(options.full), *(found[name] for name in order)]))


if __name__ == "__main__":
    main()
