"""Folders and promises that are equal but for what differs in passing: random temporary names, process ids, nonces.

Several undisturbed runs of one workload are looked at before the same step. A difference among them says nothing of a crash.
A folder that a killed process left agrees with the one shown if it differs from it only there:

    names       a name that is another one in another run may be a third one here, if it begins and ends as those do. Names that
                are in some runs only may be missing
    entries     permissions, owner, attributes, content, or the target of a link may differ where they differ among the runs;
                of a file, only those bytes or words (`masks`), or, if contents are compared by their form only, all of it
    one file    the same names are one file, unless that differs among the runs
    promises    the same number of attempts and acknowledgements, in the same order; items may differ where they differ there.
                Items that were there before, such as those that a second life begins with, count as the contract counts them:
                most do not count their order

Everything else has to be equal, so that a difference that the kill made shows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from crashmatrix.scenarios.judging.second_recovery import same_items
from crashmatrix.scenarios.judging.snapshots.tree import DIRECTORY, FILE, LINK, ROOT, Entry, Tree
from crashmatrix.scenarios.kill.masks import alike, of_one_form, shared_start
from crashmatrix.scenarios.target.contract import Contract
from crashmatrix.scenarios.target.journal import Promises, item_key

__all__ = ["difference", "same_promises"]

Entries = Mapping[str, Entry]
_Compared = Callable[[bytes, bytes, Sequence[bytes]], bool]
"""Whether a content may stand for the one shown, since others vary."""

Pairs = dict[str, str]
"""Paths of the folder shown, each with the path in another folder that stands in its place."""


def same_promises(left: Promises, shown: Promises, others: Sequence[Promises], contract: Contract) -> bool:
    """Whether promises are those shown but for what differs among those shown and the others."""
    kinds = [[event.kind for event in each.events] for each in (shown, *others)]
    if any(each != kinds[0] for each in kinds):
        return True
    if [event.kind for event in left.events] != kinds[0] or not same_items(shown.initial, left.initial, contract):
        return False
    return all(
        item_key(event.item) == item_key(one.item)
        or any(item_key(other.events[at].item) != item_key(one.item) for other in others)
        for at, (event, one) in enumerate(zip(left.events, shown.events, strict=True))
    )


def difference(
    left: Tree, shown: Tree, others: Sequence[Tree], content: Callable[[str], bytes], by_form: bool = False
) -> str:
    """Return the first path at which a folder differs from the one shown, otherwise than in passing; empty if none.

    Args:
        content: the content of a file, by its digest.
        by_form: whether files whose contents vary among the runs need only have the form of these.
    """
    if left.digest == shown.digest:
        return ""
    if left.unusable or shown.unusable or not others:
        return (left.difference(shown) or [ROOT])[0] or ROOT
    compared = of_one_form if by_form else alike
    return _Comparison(left, shown, [other for other in others if not other.unusable], content, compared).first()


@dataclass
class _Other:
    """An undisturbed run's folder, and which of its paths stand for those shown."""

    entries: Entries
    pairs: Pairs


class _Comparison:
    def __init__(
        self, left: Tree, shown: Tree, others: Sequence[Tree], content: Callable[[str], bytes], compared: _Compared
    ) -> None:
        self._compared = compared
        self._left, self._shown, self._content = dict(left.entries), dict(shown.entries), content
        self._others = [_paired(self._shown, dict(other.entries)) for other in others]
        self._names, self._names_shown = _by_folder(self._left), _by_folder(self._shown)
        self._pairs: Pairs = {}

    def first(self) -> str:
        """The first difference, or an empty string."""
        if (ROOT in self._left) != (ROOT in self._shown):
            return ROOT
        wrong = [*self._folder("", ""), *([] if self._same(ROOT, ROOT) else [ROOT])]
        if not wrong and self._linked() != self._linked_as_shown():
            wrong = [path for path, entry in sorted(self._left.items()) if entry.same] or [ROOT]
        return min(wrong, default="")

    def _folder(self, shown: str, left: str) -> Iterator[str]:
        """Pair what is in two folders; yield the paths without a partner. A path "" is the root's."""
        theirs = self._names_shown.get(shown, [])
        free = set(self._names.get(left, []))
        wanted = []
        for path in theirs:
            here = left + path[len(shown) :]
            if here in free and self._fixed(path):
                free.discard(here)
                yield from self._pair(path, here)
            else:
                wanted.append(path)
        for path in wanted:
            found = next((here for here in sorted(free) if self._fits(path, here) and self._same(path, here)), None)
            if found is not None:
                free.discard(found)
                yield from self._pair(path, found)
            elif self._always(path):
                yield path
        yield from (here for here in free if not self._comes_and_goes(shown, here))

    def _pair(self, shown: str, left: str) -> Iterator[str]:
        self._pairs[shown] = left
        if not self._same(shown, left):
            yield left
        elif self._shown[shown].kind == DIRECTORY:
            yield from self._folder(f"{shown}/", f"{left}/")

    def _fixed(self, path: str) -> bool:
        """Whether a path is the same in all undisturbed runs."""
        return all(_name(other.pairs.get(path, "")) == _name(path) for other in self._others)

    def _always(self, path: str) -> bool:
        return all(path in other.pairs for other in self._others)

    def _fits(self, path: str, here: str) -> bool:
        """Whether a name has the parts that its partner's names share in all undisturbed runs."""
        names = [_name(path), *(_name(other.pairs[path]) for other in self._others if path in other.pairs)]
        before, after = _shared(names)
        name = _name(here)
        return len(name) >= len(before) + len(after) and name.startswith(before) and name.endswith(after)

    def _comes_and_goes(self, folder: str, here: str) -> bool:
        """Whether a name is in another run, without a partner in the one shown."""
        return any(
            folder + _name(here) in other.entries and folder + _name(here) not in other.pairs.values()
            for other in self._others
        )

    def _same(self, shown: str, left: str) -> bool:
        """Whether two entries are equal but for what varies."""
        mine, one = self._left[left], self._shown[shown]
        others = [other.entries[other.pairs[shown]] for other in self._others if shown in other.pairs]
        return (
            mine.kind == one.kind
            and _may_be(mine.mode, one.mode, [other.mode for other in others])
            and _may_be(mine.owner, one.owner, [other.owner for other in others])
            and self._same_attributes(mine, one, others)
            and self._same_content(mine, one, others)
        )

    def _same_attributes(self, mine: Entry, one: Entry, others: Sequence[Entry]) -> bool:
        values = [dict(each.attributes) for each in others]
        here, there = dict(mine.attributes), dict(one.attributes)
        return all(
            _may_be(here.get(name), there.get(name), [each.get(name) for each in values])
            for name in here.keys() | there.keys()
        )

    def _same_content(self, mine: Entry, one: Entry, others: Sequence[Entry]) -> bool:
        if mine.content == one.content:
            return True
        if one.kind == FILE:
            return self._compared(
                self._content(mine.content),
                self._content(one.content),
                [self._content(each.content) for each in others],
            )
        return one.kind == LINK and alike(_bytes(mine), _bytes(one), [_bytes(each) for each in others])

    def _linked(self) -> set[frozenset[str]]:
        back = {left: shown for shown, left in self._pairs.items()}
        return _groups(self._left, back)

    def _linked_as_shown(self) -> set[frozenset[str]]:
        as_shown = _groups(self._shown, {path: path for path in self._pairs})
        others = [
            _groups(other.entries, {there: path for path, there in other.pairs.items()}) for other in self._others
        ]
        return as_shown if all(each == as_shown for each in others) else self._linked()


def _may_be(mine: object, one: object, others: Iterable[object]) -> bool:
    return mine == one or any(other != one for other in others)


def _bytes(entry: Entry) -> bytes:
    return os.fsencode(entry.content)


def _groups(entries: Entries, names: Mapping[str, str]) -> set[frozenset[str]]:
    """The names of each file that has several, called by other names; those that have none are left out."""
    groups: dict[str, set[str]] = {}
    for path, entry in entries.items():
        if path in names:
            groups.setdefault(entry.same or path, set()).add(names[path])
    return {frozenset(group) for group in groups.values() if len(group) > 1}


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _by_folder(entries: Entries) -> dict[str, list[str]]:
    """The paths in each folder, which ends in a slash, but for the folder under test."""
    found: dict[str, list[str]] = {}
    for path in entries:
        if path != ROOT:
            found.setdefault(path[: len(path) - len(_name(path))], []).append(path)
    return found


def _shared(names: Sequence[str]) -> tuple[str, str]:
    """How names begin and end, all of them."""
    before = shared_start(names)
    rest = [name[before:][::-1] for name in names]
    return names[0][:before], rest[0][: shared_start(rest)][::-1]


def _paired(shown: Entries, other: Entries) -> _Other:
    """Find for each path shown the one in another run that stands in its place: of the same name, or else the most alike."""
    pairs: Pairs = {ROOT: ROOT} if ROOT in shown and ROOT in other else {}
    theirs, folders = _by_folder(other), [("", "")]
    ours = _by_folder(shown)
    while folders:
        here, there = folders.pop()
        mine, free = ours.get(here, []), set(theirs.get(there, []))
        same = {path: there + _name(path) for path in mine if there + _name(path) in free}
        found = {path: place for path, place in same.items() if shown[path].kind == other[place].kind}
        free -= set(found.values())
        for path in mine:
            if path not in found and (like := _most_alike(path, shown[path], sorted(free), other)):
                found[path] = like
                free.discard(like)
        pairs.update(found)
        folders += [(f"{path}/", f"{place}/") for path, place in found.items() if shown[path].kind == DIRECTORY]
    return _Other(other, pairs)


def _most_alike(path: str, entry: Entry, places: Sequence[str], other: Entries) -> str:
    def likeness(place: str) -> tuple[bool, bool, int]:
        there = other[place]
        before, after = _shared([_name(path), _name(place)])
        return there.content == entry.content, there.mode == entry.mode, len(before) + len(after)

    return max((place for place in places if other[place].kind == entry.kind), key=likeness, default="")
