"""Links, devices and other tools' files in a report directory: nothing outside changes, nothing is waited for."""

import itertools
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import ReportError, ReportWriter, Verdict, read_report, read_results, render
from crashmatrix.reports.merge import merge_directories
from crashmatrix.reports.store import RENDERERS, TRACES, has_trace, keep_trace
from tests import ROOT
from tests.reports.samples import result, summary

FOUND = [result(hit=1), result(hit=2, verdict=Verdict.LOSES, explanation="gone: 3")]
FILES = ("results.jsonl", "summary.json", *RENDERERS)
TRACE = "power.trace"
PROGRAM = [sys.executable, "-c", "from crashmatrix.scenarios.cli.main import main; main()"]


def written(directory: Path, shard: str = "1/1") -> Path:
    """A finished report with a trace."""
    (directory.parent / TRACE).write_bytes(b"recorded")
    with ReportWriter(directory) as writer:
        for one in FOUND:
            writer.add(one)
        keep_trace(directory.parent / TRACE, directory / TRACES)
        writer.finish(summary(FOUND, shard=shard), FOUND)
    return directory


def outside(folder: Path) -> Path:
    """Make things that belong to others: a file, and a folder with a file and a report's names in it."""
    (folder / "folder").mkdir(parents=True)
    for name in ("file", "folder/file", "folder/summary.json", f"folder/{TRACE}"):
        (folder / name).write_text("precious")
    return folder


def seen(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every name under a folder with its kind and content; links are not followed."""
    return {str(path.relative_to(folder)): _seen(path) for path in sorted(folder.rglob("*"))}


def _seen(path: Path) -> tuple[int, bytes]:
    mode = stat.S_IFMT(path.lstat().st_mode)
    content = path.read_bytes() if stat.S_ISREG(mode) else os.fsencode(path.readlink()) if path.is_symlink() else b""
    return mode, content


def hard_link(path: Path, foreign: Path) -> None:
    path.hardlink_to(foreign / "file")


def folder_with_a_file(path: Path, foreign: Path) -> None:
    path.mkdir()
    (path / "mine").write_text("precious")


def listening(path: Path, foreign: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))  # a socket's absolute name may be too long


def link_to_a_fifo(path: Path, foreign: Path) -> None:
    os.mkfifo(foreign / "fifo")
    path.symlink_to(foreign / "fifo")


INTRUDERS: dict[str, Callable[[Path, Path], None]] = {
    "link to a file": lambda path, foreign: path.symlink_to(foreign / "file"),
    "link to a folder": lambda path, foreign: path.symlink_to(foreign / "folder"),
    "link to nothing": lambda path, foreign: path.symlink_to(foreign / "made-by-nobody"),
    "link to itself": lambda path, foreign: path.symlink_to(path),
    "link to a device": lambda path, foreign: path.symlink_to("/dev/zero"),
    "link to a FIFO": link_to_a_fifo,
    "FIFO": lambda path, foreign: os.mkfifo(path),
    "socket": listening,
    "hard link": hard_link,
    "folder": folder_with_a_file,
}
PLACES = (*FILES, "results.jsonl.tmp", "index.html.tmp", TRACES, f"{TRACES}/{TRACE}")


def put(place: Path, intruder: str, foreign: Path) -> None:
    """Put an intruder in the place of whatever is there."""
    if place.is_dir():
        for inside in place.iterdir():
            inside.unlink()
        place.rmdir()
    place.unlink(missing_ok=True)
    INTRUDERS[intruder](place, foreign)


def run(report: Path) -> None:
    written(report)


def run_on(report: Path) -> None:
    """A run whose directory is another process's playground once it has begun."""
    with ReportWriter(report.with_name("fresh")) as writer:
        writer.add(FOUND[0])
        for name in ("results.jsonl", "summary.json", *RENDERERS, TRACES):
            if (report / name).is_symlink():
                (report.with_name("fresh") / name).unlink(missing_ok=True)
                (report.with_name("fresh") / name).symlink_to((report / name).readlink())
        writer.add(FOUND[1])
        keep_trace(report.with_name(TRACE), report.with_name("fresh") / TRACES)
        writer.finish(summary(FOUND), FOUND)


def render_again(report: Path) -> None:
    render(report, summary(FOUND), FOUND)


def merge_from(report: Path) -> None:
    merge_directories(report.with_name("whole"), [report])


def merge_into(report: Path) -> None:
    merge_directories(report, [written(report.with_name("part"))])


def read(report: Path) -> None:
    read_report(report)


def look_for_trace(report: Path) -> None:
    has_trace(report / TRACES / TRACE)


def every_pair(*axes: Iterable[Any]) -> list[Any]:
    """Return all combinations. All are slow except a set in which each value meets each value of the next axis."""
    sizes = [list(axis) for axis in axes]
    combinations = itertools.product(*(range(len(axis)) for axis in sizes))
    return [
        pytest.param(
            *(axis[at] for axis, at in zip(sizes, each, strict=True)),
            marks=[] if sum(each) % len(sizes[-1]) == 0 else pytest.mark.slow,
        )
        for each in combinations
    ]


@pytest.mark.parametrize(
    ("intruder", "place", "use"),
    every_pair(INTRUDERS, PLACES, [run, run_on, render_again, merge_from, merge_into, read, look_for_trace]),
)
def test_nothing_outside_changes(
    use: Callable[[Path], None], place: str, intruder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link in a report directory is never followed, wherever it leads: it is replaced, or refused in one line."""
    monkeypatch.chdir(tmp_path)
    report, foreign = written(tmp_path / "report"), outside(tmp_path / "foreign")
    put(report / place, intruder, foreign)
    before = seen(foreign)
    try:
        use(report)
    except ReportError as refused:
        assert "\n" not in str(refused)
        assert str(report.parent) in str(refused)
    assert seen(foreign) == before
    for path in (tmp_path / "whole").rglob("*"):
        copied = not path.is_dir() and path.name != "run.lock" and path.read_bytes() in (b"", b"precious")
        assert not copied or intruder in ("hard link", "folder")


@pytest.mark.parametrize(
    ("intruder", "place", "use"),
    every_pair(
        [name for name in INTRUDERS if name != "hard link"], [*PLACES[:-1], "."], [run, render_again, merge_into]
    ),
)
def test_refused_before_anything_is_written(
    use: Callable[[Path], None], place: str, intruder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry that is not a report's file is left as it is, with the report around it. The error names both entry and remedy."""
    monkeypatch.chdir(tmp_path)
    report, foreign = written(tmp_path / "report"), outside(tmp_path / "foreign")
    if place in (".", TRACES) and intruder == "folder":
        return
    if place == ".":
        report = tmp_path / "other"
    put(report / place, intruder, foreign)
    before = seen(tmp_path / "report")
    with pytest.raises(ReportError) as refused:
        use(report)
    assert str(report) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert seen(tmp_path / "report") == before


@pytest.mark.parametrize("name", FILES)
def test_a_second_name_keeps_what_it_had(name: str, tmp_path: Path) -> None:
    """A copy of a report made of hard links keeps the old run when a new run, or a rendering, replaces the report."""
    report = written(tmp_path / "report")
    kept = tmp_path / "kept"
    kept.hardlink_to(report / name)
    before = kept.read_bytes()
    with ReportWriter(report) as writer:
        writer.add(result(hit=7))
        assert kept.read_bytes() == before
        writer.finish(summary([result(hit=7)], target="other"), [result(hit=7)])
    render(report, summary([], target="yet another"), [])
    assert kept.read_bytes() == before
    assert (report / name).read_bytes() != before


@pytest.mark.parametrize("intruder", [name for name in INTRUDERS if name != "hard link"])
def test_merge_takes_files_only(intruder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If one trace is not a regular file, the whole merge is refused with the trace's name, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    report, foreign = written(tmp_path / "report"), outside(tmp_path / "foreign")
    put(report / TRACES / "second.trace", intruder, foreign)
    with pytest.raises(ReportError, match=r"second\.trace is .*, which is not merged: .*remove it") as refused:
        merge_directories(tmp_path / "whole", [report])
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "whole").exists()


def test_merge_takes_the_traces(tmp_path: Path) -> None:
    """All traces of all parts are in the merged report; what a killed run left half-written is not."""
    parts = [written(tmp_path / f"part{number}", f"{number}/2") for number in (1, 2)]
    (parts[0] / TRACES / "first.trace").write_bytes(b"of the first")
    (parts[1] / TRACES / "second.trace.0123456789abcdef.tmp").write_bytes(b"half")
    merge_directories(tmp_path / "whole", parts)
    traces = {path.name: path.read_bytes() for path in (tmp_path / "whole" / TRACES).iterdir()}
    assert traces == {TRACE: b"recorded", "first.trace": b"of the first"}


@pytest.mark.parametrize("use", [render_again, merge_into, run])
@pytest.mark.parametrize("to", ["report", "empty", "nothing"])
def test_a_directory_that_is_a_link_is_not_written_through(
    use: Callable[[Path], None], to: str, tmp_path: Path
) -> None:
    """A link in place of the report directory is refused with the remedy; reading through it is harmless."""
    written(tmp_path / "report")
    (tmp_path / "empty").mkdir()
    before = seen(tmp_path / "report"), seen(tmp_path / "empty")
    (tmp_path / "link").symlink_to(tmp_path / to)
    with pytest.raises(ReportError, match=r"link is a symbolic link; name the directory itself"):
        use(tmp_path / "link")
    assert (seen(tmp_path / "report"), seen(tmp_path / "empty")) == before
    assert not (tmp_path / "nothing").exists()
    if to == "report":
        assert read_report(tmp_path / "link")[1] == FOUND


@pytest.mark.parametrize("by", ["a link", "a folder", "nothing"])
@pytest.mark.parametrize("begun", [False, True])
def test_a_directory_replaced_during_the_run(by: str, begun: bool, tmp_path: Path) -> None:
    """A run writes into the directory it began in; what takes that one's place later stays as it is, and the run says so."""
    foreign = outside(tmp_path / "foreign")
    before = seen(foreign)
    with ReportWriter(tmp_path / "report") as writer:
        if begun:
            writer.add(FOUND[0])
        (tmp_path / "report").rename(tmp_path / "moved")
        if by == "a link":
            (tmp_path / "report").symlink_to(foreign / "folder")
        elif by == "a folder":
            (foreign / "folder").rename(tmp_path / "report")
        with pytest.raises(ReportError, match="report was replaced during the run") as refused:
            writer.finish(summary(FOUND), FOUND)
    if by == "a folder":
        (tmp_path / "report").rename(foreign / "folder")
    assert "\n" not in str(refused.value)
    assert seen(foreign) == before
    assert not begun or read_results(tmp_path / "moved") == FOUND[:1]


COMMANDS = {
    "run": ["run", "tests.scenarios.toy_systems:Store", "--experiments", "kill", "--report", "report"],
    "merge out": ["merge", "report", "part"],
    "merge in": ["merge", "whole", "report"],
    "report": ["report", "report"],
    "diff": ["diff", "report", "part"],
    "replay": ["replay", "power:power:1-none", "--report", "report"],
}
REFUSED = [
    ("run", "results.jsonl", "link to a file", "remove it"),
    ("run", TRACES, "link to a folder", "remove it"),
    ("merge out", "index.html.tmp", "link to a file", "remove it"),
    ("merge in", TRACES, "link to a folder", "it is a symbolic link"),
    ("merge in", f"{TRACES}/{TRACE}", "link to a device", "remove it and merge again"),
    ("merge in", "results.jsonl", "link to a device", "it is a symbolic link, not a file"),
    ("report", "index.html.tmp", "link to a file", "remove it"),
    ("diff", "summary.json", "FIFO", "it is a FIFO, not a file"),
    ("replay", f"{TRACES}/{TRACE}", "link to a device", "it is a symbolic link, not a file"),
    ("replay", f"{TRACES}/{TRACE}", "FIFO", "it is a FIFO, not a file"),
]


@pytest.mark.lengthy
@pytest.mark.daily(2)
@pytest.mark.parametrize(("command", "place", "intruder", "message"), REFUSED)
def test_on_the_command_line(command: str, place: str, intruder: str, message: str, tmp_path: Path) -> None:
    """Each command refuses in one line, ends with status 2 and leaves everything outside as it was."""
    report, foreign = written(tmp_path / "report"), outside(tmp_path / "foreign")
    kept = json.loads((report / "summary.json").read_bytes())
    recording = {"name": "power", "filesystem": "ext4"}
    kept["experiments"]["power"] = {**kept["experiments"]["kill"], "details": {"recordings": [recording]}}
    kept["options"] = {"target": "nosuch", "options": {}, "mutant": "", "budget": 9, "filesystems": ["ext4"]}
    (report / "summary.json").write_text(json.dumps(kept))
    written(tmp_path / "part")
    put(report / place, intruder, foreign)
    before = seen(foreign)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    ended = subprocess.run(
        [*PROGRAM, *COMMANDS[command]], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended.stderr
    assert message in ended.stderr
    assert seen(foreign) == before


@pytest.mark.lengthy
@pytest.mark.daily(1)
@pytest.mark.parametrize("command", ["report", "merge whole", "diff report"])
def test_error_lines_show_escapes(command: str, tmp_path: Path) -> None:
    """A name with an escape sequence or a line end is shown as text on one line of stderr, on every way there."""
    written(tmp_path / "report")
    name = "no\x1b[31msuch\nreport"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    arguments = [*PROGRAM, *command.split(), *(["report"] if command.startswith("merge") else []), name]
    ended = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert "\x1b" not in ended.stderr
    assert r"no\x1b[31msuch report" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
