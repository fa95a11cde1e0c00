"""Two reports compared: what got worse is found, what only moved is not called new, and silence is never better."""

import io
from typing import Any

import pytest
from rich.console import Console

from crashmatrix.reports import ExperimentSummary, ReportError, RunSummary, ScenarioResult, Verdict
from crashmatrix.reports.diff import compare
from crashmatrix.reports.formats.console import show_difference
from tests.reports.samples import LABELS, result, summary

Report = tuple[RunSummary, list[ScenarioResult]]
LOST, AWAY = "acknowledged, but gone: 3", "recovery failed"


def run(*results: ScenarioResult, **other: Any) -> Report:
    made = summary([], **other)
    for name in dict.fromkeys(one.experiment for one in results):
        mine = [one for one in results if one.experiment == name]
        filesystems = dict.fromkeys(one.point.partition("~")[0] for one in mine if name == "power")
        details = {"recordings": [{"name": filesystem, "filesystem": filesystem} for filesystem in filesystems]}
        made.experiments[name] = ExperimentSummary.of(mine, 1.0, details, labels=LABELS[name])
    return made, list(results)


def cut(state: str, nudge: str = "mixed", seed: int = 3, filesystem: str = "ext4", **other: Any) -> ScenarioResult:
    point = f"{filesystem}~{nudge}~{seed}"
    fields = {"id": f"power:{point}:{state}", "experiment": "power", "method": "power-cut", **other}
    return result(point, **fields)


def bad(one: ScenarioResult, explanation: str = LOST, verdict: Verdict = Verdict.LOSES) -> ScenarioResult:
    return ScenarioResult.from_json({**one.to_json(), "verdict": verdict, "explanation": explanation})


A, B = result("a"), result("b")


@pytest.mark.parametrize(
    ("old", "new", "broken", "fixed", "lost"),
    [
        (run(A, B), run(A, B), [], [], []),
        (run(A, B), run(bad(A), B), ["a"], [], []),
        (run(bad(A), B), run(A, B), [], ["a"], []),
        (run(bad(A), B), run(bad(A), B), [], [], []),
        (run(bad(A), B), run(A, bad(B)), ["b"], ["a"], []),
        (run(bad(A)), run(bad(A, AWAY)), [], [], []),
        (run(A), run(bad(result("a", 2)), A), ["a"], [], []),
        (run(bad(A)), run(bad(A), bad(result("a", 2), "acknowledged, but gone: 9")), [], [], []),
        (run(bad(A)), run(bad(A), bad(result("a", 2), AWAY)), ["a"], [], []),
        (run(A, B), run(A), [], [], ["kill: 1 point: b"]),
        (run(A, bad(B)), run(A), [], [], ["kill: 1 point: b"]),
        (run(A, result("a", 2)), run(A), [], [], ["kill: 1 scenario: kill:a@2"]),
        (run(A, result("a", 2, depth=1)), run(A), [], [], []),
        (run(A, result("a", 2)), run(A, seed=9), [], [], []),
        (run(A, cut("1-0")), run(A, not_run={"power": "no root"}), [], [], ["experiment power: no root"]),
        (run(A), run(bad(A, verdict=Verdict.UNKNOWN)), [], [], ["now unknown: 1 scenario: kill:a@1"]),
        (run(bad(A)), run(bad(A, verdict=Verdict.UNKNOWN)), [], [], ["now unknown: 1 scenario: kill:a@1"]),
        (run(A), run(A, interrupted=True), [], [], ["the run was interrupted"]),
        (run(A), run(A, missing_shards=["2/2"]), [], [], ["shard 2/2 is missing"]),
        # Recorded disks: states have other names in each run.
        (run(cut("1-0")), run(cut("7-4")), [], [], []),
        (run(bad(cut("1-0"))), run(bad(cut("7-4"))), [], [], []),
        (run(bad(cut("1-0"))), run(cut("7-4")), [], ["ext4~mixed~3"], []),
        (run(cut("1-0")), run(bad(cut("7-4"))), ["ext4~mixed~3"], [], []),
        (run(bad(cut("1-0"))), run(bad(cut("7-4"), AWAY)), ["ext4~mixed~3"], ["ext4~mixed~3"], []),
        (run(bad(cut("1-0"))), run(bad(cut("7-4", seed=9)), seed=9), [], [], []),
        (run(cut("1-0"), cut("1-0", "storm")), run(cut("7-4")), [], [], ["power: 1 point: ext4~storm"]),
        (run(cut("1-0"), cut("1-0", filesystem="xfs")), run(cut("7-4")), [], [],
         ["power: filesystem xfs", "power: 1 point: xfs~mixed"]),
        (run(cut("1-0")), run(bad(cut("7-4"), "flaky", Verdict.UNKNOWN)), [], [], ["power: now unknown as a whole"]),
    ],
)  # fmt: skip
def test_compare(old: Report, new: Report, broken: list[str], fixed: list[str], lost: list[str]) -> None:
    """Two reports differ in scenarios newly broken, newly fixed, and no longer tested; the first and the last set status 1."""
    difference = compare(old, new)
    assert sorted({one.point for found in difference.newly_broken for one in found.results}) == broken
    assert sorted({one.point for found in difference.newly_fixed for one in found.results}) == fixed
    assert difference.coverage_lost == lost
    assert difference.exit_status == (1 if broken or lost else 0)
    total = sum(one.verdict.broken for one in new[1])
    assert difference.still_broken == total - sum(found.finding.count for found in difference.newly_broken)


def test_coverage_gained() -> None:
    """New coverage is reported, and is not a failure."""
    difference = compare(run(A), run(A, B, cut("1-0")))
    assert difference.coverage_gained == ["kill: 1 point: b", "experiment power"]
    assert difference.exit_status == 0


def test_other_target() -> None:
    """Reports of different targets are not compared."""
    with pytest.raises(ReportError, match="different targets: reference and other; compare runs of one target"):
        compare(run(A), run(A, target="other"))


def test_shown() -> None:
    """The account names what changed, how often, where, and the command that shows it; the counts come last."""
    console = Console(file=io.StringIO(), width=60)
    many = [result(f"p{n}") for n in range(5)]
    show_difference(console, compare(run(A, bad(B), *many), run(A, B, *map(bad, many[:4]), seed=9)))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "newly fixed: loses  1 at b",
        f"  {LOST}",
        "  again: crashmatrix replay kill:b@1 --report out",
        "newly broken: loses  4 at p0, p1, p2 and 1 more",
        f"  {LOST}",
        "  again: crashmatrix replay kill:p0@1 --report out",
        "coverage lost: kill: 1 point: p4",
        "4 newly broken, 1 newly fixed, 0 still broken",
    ]
