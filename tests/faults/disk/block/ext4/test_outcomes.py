"""Outcomes: crash images predicted to become the same folder do so, whatever the filesystem has to replay or to refuse.

How many images get a prediction depends on what the kernel writes, and when. So the number is tested on kept recordings
(`tests/kept`). For recordings made here and now, only the predictions made must be true.
"""

import contextlib
import itertools
import os
import pickle
import random
import shutil
import struct
import subprocess
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from crashmatrix.faults.disk import (
    CrashImages,
    CrashState,
    CrashStates,
    Flush,
    Machine,
    Mark,
    MountRefused,
    Note,
    RecordOptions,
    Tear,
    Trace,
    Write,
    record,
)
from crashmatrix.faults.disk.block.base import BaseDisk
from crashmatrix.faults.disk.block.ext4.journal import JOURNAL_MAGIC
from crashmatrix.faults.disk.block.ext4.layout import Ext4Layout
from crashmatrix.faults.disk.block.ext4.outcomes import DiskOutcomes
from crashmatrix.faults.disk.block.images import DiskImages
from tests.faults.disk.support import in_child, tree, write_durably
from tests.kept import kept

on_disk = pytest.mark.usefixtures("disk")

LIKE_A_JOURNAL = struct.pack(">III", JOURNAL_MAGIC, 2, 5).ljust(4096, b"-")
"""A file's block that the journal has to escape, where it logs data."""


def files_come_and_go(machine: Machine) -> None:
    """Directories removed (which the journal revokes) and their blocks reused at once, renames, files cut short."""
    for turn in range(8):
        folder = machine.root / f"folder{turn}"
        folder.mkdir()
        write_durably(folder / "a", b"%d" % turn * 5000)
        (folder / "loose").write_bytes(LIKE_A_JOURNAL * 2)
        write_durably(folder / "journal", LIKE_A_JOURNAL)
        machine.note(b"made %d" % turn)
        (folder / "a").replace(machine.root / "kept")
        os.truncate(folder / "journal", 10)
        if turn % 2:
            shutil.rmtree(folder)
            write_durably(machine.root / f"reuse{turn}", LIKE_A_JOURNAL * 3)
        machine.note(b"done %d" % turn)


def more_than_the_journal_holds(machine: Machine) -> None:
    """Write enough data into the journal (4 MiB) that it wraps around more than once."""
    for turn in range(9):
        write_durably(machine.root / f"large{turn % 3}", random.Random(turn).randbytes(1 << 10) * 1024)
        machine.note(b"%d" % turn)


def blocks_change_hands(machine: Machine) -> None:
    """On a full disk, a block of a directory, which is in the journal, becomes a block of a file."""
    fill(machine.root / "filler", spare=40)
    for turn in range(6):
        folder = machine.root / "folder"
        folder.mkdir()
        write_durably(folder / "a", LIKE_A_JOURNAL)
        machine.note(b"made %d" % turn)
        shutil.rmtree(folder)
        write_durably(machine.root / "b", b"%d" % turn)  # The freed blocks are usable again once that is committed.
        fill(machine.root / "all the rest", spare=0)
        machine.note(b"filled %d" % turn)
        (machine.root / "all the rest").unlink()
        write_durably(machine.root / "c", LIKE_A_JOURNAL)


def unlinked_while_open(machine: Machine) -> None:
    """While a file without a name is open, the superblock, or the file of orphans, names it."""
    for turn in range(2):
        with (machine.root / "gone").open("wb") as file:
            file.write(b"x" * 9000)
            os.fsync(file.fileno())
            (machine.root / "gone").unlink()
            write_durably(machine.root / f"kept{turn}", b"kept")
            os.sync()  # In place, too.
            machine.note(b"%d" % turn)


def fill(path: Path, spare: int) -> None:
    """Write a file into all blocks that are left, but for a few."""
    with path.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):  # The free space may shrink meanwhile.
            for _ in range(os.statvfs(path.parent).f_bavail - spare):
                file.write(b"x" * 4096)
        os.fsync(file.fileno())


Workload = Callable[[Machine], None]

KINDS = [
    ("ext4", "mixed"),
    ("ext4", "writeback"),
    ("ext4", "storm"),
    ("ext4:data=journal", "mixed"),
    ("ext4:data=writeback", "commit"),
    # No flush before a commit block: transactions without some of their blocks, which ext4 has to notice.
    ("ext4:data=writeback,journal_async_commit", "mixed"),
]

KEPT: dict[str, tuple[Workload, str, str, int | None]] = {
    **{f"outcomes-{number}": (files_come_and_go, *kind, None) for number, kind in enumerate(KINDS)},
    "outcomes-unlinked": (unlinked_while_open, "ext4", "none", None),
    "outcomes-round": (more_than_the_journal_holds, "ext4:data=journal", "none", None),
    "outcomes-reused": (blocks_change_hands, "ext4", "none", 16 << 20),
    "outcomes-reused-journal": (blocks_change_hands, "ext4:data=journal", "none", 16 << 20),
}
"""The kept recordings of these tests: workload, filesystem, nudge and size of the disk in bytes."""


def recorded(workload: Workload, filesystem: str, nudge: str, size_bytes: int | None = None) -> Trace:
    options = RecordOptions(filesystem=filesystem, nudge=nudge, seed=3, size_bytes=size_bytes)
    return record(workload, options=options)


def folders_by_outcome(trace: Trace, number: int) -> dict[int, set[str]]:
    """Return, for each outcome, the folders that mounting showed."""

    def run() -> dict[int, set[str]]:
        states = CrashStates(trace)
        found = defaultdict(set)
        few = list(itertools.islice(states, number))
        with CrashImages(trace) as images:
            for state in sorted(few, key=lambda state: state.cut):
                outcome, folder = states.outcomes.of(state), shown(images, state)
                assert folder != "refused" or outcome == states.digests.of(state), "what is refused was not predicted"
                found[outcome].add(folder)
        return dict(found)

    return in_child(run)


def shown(images: CrashImages, state: CrashState) -> str:
    try:
        with images.mounted(state) as root:
            return sha256(pickle.dumps(sorted(tree(root).items()))).hexdigest()
    except MountRefused:
        return "refused"


@pytest.mark.daily(2)
@on_disk
@pytest.mark.parametrize(("filesystem", "nudge"), KINDS)
def test_one_outcome_one_folder(filesystem: str, nudge: str) -> None:
    """Images of one outcome become one folder, whatever this kernel writes."""
    found = folders_by_outcome(recorded(files_come_and_go, filesystem, nudge), 80)
    assert all(len(shown) == 1 for shown in found.values())


@pytest.mark.parametrize("name", [f"outcomes-{number}" for number in range(len(KINDS))])
def test_fewer_outcomes_than_images(name: str) -> None:
    """Many images, with drawn writes missing or torn, are predicted to become the same folder as another image."""
    trace, chance = kept(name), random.Random(name)
    states = CrashStates(trace)
    positions = [(cut.position, len(cut.pending)) for cut in states.cuts if cut.pending]
    few = []
    for cut, size in sorted(chance.choices(positions, k=150)):
        there = chance.getrandbits(size)
        torn = [index for index in range(size) if there >> index & 1 and chance.random() < 0.5]
        few.append(CrashState(cut, there, tuple(Tear(index, 0, 1) for index in torn), size))
    images, outcomes = ({names.of(state) for state in few} for names in (states.digests, states.outcomes))
    assert len(outcomes) < 0.7 * len(images)


@on_disk
def test_a_torn_superblock_is_for_ext4_to_judge() -> None:
    """There is no prediction for a torn superblock: a mount reads it before the replay, which may have a whole copy."""

    trace = kept("outcomes-unlinked")
    states = CrashStates(trace)
    found: dict[int, set[str]] = defaultdict(set)

    def run() -> dict[int, set[str]]:
        with CrashImages(trace) as images:
            for position in range(trace.start, trace.finish):
                write = trace.operations[position]
                if isinstance(write, Write) and write.offset == 0:
                    pending = trace.pending(position + 1)
                    for tears in ((), (Tear(pending.index(position), 0, 3),), (Tear(pending.index(position), 3, 1),)):
                        state = CrashState(position + 1, (1 << len(pending)) - 1, tears, len(pending))
                        found[states.outcomes.of(state)].add(shown(images, state))
        return dict(found)

    found = in_child(run)
    assert all(len(folders) == 1 for folders in found.values())
    assert {"refused"} in found.values()


@pytest.mark.parametrize(
    ("place", "bits"),
    [("compatible", 0x400), ("incompatible", 0x10000), ("for reading", 0x200), ("journal", 0x20), ("journal", 0x8)],
    ids=["fast commits", "encryption", "clusters", "fast commits in the journal", "old checksums in the journal"],
)
def test_nothing_is_predicted_of_features_not_understood(place: str, bits: int) -> None:
    trace = kept("outcomes-0")
    layout = Ext4Layout.read(BaseDisk(trace).block)
    assert layout
    assert layout.journal
    if place == "journal":
        at, form = layout.journal.blocks[0] * 4096 + 0x28, ">I"
    else:
        at, form = 1024 + 0x5C + 4 * ["compatible", "incompatible", "for reading"].index(place), "<I"
    assert tells_more_than_digests(trace)
    assert not tells_more_than_digests(with_bits(trace, at, form, bits))


def tells_more_than_digests(trace: Trace) -> bool:
    states = CrashStates(trace)
    return any(states.outcomes.of(state) != states.digests.of(state) for state in itertools.islice(states, 50))


def with_bits(trace: Trace, at: int, form: str, bits: int) -> Trace:
    """The trace with bits of a number on the disk set from the beginning."""
    base = []
    for offset, run in trace.base:
        data = bytearray(run)
        if offset <= at < offset + len(data):
            struct.pack_into(form, data, at - offset, struct.unpack_from(form, data, at - offset)[0] | bits)
        base.append((offset, bytes(data)))
    return replace(trace, base=tuple(base))


@on_disk
@pytest.mark.parametrize("name", ["outcomes-reused", "outcomes-reused-journal"])
def test_what_is_predicted_is_what_replay_leaves(name: str, tmp_path: Path) -> None:
    """The prediction equals e2fsck's own replay, block for block, with revoked, reused and escaped blocks."""
    trace = kept(name)
    states = CrashStates(trace)
    few = list(itertools.islice(states, 25))
    outcomes = DiskOutcomes(trace, states.digests)

    predicted = [number for number, state in enumerate(few) if outcomes._recovered(state) is not None]

    def save() -> None:
        with DiskImages(trace) as images:
            for number in predicted:
                images.save(few[number], tmp_path / str(number))

    in_child(save)
    changed = 0
    for number in predicted:
        image = tmp_path / str(number)
        done = subprocess.run(["e2fsck", "-y", "-E", "journal_only", image], capture_output=True, check=False)
        assert done.returncode in (0, 1), done
        disk = outcomes._recovered(few[number])
        assert disk
        with image.open("rb") as left:
            for block in outcomes._used(disk):
                if block:  # The superblock says that it was recovered, and when.
                    content = os.pread(left.fileno(), 4096, block * 4096)
                    assert outcomes._contents[disk[block]] == content, (str(few[number]), block)
                    changed += disk[block] != outcomes._durable.get(block)
        image.unlink()
    assert changed
    assert len(predicted) > len(few) / 2


@on_disk
def test_a_journal_that_goes_round() -> None:
    trace = kept("outcomes-round")
    found = folders_by_outcome(trace, 40)
    assert all(len(shown) == 1 for shown in found.values())
    states = CrashStates(trace)
    assert len(found) < len({states.digests.of(state) for state in itertools.islice(states, 40)})


@on_disk
@pytest.mark.parametrize("what", ["the journal is emptied", "the mark that it is to be replayed is removed"])
def test_a_log_that_ceases_to_count(what: str) -> None:
    """A log that is no longer replayed is not predicted to be: before that write, while pending, and once durable."""
    made = kept("outcomes-0")
    outcomes = DiskOutcomes(made, CrashStates(made).digests)
    outcomes._move_to(made.epoch_start(made.finish))
    assert outcomes._layout
    assert outcomes._layout.journal
    journal = outcomes._layout.journal.blocks[0]
    if what == "the journal is emptied":
        offset, data = journal * 4096, bytearray(outcomes._contents[outcomes._at(journal)])
        data[0x1C:0x20] = bytes(4)
        data[0xFC:0x100] = bytes(4)
        data[0xFC:0x100] = struct.pack(">I", crc32c(data[:1024]))
    else:
        offset, data = 0, bytearray(outcomes._contents[outcomes._at(0)])
        data[1024 + 0x60] &= ~4
        data[2048 - 4 : 2048] = struct.pack("<I", crc32c(data[1024 : 2048 - 4]))
    more = (Flush(), Note(b"before"), Write(offset, bytes(data)), Note(b"pending"), Flush(), Note(b"durable"))
    operations = (*made.operations[: made.finish], *more)
    trace = Trace(filesystem="ext4", size_bytes=made.size_bytes, base=made.base, operations=operations)
    states = CrashStates(trace)
    before, pending, durable = (CrashState.whole(trace, len(operations) - back) for back in (4, 2, 0))
    names = [states.outcomes.of(state) for state in (before, pending, durable)]

    def folders() -> list[str]:
        with CrashImages(trace) as images:
            return [shown(images, state) for state in (before, pending, durable)]

    first, *others = in_child(folders)
    assert others == [others[0]] * 2
    assert others[0] not in (first, "refused")
    assert names[1] == names[2] != names[0]
    if what != "the journal is emptied":
        assert names[1] == states.digests.of(pending)


def crc32c(data: bytes | bytearray) -> int:
    """Return the checksum as ext4 uses it: not inverted at the end."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0x82F63B78 * (value & 1)
    return value


@on_disk
@pytest.mark.parametrize("filesystem", ["xfs", "btrfs", "ext2", "posix"])
def test_elsewhere_an_outcome_is_an_image(filesystem: str) -> None:
    """Without exact knowledge of a filesystem's recovery, each image is an outcome of its own."""
    assert not tells_more_than_digests(recorded(files_come_and_go, filesystem, "none"))


@pytest.mark.parametrize("options", ["norecovery,ro", "nobarrier", "barrier=0"])
def test_with_these_options_an_outcome_is_an_image(options: str) -> None:
    """The same holds for ext4 with options that skip the replay of its journal, or leave out flushes."""
    assert not tells_more_than_digests(replace(kept("outcomes-0"), filesystem=f"ext4:{options}"))


def test_any_order_of_states_gives_the_same_answer() -> None:
    """Cuts in any order group the states as cuts in ascending order do."""
    trace = kept("outcomes-0")
    some = list(itertools.islice(CrashStates(trace), 200))
    assert same_of(trace, random.Random(1).sample(some, 200)) == same_of(trace, sorted(some, key=lambda each: each.cut))


def same_of(trace: Trace, states: list[CrashState]) -> set[frozenset[str]]:
    """The states that have one outcome, together."""
    outcomes, found = CrashStates(trace).outcomes, defaultdict(set)
    for state in states:
        found[outcomes.of(state)].add(str(state))
    return set(map(frozenset, found.values()))


WITH_INERT_WRITES = ["outcomes-0", "outcomes-1", "outcomes-unlinked", "outcomes-reused", "outcomes-reused-journal"]


@pytest.mark.lengthy
@pytest.mark.parametrize("name", WITH_INERT_WRITES)
def test_what_is_inert_changes_no_outcome(name: str) -> None:
    """Whichever writes are there, torn or not: losing or tearing inert ones as well leads to the same outcome."""
    trace, chance = kept(name), random.Random(name)
    states, compared = CrashStates(trace), 0
    for cut in states.cuts:
        inert = states.outcomes.inert(cut.position)
        if not inert:
            continue
        bits = sum(1 << cut.pending.index(at) for at in inert)
        size = len(cut.pending)
        for there in (0, (1 << size) - 1, chance.getrandbits(size)):
            tears = tuple(
                Tear(index, 0, 1) for index in range(size) if (there & ~bits) >> index & 1 and chance.random() < 0.3
            )
            base = states.outcomes.of(CrashState(cut.position, there & ~bits, tears, size))
            for _ in range(3):
                drawn = there & ~bits | chance.getrandbits(size) & bits
                more = tuple(
                    Tear(index, 0, 1) for index in range(size) if drawn & bits & 1 << index and chance.random() < 0.5
                )
                assert states.outcomes.of(CrashState(cut.position, drawn, (*tears, *more), size)) == base
                compared += 1
    assert compared > 20


@pytest.mark.parametrize("in_use", [True, False])
def test_a_free_map_that_is_pending_may_bring_a_block_into_use(in_use: bool) -> None:
    """A pending write to a block that the durable map calls free is inert, unless a pending map calls the block used."""
    disk = BaseDisk(kept("outcomes-0"))
    layout = Ext4Layout.read(disk.block)
    assert layout
    group = 1  # The replay sets the first group's map anyway.
    free_map = bytearray(disk.block(layout.free_maps[group]))
    place = next(number for number in range(layout.per_group) if not free_map[number >> 3] >> (number & 7) & 1)
    free_map[place >> 3] |= in_use << (place & 7)
    block = group * layout.per_group + place
    writes = [Write(4096 * layout.free_maps[group], bytes(free_map)), Write(4096 * block, b"x" * 4096)]
    trace = replace(kept("outcomes-0"), operations=(Mark("start"), *writes, Mark("finish")))
    inert = CrashStates(trace).outcomes.inert(trace.finish)
    assert inert == (set() if in_use else {2})
