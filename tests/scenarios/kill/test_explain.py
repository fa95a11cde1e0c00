"""A finding of kills names the step that breaks the promise, and the place before it, where a crash was safe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import Finding, Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.judging.checker import Checked, CrashState
from crashmatrix.scenarios.judging.snapshots.of_jobs import Snapshot
from crashmatrix.scenarios.judging.snapshots.tree import Entry, Tree
from crashmatrix.scenarios.kill.explain import KillExplainer
from crashmatrix.scenarios.kill.exploring import KillExploration
from crashmatrix.scenarios.kill.plan import RESUMED, parse_id
from crashmatrix.scenarios.target.contracts.base import BEFORE_ANY_CRASH
from crashmatrix.scenarios.target.journal import AFTER_ACK, AFTER_ATTEMPT, Promises
from tests.scenarios.experiments import kill_of
from tests.scenarios.explained import agrees_with_golden

TOYS = "tests.scenarios.toy_systems"
GOLDEN = Path(__file__).parent / "golden"

KILL = [
    pytest.param("acknowledged-before-written", "reference-log", "ack-before-write", marks=pytest.mark.slow),
    pytest.param("retired-too-early", "reference-log", "retire-before-set", marks=pytest.mark.slow),
    ("doubled-by-recovery", f"{TOYS}:RepeatsOnRecovery", ""),
]


def explained_kill(target: str, mutant: str, tmp_path: Path) -> list[Finding]:
    plan = Plan(target=target, mutant=mutant, budget=100, report=tmp_path / "report")
    with workbench(plan) as (checker, _):
        experiment = kill_of(plan, checker)
        experiment.depth_max = 0
        experiment.run()
        findings, notes = experiment.explain()
    assert not notes
    return findings


def test_only_an_acknowledgement(tmp_path: Path) -> None:
    """If a crash breaks the promise once an item is acknowledged, the last change of the folder before it is named."""
    found = explained_kill(f"{TOYS}:PutsAside", "", tmp_path)
    assert "the promise breaks with the acknowledgement of 1, after this step in the workload: aside made" in {
        finding.cause for finding in found
    }


ATTEMPTED, ACKED = AFTER_ATTEMPT.name, AFTER_ACK.name
A, B = "attempt 1", "ack 1"
NOTHING: dict[str, str] = {}
Place = tuple[str, dict[str, str], list[str]]

CAUSES: list[Any] = [
    pytest.param(
        [("x", NOTHING, []), (ATTEMPTED, NOTHING, [A]), (ACKED, NOTHING, [A, B]), ("y", {"data": "1"}, [A, B])],
        ACKED,
        "1 was acknowledged before anything of it was handed to the kernel",
        id="in memory, and written after its acknowledgement",
    ),
    pytest.param(
        [("x", NOTHING, []), (ATTEMPTED, {"old": "0"}, [A]), (ACKED, {"old": "0"}, [A, B])],
        ACKED,
        "1 was acknowledged before anything of it was handed to the kernel",
        id="the folder changed before the attempt",
    ),
    pytest.param(
        [("x", NOTHING, []), ("y", {"data": "1"}, [A]), (ACKED, {"data": "1"}, [A, B])],
        ACKED,
        "",
        id="the folder changed before the attempt or after it",
    ),
    pytest.param(
        [(ATTEMPTED, NOTHING, [A]), ("y", {"data": "1"}, [A]), (ACKED, {"data": "1"}, [A, B])],
        ACKED,
        "the promise breaks with the acknowledgement of 1, after this step in the workload: data made",
        id="the folder changed after the attempt",
    ),
    pytest.param(
        [("x", NOTHING, []), ("y", {"data": "1"}, [A, B, "attempt 2"])],
        "y",
        "a crash right after these steps in the workload breaks the promise: ack 1; data made",
        id="an acknowledgement and a change",
    ),
    pytest.param(
        [("x", NOTHING, [])],
        "x",
        "the promise is broken at the first crash point already, before anything was attempted",
        id="the first crash point",
    ),
    pytest.param(
        [("x", NOTHING, []), ("y", NOTHING, [A])],
        "y",
        "the workload saw the promise broken while the system lived: no crash is to blame",
        id="seen by the workload itself",
    ),
]


@pytest.mark.parametrize(("places", "broken", "cause"), CAUSES)
def test_cause(places: list[Place], broken: str, cause: str) -> None:
    """From what the folder and the journal were at each place to the cause of a loss at one of them."""
    checker: Any = None  # No run is made.
    exploration = KillExploration(checker)
    for name, files, lines in places:
        tree = Tree(tuple((path, Entry("file", 0o600, content)) for path, content in sorted(files.items())))
        journal = "".join(f"{line}\n" for line in lines).encode()
        path, state = ((name, 1),), CrashState(tree, Promises.parse(journal))
        seen = f"{BEFORE_ANY_CRASH}1 is gone" if cause.startswith("the workload saw") else "acknowledged, but gone: 1"
        checked = Checked(Verdict.LOSES, seen) if name == broken else Checked(Verdict.SAFE)
        exploration.paths.append(path)
        exploration.states[path] = state
        exploration.report(path, checked, state)
    (finding,) = KillExplainer(exploration).findings()
    assert finding.cause == cause


@pytest.mark.parametrize("between", [Verdict.LOSES, Verdict.SAFE])
def test_a_crash_after_others_that_break_a_promise(between: Verdict) -> None:
    """A step after crashes that break a promise in other words is not blamed: the first of them may be the same bug."""
    checker: Any = None  # No run is made.
    exploration = KillExploration(checker)
    places = [
        (ATTEMPTED, NOTHING, [A], Verdict.SAFE, ""),
        (ACKED, NOTHING, [A, B], Verdict.LOSES, "gone"),
        ("x", {"log": "0"}, [A, B], between, "gone"),
        ("y", {"log": "1"}, [A, B], Verdict.LOSES, "back as of before"),
    ]
    for name, files, lines, verdict, explanation in places:
        journal = "".join(f"{line}\n" for line in lines).encode()
        path, state = ((name, 1),), CrashState(tree_of(**files), Promises.parse(journal))
        exploration.paths.append(path)
        exploration.states[path] = state
        exploration.report(path, Checked(verdict, explanation), state)
    first, last = sorted(KillExplainer(exploration).findings(), key=lambda finding: len(finding.cause))
    step = "a crash right after this step in the workload breaks the promise: log written"
    if between.broken:
        assert last.cause == f"perhaps as after an earlier step: {first.cause}"
        assert last.suggestion == first.suggestion
        assert last.explanation[-1].startswith(f"Each crash from hit 1 of {ACKED}")
    else:
        assert step in (first.cause, last.cause)


@pytest.mark.parametrize("writer", ["", ":b"])
def test_a_step_of_another_writer(writer: str) -> None:
    """Among several writers, the change before an acknowledgement may be another one's."""
    checker: Any = None  # No run is made.
    exploration = KillExploration(checker)
    lines = [f"attempt{writer} 2", A]
    for name, files, noted in ((ATTEMPTED, {}, lines), ("y", {"log": "2"}, lines), (ACKED, {"log": "2"}, [*lines, B])):
        journal = "".join(f"{line}\n" for line in noted).encode()
        path, state = ((name, 1),), CrashState(tree_of(**files), Promises.parse(journal))
        checked = Checked(Verdict.LOSES, "gone") if name == ACKED else Checked(Verdict.SAFE)
        exploration.paths.append(path)
        exploration.states[path] = state
        exploration.report(path, checked, state)
    (finding,) = KillExplainer(exploration).findings()
    assert "recovery needs more than that step left" in finding.explanation[-1]
    assert finding.explanation[-1].endswith(", and it may be another writer's.") is bool(writer)


def tree_of(**files: str) -> Tree:
    entries = ((path, Entry("file", 0o600, content, extents=((0, len(content)),))) for path, content in files.items())
    return Tree(tuple(sorted(entries)))


@pytest.mark.parametrize(
    ("recovery", "taken"),
    [
        ([{"data": "0", "wal": "1"}, {"data": "0"}, {"data": "0", "new": "x"}], "wal removed"),
        ([{"data": "0", "wal": "1"}, {"data": "0", "wal": "1", "lock": "x"}, {"data": "0", "wal": ""}], "wal emptied"),
        ([{"data": "01", "wal": "1", "old": "9"}, {"data": "01"}], ""),
        ([{"data": "01"}], ""),
        ([{"data": "0", "wal": "1", "new": "01"}, {"data": "01", "wal": "1"}, {"data": "01"}], ""),
        ([{"data": "0", "wal": "1"}], ""),
    ],
    ids=[
        *("removed", "emptied, after a file was made", "after its content was written elsewhere"),
        *("while its content was written elsewhere", "after its content was renamed", "kept"),
    ],
)
def test_what_recovery_takes_away(recovery: list[dict[str, str]], taken: str) -> None:
    """A recovery that removes a file which has what was acknowledged is said to have done so, unless it wrote before."""
    checker: Any = None  # No run is made.
    exploration = KillExploration(checker)
    before, after = {"data": "0", "old": "9"}, {"data": "0", "wal": "1", "old": "9"}
    snapshots = tuple(Snapshot(("call", at), tree_of(**{"old": "9", **files})) for at, files in enumerate(recovery, 1))
    places = [(ATTEMPTED, before, [A]), ("y", after, [A]), (ACKED, after, [A, B])]
    for name, files, lines in places:
        journal = "".join(f"{line}\n" for line in lines).encode()
        path, state = ((name, 1),), CrashState(tree_of(**files), Promises.parse(journal))
        checked = Checked(Verdict.LOSES, "gone", snapshots) if name == ACKED else Checked(Verdict.SAFE)
        exploration.paths.append(path)
        exploration.states[path] = state
        exploration.checked[state.key] = checked
        exploration.report(path, checked, state)
    (finding,) = KillExplainer(exploration).findings()
    step = "the promise breaks with the acknowledgement of 1, after this step in the workload: wal made"
    assert finding.cause == (f"{step}; and this one in recovery: {taken}" if taken else step)
    assert finding.suggestion.startswith("Remove it only once" if "removed" in taken else "")
    assert bool(finding.suggestion) is ("removed" in taken)
    assert ("it took away" in finding.explanation[-1]) is bool(taken)


@pytest.mark.parametrize(
    ("files", "lines", "verdict", "advised"),
    [
        ({"data": "1", "new": ""}, [A], Verdict.CANNOT_OPEN, True),
        ({"data": ""}, [A], Verdict.CORRUPT, True),
        ({"data": "1"}, [A, B], Verdict.CANNOT_OPEN, False),
        ({}, [A], Verdict.CANNOT_OPEN, False),
        ({"data": "2"}, [A], Verdict.LOSES, False),
    ],
    ids=["made", "emptied", "acknowledged", "removed", "readable"],
)
def test_a_file_that_is_half_written(
    files: dict[str, str], lines: list[str], verdict: Verdict, *, advised: bool
) -> None:
    """If recovery fails on what a step left half done, the report says what to do."""
    checker: Any = None  # No run is made.
    exploration = KillExploration(checker)
    for name, there, noted in ((ATTEMPTED, {"data": "0"}, [A]), ("y", files, lines)):
        journal = "".join(f"{line}\n" for line in noted).encode()
        path, state = ((name, 1),), CrashState(tree_of(**there), Promises.parse(journal))
        checked = Checked(verdict, "it raised") if name == "y" else Checked(Verdict.SAFE)
        exploration.paths.append(path)
        exploration.states[path] = state
        exploration.report(path, checked, state)
    (finding,) = KillExplainer(exploration).findings()
    assert finding.suggestion.startswith("Write it under another name") is advised


@pytest.mark.parametrize(("name", "target", "mutant"), KILL)
def test_kill(name: str, target: str, mutant: str, tmp_path: Path) -> None:
    """The step that breaks the promise is named, and the place before it, where a crash was safe."""
    findings = explained_kill(target, mutant, tmp_path)
    verdict = (GOLDEN / f"{name}.txt").read_text().partition("\n")[0].removeprefix("verdict: ")
    first = next(each for each in findings if RESUMED not in parse_id(each.example) and each.verdict.value == verdict)
    agrees_with_golden(GOLDEN / f"{name}.txt", first)
    assert first.timeline[-2].kind == "cut"
