"""Verdicts: how they add up, what a run exits with, and that plain data comes back as it was."""

import json
import re
from dataclasses import fields

import pytest
from hypothesis import given, settings, strategies as st

from crashmatrix.reports import Event, ExperimentSummary, Finding, Labels, RunSummary, ScenarioResult, Verdict
from crashmatrix.reports.result import KnownDetails, KnownRecording
from crashmatrix.reports.validation import Invalid
from tests import ROOT
from tests.reports.samples import found, result, summary

SAFE, UNKNOWN, LOSES, CORRUPT = Verdict.SAFE, Verdict.UNKNOWN, Verdict.LOSES, Verdict.CORRUPT
texts = st.text(alphabet='aé"\\\n\u2028\udcff[', max_size=5)
results = st.builds(
    ScenarioResult,
    id=texts, experiment=texts, point=texts, hit=st.integers(1, 9), depth=st.integers(0, 2), method=texts, fault=texts,
    verdict=st.sampled_from(Verdict), explanation=texts, state=texts, replay=texts, cause=texts,
)  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(results)
def test_result_round_trip(one: ScenarioResult) -> None:
    """A scenario's result read back from JSON equals the one written, whatever its texts."""
    assert ScenarioResult.from_json(json.loads(json.dumps(one.to_json()))) == one


@settings(deadline=None, max_examples=50)
@given(st.lists(results, max_size=4), st.booleans(), st.dictionaries(texts, texts, max_size=2))
def test_summary_round_trip(found: list[ScenarioResult], interrupted: bool, not_run: dict[str, str]) -> None:
    """A run's summary read back from JSON equals the one written."""
    one = summary(found, interrupted=interrupted, not_run=not_run)
    assert RunSummary.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_unknown_fields_are_ignored() -> None:
    """A report with fields of a later version can be read."""
    one, run = result(), summary([result()])
    assert ScenarioResult.from_json({**one.to_json(), "colour": "blue"}) == one
    assert RunSummary.from_json({**run.to_json(), "weather": "fine"}) == run


@pytest.mark.parametrize("name", [field.name for field in fields(ScenarioResult)])
def test_missing_fields(name: str) -> None:
    """A line without a field reads as its default where it has one, and is refused where it has none."""
    line = result().to_json()
    del line[name]
    if name in {"explanation", "state", "replay", "cause"}:
        assert getattr(ScenarioResult.from_json(line), name) == ""
    else:
        with pytest.raises(Invalid, match=f"^{name}: is missing$"):
            ScenarioResult.from_json(line)


@pytest.mark.parametrize("name", summary([]).to_json())
def test_missing_fields_of_a_summary(name: str) -> None:
    """A summary's fields are read like a line's. Its verdict follows from the rest; its format is checked elsewhere."""
    stored = summary([]).to_json()
    del stored[name]
    optional = {"format", "verdict", "started", "shard", "missing_shards", "required", "findings"}
    if name in optional | {"plan", "chosen", "target_file", "target_digest"}:
        assert RunSummary.from_json(stored) == summary([])
    else:
        with pytest.raises(Invalid, match=f"^{name}: is missing$"):
            RunSummary.from_json(stored)


@pytest.mark.parametrize("shard", ["\n", "1/2\n", "0/2", "1", "1/", "a\n1/2"])
def test_names_of_shards(shard: str) -> None:
    """A shard's name has two numbers and nothing else, no line end either."""
    assert RunSummary.from_json({**summary([]).to_json(), "shard": "11/12"}).shard == "11/12"
    with pytest.raises(Invalid, match=r"^shard: "):
        RunSummary.from_json({**summary([]).to_json(), "shard": shard})


def test_experiment_counts() -> None:
    """An experiment's summary counts each verdict that occurred, and takes the worst."""
    found = [result(hit=1), result(hit=2), result(hit=3, verdict=LOSES), result(hit=4, verdict=UNKNOWN)]
    run = summary([])
    run.experiments["scan"] = ExperimentSummary.of(found, 2.0, {"samples": 5}, labels=Labels("file", "byte"))
    assert run.to_json()["experiments"]["scan"] == {
        "verdict": "loses",
        "scenarios": 4,
        "verdicts": {"safe": 2, "unknown": 1, "loses": 1},
        "seconds": 2.0,
        "scenarios_per_second": 2.0,
        "details": {"samples": 5},
        "labels": {"point": "file", "hit": "byte", "repeatable": True, "methods": ""},
    }


def test_no_time_is_no_rate() -> None:
    """An experiment that ended before the clock moved has a summary all the same."""
    assert ExperimentSummary.of([], 0.0, {}).scenarios_per_second == 0.0
    assert ExperimentSummary.of([], 0.0, {}).verdict is UNKNOWN


@pytest.mark.parametrize(
    ("verdicts", "interrupted", "expected"),
    [
        ([], False, UNKNOWN),
        ([SAFE], False, SAFE),
        ([SAFE], True, UNKNOWN),
        ([], True, UNKNOWN),
        ([UNKNOWN], True, UNKNOWN),
        ([LOSES], True, LOSES),
        ([SAFE, LOSES], False, LOSES),
    ],
)
def test_run_verdict(verdicts: list[Verdict], interrupted: bool, expected: Verdict) -> None:
    """A run has the worst verdict of its experiments; interrupted, it is at best unknown."""
    run = summary([], interrupted=interrupted)
    for number, verdict in enumerate(verdicts):
        run.experiments[str(number)] = ExperimentSummary.of([result(verdict=verdict)], 1.0, {})
    assert run.verdict is expected
    assert run.to_json()["verdict"] == expected.value


def test_findings_come_back() -> None:
    """A summary with findings and their timelines comes back from JSON as it was, and from one without any of it, too."""
    run, _ = found()
    stored = json.loads(json.dumps(run.to_json()))
    assert RunSummary.from_json(stored) == run
    stored["findings"][0]["timeline"][0]["colour"] = stored["findings"][0]["weather"] = "fine"
    assert RunSummary.from_json(stored) == run
    for name in ("findings", "started", "shard", "missing_shards"):
        del stored[name]
    assert RunSummary.from_json(stored).findings == []


@pytest.mark.parametrize(
    ("other", "gaps"),
    [
        ({}, []),
        ({"not_run": {"power": "no root"}}, ["power"]),
        ({"interrupted": True}, ["the rest of the plan"]),
        ({"shard": "1/2"}, ["the other shards"]),
        ({"missing_shards": ["1/3", "3/3"]}, ["shard 1/3", "shard 3/3"]),
    ],
)
def test_gaps(other: dict[str, object], gaps: list[str]) -> None:
    """A run names everything that it did not test."""
    assert list(summary([result()], **other).gaps) == gaps


def test_a_missing_shard_is_at_best_unknown() -> None:
    """A merged report that lacks a shard is not safe; a broken promise in it is broken all the same."""
    assert summary([result()], missing_shards=["2/2"]).verdict is UNKNOWN
    assert summary([result(verdict=LOSES)], missing_shards=["2/2"]).verdict is LOSES


DOCUMENTED = (ROOT / "docs" / "results.md").read_text()
TYPES = (ScenarioResult, RunSummary, ExperimentSummary, Labels, Finding, Event)
FIELDS = {"format", "verdict", *(field.name for kind in TYPES for field in fields(kind))}
RECORDED = {*KnownDetails.__struct_fields__, *KnownRecording.__struct_fields__}


def rows(text: str, cells_max: int = 2) -> set[str]:
    """Return the words set as code in the first cells of the documentation's tables."""
    cells = [cell for line in text.splitlines() if line.startswith("|") for cell in line.split("|")[1 : 1 + cells_max]]
    return set(re.findall("`([^`]+)`", " ".join(cells)))


WITHIN = {"repeatable", "methods", "hit", "point", "notes", "recordings", "uncovered"}
"""Fields that are documented within another one's row, or in a sentence."""


@pytest.mark.parametrize("name", sorted((FIELDS | RECORDED) - WITHIN))
def test_documented(name: str) -> None:
    """Every stored field has its row in the documentation."""
    assert name in rows(DOCUMENTED)


@pytest.mark.parametrize("name", sorted(WITHIN))
def test_described(name: str) -> None:
    """A field that is documented within another's row is at least named."""
    assert f"`{name}`" in DOCUMENTED


def methods() -> set[str]:
    """Every value that the experiments give to a result's `method`."""
    found: set[str] = set()
    for path in (ROOT / "scenarios").rglob("*.py"):
        text = path.read_text()
        given = re.findall(r'\bmethod(?:: str)? ?= ?"([a-z-]+)"(?: if [\w.]+ else "([a-z-]+)")?', text)
        found |= {name for pair in given for name in pair if name}
        found |= set(re.findall(r'^[A-Z_]+ = "([a-z-]+)"\n"""The method of', text, re.MULTILINE))
    return found


def test_documented_methods() -> None:
    """Every method has its row in the documentation, and there are no other rows."""
    table = DOCUMENTED.partition("| method | meaning |")[2].partition("\n\n")[0]
    assert rows(table, 1) == methods() != set()
