"""A private namespace: its scratch directory is seen by one process, and every process has its own."""

from pathlib import Path

import pytest

from crashmatrix.faults.disk import enter_private_namespace
from tests.faults.disk.support import in_child


@pytest.fixture(autouse=True)
def _needs_mounts(disk: None) -> None:
    """Skip the test where mounts are impossible: they take root, or a user namespace."""


def mounts() -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if " tmpfs crashmatrix-" in line]


def test_no_other_process_sees_it() -> None:
    """Other processes, even the parent, see neither the directory nor the mount."""

    def run() -> str:
        scratch = enter_private_namespace()
        (scratch / "file").touch()
        assert enter_private_namespace() == scratch
        assert (scratch / "file").exists()
        assert len(mounts()) == 1
        return str(scratch / "file")

    before = mounts()
    path = in_child(run)
    assert not Path(path).exists()
    assert mounts() == before


def test_a_forked_child_lets_go_of_its_parents() -> None:
    """A child detaches its parent's mounts; otherwise it would keep the parent's filesystems mounted."""

    def child() -> tuple[int, list[str]]:
        scratch = enter_private_namespace()
        return len(mounts()), [path.name for path in scratch.iterdir()]

    def parent() -> tuple[tuple[int, list[str]], bool]:
        scratch = enter_private_namespace()
        (scratch / "parents").touch()
        return in_child(child), (scratch / "parents").exists()

    assert in_child(parent) == ((1, []), True)
