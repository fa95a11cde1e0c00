"""Whose a directory is: a report is known by its content, whatever its files are called, and all else stays."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import ReportError, read_report
from crashmatrix.reports.folder import Folder
from crashmatrix.reports.lock import LOCK
from crashmatrix.reports.ownership import is_report, refuse_foreign, refuse_links
from crashmatrix.reports.store import REPORT_NAMES, TRACES
from tests import ROOT
from tests.reports.samples import summary
from tests.reports.test_links import FILES, FOUND, merge_into, run, seen, written

DEEP = "[" * 100_000
NUMBER = "9" * 5_000
FOREIGN_RESULTS = [
    "", "\n", "precious", "{}", "[]", "null", "3", '"safe"', "{", DEEP, NUMBER, "\x00", "\udcff",
    '{"id": "x"}', '{"id": 1, "experiment": "kill", "verdict": "safe"}',
    '{"id": "x", "experiment": "kill", "verdict": "passed"}', '{"id": "x", "experiment": "kill", "verdict": []}',
    '{"text": "a tweet", "label": 3}\n{"text": "another", "label": 4}\n',
]  # fmt: skip
FOREIGN_SUMMARIES = [
    "", "precious", "{}", "[]", "null", "{", DEEP, NUMBER, "\udcff", '{"format": 1}', '{"format": "v2", "target": "x"}',
    '{"total": {"lines": {"total": 10, "covered": 9}}}', '{"target": "x", "experiments": {}}',
    '{"format": 1, "target": "x", "experiments": []}', '{"format": "1", "target": "x", "experiments": {}}',
]  # fmt: skip
FOREIGN: list[dict[str, str]] = [
    *({"results.jsonl": text} for text in FOREIGN_RESULTS),
    *({"summary.json": text} for text in FOREIGN_SUMMARIES),
    {"results.jsonl": "precious", "summary.json": "{}"},
    {"results.jsonl": "", "summary.json": ""},
    {"summary.json": "{}", "index.html": "mine", "junit.xml": "mine"},
]


@pytest.mark.parametrize("use", [run, merge_into])
@pytest.mark.parametrize("files", FOREIGN, ids=range(len(FOREIGN)))
def test_another_tools_folder_stays(use: Callable[[Path], None], files: dict[str, str], tmp_path: Path) -> None:
    """Names that other tools use too do not make a folder ours: it is refused in one line, and stays as it is."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_bytes(text.encode(errors="surrogateescape"))
    before = seen(folder)
    with pytest.raises(ReportError, match=r"holds another program's .*; name another with --report") as refused:
        use(folder)
    assert "\n" not in str(refused.value)
    assert seen(folder) == before


@pytest.mark.parametrize("files", [*FOREIGN, {}], ids=range(len(FOREIGN) + 1))
def test_what_is_not_certainly_a_report(files: dict[str, str], tmp_path: Path) -> None:
    """Another tool's folder, and an empty one, is none; nothing is, in which something else lies or to which a link leads."""
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
    assert not is_report(tmp_path, REPORT_NAMES)
    report = written(tmp_path / "report")
    assert is_report(report, REPORT_NAMES)
    (tmp_path / "link").symlink_to(report)
    assert not is_report(tmp_path / "link", REPORT_NAMES)
    (report / "notes.txt").touch()
    assert not is_report(report, REPORT_NAMES)


def old_line() -> dict[str, Any]:
    """A line as the first version wrote it."""
    return {name: value for name, value in FOUND[0].to_json().items() if name not in ("cause", "state", "replay")}


OLD_SUMMARY = {
    name: value for name, value in summary(FOUND).to_json().items()
    if name not in ("started", "shard", "missing_shards", "findings")
}  # fmt: skip
NEW_SUMMARY = {**OLD_SUMMARY, "format": 99, "reshaped": True}
OURS: dict[str, dict[str, str]] = {
    "cut short": {"results.jsonl": json.dumps(old_line()) + "\n"},
    "cut short within a line": {"results.jsonl": json.dumps(old_line()) + '\n{"id": "ki'},
    "with other fields": {"results.jsonl": json.dumps({"new": 1, **old_line()}) + "\n"},
    "results lost": {"summary.json": json.dumps(OLD_SUMMARY)},
    "nothing found": {"results.jsonl": "", "summary.json": json.dumps(OLD_SUMMARY)},
    "of a newer version": {"results.jsonl": "", "summary.json": json.dumps(NEW_SUMMARY)},
    "summary damaged": {"results.jsonl": json.dumps(old_line()) + "\n", "summary.json": '{"form'},
    "killed while writing": {"results.jsonl.0123456789abcdef.tmp": '{"id": "ki'},
    "killed while rendering, of the first version": {"summary.json": json.dumps(OLD_SUMMARY), "index.html.tmp": "<"},
}


@pytest.mark.parametrize("files", OURS.values(), ids=OURS)
def test_our_own_report_is_replaced(files: dict[str, str], tmp_path: Path) -> None:
    """A report is known by its content: of any version, cut short or damaged; of it nothing is left."""
    (tmp_path / "report").mkdir()
    for name, text in files.items():
        (tmp_path / "report" / name).write_text(text)
    report = written(tmp_path / "report")
    assert read_report(report)[1] == FOUND
    assert {path.name for path in report.iterdir()} - {"index.html.tmp"} == {*FILES, LOCK, TRACES}


@pytest.mark.lengthy
@pytest.mark.parametrize("count", range(4))
def test_a_killed_run_is_known_as_ours(count: int, tmp_path: Path) -> None:
    """The next run may use the directory of a run that died, however few results are in it."""
    program = (
        "import os, signal, sys; from pathlib import Path; from crashmatrix.reports import ReportWriter\n"
        "from tests.reports.test_ownership import FOUND\n"
        "writer = ReportWriter(Path(sys.argv[1]))\n"
        "for one in (FOUND * 2)[:int(sys.argv[2])]: writer.add(one)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path / "report"), str(count)], cwd=ROOT)
    assert ended.returncode == -signal.SIGKILL
    assert read_report(written(tmp_path / "report"))[1] == FOUND


@pytest.mark.parametrize("directory", ["missing", "a file"])
def test_what_cannot_be_opened_is_left_to_others(directory: str, tmp_path: Path) -> None:
    """A directory that is not there is not foreign: the writer makes it, or says why it cannot."""
    (tmp_path / "a file").touch()
    refuse_foreign(tmp_path / directory, {"summary.json"}, {TRACES})


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("summary.json", "a directory"), ("link", "a symbolic link"), (TRACES, "a file"), ("else", "")],
)
def test_kinds_of_names(name: str, wrong: str, tmp_path: Path) -> None:
    """Files must be files and folders folders; names that no report has are not looked at."""
    match wrong or "a directory":
        case "a directory":
            (tmp_path / name).mkdir()
        case "a symbolic link":
            (tmp_path / name).symlink_to("nowhere")
        case "a file":
            (tmp_path / name).touch()
    with Folder.open(tmp_path) as folder:
        if not wrong:
            refuse_links(folder, {"summary.json", "link"}, {TRACES})
            return
        with pytest.raises(ReportError, match=f"{name} is {wrong}, which no report has there; remove it"):
            refuse_links(folder, {"summary.json", "link"}, {TRACES})
