"""The report directory: nothing found is lost, nothing foreign is touched, and every refusal names its remedy."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import ReportError, ReportWriter, Verdict, read_report, read_results, read_summary, render
from crashmatrix.reports.result import FORMAT
from crashmatrix.reports.store import RENDERERS
from tests import ROOT
from tests.reports.samples import result, summary

FOUND = [result(hit=1), result(hit=2, verdict=Verdict.LOSES, explanation="acknowledged, but gone: 3"), result(hit=3)]
NOBODY = 65534


def content(path: Path) -> dict[str, bytes]:
    """Every file under a folder, or the file itself."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(file.relative_to(path)): file.read_bytes() if file.is_file() else b"/" for file in files}


def one_line(refused: pytest.ExceptionInfo[ReportError], *, remedy: str) -> None:
    message = str(refused.value)
    assert "\n" not in message
    assert remedy in message


def written(directory: Path) -> Path:
    """A finished report."""
    with ReportWriter(directory) as writer:
        for one in FOUND:
            writer.add(one)
        writer.finish(summary(FOUND), FOUND)
    return directory


def changed_summary(directory: Path, **fields: Any) -> Path:
    path = written(directory) / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **fields}))
    return directory


def test_finished_report(tmp_path: Path) -> None:
    """A finished report has all results in the order given to `finish`, and the summary."""
    with ReportWriter(tmp_path / "a" / "report") as writer:
        for one in reversed(FOUND):
            writer.add(one)
        writer.finish(summary(FOUND), FOUND)
    assert read_results(tmp_path / "a" / "report") == FOUND
    assert read_summary(tmp_path / "a" / "report") == summary(FOUND)
    assert sorted(content(tmp_path / "a" / "report")) == sorted(
        ["results.jsonl", "run.lock", "summary.json", *RENDERERS]
    )


def test_rendered_again(tmp_path: Path) -> None:
    """The pages are made from the stored results alone: made again, they are the same, byte for byte."""
    before = content(written(tmp_path))
    for name in RENDERERS:
        (tmp_path / name).unlink()
    render(tmp_path, *read_report(tmp_path))
    assert content(tmp_path) == before


def test_a_new_run_leaves_nothing_old_to_read(tmp_path: Path) -> None:
    """Once a run has its first result, no page speaks of the run before it, even if it never ends."""
    written(tmp_path)
    with ReportWriter(tmp_path) as writer:
        writer.add(FOUND[0])
        left = ["results.jsonl", "resume", "resume/contents", "resume/ledger", "run.lock"]
        assert sorted(content(tmp_path)) == left


def test_a_run_without_results_replaces_the_report(tmp_path: Path) -> None:
    """A finished run that found nothing to run, a shard with no share, has its own report, and nothing of the one before."""
    (written(tmp_path) / "traces").mkdir()
    with ReportWriter(tmp_path) as writer:
        writer.finish(summary([]), [])
    assert read_report(tmp_path) == (summary([]), [])
    assert not (tmp_path / "traces").exists()


def test_read_only_report(public_folder: Path) -> None:
    """A report that may not be written is not rendered again: one line with the remedy, and nothing changes."""
    report = written(public_folder / "report")
    before = content(report)
    report.chmod(0o555)
    with unprivileged(), pytest.raises(ReportError) as refused:
        render(report, *read_report(report))
    one_line(refused, remedy="copy it to where you may write")
    assert content(report) == before
    report.chmod(0o755)


DYING_RUN = """
import os, signal, sys
from pathlib import Path
from crashmatrix.reports import ReportWriter
from tests.reports.test_store import FOUND
writer = ReportWriter(Path(sys.argv[1]))
for one in FOUND:
    writer.add(one)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_results_survive_a_killed_run(tmp_path: Path) -> None:
    """The results that a run has added are on disk even if it is killed before it finishes; there is no summary then."""
    ended = subprocess.run([sys.executable, "-c", DYING_RUN, str(tmp_path / "report")], cwd=ROOT)
    assert ended.returncode == -signal.SIGKILL
    assert read_results(tmp_path / "report") == FOUND
    with pytest.raises(ReportError) as refused:
        read_summary(tmp_path / "report")
    one_line(refused, remedy="crashmatrix run")


def test_results_survive_an_exception(tmp_path: Path) -> None:
    """A run that ends by an exception leaves its results, and a later run can replace them."""
    with pytest.raises(RuntimeError), ReportWriter(tmp_path) as writer:
        writer.add(FOUND[0])
        raise RuntimeError
    assert read_results(tmp_path) == FOUND[:1]
    assert read_results(written(tmp_path)) == FOUND


def test_unfinished_last_line(tmp_path: Path) -> None:
    """A last line that was cut short does not take the results before it along."""
    path = written(tmp_path) / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    assert read_results(tmp_path) == FOUND[:-1]


def test_previous_report_is_replaced(tmp_path: Path) -> None:
    """A new run's first result takes the place of the whole report before it."""
    written(tmp_path)
    with ReportWriter(tmp_path) as writer:
        writer.add(FOUND[1])
        assert not (tmp_path / "summary.json").exists()
        assert read_results(tmp_path) == [FOUND[1]]


def test_traces_of_the_previous_report_go(tmp_path: Path) -> None:
    """Traces belong to the report they were kept for: a new one does not inherit them."""
    directory = written(tmp_path / "report")
    (directory / "traces").mkdir()
    (directory / "traces" / "old.trace").touch()
    written(directory)
    assert not (directory / "traces").exists()


def test_run_that_finds_nothing_keeps_the_report(tmp_path: Path) -> None:
    """A run that ends before its first result, by a mistyped target say, leaves the report before it alone."""
    before = content(written(tmp_path))
    with ReportWriter(tmp_path):
        pass
    assert content(tmp_path) == before


@pytest.mark.parametrize("text", ["\u2028 \x85 \x1c \r", "\udcff.arrows", "é [red]", '"\\n'])
def test_any_text_comes_back(tmp_path: Path, text: str) -> None:
    """A result with separators, quotes or a file name that is not Unicode is read back unchanged."""
    hostile = result(explanation=text, point=text)
    with ReportWriter(tmp_path) as writer:
        writer.add(hostile)
        assert read_results(tmp_path) == [hostile]
        writer.finish(summary([hostile], target=text), [hostile])
    assert read_results(tmp_path) == [hostile]
    assert read_summary(tmp_path).target == text


def leave(directory: Path, *names: str) -> Path:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("precious")
    return directory


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda path: leave(path, "thesis.tex"), "name an empty or new one with --report"),
        (lambda path: leave(path, "data/results.jsonl"), "name an empty or new one with --report"),
        (lambda path: leave(written(path), "thesis.tex"), "name another with --report"),
        (lambda path: leave(path.parent, path.name) / path.name, "name another with --report"),
        (lambda path: leave(path.parent, path.name) / path.name / "report", "name another with --report"),
        (lambda path: Path("/proc/no-such-place/report"), "name a directory you may write with --report"),
    ],
    ids=["other files", "a folder", "a report and another file", "a file", "a file on the way", "no place for it"],
)
def test_refused_directory(tmp_path: Path, make: Callable[[Path], Path], remedy: str) -> None:
    """A directory that does not hold a report is refused in one line with the remedy, and nothing in it changes."""
    directory = make(tmp_path / "x")
    before = content(tmp_path)
    with pytest.raises(ReportError) as refused:
        ReportWriter(directory)
    one_line(refused, remedy=remedy)
    assert str(directory) in str(refused.value)
    assert content(tmp_path) == before


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be somebody whom permissions bind."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if was == 0:
            os.seteuid(was)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that anybody can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_unwritable_directory(public_folder: Path) -> None:
    """A report in a directory that may not be written is refused before the run, in one line, and stays."""
    report = written(public_folder / "report")
    before = content(report)
    report.chmod(0o555)
    with unprivileged(), pytest.raises(ReportError) as refused:
        ReportWriter(report)
    one_line(refused, remedy="name a directory you may write with --report")
    assert content(report) == before
    report.chmod(0o755)


def test_unwritable_results(public_folder: Path) -> None:
    """If the results of an earlier report cannot be replaced, its summary stays, too."""
    report = written(public_folder / "report")
    before = content(report)
    report.chmod(0o777)
    (report / "run.lock").chmod(0o666)
    with unprivileged(), ReportWriter(report) as writer, pytest.raises(ReportError) as refused:
        writer.add(FOUND[0])
    one_line(refused, remedy="name another directory with --report")
    assert content(report) == before


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda path: path, "crashmatrix run"),
        (lambda path: path / "missing", "crashmatrix run"),
        (lambda path: leave(path, "file") / "file", "crashmatrix run"),
        (lambda path: leave(path, "summary.json"), "run again to replace it"),
        (lambda path: leave(path, "summary.json/x"), "run again to replace it"),
        (lambda path: changed_summary(path, format=FORMAT + 1), "upgrade"),
        (lambda path: changed_summary(path, format="one"), "run again to replace it"),
        (lambda path: changed_summary(path, format=None), "run again to replace it"),
    ],
    ids=["empty", "missing", "a file", "no JSON", "a folder", "newer", "no number", "null"],
)
def test_unreadable_summary(tmp_path: Path, make: Callable[[Path], Path], remedy: str) -> None:
    """A summary that cannot be read is refused in one line with the remedy, and nothing is changed."""
    directory = make(tmp_path)
    before = content(tmp_path)
    with pytest.raises(ReportError) as refused:
        read_summary(directory)
    one_line(refused, remedy=remedy)
    assert str(directory) in str(refused.value)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "3", "null", '{"verdict": "safe"}', '{"id": "x", "verdict": "fine"}', "{", "\udcff"]
)
def test_unreadable_results(tmp_path: Path, text: str) -> None:
    """Results of which any line cannot be read are refused in one line with the remedy."""
    path = written(tmp_path) / "results.jsonl"
    path.write_bytes(path.read_bytes() + text.encode(errors="surrogateescape") + b"\n")
    with pytest.raises(ReportError) as refused:
        read_results(tmp_path)
    one_line(refused, remedy="run again to replace it")


def test_missing_results(tmp_path: Path) -> None:
    """A report that lost its results is refused in one line with the remedy."""
    (written(tmp_path) / "results.jsonl").unlink()
    with pytest.raises(ReportError) as refused:
        read_results(tmp_path)
    one_line(refused, remedy="run again to replace it")
