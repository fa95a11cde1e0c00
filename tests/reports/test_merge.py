"""Merged shards: they add up to the whole run, and a missing part is never safe."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import (
    Event,
    ExperimentSummary,
    Finding,
    ReportError,
    ReportWriter,
    RunSummary,
    ScenarioResult,
    Verdict,
    read_report,
)
from crashmatrix.reports.findings import finding_id
from crashmatrix.reports.merge import merge, merge_directories
from tests.reports.samples import result, summary

OUT = Path("whole")
Part = tuple[RunSummary, list[ScenarioResult]]


def part(number: int, of: int = 3, *, plan: str = "same", verdict: Verdict = Verdict.SAFE, **other: Any) -> Part:
    """A shard's report: ten hits of a failpoint of its own."""
    results = [result(f"p{number}", hit, verdict=verdict if hit == 3 else Verdict.SAFE) for hit in range(1, 11)]
    details = {
        "plan": plan, "depth_max": 2, "distinct_states": 4, "failpoints_never_hit": ["p1", "p2", "p3", "never"],
        "notes": [f"said by {number}"], "recordings": [{"name": f"r{number}"}],
    }  # fmt: skip
    run = summary([], shard=f"{number}/{of}", **other)
    run.experiments["kill"] = ExperimentSummary.of(results, 2.0, details)
    return run, results


def test_adds_up() -> None:
    """Counts, times and coverage are those of all shards together, in any order, and the verdict is the worst."""
    merged, results = merge([part(3), part(1, verdict=Verdict.LOSES), part(2)], OUT)
    assert merged.verdict is Verdict.LOSES
    assert (merged.shard, merged.missing_shards) == ("", [])
    kill = merged.experiments["kill"]
    assert (kill.scenarios, kill.seconds, kill.verdicts) == (30, 6.0, {"safe": 29, "loses": 1})
    assert [one.point for one in results] == ["p1"] * 10 + ["p2"] * 10 + ["p3"] * 10
    assert kill.details == {
        "plan": "same", "depth_max": 2, "distinct_states": 12, "failpoints_never_hit": ["never"],
        "notes": ["shard 1/3: said by 1", "shard 2/3: said by 2", "shard 3/3: said by 3"],
        "recordings": [{"name": "r1"}, {"name": "r2"}, {"name": "r3"}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "verdict", "missing"),
    [
        ([part(1), part(2), part(3)], Verdict.SAFE, []),
        ([part(1), part(3)], Verdict.UNKNOWN, ["2/3"]),
        ([part(2)], Verdict.UNKNOWN, ["1/3", "3/3"]),
        ([part(2, verdict=Verdict.HOLE)], Verdict.HOLE, ["1/3", "3/3"]),
        ([part(1), part(2), part(3, interrupted=True)], Verdict.UNKNOWN, []),
        ([part(1), part(2), part(3, plan="other")], Verdict.UNKNOWN, []),
        ([part(1), part(2), part(3, not_run={"kill": "no root"})], Verdict.UNKNOWN, []),
    ],
    ids=["all", "one missing", "one there", "broken", "interrupted", "another plan", "not run in one"],
)
def test_what_is_missing_is_unknown(parts: list[Part], verdict: Verdict, missing: list[str]) -> None:
    """Only all shards, all finished, all of one plan, are safe together; what is missing is named."""
    merged, _ = merge(parts, OUT)
    assert (merged.verdict, merged.missing_shards) == (verdict, missing)
    assert RunSummary.from_json(merged.to_json()) == merged
    assert (
        merged.verdict is not Verdict.UNKNOWN
        or merged.gaps
        or "do not add up" in str(merged.experiments["kill"].details)
    )


def test_what_no_shard_ran_is_named() -> None:
    """An experiment that no shard could run is named as in an unsharded run."""
    reason = {"power": "no /dev/fuse"}
    merged, _ = merge([part(number, not_run=reason) for number in (1, 2, 3)], OUT)
    assert merged.not_run == reason


PLAN = {"experiments": ["kill", "power"], "program": "abc", "seed": 3}
NAMES = ["kill", "power"]


def shards(*chosen: list[str] | None) -> list[Part]:
    """Shards that chose these experiments; None: it does not say. ``power`` is only in the first."""
    parts = [part(number, len(chosen), chosen=names or []) for number, names in enumerate(chosen, 1)]
    cut = result(experiment="power", id="power:a")
    parts[0][0].experiments["power"] = ExperimentSummary.of([cut], 1.0, {})
    parts[0][1].append(cut)
    return parts


@pytest.mark.parametrize(
    ("chosen", "verdict", "said"),
    [
        ((NAMES, NAMES), Verdict.SAFE, ""),
        ((NAMES, ["kill"]), Verdict.UNKNOWN, "shards 2/2 have not run it"),
        ((NAMES, ["kill"], None), Verdict.UNKNOWN, "shards 2/3, 3/3 have not run it"),
        ((None, None), Verdict.UNKNOWN, "shards 2/2 have not run it, or do not say so"),
    ],
    ids=["an empty part", "not chosen", "not chosen or not said", "older reports"],
)
def test_a_part_that_a_shard_has_not_run(chosen: tuple[list[str] | None, ...], verdict: Verdict, said: str) -> None:
    """A shard's part of an experiment may be empty. If it did not run the experiment, the whole is unknown."""
    merged, _ = merge(shards(*chosen), OUT)
    assert (merged.verdict, merged.experiments["power"].verdict) == (verdict, verdict)
    assert merged.not_run.get("part of power", "").startswith(said) and bool(merged.not_run) is bool(said)
    assert merged.chosen == (NAMES if chosen[0] else [])


def test_an_experiment_without_any_result() -> None:
    """It is named, as in an unsharded run."""
    merged, _ = merge([part(number, 2, chosen=NAMES) for number in (1, 2)], OUT)
    assert list(merged.not_run) == ["power"]


def test_the_plan_of_the_whole() -> None:
    """The merged report is of the shards' plan, but of no shard; of none, if machines or reports differ."""
    one = {**PLAN, "versions": {"kernel": "6"}}
    for two, whole in (one, one), ({**one, "versions": {}}, {}), ({**one, "binaries": "x"}, {}), ({}, {}):
        parts = [part(number, 2) for number in (1, 2)]
        for (run, _), plan in zip(parts, (one, two), strict=True):
            run.plan = {**plan, "shard": run.shard} if plan else {}
        merged, _ = merge(parts, OUT)
        assert merged.plan == ({**whole, "shard": ""} if whole else {})


def planned(number: int, **other: Any) -> Part:
    run, results = part(number)
    run.plan = {**PLAN, "shard": run.shard, **other}
    return run, results


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([part(1), part(1)], "name each part once"),
        ([part(1), part(2, 4)], "not the parts of one run"),
        ([part(1), part(2, seed=9)], r"differ in seed \(3, 9\), so they are not one run"),
        ([part(1), part(2, target="other")], "differ in target"),
        ([part(1), part(2, options={"budget": 9})], "differ in options"),
        (
            [part(3), planned(1), planned(2, experiments=["kill"])],
            r"1/3 and 2/3 differ in experiments \(\['kill', 'power'\], ",
        ),
        ([planned(1, binaries="x"), planned(2, binaries="y", program="def")], r"differ in program \(abc, def\), so"),
        ([(summary([result()]), [result()])], "is not a shard"),
    ],
)
def test_refused(parts: list[Part], message: str) -> None:
    """Reports that are not parts of one run are refused in one line."""
    with pytest.raises(ReportError, match=message) as refused:
        merge(parts, OUT)
    assert "\n" not in str(refused.value)


def test_scenarios_that_two_shards_ran() -> None:
    """A scenario is there once, with the worse of its verdicts; its replay command names the merged report."""
    one, other = part(1, 2), part(2, 2)
    both = replace(one[1][0], verdict=Verdict.LOSES)
    for parts in ([one, (other[0], [both])], [(one[0], [both]), (other[0], one[1])]):
        _, results = merge(parts, Path("a b"))
        (found,) = [result for result in results if result.id == both.id]
        assert found.verdict is Verdict.LOSES
        assert found.replay == "crashmatrix replay kill:p1@1 --report 'a b'"


def test_findings_are_kept() -> None:
    """Findings that several shards explained are one."""
    lost = result(verdict=Verdict.LOSES)
    finding = Finding(
        id=finding_id(lost), experiment="kill", verdict=Verdict.LOSES, title="", count=2, example=lost.id, replay=lost.replay
    )  # fmt: skip
    merged, _ = merge([part(number, findings=[finding]) for number in (1, 2, 3)], OUT)
    assert [(one.count, one.replay) for one in merged.findings] == [(6, f"crashmatrix replay {lost.id} --report whole")]


@pytest.mark.parametrize("turn", [1, -1])
def test_one_shard_showed_that_two_kinds_are_one(turn: int) -> None:
    """A kind that a shard showed to be another finding is that finding in all shards; its count is added."""
    lost = result(verdict=Verdict.LOSES)
    finding = Finding(
        id="here", experiment="kill", verdict=Verdict.LOSES, title="", count=5, example=lost.id, also=("again",)
    )
    again = replace(finding, id="again", count=2, also=(), timeline=(Event(at=1, kind="note", text="more is said"),))
    parts = [part(number, findings=[each]) for number, each in enumerate([finding, again][::turn], 1)]
    merged, _ = merge([*parts, part(3)], OUT)
    assert merged.findings == [replace(finding, count=7)]


def written(directory: Path, run: RunSummary, results: list[ScenarioResult], trace: str) -> Path:
    with ReportWriter(directory) as writer:
        writer.finish(run, results)
    (directory / "traces").mkdir()
    (directory / "traces" / trace).write_text(trace)
    return directory


def test_directories(tmp_path: Path) -> None:
    """Report directories become one with all traces; one without a finished report is named and its shard missing."""
    directories = [written(tmp_path / str(n), *part(n), trace=f"t{n}") for n in (1, 2)]
    (tmp_path / "3").mkdir()
    merged = merge_directories(tmp_path / "out", [*directories, tmp_path / "3"])
    assert list(merged.unreadable) == [tmp_path / "3"]
    assert read_report(tmp_path / "out") == (merged.summary, merged.results)
    assert merged.summary.missing_shards == ["3/3"]
    assert {path.name for path in (tmp_path / "out" / "traces").iterdir()} == {"t1", "t2"}


def test_directories_refused(tmp_path: Path) -> None:
    """The merged report is none of the parts, and there is something to merge; nothing is touched otherwise."""
    shard = written(tmp_path / "1", *part(1), trace="t")
    with pytest.raises(ReportError, match="name a new directory"):
        merge_directories(tmp_path / "x" / ".." / "1", [shard])
    with pytest.raises(ReportError, match="no finished report"):
        merge_directories(tmp_path / "out", [tmp_path / "nothing"])
    assert not (tmp_path / "out").exists()
    assert read_report(shard) == part(1)


def test_of_two_tellings_of_a_finding_the_better_one_stays() -> None:
    """If two shards explained a finding, the explanation whose remedy helped is kept; the counts add up."""
    parts = [part(number, verdict=Verdict.LOSES) for number in (1, 2, 3)]
    for (run, results), tested in zip(parts, (None, True, False), strict=True):
        example = next(one for one in results if one.verdict is Verdict.LOSES)
        run.findings = [
            Finding(
                id=finding_id(example), experiment="kill", verdict=Verdict.LOSES, title="gone", count=1, example=example.id,
                suggestion=f"as shard {run.shard} says", tested=tested,
            )
        ]  # fmt: skip
    (finding,) = merge(parts, OUT)[0].findings
    assert (finding.suggestion, finding.tested, finding.count) == ("as shard 2/3 says", True, 3)
