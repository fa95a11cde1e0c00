"""Notes in the journal become verdicts; errors of a failing disk do not become notes."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from deltalake.exceptions import DeltaError, TableNotFoundError

from crashmatrix.reference_wal import LogPoisoned
from crashmatrix.reference_wal.errors import BackgroundFailed, TransferFailed
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.judging.undisturbed import judge_undisturbed, refuse_if_broken
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken, note
from crashmatrix.scenarios.systems.reference.outcomes import TableContract, outcomes
from crashmatrix.scenarios.target.contract import judge_safely
from crashmatrix.scenarios.target.journal import Journal, Promises


def test_a_note_is_a_verdict(tmp_path: Path) -> None:
    """A note in the journal breaks the contract and is not an operation; such a target is broken, not unusable."""
    journal = Journal(tmp_path / "journal")
    with journal.attempt(["create", "t"]):
        pass
    note(journal, PromiseBroken("loses", "t: batch 1 is gone"))
    promises = Promises.parse((tmp_path / "journal").read_bytes())
    assert outcomes(promises) == [{"t": []}]
    violation = judge_undisturbed(promises, [["create", "t"]], lambda *given: judge_safely(TableContract(), *given))
    assert violation and violation.living
    assert (violation.verdict, violation.explanation) == ("loses", "before any crash: t: batch 1 is gone")
    refuse_if_broken("reference", violation, TableContract())


def test_a_note_before_any_promise(tmp_path: Path) -> None:
    """A workload that sees the system break a promise before it was promised anything has found a bug all the same."""
    journal = Journal(tmp_path / "journal")
    note(journal, PromiseBroken("loses", "t: batch 1 is gone"))
    promises = Promises.parse((tmp_path / "journal").read_bytes())
    violation = judge_undisturbed(promises, [], lambda *given: judge_safely(TableContract(), *given))
    assert violation and violation.living and violation.verdict == "loses"


def test_a_failing_disk_is_not_a_lie() -> None:
    """An engine may refuse after its disk failed; without that, an error of its own is a broken promise."""
    of_rust = "Generic LocalFileSystem error: Unable to rename file: No space left on device (os error {})"
    for_programmers = (
        'Could not create local directory: a/b\nError: Os {{ code: {}, kind: Uncategorized, message: "x" }}'
    )
    full, failed = OSError(errno.ENOSPC, "x"), DeltaError(of_rust.format(errno.EIO))
    unmade = TableNotFoundError(for_programmers.format(errno.EIO))
    for error, cause in (
        (OSError(errno.EIO, "x"), None),
        (LogPoisoned(Path(), full), full),
        (OSError(of_rust.format(errno.ENOSPC)), None),
        (BackgroundFailed(Path(), failed), failed),
        (TransferFailed("there", unmade), unmade),
    ):
        error.__cause__ = cause
        with pytest.raises(type(error)), claimed_as_broken("reading"):
            raise error
    with pytest.raises(PromiseBroken, match="reading raised FileNotFoundError"), claimed_as_broken("reading"):
        raise FileNotFoundError(errno.ENOENT, "gone")
    refused = TransferFailed("there", for_programmers.format(errno.EACCES))
    for other in (OSError(of_rust.format(errno.ENOENT)), refused, LogPoisoned(Path(), DeltaError("no such version"))):
        with pytest.raises(PromiseBroken), claimed_as_broken("reading"):
            raise other


def test_an_error_that_is_handled_excuses_no_other(tmp_path: Path) -> None:
    """A call made after one that failed may be refused because of that one, and may not fail by itself."""
    full = OSError(errno.ENOSPC, "x")
    try:
        raise full
    except OSError:
        with pytest.raises(PromiseBroken, match="going on raised FileExistsError"), claimed_as_broken("going on"):
            tmp_path.mkdir()
        with pytest.raises(LogPoisoned), claimed_as_broken("going on"):
            raise LogPoisoned(Path(), full) from full
