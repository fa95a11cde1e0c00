"""A view: the folder under test at one path, the rest of the machine read-only, temporary files for one job."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from crashmatrix import run
from crashmatrix.faults.disk import requirements
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.result import Returned
from crashmatrix.scenarios.processes.sandbox.cell import lacking
from crashmatrix.scenarios.processes.sandbox.view import FOLDER, ROOT_NAME, View, needed_folders, without_paths
from tests import ROOT
from tests.processes import value
from tests.scenarios import sandbox_functions as do
from tests.scenarios.absolute_systems import AbsoluteLink, PathInAFile

SECONDS = 120.0

needs_cells = pytest.mark.skipif(bool(lacking()), reason=lacking())


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    with Jobs(preload=["tests.scenarios.sandbox_functions"]) as jobs:
        yield jobs


def view(root: Path | None = None, *writable: Path) -> View:
    return View(root and root.parent, visible=needed_folders(), writable=writable)


@needs_cells
@pytest.mark.parametrize("above", ["a", "b/c d", "été"])
def test_one_path(jobs: Jobs, tmp_path: Path, above: str) -> None:
    """Wherever the folder lies, a job has it and its journal at the same path; we find at ours what it wrote."""
    root = tmp_path / above / ROOT_NAME
    root.mkdir(parents=True)
    found = jobs.run(do.where, root, root.parent / "journal", seconds_max=SECONDS, view=view(root))
    assert found == Returned(("/tmp/crashmatrix/data", "/tmp/crashmatrix/journal", str(Path.cwd())))
    assert (root / "made").read_text() == "/tmp/crashmatrix/data"
    assert (root.parent / "journal").read_text() == "line\n"


@needs_cells
def test_the_rest_is_read_only(jobs: Jobs, tmp_path: Path) -> None:
    """Nothing can be written to the machine's files, root or not; the workspace can, and temporary files go with the job."""
    for place in (ROOT, Path("/"), Path("/var/tmp")):
        assert value(jobs.run(do.refusal, place / "new", seconds_max=SECONDS, view=view())) in ("EROFS", "EACCES"), (
            place
        )
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    inside = view(None, workspace)
    for place in (workspace, Path("/tmp"), Path("/dev/shm")):
        assert jobs.run(do.refusal, place / "new-file", seconds_max=SECONDS, view=inside) == Returned(""), place
    assert (workspace / "new-file").exists()
    for place in (Path("/tmp"), Path("/dev/shm")):
        assert not (place / "new-file").exists()
        assert "new-file" not in value(jobs.run(do.listing, str(place), seconds_max=SECONDS, view=inside))


@needs_cells
def test_folders_below_tmp_that_are_needed(jobs: Jobs, tmp_path: Path) -> None:
    """They stay where they are, and can only be read; others are not there, and so nobody's temporary files are."""
    (tmp_path / "needed").mkdir()
    (tmp_path / "needed" / "file").write_text("read me")
    (tmp_path / "other").mkdir()
    inside = View(visible=needed_folders([tmp_path / "needed" / "file"]))
    assert jobs.run(do.read, tmp_path / "needed" / "file", seconds_max=SECONDS, view=inside) == Returned("read me")
    assert value(jobs.run(do.refusal, tmp_path / "needed" / "new", seconds_max=SECONDS, view=inside)) == "EROFS"
    assert jobs.run(do.listing, str(tmp_path), seconds_max=SECONDS, view=inside) == Returned(["needed"])


@needs_cells
def test_tmp_itself_is_needed(jobs: Jobs, tmp_path: Path) -> None:
    """A program may lie in /tmp itself: its files are seen, and what is written over or beside them stays in the job."""
    (tmp_path / "file").write_text("before")
    inside = replace(View(), visible=(Path("/tmp"),))
    assert jobs.run(do.read, tmp_path / "file", seconds_max=SECONDS, view=inside) == Returned("before")
    assert jobs.run(do.refusal, tmp_path / "file", seconds_max=SECONDS, view=inside) == Returned("")
    assert (tmp_path / "file").read_text() == "before"


@needs_cells
def test_temporary_files(jobs: Jobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They go to the job's own /tmp, wherever the user has them."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Jobs(preload=["tests.scenarios.sandbox_functions", "wave"]) as others:  # A server that knows the variable.
        assert others.run(do.temporary, seconds_max=SECONDS, view=view()) == Returned("/tmp")


@needs_cells
@pytest.mark.experiment
@pytest.mark.parametrize(
    ("system", "experiment"),
    [
        (PathInAFile, "kill"),
        pytest.param(AbsoluteLink, "kill", marks=pytest.mark.slow),
        pytest.param(PathInAFile, "power", marks=pytest.mark.slow),
        (AbsoluteLink, "power"),
    ],
)
def test_stored_absolute_paths(system: type[PathInAFile], experiment: str, tmp_path: Path) -> None:
    """They hold in every recovery of either experiment, in real kills, and in crash images: the stores are right."""
    if experiment == "power" and requirements(("posix",)):
        pytest.skip("needs FUSE")
    report = tmp_path / "report"
    outcome = run(system(), experiments=[experiment], filesystems=["posix"], budget=20, report=report)
    outcome.assert_safe()


def test_paths_of_ours() -> None:
    """A path in or below the folder above the root is translated; any other, and what is not a path, is not."""
    inside = View(Path("/a/state"), notes=Path("/b/notes"))
    table = {
        Path("/a/state/data"): FOLDER / "data",
        Path("/a/state"): FOLDER,
        Path("/a/state2/data"): Path("/a/state2/data"),
        Path("/b/notes"): Path("/tmp/crashmatrix-notes"),
        "/a/state/data": "/a/state/data",
        None: None,
    }
    assert {value: inside.inside(value) for value in table} == table
    assert View(Path("/a"), notes=Path("/a/notes")).inside(Path("/a/notes")) == FOLDER / "notes"


def test_messages_name_no_path() -> None:
    """Neither that of the machine nor the target's own."""
    text = "no /scratch/state-1/data/x, no /tmp/crashmatrix/data/y"
    assert without_paths(text, Path("/scratch/state-1/data")) == "no ROOT/x, no ROOT/y"


def test_needed_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a private filesystem would hide, and the outermost of nested folders; what does not exist is left out."""
    (tmp_path / "here" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "inner" / "file").touch()
    (tmp_path / "libraries").mkdir()
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path / 'libraries'}:/usr/lib:")
    tmp_path /= "here"
    further = [tmp_path / "inner" / "file", tmp_path / "not-there", Path("/usr/bin")]
    found = needed_folders(further)
    assert {tmp_path, tmp_path.with_name("libraries")} <= {*found}
    assert not {tmp_path / "inner", tmp_path / "not-there", Path("/usr/bin")} & set(found)


@needs_cells
def test_boot_id(jobs: Jobs) -> None:
    """A job sees the boot id that it is to see, and nothing of the file that holds it; the machine's stays as it is."""
    path = Path("/proc/sys/kernel/random/boot_id")
    before = path.read_text()
    shown = replace(view(), boot="00000000-0000-4000-8000-000000000000")
    assert jobs.run(do.read, path, seconds_max=SECONDS, view=shown) == Returned(f"{shown.boot}\n")
    assert jobs.run(do.read, path, seconds_max=SECONDS, view=view()) == Returned(before)
    assert jobs.run(do.refusal, path, seconds_max=SECONDS, view=shown) != Returned("")
    one, other = (jobs.run(do.listing, "/tmp", seconds_max=SECONDS, view=each) for each in (shown, view()))
    assert one == other
    assert path.read_text() == before
