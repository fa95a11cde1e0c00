"""The heat map's counts: nothing is dropped, and no colour is kinder than its worst scenario."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from crashmatrix.reports import Verdict
from crashmatrix.reports.formats import html, markdown
from crashmatrix.reports.formats.console import methods
from crashmatrix.reports.formats.matrix import COLUMNS_MAX, Cell, heat_map, method_table
from tests.reports.samples import found, result


@pytest.mark.parametrize(("hits", "columns"), [(1, 1), (3, 3), (40, 40), (41, 21), (400, 40), (401, 37)])
def test_every_hit_has_its_column(hits: int, columns: int) -> None:
    """The columns cover all hits, each once, and never are more than fit."""
    results = [result(hit=hit) for hit in range(1, hits + 1)]
    made = heat_map("kill", results)
    assert len(made.ranges) == columns <= COLUMNS_MAX
    assert [hit for first, last in made.ranges for hit in range(first, last + 1)] == list(range(1, hits + 1))
    assert [cell.scenarios for cell in made.rows[0].cells] == [last - first + 1 for first, last in made.ranges]


def test_every_scenario_counts() -> None:
    """All scenarios of an experiment are in its map, and none of another's."""
    _, results = found()
    for name, expected in (("kill", 600), ("power", 720), ("none", 0)):
        assert sum(row.whole.scenarios for row in heat_map(name, results).rows) == expected


def test_broken_points_first() -> None:
    """Points where a promise was broken come first, the others stay in order."""
    results = [result("c"), result("a"), result("b", verdict=Verdict.LOSES), result("d", verdict=Verdict.UNKNOWN)]
    assert [row.point for row in heat_map("kill", results).rows] == ["b", "c", "a", "d"]


@pytest.mark.parametrize(
    ("verdicts", "kind", "text"),
    [
        ([], "none", "nothing run"),
        (["safe", "safe"], "safe", "2 safe"),
        (["safe", "unknown"], "unknown", "1 unknown, 1 safe"),
        (["safe", "unmountable"], "unknown", "1 unmountable, 1 safe"),
        (["safe", "unknown", "hangs"], "broken", "1 hangs, 1 unknown, 1 safe"),
    ],
)
def test_a_cell_shows_its_worst(verdicts: list[str], kind: str, text: str) -> None:
    """A cell's colour is that of its worst scenario; its text counts them all."""
    cell = Cell()
    cell.counts.update(map(Verdict, verdicts))
    assert (cell.kind, cell.text) == (kind, text)


def test_heat_grows() -> None:
    """More of the same is never paler."""
    for bad in (Verdict.SAFE, Verdict.LOSES):
        heats = []
        for count in range(1, 60):
            cell = Cell()
            cell.counts.update({Verdict.SAFE: 60 - count if bad.broken else 0, bad: count})
            heats.append(cell.heat)
        assert heats == sorted(heats) and set(heats) == {1, 2, 3}


def test_each_point_and_method_has_its_worst_verdict() -> None:
    """The table of faults and endings counts every scenario of its experiment, the broken faults first."""
    results = [
        result("a", hit=1, method="killed"),
        result("a", hit=1, method="resumed"),
        result("a", hit=2, method="killed"),
        result("a", hit=2, method="reopened"),
        result("b", hit=1, method="reopened", verdict=Verdict.LOSES),
        result("b", hit=2, method="reopened"),
        replace(result("c"), experiment="power"),
    ]
    table = method_table("kill", results)
    assert table.methods == ["killed", "reopened", "resumed"]
    cells = {row.point: [cell.short for cell in row.cells] for row in table.rows}
    assert cells == {"b": ["", "loses 1/2", ""], "a": ["safe", "safe", "safe"]}
    assert list(cells) == ["b", "a"]


def test_an_experiment_with_methods_shows_that_table() -> None:
    """Terminal, Markdown and page show points and methods where the labels say so."""
    run, results = found()
    part = run.experiments["kill"]
    part.labels = replace(part.labels, methods="ending")
    mine = [replace(one, method="reopened") for one in results if one.experiment == "kill"]
    console = Console(file=io.StringIO(), width=200)
    console.print(methods(mine, points="fault", method="ending"))
    cell = method_table("kill", mine).rows[0].cells[0].short
    shown = (console.file.getvalue(), markdown.render(run, mine), html.render(run, mine))  # type: ignore[attr-defined]  # a StringIO
    assert all("reopened" in text and cell in text for text in shown)
