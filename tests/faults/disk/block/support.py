"""Shared by the tests of disks: images by definition, and a recorder without any filesystem."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from crashmatrix.faults.disk import CrashState, Filesystem, Flush, RecorderFailed, Trace, Write
from crashmatrix.faults.disk.block.recorder import DiskRecorder
from crashmatrix.faults.disk.block.stage import DiskStage
from crashmatrix.faults.disk.linux.containment import anonymous_file
from tests.faults.disk.support import in_child


def image_of(trace: Trace, state: CrashState) -> bytes:
    """The model: lay every write over the base, one after the other, as the definition says."""
    image = bytearray(trace.size_bytes)
    for offset, data in trace.base:
        image[offset : offset + len(data)] = data
    flush = max((i + 1 for i, op in enumerate(trace.operations[: state.cut]) if isinstance(op, Flush)), default=0)
    for operation in trace.operations[:flush]:
        if isinstance(operation, Write):
            image[operation.offset : operation.offset + len(operation.data)] = operation.data
    pending = [op for op in trace.operations[flush : state.cut] if isinstance(op, Write)]
    for index, write in enumerate(pending):
        for sector in range(len(write.data) // 512):
            torn = any(t.write == index and t.first <= sector < t.first + t.count for t in state.tears)
            if state.kept >> index & 1 and not torn:
                start = sector * 512
                image[write.offset + start : write.offset + start + 512] = write.data[start : start + 512]
    return bytes(image)


@contextlib.contextmanager
def files(size_bytes: int) -> Iterator[tuple[int, int]]:
    """An image and a log, open for the block."""
    with anonymous_file("image") as image, anonymous_file("log") as log:
        os.ftruncate(image, size_bytes)
        yield image, log


class BareStage(DiskStage):
    """A stage with a recorder and no filesystem."""

    @property
    def files(self) -> Path:
        """The folder of the recorder's files."""
        return self._files

    def start(self) -> None:
        """Start the recorder."""
        self._start(DiskRecorder(self._image, self._log))


@contextlib.contextmanager
def bare_stage(image: int, log: int) -> Iterator[BareStage]:
    """A bare stage on these files, not started."""
    with BareStage(image, log, filesystem=Filesystem.parse("ext4")) as bare:
        yield bare


def with_recorder(act: Callable[[Path, BareStage], None]) -> tuple[Trace, list[str]]:
    """Start a bare recorder of 1 MiB, without any filesystem; the trace and what `act` raised."""

    def run() -> tuple[Trace, list[str]]:
        raised = []
        with files(1 << 20) as (image, log):
            with bare_stage(image, log) as bare:
                bare.start()
                try:
                    act(bare.files, bare)
                except (OSError, RecorderFailed) as error:
                    raised.append(str(error))
            return Trace.from_log(image, log, filesystem="ext4"), raised

    return in_child(run)


def error_of(action: Callable[[], object]) -> int | None:
    """The number of the error that a call raises; None if it raises none."""
    try:
        action()
    except OSError as error:
        return error.errno
    return None
