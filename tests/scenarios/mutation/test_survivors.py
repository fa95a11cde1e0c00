"""The report of a mutation run."""

from pathlib import Path

import pytest

from crashmatrix.scenarios.mutation.mutant import SourceMutant, mutants_of
from crashmatrix.scenarios.mutation.results import Kind, Outcome, Tried
from crashmatrix.scenarios.mutation.survivors import additions, report, scores, survivors, table

KINDS: list[Kind] = ["broken", "unreached", "survived", "error", "unreached"]


@pytest.fixture
def mutants(tmp_path: Path) -> list[SourceMutant]:
    path = tmp_path / "store.py"
    path.write_text("def f(fd):\n    a(fd)\n    b(fd)\n    c(fd)\n    d(fd)\n    e(fd)\n    sync(fd)\n")
    return [mutant for mutant in mutants_of(path, "store.py") if mutant.operator == "drop-call"]


def tried(mutants: list[SourceMutant]) -> dict[str, Tried]:
    return {
        mutant.id: Tried(mutant.id, "", "", {"harness": Outcome(kind, about="no room")})
        for mutant, kind in zip(mutants, KINDS, strict=True)
    }


def test_scores(mutants: list[SourceMutant]) -> None:
    """Equivalent and undecided mutants do not count."""
    score = scores(mutants, tried(mutants), {}, ["harness"])[""]
    assert (score.killed, score.counted, score.undecided, str(score)) == (1, 4, 1, "1 of 4 (25 %)")
    excused = scores(mutants, tried(mutants), {mutants[2].id: "why"}, ["harness"])[""]
    assert (excused.killed, excused.counted, excused.equivalent) == (1, 3, 1)


def test_a_known_equivalent_that_is_killed_counts_as_killed(mutants: list[SourceMutant]) -> None:
    """A wrong argument does not hide a bug that was found."""
    score = scores(mutants, tried(mutants), {mutants[0].id: "why"}, ["harness"])[""]
    assert (score.killed, score.equivalent) == (1, 0)


def test_survivors_and_additions(mutants: list[SourceMutant]) -> None:
    """A bug that is never executed needs a workload, one that is executed needs a better look."""
    missed = survivors(mutants, tried(mutants), {}, ["harness"])
    assert missed == [mutants[1], mutants[2], mutants[4]]
    assert additions(missed, tried(mutants), "harness") == [
        "2 bugs: reach f in store.py, line 3, 6: never executed",
        "1 bug: look at what the call is for, after every step (missed: a call is not made)",
    ]


def test_the_report_leads_with_what_to_add(mutants: list[SourceMutant]) -> None:
    """The first words say how many bugs are missed, the next ones what to do."""
    text = report("s.py:S", mutants, tried(mutants), {mutants[0].id: "why"}, "Sample: all.")
    assert text.startswith("# The harness of s.py:S misses 3 bugs\n\n## Add to the workload\n\n- 2 bugs: ")
    assert "-    b(fd)\n+    pass" in text
    assert f"- `{mutants[3].id}`: no room" in text


def test_table(mutants: list[SourceMutant]) -> None:
    """One row for each key, a dash where nothing counts."""
    column = scores(mutants, tried(mutants), {}, ["harness"], lambda mutant: mutant.module)
    shown = table("module", {"harness": column, "tests": {}})
    assert shown.splitlines()[2] == "| store.py | 1 of 4 (25 %) | - |"
