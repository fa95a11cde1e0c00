"""The file of results."""

from pathlib import Path

import pytest

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.mutation.mutant import SourceMutant, mutants_of
from crashmatrix.scenarios.mutation.results import Kind, Outcome, ResultsFile, Tried, equivalents


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


def test_another_file_is_refused(tmp_path: Path) -> None:
    """A file of something else is not appended to."""
    (tmp_path / "results.jsonl").write_text("precious\n")
    with pytest.raises(UsageError, match="line 1"):
        ResultsFile(tmp_path / "results.jsonl", "a")


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
