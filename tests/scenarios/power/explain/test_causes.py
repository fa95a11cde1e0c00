"""From what a crash took to its cause: a table of inputs, one for each branch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crashmatrix.faults.disk.trace.named import ATTRIBUTE, DATA, NAMES, SIZE, Named
from crashmatrix.scenarios.power.explain.causes import (
    Cause,
    Suspect,
    cause_of,
    cause_of_restart,
)
from crashmatrix.scenarios.power.explain.unsynced import Missing
from crashmatrix.scenarios.recorded.remedies import (
    BEFORE_ACK,
    BEFORE_CHANGE,
    BEFORE_RECOVERY,
    BEFORE_REMOVAL,
    BEFORE_RENAME,
    Remedy,
)


def data(path: str, now: str | None = None) -> Named:
    return Named(kind=DATA, path=path, now=path if now is None else now, start=0, stop=8)


def size(path: str, now: str | None = None) -> Named:
    return Named(kind=SIZE, path=path, now=path if now is None else now, stop=8)


def names(folder: str, what: str) -> Named:
    return Named(kind=NAMES, path=folder, now=folder, what=what)


def missing(*changes: tuple[int, Named]) -> list[Missing]:
    """The changes in order, each called for after so many journal lines."""
    return [Missing(at, lines, named) for at, (lines, named) in enumerate(changes)]


def ack(*paths: str) -> Remedy:
    return Remedy(BEFORE_ACK, paths)


DATA_CAUSE = "no fsync of log between the write to it and the acknowledgement of 0"
RENAMED = "no fsync of db.new before its rename to db"
EARLY = "The name was durable before the content: nothing had synced the file before it got that name."
LOST = "Nothing had synced what was acknowledged, so it was not durable: "


CAUSES: list[Any] = [
    pytest.param([], {}, Cause(), id="nothing was lost"),
    pytest.param(
        [(1, data("log"))],
        {},
        Cause(DATA_CAUSE, f"{LOST}log, bytes 0 to 7.", (Suspect(DATA_CAUSE, ack("log")),)),
        id="the content of a file",
    ),
    pytest.param(
        [(1, Named(kind=ATTRIBUTE, path="log", now="log", what="permissions become 600"))],
        {},
        Cause(
            "no fsync of log between 'permissions become 600' and the acknowledgement of 0",
            f"{LOST}log: permissions become 600.",
            (Suspect("no fsync of log between 'permissions become 600' and the acknowledgement of 0", ack("log")),),
        ),
        id="an attribute of a file",
    ),
    pytest.param(
        [(1, names(".", "db.new becomes db"))],
        {},
        Cause(
            "no fsync of the store's folder between 'db.new becomes db' and the acknowledgement of 0",
            f"{LOST}the store's folder: db.new becomes db.",
            (
                Suspect(
                    "no fsync of the store's folder between 'db.new becomes db' and the acknowledgement of 0", ack("./")
                ),
            ),
        ),
        id="a name in the store's folder",
    ),
    pytest.param(
        [(1, names("wal/t7", "4.log made"))],
        {},
        Cause(
            "no fsync of directory wal/t7 between '4.log made' and the acknowledgement of 0",
            f"{LOST}directory wal/t7: 4.log made.",
            (
                Suspect(
                    "no fsync of directory wal/t7 between '4.log made' and the acknowledgement of 0", ack("wal/t*/")
                ),
            ),
        ),
        id="a name in a folder below, with a number in it",
    ),
    pytest.param(
        [(0, data("log")), (1, names(".", "log made"))],
        {},
        Cause(
            "no fsync of the store's folder between 'log made' and the acknowledgement of 0; and 1 more like it",
            f"{LOST}log, bytes 0 to 7; the store's folder: log made.",
            (
                Suspect("no fsync of the store's folder between 'log made' and the acknowledgement of 0", ack("./")),
                Suspect(DATA_CAUSE, ack("log")),
                Suspect(
                    "no fsync of the store's folder between 'log made' and the acknowledgement of 0; and 1 more like it",
                    ack("./", "log"),
                ),
            ),
        ),
        id="two things: the latest first, then both together",
    ),
    pytest.param(
        [(1, data("log"))],
        {"unsynced": [(0, names(".", "log made")), (1, data("log")), (2, data("later"))]},
        Cause(
            DATA_CAUSE,
            f"{LOST}log, bytes 0 to 7.",
            (Suspect(DATA_CAUSE, ack("log")),),
            Suspect(f"{DATA_CAUSE}; nor of ./, which this crash spared", ack("log", "./")),
        ),
        id="what the crash spared is suspected too, unless it came after the acknowledgement",
    ),
    pytest.param(
        [(1, data("db.new", "db"))],
        {"loses": False},
        Cause(
            RENAMED,
            EARLY,
            (
                Suspect(RENAMED, Remedy(BEFORE_RENAME, ("db.new",))),
                Suspect("no fsync of db between the write to it and the acknowledgement of 0", ack("db")),
            ),
        ),
        id="a name durable before its content, and something is wrong",
    ),
    pytest.param(
        [(1, data("db.new", "db"))],
        {},
        Cause(
            "no fsync of db between the write to it and the acknowledgement of 0",
            f"{LOST}db.new, bytes 0 to 7.",
            (
                Suspect("no fsync of db between the write to it and the acknowledgement of 0", ack("db")),
                Suspect(RENAMED, Remedy(BEFORE_RENAME, ("db.new",))),
            ),
        ),
        id="a name durable before its content, and something is gone: the rename is suspected last",
    ),
    pytest.param(
        [(2, size("db.new", "db"))],
        {},
        Cause(RENAMED, EARLY, (Suspect(RENAMED, Remedy(BEFORE_RENAME, ("db.new",))),)),
        id="nothing lost was acknowledged: a rename before its content",
    ),
    pytest.param(
        [(2, names(".", "old removed")), (2, data("log"))],
        {},
        Cause(
            "later changes survived without this one: the store's folder: old removed",
            "Nothing made the store's folder durable before the changes after it, so the disk may keep any of them without it.",
        ),
        id="nothing lost was acknowledged: a name",
    ),
    pytest.param(
        [(2, data("log"))],
        {},
        Cause(
            "later changes survived without this one: log, bytes 0 to 7",
            "Nothing made log durable before the changes after it, so the disk may keep any of them without it.",
        ),
        id="nothing lost was acknowledged: content",
    ),
]


@pytest.mark.parametrize(("changes", "how", "expected"), CAUSES)
def test_cause_of(changes: list[tuple[int, Named]], how: dict[str, Any], expected: Cause) -> None:
    """Item 0 was acknowledged by journal line 2; what was called for before it and is lost is to blame."""
    how = {**how, **{name: missing(*how.get(name, ())) for name in ("unsynced", "survived")}}
    assert cause_of(missing(*changes), 2, "0", **how) == expected


def test_a_link_before_its_content() -> None:
    """A link is a name as well: it was durable, and nothing had synced the content before."""
    linked = missing((2, data("tmp", "12/34")), (2, names("12", "34 linked to tmp")), (2, names(".", "tmp removed")))
    for survived, unsynced in ((linked[1:], []), ([], linked)):
        (suspect,) = cause_of(linked[:1], 2, "0", survived=survived, unsynced=unsynced).suspects
        assert suspect == Suspect("no fsync of tmp before its link to 12/34", Remedy(BEFORE_RENAME, ("tmp",)))


def test_no_more_is_suspected_than_can_be_tried() -> None:
    """Three alone, the latest first, then all together; files that differ in numbers only are one pattern."""
    cause = cause_of(missing(*((0, data(f"{name}1.log")) for name in "abcde"), (0, data("a2.log"))), 2, "0")
    paths = [suspect.remedy.paths for suspect in cause.suspects]
    assert paths == [("a*.log",), ("e*.log",), ("d*.log",), ("a*.log", "e*.log", "d*.log", "c*.log", "b*.log")]
    assert cause.cause.endswith("; and 5 more like it")
    assert cause.every == cause.suspects


def test_only_three_of_the_spared_are_named() -> None:
    """The cause names three of the spared changes; the trial syncs all of them."""
    cause = cause_of(missing((0, data("a"))), 2, "0", unsynced=missing(*((0, data(name)) for name in "abcde")))
    assert cause.together is not None
    assert cause.together.cause.endswith("; nor of b and c and d, which this crash spared")
    assert cause.together.remedy.paths == tuple("abcde")
    assert cause.every == (*cause.suspects, cause.together)


def test_cause_of_restart() -> None:
    """Recovery believed the page cache; to sync everything before it is the remedy to try."""
    (suspect,) = cause_of_restart().suspects
    assert suspect.remedy == Remedy(BEFORE_RECOVERY, ("*",))


@pytest.mark.parametrize(
    ("lost", "survived", "known"),
    [
        ([], [], ""),
        ([(1, data("log"))], [], "the promise breaks if only the changes before this one are there: log, bytes 0 to 7"),
        ([(1, size("log"))], [(1, data("log"))], "later changes survived without this one: log, its size: 8 bytes"),
        ([(1, data("log"))], [(1, data("index"))], ""),
    ],
    ids=["not known", "nothing came after it", "later changes of the file", "a sync may be missing, and was not tried"],
)
def test_what_is_known_if_recovery_is_not_to_blame(
    lost: list[tuple[int, Named]], survived: list[tuple[int, Named]], known: str
) -> None:
    """The lost changes say what recovery cannot cope with, unless a sync that was not tried may be missing."""
    gone, kept = missing(*lost), [replace(each, at=each.at + 9) for each in missing(*survived)]
    cause = cause_of_restart(gone, [*gone, *kept], kept)
    assert cause.refuted[0] == known
    assert bool(cause.refuted[1]) == bool(known)


REMOVED = names(".", "log removed")
REPLACED = names(".", "CURRENT.new becomes CURRENT, in place of the one before")


@pytest.mark.parametrize(
    ("lost", "survived", "causes", "paths"),
    [
        ([data("sst")], REMOVED, ["no fsync of sst before 'log removed' in the store's folder"], [("sst",)]),
        (
            [data("sst")],
            REPLACED,
            [f"no fsync of sst before '{REPLACED.what}' in the store's folder"],
            [("sst",)],
        ),
        (
            [size("3.sst"), data("3.sst"), names(".", "3.sst made")],
            REMOVED,
            [
                "no fsync of 3.sst before 'log removed' in the store's folder",
                "no fsync of the store's folder before 'log removed' in the store's folder",
                "no fsync of 3.sst before 'log removed' in the store's folder; and 1 more like it",
            ],
            [("*.sst",), ("./",), ("*.sst", "./")],
        ),
    ],
)
def test_a_removal_before_its_replacement(
    lost: list[Named], survived: Named, causes: list[str], paths: list[tuple[str, ...]]
) -> None:
    """A file was durably removed while the change that replaces it was not durable: each sync is suspected, then all together."""
    changes = missing(*((2, each) for each in [*lost, survived]))
    cause = cause_of(changes[:-1], 2, "0", survived=changes[-1:])
    assert [suspect.cause for suspect in cause.suspects] == causes
    assert [suspect.remedy for suspect in cause.suspects] == [Remedy(BEFORE_REMOVAL, each) for each in paths]
    assert cause.cause == causes[0]


OVERTAKEN = "no fsync of 1.values before the change of index"


@pytest.mark.parametrize(
    ("lost", "causes", "paths", "otherwise"),
    [
        ([size("1.values"), data("1.values")], [OVERTAKEN], [("*.values",)], ""),
        (
            [data("1.values")],
            [OVERTAKEN],
            [("*.values",)],
            "1.values grew without its content: 1.values, bytes 0 to 7, were lost and read as zeros",
        ),
        (
            [data("1.values"), names(".", "1.values made")],
            [
                OVERTAKEN,
                "no fsync of the store's folder before the change of index",
                f"{OVERTAKEN}; and 1 more like it",
            ],
            [("*.values",), ("./",), ("*.values", "./")],
            "",
        ),
    ],
)
def test_a_change_of_another_file(
    lost: list[Named], causes: list[str], paths: list[tuple[str, ...]], otherwise: str
) -> None:
    """The last change of another file that survived is blamed, and a sync before it is tried; else the loss as such."""
    changes = missing((2, size("1.values")), *((2, each) for each in lost), (2, data("other")), (2, data("index")))
    cause = cause_of(changes[1:-2], 2, "0", survived=changes[-2:], unsynced=changes[:-2])
    assert [suspect.cause for suspect in cause.suspects] == causes
    assert [suspect.remedy for suspect in cause.suspects] == [Remedy(BEFORE_CHANGE, each, "index") for each in paths]
    assert (cause.cause, cause.otherwise) == (causes[0], otherwise)


@pytest.mark.parametrize(
    ("survived", "before", "what", "changed"),
    [
        (REMOVED, BEFORE_REMOVAL, "'log removed' in the store's folder", ""),
        (data("index"), BEFORE_CHANGE, "the change of index", "index"),
    ],
)
def test_what_the_crash_spared_before_a_later_change(survived: Named, before: str, what: str, changed: str) -> None:
    """A sync of one file may not help alone: the others that were owed before the later change are tried with it."""
    changes = missing(
        *((2, each) for each in (names(".", "sst made"), data("sst"), data("index"), survived, data("x")))
    )
    cause = cause_of(changes[1:2], 2, "0", survived=changes[3:4], unsynced=changes)
    spared = ("./",) if changed else ("./", "index")
    assert cause.together == Suspect(
        f"no fsync of sst before {what}; nor of {' and '.join(spared)}, which this crash spared",
        Remedy(before, ("sst", *spared), changed),
    )


@pytest.mark.parametrize("kept", [names(".", "new made"), names(".", "a becomes b"), data("log"), data("gone", "")])
def test_a_survivor_that_takes_nothing_away(kept: Named) -> None:
    """A name that came takes nothing away, so no sync before it is suspected; nor before a change of the same file."""
    changes = missing((2, data("log")), (2, kept))
    assert cause_of(changes[:1], 2, "0", survived=changes[1:]).suspects == ()


def test_a_removal_before_the_loss() -> None:
    """Only changes before the removal had to be durable before it."""
    changes = missing((2, data("sst")), (2, REMOVED), (2, data("new")))
    cause = cause_of([changes[0], changes[2]], 2, "0", survived=changes[1:2])
    assert [suspect.remedy.paths for suspect in cause.suspects] == [("sst",)]


def test_a_torn_write() -> None:
    """A write that was not acknowledged and is there in part is torn; no sync helps, so none is suspected."""
    cause = cause_of(missing((2, data("db"))), 2, "0", torn=[data("db")])
    assert cause.cause == "a torn write: only a part of it reached the disk: db, bytes 0 to 7"
    assert not cause.every
    assert "checksum" in cause.because
    acked = cause_of(missing((1, data("db"))), 2, "0", torn=[data("db")])
    assert acked.cause.startswith("no fsync of db")


@pytest.mark.parametrize(
    ("unsynced", "grew"),
    [
        ([size("log"), data("log")], True),
        ([size("other"), data("log")], False),
        ([data("log")], False),
    ],
)
def test_a_size_without_content(unsynced: list[Named], grew: bool) -> None:
    """A file that kept its new size and lost its new bytes has zeros there."""
    could = missing(*((2, each) for each in unsynced))
    cause = cause_of(could[-1:], 2, "0", unsynced=could)
    assert (cause.cause == "log grew without its content: log, bytes 0 to 7, were lost and read as zeros") is grew
