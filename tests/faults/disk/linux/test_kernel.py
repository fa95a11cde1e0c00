"""System calls: what they refuse is a typed error, and signals reach our own children only."""

import errno
import mmap
import os
import signal
from ctypes import addressof, c_char
from pathlib import Path

import pytest

from crashmatrix.faults.disk import MountRefused, SystemCallFailed, enter_private_namespace
from crashmatrix.faults.disk.linux import kernel
from crashmatrix.faults.disk.linux.containment import run_forked, start_forked
from tests.faults.disk.support import in_child


def test_a_child_is_ended() -> None:
    pid = start_forked(signal.pause)
    kernel.end_child(pid)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_a_process_that_is_no_child_is_left_alone() -> None:
    """A number may have gone to another process meanwhile: a sibling is not ended, nor is a number without a process."""
    (asks, ask), (answers, answer) = os.pipe(), os.pipe()

    def answers_and_waits() -> None:
        os.write(answer, os.read(asks, 1))
        signal.pause()

    sibling = start_forked(answers_and_waits)
    os.close(answer)
    try:
        assert run_forked(lambda: kernel.end_child(sibling)) == 0
        os.write(ask, b"?")
        assert os.read(answers, 1) == b"?", "it still answers"
    finally:
        for descriptor in (asks, ask, answers):
            os.close(descriptor)
        kernel.end_child(sibling)
        os.waitpid(sibling, 0)
    kernel.end_child(sibling)
    kernel.end_child(-1)


def test_a_child_whose_parent_is_gone_already_ends() -> None:
    """A child that would wait for a signal in vain ends at once."""

    def outlives() -> None:
        kernel.die_with_parent(os.getpid())  # The id of a process that is not the parent.
        os._exit(7)

    assert run_forked(outlives) == 1


def test_memory_is_compared_and_copied() -> None:
    left, right = mmap.mmap(-1, 4096), mmap.mmap(-1, 4096)
    one, other = (addressof(c_char.from_buffer(memory)) for memory in (left, right))
    assert kernel.same_memory(one, other, 4096)
    right[4095] = 1
    assert kernel.same_memory(one, other, 4095)
    assert not kernel.same_memory(one, other, 4096)
    kernel.copy_memory(one + 4000, other + 4000, 96)
    assert left[4095] == 1


def test_refusals_are_typed_errors(tmp_path: Path) -> None:
    """A refused call raises an error with the call, the reason and what to do."""
    with pytest.raises(SystemCallFailed, match=r"opening /dev/absent: ENOENT .*; do this") as refused:
        kernel.opened("/dev/absent", "do this").__enter__()
    assert refused.value.errno == errno.ENOENT
    with pytest.raises(MountRefused, match=r"mounting none as no-such-filesystem with a=b: E"):
        kernel.mount("none", tmp_path, "no-such-filesystem", options="a=b")
    with pytest.raises(SystemCallFailed, match=r"unmounting .*: E"):
        kernel.unmount(tmp_path)
    with pytest.raises(SystemCallFailed, match=r"unmounting .*: E"):
        kernel.unmount_when_free(tmp_path, 0)  # It is not busy, and never will be.
    with pytest.raises(SystemCallFailed, match="syncfs: EBADF"):
        kernel.sync_filesystem(-1)


@pytest.mark.usefixtures("disk")
def test_a_busy_mount_is_waited_for() -> None:
    """A mount is removed once no process uses it; until then the call returns False and the mount stays."""

    def run() -> tuple[bool, bool, bool]:
        folder = enter_private_namespace() / "busy"
        folder.mkdir()
        kernel.mount("none", folder, "tmpfs")
        with (folder / "file").open("wb"):
            busy = kernel.unmount_when_free(folder, 0.01)
            there = (folder / "file").exists()
        return busy, there, kernel.unmount_when_free(folder, 10)

    assert in_child(run) == (False, True, True)
