"""The faults of a disk: each has one text, the budget is kept to, and its share is spread over classes and steps."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.io_error.disk.base import Base, Request
from crashmatrix.scenarios.io_error.disk.plan import beyond, choose_on_disk, cuts_later, rooms
from crashmatrix.scenarios.io_error.faults import FLUSH, FULL, READ, ROOMS, SMALL, WRITE, RequestFault, parse_fault
from crashmatrix.scenarios.io_error.messages import Place
from crashmatrix.scenarios.processes.calls.call_faults import Made

FAULTS = [
    (RequestFault("ext4", WRITE, 3, "EIO"), "ext4:disk-write@3~EIO~once", ["write 3 EIO once"]),
    (RequestFault("ext4", READ, 2, "EIO", "on"), "ext4:disk-read@2~EIO~on", ["read 2 EIO always"]),
    (RequestFault("xfs", WRITE, 3, "EIO", "twice"), "xfs:disk-write@3~EIO~twice", ["write 3 EIO once", "write 4 EIO once"]),
    (RequestFault("ext4:data=journal", FLUSH, 1, "EIO", "on"), "ext4:data=journal:disk-flush@1~EIO~on", ["flush 1 EIO always"]),
    (RequestFault("ext4", FULL, 0, "ENOSPC"), "ext4:disk-full@0~ENOSPC~once", []),
    (RequestFault("btrfs", SMALL, 7, "ENOSPC", "on"), "btrfs:disk-small@7~ENOSPC~on", []),
    (RequestFault("posix", "on-disk.fsync", 2, "EIO"), "posix:on-disk.fsync@2~EIO~once", []),
    (RequestFault("ext4", "on-disk.write", 2, "short+EIO"), "ext4:on-disk.write@2~short+EIO~once", []),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "text", "planned"), FAULTS)
def test_a_fault_prints_as_it_is_parsed(fault: RequestFault, text: str, planned: list[str]) -> None:
    """Each fault has one text, and says what the disk is to do."""
    assert str(fault) == text
    assert parse_fault(text) == fault
    assert list(map(str, fault.planned)) == planned


@pytest.mark.parametrize(
    "text",
    [
        "ext4:disk-write@0~EIO~once", "ext4:disk-write@1~EIO~until-freed", "ext5:disk-write@1~EIO~once",
        "posix:disk-write@1~EIO~once", "ext4:disk-write@1~EWHAT~once", "ext4:on-disk.fsync@0~EIO~once",
        "ext4:on-disk.nothing@1~EIO~once", "ext4:disk-full@1~ENOSPC~twice", "ext4:disk-small@1~ENOSPC~once",
    ],
)  # fmt: skip
def test_other_texts_are_refused(text: str) -> None:
    """No fault of a disk, and so none at all."""
    with pytest.raises(UsageError, match="is not a fault"):
        parse_fault(text)


def base(filesystem: str = "ext4", loses: str = "") -> Base:
    requests = [Request(WRITE, number, f"ack {number % 4}") for number in range(1, 21)]
    requests += [Request(FLUSH, number, f"ack {number % 4}") for number in range(1, 9)]
    return Base(filesystem, Path("t"), (), tuple(requests) if filesystem != "posix" else (), 600 << 10, 3, 0.1, loses)


PLACES = [Place(Made(calls, number, calls, ("f",)), "f") for number in (1, 2, 3) for calls in ("write", "fsync")]


@pytest.mark.parametrize("budget", [1, 12, 40, 1000])
def test_the_budget_is_kept_to(budget: int) -> None:
    """No more faults than the budget, none twice; the rule is given exactly if some were left out."""
    chosen, rule = choose_on_disk(base(), PLACES, budget, seed=0)
    assert len(set(chosen)) == len(chosen) <= max(2, budget)
    assert bool(rule) == (budget < 1000)
    if budget >= 12:
        counts = Counter(fault.calls.partition(".")[0] for fault in chosen)
        assert set(counts) - {SMALL} == {WRITE, FLUSH, FULL, "on-disk"}
        assert (SMALL in counts) == (budget > 40)
    if budget == 40:
        assert {1, 20} <= {fault.number for fault in chosen if fault.calls == WRITE}


def test_no_power_cut_where_it_alone_breaks_the_promise() -> None:
    """Then calls do not fail on the disk: only a power cut follows them."""
    chosen, _ = choose_on_disk(base(loses="loses: 1"), PLACES, 40, seed=0)
    assert not [fault for fault in chosen if fault.call]


def test_without_a_disk_only_calls_fail() -> None:
    """`posix` has neither requests nor room."""
    chosen, _ = choose_on_disk(base("posix"), PLACES, 40, seed=0)
    assert chosen
    assert all(fault.call for fault in chosen)
    assert not list(beyond(base("posix")))


def test_reads_fail_of_a_target_that_wants_it() -> None:
    """Each read of the disk is a request like the others, and the sweep ends with one read after the last."""
    reads = replace(base(), requests=(*base().requests, Request(READ, 1, ""), Request(READ, 2, "")), fails_reads=True)
    chosen, _ = choose_on_disk(reads, PLACES, 1000, seed=0)
    assert {fault.number for fault in chosen if fault.calls == READ} == {1, 2}
    assert [fault.number for fault in beyond(reads) if fault.calls == READ] == [3]
    assert READ not in {fault.calls for fault in beyond(base())}


def test_rooms() -> None:
    """From none to less than the workload needs, and some just below that; none if it needs no room, as without a disk."""
    found = rooms(base())
    assert found[0] == 0
    assert found[-3:] == [600 - 16, 600 - 8, 600 - 4]
    assert len(found) == 9
    assert rooms(base("posix")) == rooms(replace(base(), room_bytes=0)) == []
    assert not any(fault.calls in ROOMS for fault in beyond(replace(base(), room_bytes=0)))
    assert rooms(base("btrfs")) == found
    assert [(fault.calls, fault.number) for fault in beyond(base())][:2] == [(WRITE, 21), (FLUSH, 9)]


@pytest.mark.parametrize(
    ("acks", "several", "cuts"),
    [
        ([], True, [99]),
        ([5], True, [6, 99]),
        ([5, 6, 7, 20], False, [8, 99]),  # Three items are acknowledged together.
        ([5, 6, 7, 20, 30, 40, 50], True, [8, 21, 41, 99]),
    ],
)
def test_power_fails_after_later_acknowledgements(acks: list[int], several: bool, cuts: list[int]) -> None:
    """The power fails after the next acknowledgements and at the end; after a failed call, also further and further away."""
    assert cuts_later(acks, 99, several=several) == cuts
