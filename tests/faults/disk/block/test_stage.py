"""The stage of a disk: without its recorder there is an error, and never a plain file; both end together."""

import os
import signal

import pytest

from crashmatrix.faults.disk import Filesystem, RecorderFailed
from crashmatrix.faults.disk.block.stage import DiskStage
from tests.faults.disk.block.support import bare_stage, files
from tests.faults.disk.support import in_child, wait_dead
from tests.processes import alive, descendants

pytestmark = pytest.mark.usefixtures("disk")


def test_a_recorder_that_is_not_there_is_an_error_and_never_a_plain_file() -> None:
    """Without the control file nothing is written: not after a failed mount, not after an unmount."""

    def run() -> list[str]:
        said = []
        with files(1 << 20) as (image, log), bare_stage(image, log) as bare:
            for action in (bare.state, lambda: bare.command("mark start")):
                try:
                    action()
                except RecorderFailed as error:
                    said.append(str(error))
            said.extend(path.name for path in bare.files.iterdir())
        return said

    said = in_child(run)
    assert len(said) == 2
    assert all("control file" in text or "did not take" in text for text in said)


def test_a_recorder_outlives_its_disk_by_nothing() -> None:
    """If all processes die together, the recorder must not unmount the disk that it serves: it would wait for itself."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            with files(64 << 20) as (image, log), DiskStage(image, log, filesystem=Filesystem.parse("ext4")) as stage:
                stage.open_disk()
                (stage.mount_point / "data" / "dirty").write_bytes(b"x" * 100_000)
                os.write(writer, b"ready")
                signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 5) == b"ready"
    os.close(reader)
    recorder = descendants(pid)
    wait_dead(pid)
    assert len(recorder) == 1
    assert alive(recorder) == []
