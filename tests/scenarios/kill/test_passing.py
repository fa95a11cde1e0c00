"""Folders agree if they differ only where undisturbed runs differ, too; a difference that a kill made shows."""

from __future__ import annotations

import pytest

from crashmatrix.scenarios.judging.snapshots.tree import ROOT, Entry, Tree, joined
from crashmatrix.scenarios.kill.passing import difference, same_promises
from crashmatrix.scenarios.target.contract import ExactlyOnce, contract_named
from crashmatrix.scenarios.target.journal import Promises

Folder = dict[str, str | Entry]
"""Name to content, or to the entry; the content of a directory is "/"."""


def tree(folder: Folder, *linked: tuple[str, ...]) -> Tree:
    entries = [(ROOT, Entry("directory", 0o755))]
    for name, what in folder.items():
        plain = Entry("directory", 0o755) if what == "/" else Entry("file", 0o644, str(what))
        entries.append((name, what if isinstance(what, Entry) else plain))
    return joined(entries, linked)


def compared(left: Tree, shown: Tree, *others: Tree, by_form: bool = False) -> str:
    return difference(left, shown, others, lambda digest: digest.encode(), by_form)  # A content is its own digest.


def link(target: str) -> Entry:
    return Entry("link", 0o777, target)


def with_mode(mode: int) -> Entry:
    return Entry("file", mode, "x")


def with_attribute(value: bytes) -> Entry:
    return Entry("file", 0o644, "x", attributes=(("user.id", value),))


AGREE: dict[str, tuple[Folder, Folder, Folder]] = {
    "nothing varies": ({"a": "1"}, {"a": "1"}, {"a": "1"}),
    "a random name": ({"k": "1", "tmpab": "2"}, {"k": "1", "tmpxy": "2"}, {"k": "1", "tmpqq": "2"}),
    "several random names": ({"t-aa": "1", "t-bb": "2"}, {"t-xx": "2", "t-yy": "1"}, {"t-qq": "1", "t-rr": "2"}),
    "a random name of other length": ({"log.4.tmp": "1"}, {"log.17.tmp": "1"}, {"log.2203.tmp": "1"}),
    "a random folder": ({"d-1": "/", "d-1/f": "1"}, {"d-2": "/", "d-2/f": "1"}, {"d-3": "/", "d-3/f": "1"}),
    "a random name in a random folder": (
        {"d-1": "/", "d-1/t-a": "1"}, {"d-2": "/", "d-2/t-x": "1"}, {"d-3": "/", "d-3/t-q": "1"},
    ),
    "a pid": ({"lock": "pid 12"}, {"lock": "pid 9"}, {"lock": "pid 10"}),
    "a link to a pid": ({"lock": link("host:12")}, {"lock": link("host:9")}, {"lock": link("host:10")}),
    "a file that comes and goes": ({"a": "1"}, {"a": "1", "s": "2"}, {"a": "1"}),
    "a file that is only in another run": ({"a": "1", "s": "2"}, {"a": "1"}, {"a": "1", "s": "2"}),
    "permissions": ({"a": with_mode(0o600)}, {"a": with_mode(0o644)}, {"a": with_mode(0o640)}),
    "an attribute": ({"a": with_attribute(b"1")}, {"a": with_attribute(b"2")}, {"a": with_attribute(b"3")}),
}  # fmt: skip

DIFFER: dict[str, tuple[Folder, Folder, Folder, str]] = {
    "nothing varies": ({"a": "1"}, {"a": "2"}, {"a": "2"}, "a"),
    "a file is missing": ({"tmpab": "2"}, {"k": "1", "tmpxy": "2"}, {"k": "1", "tmpqq": "2"}, "k"),
    "the temporary file is missing": ({"k": "1"}, {"k": "1", "tmpxy": "2"}, {"k": "1", "tmpqq": "2"}, "tmpxy"),
    "a file too many": ({"k": "1", "new": "2", "tmpab": "2"}, {"k": "1", "tmpxy": "2"}, {"k": "1", "tmpqq": "2"}, "new"),
    "a temporary file too many": ({"tmpab": "2", "tmpcd": "2"}, {"tmpxy": "2"}, {"tmpqq": "2"}, "tmpcd"),
    "other content under a random name": ({"tmpab": "3"}, {"tmpxy": "2"}, {"tmpqq": "2"}, "tmpab"),
    "a random name that begins otherwise": ({"bak-1": "2"}, {"tmp-2": "2"}, {"tmp-3": "2"}, "bak-1"),
    "a fixed name is another one": ({"b": "1", "tmp-1": "2"}, {"a": "1", "tmp-2": "2"}, {"a": "1", "tmp-3": "2"}, "a"),
    "content beside what varies": ({"l": "pid 12 k=2"}, {"l": "pid 9 k=1"}, {"l": "pid 10 k=1"}, "l"),
    "content below a random folder": (
        {"d-1": "/", "d-1/f": "9"}, {"d-2": "/", "d-2/f": "1"}, {"d-3": "/", "d-3/f": "1"}, "d-1/f",
    ),
    "another kind": ({"lock": "1"}, {"lock": link("1")}, {"lock": link("2")}, "lock"),
    "permissions, while content varies": (
        {"a": Entry("file", 0o600, "1")}, {"a": Entry("file", 0o644, "2")}, {"a": Entry("file", 0o644, "3")}, "a",
    ),
    "an attribute is gone": ({"a": "x"}, {"a": with_attribute(b"2")}, {"a": with_attribute(b"2")}, "a"),
    "owner": ({"a": Entry("file", 0o644, "x", (1, 1))}, {"a": "x"}, {"a": "x"}, "a"),
}  # fmt: skip


@pytest.mark.parametrize("row", AGREE.values(), ids=AGREE)
def test_agree(row: tuple[Folder, Folder, Folder]) -> None:
    """A third value is not a difference; without the other undisturbed run it would be one."""
    left, shown, other = map(tree, row)
    assert compared(left, shown, other) == ""
    assert (compared(left, shown) == "") is (left == shown)


@pytest.mark.parametrize("row", DIFFER.values(), ids=DIFFER)
def test_differ(row: tuple[Folder, Folder, Folder, str]) -> None:
    """A real difference is found and named, however much else varies."""
    *folders, place = row
    assert compared(*map(tree, folders)) == place


FORM_ONLY = ["content beside what varies"]


@pytest.mark.parametrize("row", [DIFFER[name] for name in FORM_ONLY], ids=FORM_ONLY)
def test_a_file_that_varies_may_be_compared_by_its_form(row: tuple[Folder, Folder, Folder, str]) -> None:
    """A log is another one each time. It may differ where it did not so far, if its form is enough."""
    *folders, _ = row
    assert compared(*map(tree, folders), by_form=True) == ""


@pytest.mark.parametrize("name", [name for name in DIFFER if name not in FORM_ONLY])
def test_only_contents_that_vary_are_compared_by_their_form(name: str) -> None:
    """Names, permissions, and contents that are the same in all undisturbed runs are compared as ever."""
    *folders, place = DIFFER[name]
    assert compared(*map(tree, folders), by_form=True) == place


def test_mode_of_the_folder_itself() -> None:
    """It counts, too."""
    trees = [Tree(((ROOT, Entry("directory", mode)),)) for mode in (0o700, 0o755, 0o755)]
    assert compared(*trees) == ROOT
    assert compared(Tree(()), *trees[1:]) == ROOT


@pytest.mark.parametrize(
    ("left", "shown", "other", "place"),
    [
        ([("k", "tmpab")], [("k", "tmpxy")], [("k", "tmpqq")], ""),
        ([], [("k", "tmpxy")], [("k", "tmpqq")], ROOT),
        ([("k", "tmpab")], [], [], "tmpab"),
        ([("k", "tmpab")], [], [("k", "tmpqq")], ""),
    ],
)
def test_names_of_one_file(
    left: list[tuple[str, ...]], shown: list[tuple[str, ...]], other: list[tuple[str, ...]], place: str
) -> None:
    """Two names of one file stay that, whatever the second one is called; two equal files are something else."""
    rows = ((left, "tmpab"), (shown, "tmpxy"), (other, "tmpqq"))
    assert compared(*(tree({"k": "1", name: "1"}, *linked) for linked, name in rows)) == place


def promises(*lines: str) -> Promises:
    return Promises.parse("".join(f"{line}\n" for line in lines).encode())


@pytest.mark.parametrize(
    ("left", "shown", "other", "same"),
    [
        (["attempt 1"], ["attempt 1"], ["attempt 1"], True),
        (['attempt "x"'], ['attempt "y"'], ['attempt "z"'], True),
        (["attempt 2"], ["attempt 1"], ["attempt 1"], False),
        (["attempt 1", "ack 1"], ["attempt 1"], ["attempt 1"], False),
        (["attempt 1"], ["attempt 1", "ack 1"], ["attempt 1", "ack 1"], False),
        (['attempt ["x",1]', "attempt 3"], ['attempt ["y",1]', "attempt 2"], ['attempt ["z",1]', "attempt 2"], False),
        (["attempt 1"], ["attempt 1", "attempt 2"], ["attempt 1", "ack 1"], True),
    ],
)
def test_promises(left: list[str], shown: list[str], other: list[str], *, same: bool) -> None:
    """Items may differ where undisturbed runs differ. The number of acknowledgements may not, unless it varies as well."""
    assert same_promises(promises(*left), promises(*shown), [promises(*other)], ExactlyOnce()) is same


@pytest.mark.parametrize(
    ("contract", "left", "shown", "same"),
    [
        ("exactly-once", (1, 2), (2, 1), True),
        ("exactly-once", (1, 2), (2, 3), False),
        ("at-least-once", (1, 2, 2), (2, 1), True),
        ("prefix", (1, 2), (2, 1), False),
        ("prefix", (1, 2), (1, 2), True),
    ],
)
def test_items_from_before(contract: str, left: tuple[int, ...], shown: tuple[int, ...], *, same: bool) -> None:
    """A second life begins with what recovery returned: in another order it is the same, but for a log."""
    before, after = (Promises.parse(b"attempt 9\n", items) for items in (shown, left))
    assert same_promises(after, before, [], contract_named(contract)) is same
