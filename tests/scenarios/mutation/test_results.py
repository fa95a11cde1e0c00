"""The file of results."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crashmatrix.reports import ReportError
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.mutation.mutant import SourceMutant, mutants_of
from crashmatrix.scenarios.mutation.results import Kind, Outcome, ResultsFile, Tried, claim, equivalents
from crashmatrix.scenarios.mutation.survivors import report


@pytest.fixture
def mutant(tmp_path: Path) -> SourceMutant:
    path = tmp_path / "store.py"
    path.write_text("def f(fd):\n    sync(fd)\n")
    return mutants_of(path, "store.py")[0]


def test_a_result_is_found_again(tmp_path: Path, mutant: SourceMutant) -> None:
    """It counts for the same text with the same settings only."""
    results = tmp_path / "results.jsonl"
    added = ResultsFile(results, "a").add(mutant, {"harness": Outcome("broken", "kill:x@1")})
    assert ResultsFile(results, "a").of(mutant) == added
    assert ResultsFile(results, "b").of(mutant) is None
    mutant.path.write_text("def f(fd):\n    sync(fd)\n    g(fd)\n")
    assert ResultsFile(results, "a").of(mutant) is None


def test_a_torn_line_is_dropped(tmp_path: Path, mutant: SourceMutant) -> None:
    """The run died in the middle of a line: the others hold, and the next line is whole."""
    results = tmp_path / "results.jsonl"
    ResultsFile(results, "a").add(mutant, {"harness": Outcome("broken")})
    whole = results.read_bytes()
    results.write_bytes(whole + whole[:20])
    again = ResultsFile(results, "a")
    assert again.of(mutant) is not None
    again.add(mutant, {"harness": Outcome("survived")})
    assert results.read_bytes().count(b"\n") == 2
    found = ResultsFile(results, "a").of(mutant)
    assert found is not None and found.outcomes["harness"].kind == "survived"


@pytest.mark.parametrize(
    ("text", "said"), [("precious\n", "line 1"), ("precious data", "not a file of results"), ('{"a": 1}', "not a file")]
)
def test_another_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """A file of something else is neither appended to nor cut, whether or not its last line has an end."""
    results = tmp_path / "results.jsonl"
    results.write_text(text)
    with pytest.raises(UsageError, match=said):
        ResultsFile(results, "a")
    assert results.read_text() == text


def test_a_first_line_that_is_torn(tmp_path: Path, mutant: SourceMutant) -> None:
    """It is known as ours by how it begins."""
    results = tmp_path / "results.jsonl"
    added = ResultsFile(results, "a").add(mutant, {"harness": Outcome("broken")})
    results.write_bytes(results.read_bytes()[:30])
    again = ResultsFile(results, "a")
    assert again.of(mutant) is None
    again.add(mutant, added.outcomes)
    assert ResultsFile(results, "a").of(mutant) == added


def test_nothing_is_written_through_links(tmp_path: Path, mutant: SourceMutant) -> None:
    """Neither a link nor a second name of a file elsewhere is written to, and a link is not read."""
    other, results = tmp_path / "elsewhere", tmp_path / "out" / "results.jsonl"
    results.parent.mkdir()
    ResultsFile(other, "a").add(mutant, {"harness": Outcome("broken")})
    before = other.read_bytes()
    results.symlink_to(other)
    with pytest.raises(UsageError, match="symbolic link"):
        ResultsFile(results, "a")
    results.unlink()
    results.hardlink_to(other)
    with pytest.raises(OSError, match="not a file of its own"):
        ResultsFile(results, "a").add(mutant, {"harness": Outcome("survived")})
    assert other.read_bytes() == before


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder, other: folder.symlink_to(other.parent), "symbolic link"),
        (lambda folder, other: linked(folder, "survivors.md").symlink_to(other), "survivors.md is a symbolic link"),
        (lambda folder, other: linked(folder, "results.jsonl").symlink_to(other), "results.jsonl is a symbolic link"),
        (lambda folder, other: linked(folder, "results.jsonl").hardlink_to(other), "not a file of its own"),
        (
            lambda folder, other: linked(folder, "survivors.md").write_text("# Survivors"),
            "another program's survivors.md",
        ),
        (lambda folder, other: folder.write_text(""), "name another directory"),
    ],
)
def test_directories_that_are_refused(tmp_path: Path, make: Callable[[Path, Path], object], said: str) -> None:
    """A directory is refused before a run if its results or their report could not be written, or are another's."""
    other = tmp_path / "elsewhere" / "precious"
    linked(other.parent, "precious").write_text("x")
    make(tmp_path / "out", other)
    with pytest.raises((UsageError, ReportError), match=said):
        claim(tmp_path / "out")
    assert other.read_text() == "x"


def linked(folder: Path, name: str) -> Path:
    folder.mkdir()
    return folder / name


def test_a_directory_of_ours(tmp_path: Path, mutant: SourceMutant) -> None:
    """It is made, or taken again; its other files stay."""
    directory = tmp_path / "above" / "out"
    for _ in range(2):
        claim(directory)
        ResultsFile(directory / "results.jsonl", "a").add(mutant, {"harness": Outcome("broken")})
        (directory / "survivors.md").write_text(report("store.py:Store", [], {}, {}, ""))
        (directory / "equivalent.toml").touch()


@pytest.mark.parametrize(
    ("first", "second", "killed", "decided"),
    [
        ("broken", "survived", True, True),
        ("survived", "failed", True, True),
        ("survived", "survived", False, True),
        ("unreached", "unloaded", False, True),
        ("error", "survived", False, False),
        ("error", "timeout", True, True),
    ],
)
def test_two_judges(first: Kind, second: Kind, killed: bool, decided: bool) -> None:
    """One that notices a bug is enough; one that failed leaves it open."""
    tried = Tried("id", "text", "settings", {"harness": Outcome(first), "tests": Outcome(second)})
    both = ["harness", "tests"]
    assert (tried.killed_by(both), tried.decided(both)) == (killed, decided)


def test_equivalents(tmp_path: Path) -> None:
    """Each mutant that a person excuses has a reason."""
    path = tmp_path / "equivalent.toml"
    path.write_text('[[equivalent]]\nmutant = "a"\nreason = "b"\n')
    assert equivalents(path) == {"a": "b"}
    for wrong in (
        '[[equivalent]]\nmutant = "a"\n',
        '[[equivalent]]\nmutant = "a"\nreason = " "\n',
        "[",
        "equivalent = 1",
    ):
        path.write_text(wrong)
        with pytest.raises(UsageError):
            equivalents(path)
