"""A mutation run goes on where it ended."""

import threading
from pathlib import Path

import pytest

from crashmatrix.scenarios.mutation.bounded import Stopped
from crashmatrix.scenarios.mutation.mutant import SourceMutant, mutants_of
from crashmatrix.scenarios.mutation.mutation_run import run_mutants
from crashmatrix.scenarios.mutation.results import Outcome, ResultsFile


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    """No mutant is judged twice, no unfinished result is stored, and the rest follows."""
    path = tmp_path / "store.py"
    path.write_text("def f(fd):\n    write(fd)\n    sync(fd)\n    return 1\n")
    mutants = mutants_of(path, "store.py")
    judged = list[str]()

    def judge(mutant: SourceMutant, stop: threading.Event) -> dict[str, Outcome]:
        if stop.is_set():
            raise Stopped
        judged.append(mutant.id)
        return {"harness": Outcome("survived")}

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    stored, stop = tmp_path / "results.jsonl", threading.Event()
    with pytest.raises(KeyboardInterrupt):
        run_mutants(mutants, judge, ResultsFile(stored, "a"), workers=1, heard=interrupt, stop=stop)
    assert stop.is_set()
    assert stored.read_text().count("\n") == 1
    known = ResultsFile(stored, "a")
    tried = run_mutants(mutants, judge, known, workers=2, heard=lambda *_: None, stop=threading.Event())
    assert set(tried) == {mutant.id for mutant in mutants}
    assert stored.read_text().count("\n") == len(mutants)
