"""Files that a user may hand to the program, damaged at random: each is taken, or refused by a typed error in one line."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from crashmatrix.faults.disk import DiskError, load_trace
from crashmatrix.reports import ReportError
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.systems.command_file import read_spec
from tests import ROOT
from tests.reports.samples import found, plain
from tests.reports.test_damaged_documents import use

SUMMARY, RESULTS = found()
TARGET = b"""
workload = "./kvlog fill {root}"
recover = ["./kvlog", "dump", "{root}"]
seconds_max = 30
ignore = ["LOCK", "*.log"]

[environment]
KVLOG_SYNC = "1"
"""
TRACE = min((ROOT / "tests" / "kept").glob("*.trace"), key=lambda path: path.stat().st_size).read_bytes()
PIECES = [
    b"",
    b"\0",
    b"\xff",
    b'"',
    b"[",
    b"]",
    b"{",
    b"}",
    b"\n",
    b"=",
    b"-1",
    b"9" * 400,
    b"1e999",
    b"null",
    b"\\ud800",
    b"#",
]


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Replace, remove, double or swap a few pieces."""
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        start = draw.randrange(len(data) + 1)
        stop = min(len(data), start + draw.choice((0, 1, 1, 2, 8, 64)))
        piece = draw.choice(
            (draw.choice(PIECES), data[start:stop] * 2, draw.randbytes(stop - start), data[stop : 2 * stop - start])
        )
        data = data[:start] + piece + data[stop:]
    return data


def as_summary(folder: Path, data: bytes) -> None:
    (folder / "summary.json").write_bytes(data)
    (folder / "results.jsonl").write_text("".join(json.dumps(plain(each.to_json())) + "\n" for each in RESULTS[:3]))
    use(folder)


def as_results(folder: Path, data: bytes) -> None:
    (folder / "summary.json").write_text(json.dumps({**plain(SUMMARY.to_json()), "shard": "1/2"}))
    (folder / "results.jsonl").write_bytes(data)
    use(folder)


def as_trace(folder: Path, data: bytes) -> None:
    (folder / "trace").write_bytes(data)
    load_trace(folder / "trace")


def as_target(folder: Path, data: bytes) -> None:
    (folder / "target.toml").write_bytes(data)
    read_spec(folder / "target.toml")


KINDS: dict[str, tuple[bytes, Callable[[Path, bytes], None], int]] = {
    "summary": (json.dumps({**plain(SUMMARY.to_json()), "shard": "1/2"}).encode(), as_summary, 1_000),
    "results": (
        "".join(json.dumps(plain(each.to_json())) + "\n" for each in RESULTS[:3]).encode(),
        as_results,
        1_000,
    ),
    "trace": (TRACE, as_trace, 4_000),
    "target": (TARGET, as_target, 4_000),
}
"""Each file's content, the function that reads it, and how many damaged ones are tried in about fifteen seconds."""
REFUSALS = (ReportError, DiskError, UsageError)


@pytest.mark.parametrize("share", [0.01, pytest.param(1.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_damaged(kind: str, share: float, tmp_path: Path) -> None:
    """The seed is the number of the file, so that a failure names it."""
    content, read, count = KINDS[kind]
    refused = 0
    for seed in range(max(3, round(share * count))):
        data = damaged(content, random.Random(seed))
        try:
            read(tmp_path, data)
        except REFUSALS as error:
            refused += 1
            assert len(str(error).splitlines()) == 1, (seed, str(error))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {data[:2000]!r}") from error
    assert refused
