"""Measures what this kernel does after an fsync that failed, on each filesystem; prints a table in Markdown.

    python -m benchmarks.failed_fsync [FILESYSTEM ...]

A file of one block is overwritten in place and synced, and the disk fails one request of that sync: its first write, its second,
and so on, then its flushes, until a sync is left untouched. After it the program syncs again by the same descriptor, by one that
it had opened before, and by one that it opens now, and reads the file. It stores another file, and the power fails. Needs root.
Source of the questions: Rebello et al., Can Applications Recover from fsync Failures?, USENIX ATC 2020.
"""

import errno
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from crashmatrix.faults.disk import (
    CrashImages,
    CrashState,
    DiskFault,
    Failure,
    Machine,
    Note,
    RecordOptions,
    Trace,
    Write,
    record,
)
from crashmatrix.faults.disk.linux.containment import anonymous_file, run_forked
from crashmatrix.faults.disk.trace.file import sync_directory

FILESYSTEMS = ("ext4", "ext4:data=journal", "xfs", "btrfs")
OLD, NEW = b"old." * 1024, b"new!" * 1024
COLUMNS = (
    "filesystem", "what failed", "fsync", "again", "other descriptor", "new descriptor", "read from the cache", "a new file",
    "after a power cut",
)  # fmt: skip


def prepare(root: Path) -> None:
    """Lay out the file, durably."""
    with (root / "file").open("wb") as file:
        file.write(OLD)
        file.flush()
        os.fsync(file.fileno())
    sync_directory(root)


def workload(machine: Machine) -> None:
    """Overwrite, sync four times, read, go on; what happened is one note in JSON."""
    path = machine.root / "file"
    descriptor, other = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    os.pwrite(descriptor, NEW, 0)
    said = [_sync(descriptor)]
    machine.note(b"synced once")
    said += [_sync(descriptor), _sync(other), _sync_anew(path), _content(path), _goes_on(machine.root)]
    machine.note(json.dumps(said).encode())


def _sync(descriptor: int) -> str:
    try:
        os.fsync(descriptor)
    except OSError as error:
        return _name(error)
    return "ok"


def _sync_anew(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError as error:
        return f"{_name(error)} (open)"
    try:
        return _sync(descriptor)
    finally:
        os.close(descriptor)


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


def _content(path: Path) -> str:
    try:
        return {OLD: "old", NEW: "new"}.get(path.read_bytes(), "other")
    except OSError as error:
        return _name(error)


def _goes_on(root: Path) -> str:
    try:
        with (root / "another").open("wb") as file:
            file.write(b"another")
            file.flush()
            os.fsync(file.fileno())
        sync_directory(root)
    except OSError as error:
        return _name(error)
    return "ok"


def rows(filesystem: str) -> Iterator[tuple[str, ...]]:
    """Fail one request after the other; yields a row for each."""
    undisturbed = record(workload, prepare=prepare, options=RecordOptions(filesystem=filesystem))
    data = [
        done.offset
        for done in undisturbed.operations[undisturbed.start :]
        if isinstance(done, Write) and NEW in done.data
    ]
    for request in ("write", "flush"):
        for nth in range(1, 100):
            fault = DiskFault(request=request, nth=nth)
            trace = record(
                workload, prepare=prepare, options=RecordOptions(filesystem=filesystem, disk_faults=(fault,))
            )
            failed = next((done for done in trace.operations if isinstance(done, Failure)), None)
            synced = trace.operations.index(Note(b"synced once"))
            if failed is None or trace.operations.index(failed) > synced:
                break  # The sync was over.
            said = json.loads(next(done.text for done in reversed(trace.operations) if isinstance(done, Note)))
            yield filesystem, _what(failed, data), *said, _after_power_cut(trace)


def _what(failed: Failure, data: Sequence[int]) -> str:
    if failed.request == "flush":
        return "a flush"
    holds_data = any(failed.offset <= offset < failed.offset + failed.length for offset in data)
    return "the write of the data" if holds_data else "a write of the filesystem's own"


def _after_power_cut(trace: Trace) -> str:
    """The file after the power failed at the end of the recording, when everything had been flushed."""

    def look() -> None:
        try:
            with CrashImages(trace) as images, images.mounted(state) as root:
                os.write(found, _content(root / "file").encode())
        except Exception as error:
            os.write(found, f"cannot mount: {error}".encode())

    state = CrashState.parse(f"{len(trace.operations)}-none", trace)
    with anonymous_file("found") as found:
        run_forked(look)
        return os.pread(found, 1000, 0).decode()


def main() -> None:
    print(f"Linux {platform.release()}\n")
    print("|".join(("", *COLUMNS, "")))
    print("|".join(("", *["---"] * len(COLUMNS), "")))
    for filesystem in sys.argv[1:] or FILESYSTEMS:
        for row in dict.fromkeys(rows(filesystem)):
            print("|".join(("", *row, "")), flush=True)


if __name__ == "__main__":
    main()
