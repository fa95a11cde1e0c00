"""Logs whose files do not belong together are refused; a log that leaves out one of the checks is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal.errors import LogCorrupted
from crashmatrix.reference_wal.log import recovery, retention
from crashmatrix.reference_wal.log.persisted import IdSet, read_persisted
from crashmatrix.reference_wal.log.segments import segment
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.apart.tampered_logs import judge_tampered_logs


def test_the_log_keeps_its_promise() -> None:
    """Nothing is counted meanwhile, neither a crash point nor a row."""
    before, hits = faults.entered(), list[str]()
    faults.observe(lambda point, _: hits.append(point.name))
    try:
        judge_tampered_logs()
    finally:
        faults.observe(None)
    assert (faults.entered(), hits) == (before, [])


def whole(found: recovery.FoundFile) -> recovery.Row:
    right = row(found)
    return recovery.Row.CLOSED_WHOLE if right is recovery.Row.CLOSED_DAMAGED and found.scan.opening else right  # type: ignore[union-attr]


row = recovery.FoundFile.row.fget  # type: ignore[attr-defined]


def believed(folder: Path, _: str) -> IdSet:
    with suppress(LogCorrupted, ValueError):
        return read_persisted(folder, _)
    return IdSet()


decide, corrupted = recovery.decide, recovery._corrupted


def named_otherwise(item: recovery.FoundFile) -> LogCorrupted:
    error = corrupted(item)
    error.path = item.path.parent
    return error


def tidied(found: Any) -> recovery.Plan:
    try:
        return decide(found)
    except LogCorrupted:
        found[0].path.unlink()
        raise


def without_retired(self: retention.Retention, *_: object) -> Iterator[tuple[int, int]]:
    return iter(())


BUGS: dict[str, tuple[object, str, object, str]] = {
    "any log": (recovery, "_whose", lambda _: ("", ""), "of another log .* opens"),
    "any length": (recovery.FoundFile, "row", property(whole), "segment 2-4 named 2-5.arrows .* raised LogCorrupted"),
    "any gap": (retention.Retention, "gaps", without_retired, "the first segment gone .* opens"),
    "any tear": (segment, "proof_of_damage", lambda *_: None, "records .* in 5-.arrows .* opens"),
    "any end": (recovery, "read_end", lambda *_: 0, "the end noted as 8 .* opens"),
    "any set": (recovery, "read_persisted", believed, "set of persisted batches .* opens"),
    "no set": (recovery, "read_persisted", lambda *_: IdSet(), "batches 0 to 1 are in no segment"),
    "another name": (recovery, "_corrupted", named_otherwise, "named 2-5.arrows .* raised LogCorrupted"),
    "a change": (recovery, "decide", tidied, "was refused, and its folder was changed"),
    "no damage": (recovery, "decide", lambda _: recovery.Plan(), "opening logs that are whole"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_checks_that_are_left_out(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them lets a log open that should not, or refuses one in another way."""
    where, name, planted, match = BUGS[bug]
    monkeypatch.setattr(where, name, planted)
    with pytest.raises(PromiseBroken, match=match):
        judge_tampered_logs()
