"""Terminal output, compared word for word with the files in `golden/`. CRASHMATRIX_REWRITE=1 writes them anew."""

import io
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from crashmatrix.reports import Finding, ScenarioResult, Verdict
from crashmatrix.reports.findings import finding_id
from crashmatrix.reports.formats.console import FINDINGS_MAX, progress, show_run
from tests.reports.samples import hostile, result, summary

GOLDEN = Path(__file__).parent / "golden"
COLOUR = re.compile("\x1b\\[[0-9;]*3[0-9]m")
HOSTILE = "[red]x[/]\n:boom: \x1b[31m \udcff \\"
LOST: dict[str, Any] = {"verdict": Verdict.LOSES, "explanation": "acknowledged, but gone: 3 (of 4 acknowledged)"}
WRONG: dict[str, Any] = {"verdict": Verdict.CORRUPT, "explanation": "row 7 differs"}
EXPLAINED = result(**LOST, cause="no flush of the directory")
FINDING = Finding(
    id=finding_id(EXPLAINED), experiment="kill", verdict=Verdict.LOSES, title="", count=1, example=EXPLAINED.id,
    cause=EXPLAINED.cause, explanation=("3 was acknowledged.", "Then the process died."), replay=EXPLAINED.replay,
    suggestion="fsync the directory",
)  # fmt: skip

RUNS: dict[str, tuple[list[ScenarioResult], dict[str, object]]] = {
    "safe": ([result(hit=hit) for hit in range(1, 1101)], {}),
    "broken": (
        [
            *(result(hit=hit) for hit in range(1, 4)),
            result("workload.end", verdict=Verdict.UNKNOWN, explanation="the failpoint never fired"),
            *(result("wal.retire.before_unlink", hit, **LOST) for hit in (1, 2)),
            result("recovery.tail.before_sync", depth=2, **WRONG),
            result("recovery.tail.after_sync", depth=1, **WRONG, id="kill:shallower@1"),
        ],
        {"not_run": {"power": "this machine has no /dev/fuse; run: sudo modprobe fuse"}},
    ),
    "explained": ([EXPLAINED], {"findings": [FINDING]}),
    "interrupted": ([result()], {"interrupted": True}),
    "shard": ([result()], {"shard": "2/3"}),
    "merged": ([result()], {"missing_shards": ["2/3"]}),
    "nothing": ([], {"not_run": {"kill": "[reason]"}}),
    "many-findings": ([result(hit=n, verdict=Verdict.HOLE, explanation="abcdefghijkl"[n:]) for n in range(FINDINGS_MAX + 3)], {}),
    "hostile": (
        [result(HOSTILE, id=HOSTILE, explanation=HOSTILE, replay=HOSTILE, verdict=Verdict.PHANTOM)],
        {"target": HOSTILE, "not_run": {HOSTILE: HOSTILE}},
    ),
}  # fmt: skip


def shown(name: str, *, terminal: bool = False) -> str:
    results, other = RUNS[name]
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal or None, _environ=os.environ)
    show_run(console, summary(results, **other), results, Path(HOSTILE if name == "hostile" else "out"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def without_padding(lines: Iterable[str]) -> str:
    """Tables fill their last column with spaces, which nobody sees and editors remove."""
    return "".join(line.rstrip() + "\n" for line in lines)


@pytest.mark.parametrize("name", RUNS)
def test_transcript(name: str) -> None:
    """A run's account reads exactly as the golden transcript: plain text, findings worst first, the verdict last."""
    path, text = GOLDEN / f"{name}.txt", without_padding(shown(name).split("\n")[:-1])
    if os.environ.get("CRASHMATRIX_REWRITE") == "1":
        path.write_text(text)
    assert text == path.read_text()


def test_every_transcript_has_its_run() -> None:
    """No golden file is left over from a run that is no longer tested."""
    assert {path.stem for path in GOLDEN.iterdir()} == set(RUNS)


def test_hostile_names_show_as_text() -> None:
    """A name is shown as text: no markup, no emoji, nothing that moves the cursor or cannot be encoded."""
    text = shown("hostile")
    assert text.count(r"[red]x[/]\n:boom: \x1b[31m \udcff") >= 6
    assert all(character.isprintable() or character == "\n" for character in text)


def test_hostile_labels_show_as_text() -> None:
    """The labels of a stored report, and everything else in it, are shown as text."""
    console = Console(file=io.StringIO(), width=1_000, force_terminal=True, color_system=None)
    run, results = hostile()
    show_run(console, run, results, Path("out"))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert text.splitlines()[0].startswith("</script ><!--<script>")
    assert r"[a](b) @everyone \x1b[31m\u202e\udcff" in text.splitlines()[0]
    assert all(character.isprintable() or character == "\n" for character in text)


def test_explanations_keep_their_lines() -> None:
    """An explanation of several lines, a traceback say, is shown in as many, indented."""
    console = Console(file=io.StringIO(), width=100)
    found = [result(verdict=Verdict.CANNOT_OPEN, explanation="it printed:\n  File x\n[b]Error[/]")]
    show_run(console, summary(found), found, Path("out"))
    assert isinstance(console.file, io.StringIO)
    assert "\n  it printed:\n    File x\n  [b]Error[/]\n  again:" in console.file.getvalue()


@pytest.mark.parametrize("name", RUNS)
def test_no_color(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets colours, unless NO_COLOR is set: then its text has none."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert COLOUR.search(shown(name, terminal=True))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not COLOUR.search(shown(name, terminal=True))


@pytest.mark.parametrize(("terminal", "silent"), [(False, True), (True, False)])
def test_progress_is_for_terminals(terminal: bool, silent: bool) -> None:
    """The bar moves in a terminal and leaves a pipe untouched."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with progress(console) as bar:
        bar.advance(bar.add_task("killing", total=2))
    assert isinstance(console.file, io.StringIO)
    assert (console.file.getvalue() == "") is silent
