"""Verdicts: how they add up, what a run exits with, and that plain data comes back as it was."""

import itertools
import json
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports import ExperimentSummary, RunSummary, ScenarioResult, Verdict, worst
from tests.reports.samples import result, summary

SAFE, UNKNOWN, LOSES, CORRUPT = Verdict.SAFE, Verdict.UNKNOWN, Verdict.LOSES, Verdict.CORRUPT
BROKEN = [
    Verdict(word) for word in ["hangs", "reordered", "phantom", "duplicate", "hole", "loses", "cannot-open", "corrupt"]
]
"""The broken promises, the least bad first."""


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], UNKNOWN),
        ([SAFE], SAFE),
        ([SAFE, SAFE], SAFE),
        ([SAFE, UNKNOWN], UNKNOWN),
        *[([SAFE, UNKNOWN, verdict], verdict) for verdict in BROKEN],
        ([Verdict.HANGS, Verdict.HOLE, LOSES], LOSES),
        ([CORRUPT, LOSES, Verdict.CANNOT_OPEN], CORRUPT),
    ],
)
def test_worst(verdicts: list[Verdict], expected: Verdict) -> None:
    """Any broken promise beats unknown, unknown beats safe, and nothing at all is unknown, in whatever order they come."""
    assert {worst(order) for order in itertools.permutations(verdicts)} == {expected}


@pytest.mark.parametrize("verdict", Verdict)
def test_exit_status(verdict: Verdict) -> None:
    """A run exits with 0 when safe and never else, with 1 when a promise was broken, with 3 when nothing is known."""
    assert verdict.exit_status == (1 if verdict in BROKEN else 0 if verdict is SAFE else 3)
    assert verdict.broken == (verdict in BROKEN)


def test_order_of_verdicts() -> None:
    """From best to worst: safe, what says nothing, what is broken."""
    assert next(iter(Verdict)) is SAFE
    assert list(Verdict)[-len(BROKEN) - 1 :] == [UNKNOWN, *BROKEN]


texts = st.text(alphabet='aé"\\\n\u2028\udcff[', max_size=5)
results = st.builds(
    ScenarioResult,
    id=texts, experiment=texts, point=texts, hit=st.integers(1, 9), depth=st.integers(0, 2), method=texts, fault=texts,
    verdict=st.sampled_from(Verdict), explanation=texts, state=texts, replay=texts,
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
    if name in {"explanation", "state", "replay"}:
        assert getattr(ScenarioResult.from_json(line), name) == ""
    else:
        with pytest.raises((KeyError, TypeError)):
            ScenarioResult.from_json(line)


def test_experiment_counts() -> None:
    """An experiment's summary counts each verdict that occurred, and takes the worst."""
    found = [result(hit=1), result(hit=2), result(hit=3, verdict=LOSES), result(hit=4, verdict=UNKNOWN)]
    part = ExperimentSummary.of(found, 2.0, {"samples": 5})
    assert part.to_json() == {
        "verdict": "loses",
        "scenarios": 4,
        "verdicts": {"safe": 2, "unknown": 1, "loses": 1},
        "seconds": 2.0,
        "scenarios_per_second": 2.0,
        "samples": 5,
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
