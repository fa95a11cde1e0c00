"""A small run, for tests of what is done with one."""

from typing import Any

from reports import ExperimentSummary, RunSummary, ScenarioResult, Verdict


def result(point: str = "wal.append.before_sync", hit: int = 1, **other: Any) -> ScenarioResult:
    name = f"kill:{point}@{hit}"
    fields: dict[str, Any] = {
        "id": name,
        "experiment": "kill",
        "depth": 0,
        "method": "photograph",
        "fault": f"{point}=kill",
        "verdict": Verdict.SAFE,
        "replay": f"crashmatrix replay {name} --report out",
    }
    return ScenarioResult(point=point, hit=hit, **{**fields, **other})


def summary(results: list[ScenarioResult], **other: Any) -> RunSummary:
    details = {"failpoints_declared": 7, "notes": ["failpoints never hit: wal.rotate.before_sync"]}
    experiments = {"kill": ExperimentSummary.of(results, 2.5, details)} if results else {}
    fields: dict[str, Any] = {"target": "reference", "seed": 3, "options": {"budget": 10}, "versions": {"kernel": "6"}}
    return RunSummary(experiments=experiments, **{**fields, **other})
