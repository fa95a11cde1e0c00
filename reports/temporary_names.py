"""Random names written as one name: ``tmp0qpowh5k becomes db.json`` is ``tmp* becomes db.json``, in every run.

A name is random if a part of it looks as libraries make them:

    tmpk3j2h1g_, db.json.k3j2h1g_   Python's tempfile: eight of a-z, 0-9 and _; Mercurial's .db.json-k3j2h1g_~
    .tmpXy12Ab, db.Xy12Ab           mkstemp(3), Rust's tempfile: six letters and digits
    tmp3847562910, db-3847562910    Go's os.CreateTemp: a number of nine digits or more
    part-0-5d1c...b1e2.parquet      UUIDs; digests of eight digits or more; longer words of letters and digits

Ordinals are not (`000006.sst`, `segment1`, `v2`): a random part has a digit before a letter, or a small letter before a capital.
If one name of a text shows that, others that begin and end alike are random, too. Text in double quotes is an item, and stays.

Numbers in names may be times, which differ between two runs as well. `paired_names` finds the same file in both.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

__all__ = ["TemporaryNames", "as_pattern", "paired_names", "translated"]

T = TypeVar("T")

_QUOTED = re.compile(r'("(?:[^"\\\n]|\\.)*")')
_WORD = re.compile(r"[\w.~+-]+")
_ENDS = r"(?![^\W_])"
_UUID = re.compile(rf"(?<![0-9a-f])[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}{_ENDS}")
_AFTER = r"(?:(?<=[._~+-])|(?<=\btmp)|(?<=[._~+-]tmp))"
_PARTS = [
    re.compile(r"(?:(?<=[.~+-])|(?<=\btmp)|(?<=[._~+-]tmp))[a-z0-9_]{8}(?!\w)"),
    re.compile(rf"{_AFTER}[A-Za-z0-9]{{6}}{_ENDS}"),
    re.compile(rf"(?:{_AFTER}|(?<=[a-z]))[1-9][0-9]{{8,}}{_ENDS}"),
    re.compile(rf"{_AFTER}(?!00)(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{{8,}}{_ENDS}"),
    re.compile(rf"{_AFTER}[A-Za-z0-9]{{10,}}{_ENDS}"),
]
_BY_PYTHON = re.compile(r"tmp[a-z0-9_]{8}|\.[\w.+-]+-[a-z0-9_]{8}(?=~)")
"""A part that is random whatever its letters: ``tempfile``'s own prefix, or Mercurial's name for what replaces a file."""
_MIXED = re.compile(r"[0-9](?=[A-Za-z_])|[a-z](?=[A-Z])")
_MIXED_OFTEN = 3
_LONG = 10
_LONG_PART = re.compile(rf"{_UUID.pattern}|[0-9a-fA-F]{{8,}}")
_NUMBER = re.compile(r"[0-9a-fA-F]*[0-9][0-9a-fA-F]*")


@dataclass
class TemporaryNames:
    """The random names of some texts."""

    texts: Iterable[str] = ()
    _known: set[tuple[str, int, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        for text in self.texts:
            for word in _words(text):
                self._known.update(_shape(word, part) for part in _candidates(word) if _is_random(word, part))

    def as_one(self, text: str) -> str:
        """Return a text in which each random part of a name is a ``*``."""
        pieces = _QUOTED.split(text)
        return "".join(
            piece if number % 2 else _WORD.sub(lambda word: self._one(word[0]), piece)
            for number, piece in enumerate(pieces)
        )

    def _one(self, word: str) -> str:
        word = _UUID.sub("*", word)
        for part in _candidates(word):
            if _is_random(word, part) or _shape(word, part) in self._known:
                return self._one(word[: part.start()] + "*" + word[part.end() :])
        return word


def as_pattern(name: str) -> str:
    """Return a name, its random parts as ``*``."""
    return TemporaryNames().as_one(name)


def paired_names(theirs: Mapping[str, bytes], mine: Mapping[str, bytes]) -> dict[str, str] | None:
    """Return the parts of paths that differ between two runs, each with its like; None if the runs have other files.

    Paths are alike but for random parts, and runs of digits or hexadecimal digits. Those that are alike in one folder, or else
    anywhere, are paired by content; by a random part that others have, too, as the files of one segment do; or in the order of
    their names, if that is the order in which they were made.

    Args:
        theirs: the other run's paths with their content, in the order in which the files were made.
        mine: the paths of this run.
    """
    left, here = (
        dict.fromkeys(path for path in theirs if path not in mine),
        [path for path in mine if path not in theirs],
    )
    if Counter(map(_loose, left)) != Counter(map(_loose, here)):
        return None
    pairs: dict[str, str] = {}
    for alike in (_loose_in_folder, _loose):
        groups: dict[object, tuple[dict[str, bytes], dict[str, bytes]]] = defaultdict(lambda: ({}, {}))
        for path in left:
            groups[alike(path)][0][path] = theirs[path]
        for path in here:
            groups[alike(path)][1][path] = mine[path]
        for paired in (_of_one_content, _in_order):
            for some, others in groups.values():
                pairs |= paired(_without(some, pairs), _without(others, pairs.values()))
            pairs |= _of_one_part(pairs, left, here)
        left, here = dict.fromkeys(_without(left, pairs)), list(_without(dict.fromkeys(here), pairs.values()))
    if any(as_pattern(path) == path for path in left):
        return None
    parts = {part for path, other in pairs.items() for part in zip(path.split("/"), other.split("/"), strict=True)}
    several = Counter(part for part, _ in parts)
    return {part: other for part, other in parts if part != other and several[part] == 1}


def translated(path: str, names: Mapping[str, str]) -> str:
    """Return a path of another run as this run has it, by `paired_names`."""
    return "/".join(names.get(part, part) for part in path.split("/"))


def _without(paths: Mapping[str, T], some: Iterable[str]) -> dict[str, T]:
    left_out = set(some)
    return {path: value for path, value in paths.items() if path not in left_out}


def _of_one_content(theirs: Mapping[str, bytes], mine: Mapping[str, bytes]) -> dict[str, str]:
    """Pair paths by a content that only one has in each run; none if the runs have not as many of them."""
    if len(theirs) != len(mine):
        return {}
    counts = [Counter(files.values()) for files in (theirs, mine)]
    alone = {content for content in theirs.values() if content and all(count[content] == 1 for count in counts)}
    of_content = {content: path for path, content in mine.items()}
    return {path: of_content[content] for path, content in theirs.items() if content in alone}


def _of_one_part(pairs: Mapping[str, str], theirs: Iterable[str], mine: Iterable[str]) -> dict[str, str]:
    """Pair paths with a random part that paths known to be pairs have: ``7b16.term`` goes with ``9c86.term`` as ``.idx`` does."""
    parts: dict[str, set[str]] = defaultdict(set)
    for path, other in pairs.items():
        some, others = _LONG_PART.findall(path), _LONG_PART.findall(other)
        if len(some) == len(others):
            for part, another in zip(some, others, strict=True):
                parts[part].add(another)
    known = {part: likes.pop() for part, likes in parts.items() if len(likes) == 1}
    free, found = {*mine} - {*pairs.values()}, dict[str, str]()
    for path in theirs:
        other = _LONG_PART.sub(lambda part: known.get(part[0], part[0]), path)
        if path not in pairs and other in free:
            found[path] = other
            free.remove(other)
    return found


def _in_order(theirs: Mapping[str, bytes], mine: Mapping[str, bytes]) -> dict[str, str]:
    """Pair paths by the order of their names, if that is the order in which they were made."""
    if len(theirs) != len(mine) or sorted(theirs, key=_numbers) != list(theirs):
        return {}
    return dict(zip(theirs, sorted(mine, key=_numbers), strict=True))


def _numbers(path: str) -> list[tuple[int, str]]:
    """A key that sorts paths by the numbers in them, decimal or hexadecimal."""
    return [(len(part), part) for part in re.split(r"(\W)", path)]


def _loose(path: str) -> str:
    """A path without its random parts and numbers."""
    return _NUMBER.sub("*", as_pattern(path))


def _loose_in_folder(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{_loose(name)}"


def _words(text: str) -> Iterator[str]:
    for piece in _QUOTED.split(text)[::2]:
        yield from _WORD.findall(piece)


def _candidates(word: str) -> list[re.Match[str]]:
    return [match for part in _PARTS for match in part.finditer(word)]


def _is_by_python(word: str, part: re.Match[str]) -> bool:
    found = _BY_PYTHON.match(word)
    return found is not None and found.end() == part.end()


def _is_random(word: str, part: re.Match[str]) -> bool:
    text = part[0]
    if text.isdigit():
        return len(text) >= 9
    if part.re is _PARTS[0] and _is_by_python(word, part):
        return True
    if part.re is _PARTS[3]:
        return True
    return len(_MIXED.findall(text)) >= (_MIXED_OFTEN if len(text) >= _LONG else 1)


def _shape(word: str, part: re.Match[str]) -> tuple[str, int, str]:
    return word[: part.start()], len(part[0]), word[part.end() :]
