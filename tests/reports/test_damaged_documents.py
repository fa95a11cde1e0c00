"""Any change to a stored report: it is accepted, and then everything can be done with it, or one line names the field."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from rich.console import Console

from crashmatrix.reports import ReportError, read_report
from crashmatrix.reports.diff import compare
from crashmatrix.reports.formats.console import show_run
from crashmatrix.reports.merge import merge
from crashmatrix.reports.store import RENDERERS
from tests.reports.samples import found, plain

WHOLE, FOUND = found()
LINES = [plain(FOUND[number].to_json()) for number in (0, 170, 610, 900)]
SUMMARY = {**plain(WHOLE.to_json()), "shard": "1/2"}
MARK = "the value to be replaced"

values = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    st.sampled_from(
        ["\udcff", "\x1b[31m\n", "__proto__", 10**40, -(2**53), 2**53, 1e308, [], {}, [[]], {"": {"": ""}}]
    ),
    st.lists(st.integers() | st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2),
).map(json.dumps)
texts = st.sampled_from(
    ["9" * 5_000, "-" + "9" * 301, "NaN", "1e999", "[" * 100_000 + "]" * 100_000, '{"a":' * 300 + "1" + "}" * 300]
)


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> tuple[str, str]:
    """The document's text with one value replaced or taken out, and the name of the field."""
    copy = json.loads(json.dumps(document))
    node, path = copy, []
    while True:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = draw(st.sampled_from(keys))
        path.append(str(key))
        inner = node[key]
        if not inner or not isinstance(inner, dict | list) or draw(st.booleans()):
            break
        node = inner
    if isinstance(node, dict) and draw(st.integers(0, 5)) == 0:
        del node[key]
        return json.dumps(copy), next(name for name in reversed(path) if not name.isdecimal())
    node[key] = MARK
    text = json.dumps(copy).replace(json.dumps(MARK), draw(values | texts))
    return text, next(name for name in reversed(path) if not name.isdecimal())


def use(directory: Path) -> None:
    """Read it and do everything that is done with reports."""
    summary, results = read_report(directory)
    for renderer in RENDERERS.values():
        renderer(summary, results)
    show_run(Console(file=io.StringIO(), width=100), summary, results, directory)
    compare((summary, results), (summary, results))
    compare((WHOLE, FOUND), (summary, results))
    merge([(summary, results)], directory)


def report(directory: Path, summary: str, lines: list[str]) -> Path:
    (directory / "summary.json").write_text(summary)
    (directory / "results.jsonl").write_text("".join(line + "\n" for line in lines))
    return directory


def check(directory: Path, file: str, field: str) -> None:
    """Use the report; a refusal is one line that names the file and the field."""
    try:
        use(directory)
    except ReportError as refused:
        assert "\n" not in str(refused)
        if f"{directory}/{file}: " in str(refused):
            assert field in str(refused) or "deeper" in str(refused)
            assert str(refused).endswith("; run again to replace it")
        else:  # Well-formed, but of another run, or no shard.
            assert any(word in str(refused) for word in ("target", "shard", "newer"))


@pytest.mark.lengthy
@settings(deadline=None, max_examples=300)
@given(damaged(SUMMARY))
def test_summary(tmp_path_factory: pytest.TempPathFactory, change: tuple[str, str]) -> None:
    """Any one value of `summary.json` is changed."""
    text, field = change
    check(report(tmp_path_factory.mktemp("report"), text, list(map(json.dumps, LINES))), "summary.json", field)


@pytest.mark.lengthy
@settings(deadline=None, max_examples=150)
@given(st.data())
def test_results(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any one value of one line of `results.jsonl` is changed."""
    number = data.draw(st.integers(0, len(LINES) - 1))
    text, field = data.draw(damaged(LINES[number]))
    lines = [*map(json.dumps, LINES[:number]), text, *map(json.dumps, LINES[number + 1 :])]
    check(report(tmp_path_factory.mktemp("report"), json.dumps(SUMMARY), lines), "results.jsonl", field)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["seed"], "x", "seed: expected a whole number, got a string"),
        (["experiments", "kill", "scenarios"], "600", "experiments.kill.scenarios: expected a whole number, got a string"),
        (["experiments", "kill", "verdicts", "safe"], None, "experiments.kill.verdicts.safe: expected a whole number, got null"),
        (["experiments", "power", "details", "notes"], "x", "experiments.power.details.notes: expected an array, got a string"),
        (["experiments", "power", "labels", "repeatable"], 1,
         "experiments.power.labels.repeatable: expected true or false, got a whole number"),
        (["findings", 0, "timeline", 3, "at"], -1, "findings[0].timeline[3].at: expected a whole number >= 0"),
        (["not_run"], [], "not_run: expected an object, got an array"),
    ],
)  # fmt: skip
def test_named(path: list[Any], value: Any, message: str, tmp_path: Path) -> None:
    """The line names file, field and remedy."""
    document: Any = json.loads(json.dumps(SUMMARY))
    node = document
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    with pytest.raises(ReportError) as refused:
        read_report(report(tmp_path, json.dumps(document), []))
    assert str(refused.value) == f"{tmp_path}/summary.json: {message}; run again to replace it"


def test_a_line_is_named_by_its_number(tmp_path: Path) -> None:
    """A scenario's line is named by its number."""
    lines = [*map(json.dumps, LINES), json.dumps({**LINES[0], "hit": "first"})]
    with pytest.raises(ReportError) as refused:
        read_report(report(tmp_path, json.dumps(SUMMARY), lines))
    expected = "line 5: hit: expected a whole number, got a string; run again to replace it"
    assert str(refused.value) == f"{tmp_path}/results.jsonl: {expected}"
