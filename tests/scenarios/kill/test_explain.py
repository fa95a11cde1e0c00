"""A finding of kills names the step that breaks the promise, and the place before it, where a crash was safe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import Finding
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.judging.snapshots.tree import Entry, Tree
from crashmatrix.scenarios.kill.explain import changes_between
from crashmatrix.scenarios.kill.plan import RESUMED, parse_id
from tests.scenarios.experiments import kill_of
from tests.scenarios.explained import agrees_with_golden

TOYS = "tests.scenarios.toy_systems"
GOLDEN = Path(__file__).parent / "golden"

KILL = [
    ("acknowledged-before-written", "reference-log", "ack-before-write"),
    ("retired-too-early", "reference-log", "retire-before-set"),
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


@pytest.mark.daily(2)
@pytest.mark.parametrize(("name", "target", "mutant"), KILL)
def test_kill(name: str, target: str, mutant: str, tmp_path: Path) -> None:
    """The step that breaks the promise is named, and the place before it, where a crash was safe."""
    findings = explained_kill(target, mutant, tmp_path)
    first = next(finding for finding in findings if RESUMED not in parse_id(finding.example))
    agrees_with_golden(GOLDEN / f"{name}.txt", first)
    assert first.timeline[-2].kind == "cut"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({}, {"a": "1"}, ["a made"]),
        ({"a": "1"}, {}, ["a removed"]),
        ({"a": "1"}, {"a": "2"}, ["a written"]),
        ({"a": "1"}, {"b": "1"}, ["a becomes b"]),
        ({"a": "1", "b": "2"}, {"b": "3"}, ["a removed", "b written"]),
        ({"a": "1", "b": "2"}, {"b": "1"}, ["a becomes b"]),
        ({"a": "1", "b": "1"}, {"b": "1"}, ["a removed"]),
        ({"a": "1", "b": "2", "c": "3"}, {"b": "1", "c": "1"}, ["a becomes b", "c written"]),
        ({"a": "1"}, {"a": "1"}, []),
    ],
)
def test_changes_between(before: dict[str, str], after: dict[str, str], words: list[str], tmp_path: Path) -> None:
    """Two snapshots of a folder differ by what was made, written, renamed and removed."""
    trees: list[Tree] = []
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    store = SnapshotStore(scratch)
    for number, content in enumerate((before, after)):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text)
        trees.append(store.capture(folder))
    assert changes_between(*trees) == words


@pytest.mark.parametrize(
    ("path", "changes", "words"),
    [
        ("f", {"mode": 0o444}, ["permissions of f become 444"]),
        (".", {"mode": 0o700}, ["permissions of the folder become 700"]),
        ("f", {"owner": (5, 6)}, ["owner of f becomes 5:6"]),
        (
            "f",
            {"attributes": (("user.a", b"2"), ("user.b", b""))},
            ["attribute user.a of f set", "attribute user.b of f set"],
        ),
        ("f", {"attributes": ()}, ["attribute user.a of f removed"]),
        ("f", {"content": "2", "mode": 0o444}, ["f written"]),
        ("f", {"modified_ns": 7}, []),
    ],
)
def test_changes_of_attributes(path: str, changes: dict[str, Any], words: list[str]) -> None:
    """Permissions, owner and attributes have words of their own, so that the step to blame is named."""
    entry = Entry("file", 0o644, "1", attributes=(("user.a", b"1"),))
    assert changes_between(Tree(((path, entry),)), Tree(((path, replace(entry, **changes)),))) == words
