"""The losses of a crash, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crashmatrix.faults.disk import CrashState, Sync, Tear
from crashmatrix.faults.disk.trace.named import DATA, METADATA, NAMES, Named, in_words
from crashmatrix.faults.disk.trace.operations import ROOT
from crashmatrix.scenarios.power.explain.losses import Loss, loss_of
from crashmatrix.scenarios.power.explain.unsynced import Missing
from tests.faults.disk.support import in_child
from tests.scenarios.power.explain.traces import LOG as LOG_INODE, acknowledged, attempted, made, posix_trace, written

LOG = Named(kind=DATA, path="log", now="log", start=0, stop=8)
MADE = Named(kind=NAMES, path=".", now=".", what="log made")
INODES = Named(kind=METADATA, what="inodes")
NAMES_OF = {1: (LOG,), 2: (MADE, INODES), 3: (INODES,)}
NOTHING = Loss(on_disk=True, names=NAMES_OF, gone=(), torn=(), pending=3, missing=None)
IN_MEMORY = (Missing(1, 0, LOG), Missing(2, 1, MADE))

TEXTS = [
    (NOTHING, "No write that had reached the disk was lost."),
    (replace(NOTHING, on_disk=False), "Nothing was lost."),
    (
        replace(NOTHING, gone=(1,)),
        "Lost: 1 of 3 writes to the disk that no flush had made durable: log, bytes 0 to 7.",
    ),
    (
        replace(NOTHING, on_disk=False, gone=(1,), missing=IN_MEMORY),
        "Lost: 1 of 3 changes that no sync had made durable: log, bytes 0 to 7.",
    ),
    (
        replace(NOTHING, torn=(1,)),
        "Torn: 1 of 3 writes to the disk that no flush had made durable: log, bytes 0 to 7 (torn).",
    ),
    (
        replace(NOTHING, gone=(2,), torn=(1,)),
        "Lost or torn: 2 of 3 writes to the disk that no flush had made durable: the store's folder: log made; "
        "metadata of the filesystem: inodes; log, bytes 0 to 7 (torn).",
    ),
    (
        replace(NOTHING, missing=IN_MEMORY),
        "No write that had reached the disk was lost. Still in memory, and therefore lost: log, bytes 0 to 7; "
        "the store's folder: log made.",
    ),
    (
        replace(NOTHING, missing=IN_MEMORY, on_the_disk=IN_MEMORY[:1]),
        "No write that had reached the disk was lost. Still in memory, and therefore lost: the store's folder: log made. "
        "On the disk, but lost to the file with its metadata: log, bytes 0 to 7.",
    ),
    (
        replace(NOTHING, missing=IN_MEMORY).blaming(()),
        "No write that had reached the disk was lost. Changes of log and the store's folder were lost as well, but the promise "
        "breaks without that, too.",
    ),
    (
        replace(NOTHING, on_disk=False, gone=(1,), beyond_size=(LOG,)),
        "Lost: 1 of 3 changes that no sync had made durable: log, bytes 0 to 7. Lost with the size of their file: log, bytes 0 "
        "to 7.",
    ),
]


@pytest.mark.parametrize(("loss", "text"), TEXTS)
def test_text(loss: Loss, text: str) -> None:
    """Lost, torn, in memory only; on a disk and on `posix`."""
    assert loss.text == text


def test_nothing() -> None:
    """A write that is missing, torn or in memory only is a loss."""
    assert NOTHING.nothing
    assert not any(replace(NOTHING, **how).nothing for how in ({"gone": (1,)}, {"torn": (1,)}, {"missing": IN_MEMORY}))


def test_blaming() -> None:
    """Changes that are not to blame are lost, too, and explain nothing. Changes after the first to blame are later ones."""
    survived = (Missing(2, 1, LOG), Missing(4, 1, LOG))
    loss = replace(NOTHING, missing=IN_MEMORY, on_the_disk=IN_MEMORY, survived=survived)
    found = loss.blaming(IN_MEMORY[1:])
    assert (found.missing, found.on_the_disk, found.blameless) == (IN_MEMORY[1:], IN_MEMORY[1:], IN_MEMORY[:1])
    assert [each.at for each in found.survived] == [4]
    assert found.listed[-1] == "as well, and not to blame: log, bytes 0 to 7"
    none = loss.blaming(())
    assert none.nothing
    assert none.survived == ()


def test_led_by() -> None:
    """The changes of some paths come first, and the others stay in order."""
    loss = replace(NOTHING, missing=IN_MEMORY)
    assert loss.led_by("./".__eq__).in_memory == ("the store's folder: log made", "log, bytes 0 to 7")
    assert loss.led_by("log".__eq__) == loss
    assert NOTHING.led_by("log".__eq__) == NOTHING


def test_listed() -> None:
    """No more than fits: what is in memory only first, and how many more there are."""
    loss = replace(NOTHING, gone=(2,), missing=IN_MEMORY)
    assert loss.listed[:3] == (
        "in memory only: log, bytes 0 to 7", "in memory only: the store's folder: log made",
        "the store's folder: log made",
    )  # fmt: skip
    loss = replace(NOTHING, missing=IN_MEMORY, on_the_disk=IN_MEMORY[:1], beyond_size=(LOG,))
    assert loss.listed == (
        "in memory only: the store's folder: log made",
        "on the disk, without the metadata that leads there: log, bytes 0 to 7",
        "with the size: log, bytes 0 to 7",
    )
    many = {at: (replace(MADE, what=f"{at} made"),) for at in range(30)}
    listed = replace(NOTHING, names=many, gone=tuple(range(30))).listed
    assert (len(listed), listed[-1]) == (25, "and 6 more")
    assert len(replace(NOTHING, names=many, gone=tuple(range(24))).listed) == 24


TRACE = posix_trace(*attempted(0), *made(b"log"), *written(b"0\n"), *acknowledged(0))


def test_of_workload() -> None:
    """The losses of the workload: the changes known to be missing, or else the lost writes of files and names."""
    assert replace(NOTHING, missing=IN_MEMORY).of_workload(TRACE) == IN_MEMORY
    assert replace(NOTHING, gone=(2, 3)).of_workload(TRACE) == (Missing(2, 1, MADE),)


@pytest.mark.parametrize(
    ("kept", "tears", "lines"),
    [
        (0b011, (), ("log, bytes 0 to 1",)),
        (0b111, (Tear(2, 0, 1),), ("log, bytes 0 to 1 (torn)",)),
        (0b111, (), ()),
    ],
)
def test_loss_of(kept: int, tears: tuple[Tear, ...], lines: tuple[str, ...]) -> None:
    """On `posix`, the trace itself shows the losses."""
    loss = in_child(lambda: loss_of(TRACE, CrashState(TRACE.finish, kept, tears, 3), None))
    assert loss.lines == lines
    assert loss.nothing is (not lines)
    assert len(loss.unsynced) == loss.pending == 3
    assert not loss.on_disk
    assert not loss.later


@pytest.mark.parametrize(("kept", "lost"), [(0b1110, ("log, bytes 0 to 1",)), (0b1101, ()), (0b1111, ()), (0b0111, ())])
def test_bytes_that_are_lost_with_the_size(kept: int, lost: tuple[str, ...]) -> None:
    """On `posix`, bytes that were written beyond the size that was left are lost, though their own change was not."""
    trace = posix_trace(*made(b"log"), Sync(LOG_INODE), Sync(ROOT), *written(b"0\n"), *written(b"1\n", 2))
    loss = in_child(lambda: loss_of(trace, CrashState(trace.finish, kept, (), 4), None))
    assert tuple(in_words(loss.beyond_size)) == lost
    zeros = posix_trace(*made(b"log"), Sync(LOG_INODE), Sync(ROOT), *written(b"\0\0"))
    loss = in_child(lambda: loss_of(zeros, CrashState(zeros.finish, 0b10, (), 2), None))
    assert (tuple(in_words(loss.beyond_size)), loss.survived) == (("log, bytes 0 to 1",), ())


def test_bytes_that_are_lost_with_the_size_did_not_survive() -> None:
    """Later changes of the file are said to have survived only if it has them."""
    trace = posix_trace(*made(b"log"), Sync(LOG_INODE), Sync(ROOT), *written(b"0\n"), *written(b"1\n", 2))
    loss = in_child(lambda: loss_of(trace, CrashState(trace.finish, 0b1110, (), 4), None))
    gone = {each.named for each in loss.survived} & set(loss.beyond_size)
    assert not gone
    assert len(loss.survived) == 2
