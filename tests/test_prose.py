"""Plain English wherever a person reads: guides, docstrings, comments, messages. The words below have simpler ones."""

import functools
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT

INSTEAD = {
    r"mend(s|ed|ing)?": "fix, repair",
    r"(un)?born": "made, created",
    r"bear(s|ing)?": "hold, support",
    r"told": "said, acknowledged",
    r"ask(s|ed|ing)?": "request, call, query",
    r"foret\w+": "predict",
    r"hunt(s|ed|ing)?": "search, test",
    r"stor(y|ies)": "explanation",
    r"albums?": "snapshot store",
    r"photograph\w*": "snapshot",
    r"by the book": "the standard way",
    r"for good": "for ever, permanently",
    r"all that": "everything that, all X that",
    r"as one would": "as expected",
    r"whoever": "who, a reader, a caller",
    r"(?<!there )is no(?! longer)": "is not a",
    r"kill score": "mutation score",
}
"""Patterns of words, in any case, and what to write instead. "There is no ..." and "is no longer" are ordinary English."""

OPENINGS = ("Of ", "What ", "Whatever ", "Whoever ", "However ", "That ")
"""No sentence begins so: name the thing."""

WIDTH = 100
"""The column at which the prose of a guide wraps; tables, code and links may be longer."""

_WORDS = re.compile(rf"(?<![\w`'./:~-])({'|'.join(INSTEAD)})(?![\w`'/:~-]|\.\w)", re.IGNORECASE)
_OPENING = re.compile(rf"(?:^[ *>-]*|[.!?:][)*_]* |[(])({'|'.join(OPENINGS)})", re.MULTILINE)
_CODE = re.compile(r"```.*?```|``[^`]*``|`[^`]*`|^(?: {4}|\t)[^\n]*$", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r'(?<!")"\w+"(?!")')
"""One quoted word is a name: `photograph` and `foretell` were words of report format 1, which is still read."""


def _listed(*patterns: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if name != "tests/test_prose.py"]


GUIDES = _listed("*.md")
MODULES = _listed("*.py")
OTHERS = _listed(
    "*.toml", "*.yml", "*.yaml", "Makefile", ".ci/*", "*.py.txt", "*.toml.txt", "*.html", "*.js", "*.css", "*.c"
)


def prose_of(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each docstring, message and comment of a module."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if tokenize.tok_name[token.type] in ("STRING", "COMMENT", "FSTRING_MIDDLE"):
            yield token.start[0], _NAME.sub("", token.string)


def wrong_words(text: str) -> list[str]:
    return [f"{found[0]!r}: write {_instead(found[0])}" for found in _WORDS.finditer(text)]


def _instead(word: str) -> str:
    return next(instead for words, instead in INSTEAD.items() if re.fullmatch(words, word, re.IGNORECASE))


def none(wrong: list[str]) -> None:
    """Name every place at once: each rule is one test of all files, since a test costs more than what it looks at."""
    assert not wrong, "\n".join(wrong)


def wrong_openings(text: str) -> list[str]:
    return [f"{found!r} begins a sentence" for found in _OPENING.findall(text)]


@functools.cache
def prose_of_modules() -> list[tuple[str, str]]:
    """Return each place in a module where prose stands, and the prose."""
    return [(f"{name}:{line}", text) for name in MODULES for line, text in prose_of((ROOT / name).read_text())]


@functools.cache
def prose_of_guides() -> list[tuple[str, str]]:
    """Return each guide's name, and its text without code."""
    return [(name, _CODE.sub("", (ROOT / name).read_text())) for name in GUIDES]


@pytest.mark.lengthy
def test_words_of_modules() -> None:
    """Docstrings, comments and messages use plain words."""
    none([f"{place}: {wrong}" for place, text in prose_of_modules() for wrong in wrong_words(text)])


def test_openings_of_modules() -> None:
    """Sentences of docstrings and comments begin with their subject."""
    prose = [(place, text.strip('# "')) for place, text in prose_of_modules()]
    none([f"{place}: {wrong}" for place, text in prose for wrong in wrong_openings(text)])


def test_words_of_guides() -> None:
    """Guides use plain words."""
    none([f"{name}: {wrong}" for name, text in prose_of_guides() for wrong in wrong_words(text)])


def test_openings_of_guides() -> None:
    """Sentences of guides begin with their subject."""
    none([f"{name}: {wrong}" for name, text in prose_of_guides() for wrong in wrong_openings(text)])


def test_words_of_other_files() -> None:
    """Templates, pages, settings and scripts use plain words."""
    none([f"{name}: {wrong}" for name in OTHERS for wrong in wrong_words((ROOT / name).read_text())])


def too_wide(name: str) -> list[str]:
    """Return the lines of a guide's prose that are too long."""
    text = re.sub(r"```.*?```", "", (ROOT / name).read_text(), flags=re.DOTALL)
    prose = [line for line in text.splitlines() if not line.startswith(("|", "    ", "#")) and " " in line.strip()]
    return [line for line in prose if len(line) > WIDTH and "](" not in line]


def test_width_of_guides() -> None:
    """Prose wraps, so that a change shows in few lines."""
    none([f"{name}: {line}" for name in GUIDES for line in too_wide(name)])


@pytest.mark.parametrize(
    "text",
    ["Of two", "Done. That is", "- **What was lost** is", "(What it says)", "One. (Two.) Of them", "so:\nWhat it does"],
)
def test_openings_are_found(text: str) -> None:
    """A sentence begins a line, a list item or a parenthesis, or follows a full stop."""
    assert len(_OPENING.findall(text)) == 1
    assert _OPENING.findall(f"The word: {text.lower()}") == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("It was mended.", 1),
        ("Mends it; nobody asked.", 2),
        ("modelardb:mended, `mend` and recommend", 0),
        ("a history of stories", 1),
        ("this is no place; is not one", 1),
        ("is normal, is now", 0),
        ("There is no place; it is no longer there.", 0),
    ],
)
def test_the_rule_itself(text: str, wrong: int) -> None:
    """The rule finds words, not parts of words or code."""
    assert len(wrong_words(text)) == wrong


def test_the_rule_reads_every_kind_of_prose() -> None:
    """Docstring, comment and message are each read."""
    source = '"""It is mended."""\nX = f"asked {1}"  # told\nY = "mend it", "foretell"\n'
    assert sum(len(wrong_words(text)) for _, text in prose_of(source)) == 4
    assert Path(ROOT / "README.md").name in GUIDES
