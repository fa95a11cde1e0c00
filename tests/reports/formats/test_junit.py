"""`junit.xml`: valid, complete, and true to the verdict in every viewer."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import xmlschema

from crashmatrix.reports import RunSummary, ScenarioResult, Verdict
from crashmatrix.reports.formats.junit import render
from crashmatrix.reports.formats.text import visible
from tests.reports.samples import HOSTILE, found, hostile, result, summary

SCHEMA = xmlschema.XMLSchema(Path(__file__).parent / "junit.xsd")
LOST: dict[str, Any] = {"verdict": Verdict.LOSES, "explanation": "acknowledged, but gone: 3"}


def suites(run: RunSummary, results: list[ScenarioResult]) -> dict[str, ET.Element]:
    """The suites of a document that is valid, by name."""
    text = render(run, results)
    SCHEMA.validate(text)
    return {suite.attrib["name"]: suite for suite in ET.fromstring(text)}


def outcomes(suite: ET.Element) -> dict[str, str]:
    """Return each case's outcome by name; an empty one is a pass."""
    return {case.attrib["name"]: case[0].tag if len(case) else "" for case in suite.iterfind("testcase")}


def test_one_case_for_each_point() -> None:
    """A suite for each experiment, a case for each point, which fails when a promise was broken at any of its hits."""
    results = [result(hit=1), result(hit=2), result("b", **LOST), result("b", 2), result("c", verdict=Verdict.UNKNOWN)]
    (kill,) = suites(summary(results), results).values()
    assert outcomes(kill) == {"wal.append.before_sync": "", "b": "failure", "c": "error"}
    assert {name: kill.attrib[name] for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3", "failures": "1", "errors": "1", "skipped": "0",
    }  # fmt: skip


def test_a_failure_says_how_to_see_it_again() -> None:
    """A failure has the verdict, the count, each explanation and the command that replays it."""
    results = [result("b", 1, **LOST), result("b", 2), result("b", 3, verdict=Verdict.HOLE, explanation="4 is gone")]
    (kill,) = suites(summary(results), results).values()
    failure = kill.find("testcase/failure")
    assert failure is not None and failure.text is not None
    assert failure.attrib == {"type": "loses", "message": "loses: 2 of 3 scenarios. Acknowledged data is gone."}
    for line in ("acknowledged, but gone: 3", "again: crashmatrix replay kill:b@1 --report out", "4 is gone"):
        assert line in failure.text.splitlines()


def test_thousands_of_failures_stay_short() -> None:
    """A point where thousands of scenarios failed alike is one readable failure, not thousands."""
    results = [result("b", hit, **LOST) for hit in range(1, 5001)]
    text = render(summary(results), results)
    assert len(text) < 10_000
    assert "kill:b@20, and 4,980 more" in text


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({}, {}),
        ({"interrupted": True}, {"the rest of the plan": "error"}),
        ({"missing_shards": ["2/3"]}, {"shard 2/3": "error"}),
        ({"shard": "2/3"}, {"the other shards": "skipped"}),
    ],
)
def test_what_makes_a_run_say_nothing(other: dict[str, Any], expected: dict[str, str]) -> None:
    """An interrupted run or a missing shard is an error in the document; of one shard the others are only skipped."""
    results = [result()]
    found = suites(summary(results, **other), results)
    assert outcomes(found["run"]) == expected if expected else "run" not in found


def test_experiments_not_run_are_skipped() -> None:
    """An experiment that was not run is there, skipped, with the reason and the remedy."""
    found = suites(summary([result()], not_run={"power": "no /dev/fuse; modprobe fuse"}), [result()])
    assert found["power"].findtext("testcase/skipped") == "no /dev/fuse; modprobe fuse"


def test_everything_at_once() -> None:
    """A run with all kinds of verdict is valid, and its times add up."""
    found_ = suites(*found())
    assert {name: suite.attrib["failures"] for name, suite in found_.items()} == {
        "kill": "1",
        "power": "1",
        "corruption": "0",
    }
    seconds = sum(float(case.attrib["time"]) for case in found_["kill"].iterfind("testcase"))
    assert seconds == pytest.approx(12.5, abs=0.01)


def test_hostile_names() -> None:
    """Names that hold markup, control characters or halves of surrogates are text, and the document stays valid."""
    run, results = hostile()
    document = suites(run, results)
    text = ET.tostring(document[next(iter(document))], encoding="unicode")
    assert all(character.isprintable() or character == "\n" for character in text)
    assert {case.attrib["name"] for suite in document.values() for case in suite.iterfind("testcase")} >= {
        " ".join(visible(HOSTILE).split())
    }


def test_the_schema_refuses() -> None:
    """The check itself tells right from wrong."""
    for wrong in ("<testsuites><testcase/></testsuites>", render(*found()).replace(' type="loses"', "")):
        assert not SCHEMA.is_valid(wrong)
