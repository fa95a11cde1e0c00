"""Mutants of a module: ids, samples, diffs."""

from pathlib import Path

from crashmatrix.scenarios.mutation.mutant import mutants_of, sampled

STORE = "def put(fd):\n    write(fd)\n    sync(fd)\n\n\ndef get(a, n):\n    return a + n\n"


def test_an_id_stays_when_another_function_changes(tmp_path: Path) -> None:
    """Results and arguments about equivalence hold until the function itself changes."""
    path = tmp_path / "store.py"
    path.write_text(STORE)
    before = [mutant.id for mutant in mutants_of(path, "store.py") if mutant.function == "get"]
    path.write_text(STORE.replace("write(fd)", "write(fd)\n    write(fd)\n    x(fd)"))
    after = [mutant.id for mutant in mutants_of(path, "store.py") if mutant.function == "get"]
    assert before == after == [
        "store.py:get:off-by-one:1", "store.py:get:off-by-one:2", "store.py:get:arithmetic:1", "store.py:get:return-none:1"
    ]  # fmt: skip


def test_equal_texts_are_one_mutant(tmp_path: Path) -> None:
    """Two operators that make the same bug count once."""
    path = tmp_path / "store.py"
    path.write_text("def f(a):\n    if True:\n        unlink(a)\n")
    texts = [mutant.text() for mutant in mutants_of(path, "store.py")]
    assert len(texts) == len(set(texts))
    assert path.read_text() not in texts


def test_a_larger_sample_begins_with_the_smaller_one(tmp_path: Path) -> None:
    """A longer run uses the results of a shorter one; each kind of bug comes before any comes twice."""
    path = tmp_path / "store.py"
    path.write_text(STORE)
    every = mutants_of(path, "store.py")
    kinds = {mutant.operator for mutant in every}
    assert sampled(every, 4, 7) == sampled(every, 100, 7)[:4]
    assert {mutant.operator for mutant in sampled(every, len(kinds), 7)} == kinds
    assert sampled(every, 100, 7) != sampled(every, 100, 8)
    assert sorted(mutant.id for mutant in sampled(every, 100, 7)) == sorted(mutant.id for mutant in every)


def test_the_diff_shows_the_bug_only(tmp_path: Path) -> None:
    """A reader sees one changed line."""
    path = tmp_path / "store.py"
    path.write_text(STORE)
    dropped = next(mutant for mutant in mutants_of(path, "store.py") if mutant.operator == "drop-sync")
    changed = [line for line in dropped.diff().splitlines()[2:] if line[0] in "+-"]
    assert changed == ["-    sync(fd)", "+    pass"]
    assert dropped.in_function and dropped.line == 3
    assert path.read_text() == STORE
