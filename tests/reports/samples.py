"""A small run, for tests of what is done with one."""

import json
from dataclasses import replace
from typing import Any

from crashmatrix.reports import Event, ExperimentSummary, Finding, Labels, RunSummary, ScenarioResult, Verdict
from crashmatrix.reports.findings import finding_id
from crashmatrix.reports.several.targets import TargetRun


def result(point: str = "wal.append.before_sync", hit: int = 1, **other: Any) -> ScenarioResult:
    name = f"kill:{point}@{hit}"
    fields: dict[str, Any] = {
        "id": name,
        "experiment": "kill",
        "depth": 0,
        "method": "snapshot",
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


def line_of(target: str, run: RunSummary, results: list[ScenarioResult]) -> TargetRun:
    """A run as one of several targets."""
    line = TargetRun(target=target, report=target)
    line.ran(run, results)
    assert line.scenarios == len(results)
    return line


def plain(document: Any) -> Any:
    """A document as a reader of its file gets it."""
    return json.loads(json.dumps(document))


def found() -> tuple[RunSummary, list[ScenarioResult]]:
    """A run with everything in it: two experiments, all kinds of verdict, an explained finding with its timeline."""
    points = [f"wal.{area}.{side}_{step}" for area, step in STEPS for side in ("before", "after")]
    results = [_kill(point, hit) for point in points for hit in range(1, 61)]
    results += [
        _cut(nudge, cut, pick) for nudge in ("mixed", "commit", "async") for cut in range(40, 160) for pick in (1, 2)
    ]
    lost = next(one for one in results if one.experiment == "power" and one.verdict is Verdict.LOSES)
    run = summary(
        [],
        started="2026-01-31T12:00:00",
        versions={"crashmatrix": "0.1.0", "kernel": "6.12.1", "python": "3.11.9"},
        options={"target": "reference", "budget": 1000, "filesystems": ["ext4"]},
        not_run={"corruption": "this version has no such experiment"},
        findings=[_explained(lost)],
    )
    for name in ("kill", "power"):
        mine = [one for one in results if one.experiment == name]
        run.experiments[name] = ExperimentSummary.of(mine, 12.5, DETAILS[name], labels=LABELS[name])
    return run, results


LABELS = {"kill": Labels(), "power": Labels("recording", "cut at write", repeatable=False)}
STEPS = [
    ("append", "write"), ("append", "sync"), ("close_segment", "rename"), ("close_segment", "sync_name"), ("retire", "unlink"),
]  # fmt: skip
DETAILS: dict[str, dict[str, Any]] = {
    "kill": {
        "failpoints_declared": 12,
        "failpoints_never_hit": ["wal.rotate.before_sync"],
        "distinct_states": 88,
        "killed_for_real": 24,
        "agreed_with_snapshot": 24,
        "notes": ["88 distinct states judged, crashes in recovery up to 2 deep"],
    },
    "power": {
        "notes": ["3 recordings, 3 different traces; 720 of 4,096 distinct images enumerated were judged"],
        "recordings": [
            {
                "name": f"ext4~{nudge}~3",
                "filesystem": "ext4",
                "nudge": nudge,
                "writes": 412,
                "flushes": 61,
                "judged": 240,
            }
            for nudge in ("mixed", "commit", "async")
        ],
    },
}
TIMELINE = [
    (118, "attempt", "7", "", ""),
    (119, "hit", "wal.append.before_sync", "", "wal/segment.py:120"),
    (121, "write", "wal/t/7-.arrows, bytes 0 to 4,095", "durable", "sectors 0 to 7"),
    (123, "flush", "everything before is on the disk", "", ""),
    (124, "hit", "wal.close.after_rename", "", "wal/segmented_log.py:88"),
    (125, "write", "directory wal/t: 7-.arrows becomes 7-7.arrows", "lost", "metadata"),
    (126, "write", "wal/t/8-.arrows, bytes 0 to 511", "torn", "sector 1 of 2"),
    (127, "ack", "7", "", ""),
    (128, "cut", "power fails", "", ""),
    (128, "recovered", "1, 2, 3, 4, 5, 6", "", "7 is owed"),
]


def _kill(point: str, hit: int) -> ScenarioResult:
    broken = point == "wal.retire.after_unlink" and hit % 7 == 3
    unknown = point == "wal.append.before_write" and hit == 60
    if broken:
        text = f"acknowledged, but gone: {hit} (of {hit + 2} acknowledged)"
        return result(point, hit, verdict=Verdict.LOSES, explanation=text, state=f"{hit:064x}")
    if unknown:
        return result(point, hit, verdict=Verdict.UNKNOWN, explanation="the failpoint never fired")
    return result(point, hit, state=f"{hit:064x}")


def _cut(nudge: str, cut: int, pick: int) -> ScenarioResult:
    recording, state = f"ext4~{nudge}~3", f"{cut}-{pick:x}"
    bad = nudge == "mixed" and 60 <= cut < 96 and cut % 3 == 0
    text = f"acknowledged, but gone: {cut // 3} (of {cut // 3 + 1} acknowledged)" if bad else ""
    name = f"power:{recording}:{state}"
    return result(
        recording, cut, id=name, experiment="power", method="power-cut", fault=state, explanation=text,
        verdict=Verdict.LOSES if bad else Verdict.SAFE, cause=CAUSE if bad else "", state=f"{cut:064x}",
        replay=f"crashmatrix replay '{name}' --report out",
    )  # fmt: skip


CAUSE = "no flush of directory wal/t between rename and acknowledgement"


def _explained(example: ScenarioResult) -> Finding:
    return Finding(
        id=finding_id(example),
        experiment="power",
        verdict=Verdict.LOSES,
        title=Verdict.LOSES.meaning,
        cause=CAUSE,
        count=0,
        example=example.id,
        explanation=(
            "Item 7 was acknowledged at 127. The power failed right after, at 128.",
            "The rename of 7-.arrows to 7-7.arrows had not reached the disk. Recovery returned 1 to 6; it owed 7.",
        ),
        lost=("directory wal/t: the name 7-7.arrows", "wal/t/8-.arrows, bytes 512 to 1,023"),
        suggestion="fsync the directory wal/t after the rename.",
        tested=True,
        timeline=tuple(
            Event(at=at, kind=kind, text=text, fate=fate, detail=detail) for at, kind, text, fate, detail in TIMELINE
        ),
        replay=example.replay,
    )


HOSTILE = "</script ><!--<script><img src=x onerror=alert(1)>\"'`|[a](b) @everyone \x1b[31m\u202e\udcff \n</code>```{{ 7 * 7 }}\\"


def hostile() -> tuple[RunSummary, list[ScenarioResult]]:
    """A run in which everything that can hold text from outside holds the worst of it."""
    text = HOSTILE
    bad = result(
        text, id=f"kill:{text}@1", experiment=text, method=text, fault=text, verdict=Verdict.LOSES, explanation=text,
        state=text, replay=f"crashmatrix replay {text}", cause=text,
    )  # fmt: skip
    event = Event(at=1, kind="write", text=text, fate="lost", detail=text)
    finding = Finding(
        id=finding_id(bad), experiment=text, verdict=Verdict.LOSES, title=text, count=1, example=text, cause=text,
        explanation=(text,), lost=(text,), suggestion=text, timeline=(event, replace(event, kind=text, fate=text)),
        replay=text,
    )  # fmt: skip
    details = {"notes": [text], text: text, "recordings": [{"name": text, "filesystem": text}]}
    run = summary(
        [], target=text, versions={text: text}, options={text: text}, not_run={f"{text}2": text}, started="2026-01-31T12:00:00",
        findings=[finding], missing_shards=[text],
    )  # fmt: skip
    run.experiments[text] = ExperimentSummary.of([bad], 1.0, details, labels=Labels(text, text))
    return run, [bad]
