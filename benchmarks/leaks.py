"""Check that judging many crash states leaves nothing behind: open files, memory, loop devices and mounts are counted.

    python -m benchmarks.leaks [STATES]

One worker records SQLite, mounts each crash state of each recording, and checks it in a forked process. Needs root.
"""

import itertools
import os
import sys
from pathlib import Path

import psutil

from benchmarks.crash_states_per_second import check_in_fork, insert_with_notes
from crashmatrix.faults.disk import CrashImages, CrashStates, RecordOptions, record


def left_behind() -> tuple[int, float, int, int]:
    process = psutil.Process()
    loops = sum((device / "loop" / "backing_file").exists() for device in Path("/sys/block").glob("loop*"))
    mounts = len(Path("/proc/self/mountinfo").read_text().splitlines())
    return process.num_fds(), process.memory_info().rss / 2**20, loops, mounts


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(
        f"{'states':>8}{'recordings':>12}{'open files':>12}{'MiB':>8}{'loop devices':>14}{'mounts':>8}{'children':>10}"
    )
    number = recordings = 0
    while number < wanted:
        trace = record(insert_with_notes, options=RecordOptions(nudge="mixed", seed=recordings))
        recordings += 1
        with CrashImages(trace) as images:
            for state in itertools.islice(CrashStates(trace), wanted - number):
                with images.mounted(state) as root:
                    assert check_in_fork(root, len(trace.notes_before(state.cut))), state
                number += 1
                if number % (wanted // 10) == 0:
                    files, memory, loops, mounts = left_behind()
                    children = len(psutil.Process(os.getpid()).children(recursive=True))
                    print(
                        f"{number:>8,}{recordings:>12}{files:>12}{memory:>8.1f}{loops:>14}{mounts:>8}{children:>10}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
