"""Tables whose commits are not those that were written are refused; an engine that leaves out a check is found."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crashmatrix.reference_wal.delta import checkpoint, commit, recovery, sealed_commit
from crashmatrix.reference_wal.errors import TableCorrupted
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.apart.tampered_tables import judge_tampered_tables


def test_the_engine_keeps_its_promise() -> None:
    """Whole tables have their rows, others are named."""
    judge_tampered_tables()


check, remove = recovery.check, recovery.remove


def of_no_commit(path: Path) -> recovery.Leftovers:
    return check(path) if checkpoint.commits(path / "_delta_log") else recovery.Leftovers([], [])


def tidied(path: Path) -> recovery.Leftovers:
    try:
        return check(path)
    except TableCorrupted:
        (path / "_delta_log").joinpath("tidied").touch()
        raise


properties = commit.TableProperties.of


def anything(table: Any) -> commit.TableProperties:
    with suppress(KeyError):
        return properties(table)
    schema = pa.schema([("at", pa.int64())])
    return commit.TableProperties.made(schema, timestamp="at", tags=[], identity="x", logged=False, bounds=None)


BUGS: dict[str, tuple[object, str, object, str]] = {
    "any commit": (recovery, "check_commit", lambda _: None, "commit .*(opens|raised|returned)"),
    "any checksum": (sealed_commit, "_fits", lambda *_: True, "(opens|raised|returned)"),
    "any engine": (sealed_commit, "_info", lambda _: {"engineInfo": "delta-rs"}, "opens"),
    "no older one": (sealed_commit, "_is_older", lambda _: False, "not the engine's raised TableCorrupted"),
    "half a commit": (sealed_commit, "_ends_whole", lambda _: True, "delta-rs without its last line opens"),
    "no commit": (recovery, "check", of_no_commit, "no commit raised TableCorrupted"),
    "a change": (recovery, "check", tidied, "was refused, and its folder was changed"),
    "any checkpoint": (checkpoint, "_content", lambda _: (), "does not read back as the table is kept"),
    "any table": (commit.TableProperties, "of", staticmethod(anything), "not the engine's opens"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_checks_that_are_left_out(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each lets a table open that should not, or refuses one that is whole."""
    where, name, planted, match = BUGS[bug]
    monkeypatch.setattr(where, name, planted)
    with pytest.raises(PromiseBroken, match=match):
        judge_tampered_tables()
