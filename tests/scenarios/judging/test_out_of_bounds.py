"""A target may do anything with its folder: nothing outside is read, changed or removed, and no mount of its is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.faults.disk import requirements
from crashmatrix.faults.disk.linux import folders
from crashmatrix.faults.disk.linux.folders import NotAFolder, opened_folder
from crashmatrix.faults.disk.linux.removal import remove_tree, say_what_is_left
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.sandbox.cell import lacking as no_cells
from tests import ROOT
from tests.hostile import MOUNTING, REPLACING, WAYS, in_namespace, innocents, outside_folder

IS_ROOT = os.geteuid() == 0
MAY_MOUNT = IS_ROOT and not subprocess.run(in_namespace(["true"]), capture_output=True, check=False).returncode
UNUSABLE = {way.__name__ for way in (*MOUNTING, *REPLACING)} | {"linked_parent"}
HELD_BACK = {way.__name__ for way in MOUNTING} | {"linked_parent"}
"""A target in its cell cannot do these."""
needs_mounts = pytest.mark.skipif(not MAY_MOUNT, reason="needs root, to mount in a namespace of its own")


def ways(*without: str) -> list[Any]:
    mounting = {way.__name__ for way in MOUNTING}
    return [pytest.param(way, marks=[needs_mounts] if way in mounting else []) for way in WAYS if way not in without]


def run(command: list[str], outside: Path, scratch: Path, user: int | None = None) -> subprocess.CompletedProcess[str]:
    command = in_namespace(command) if MAY_MOUNT and user is None else command
    scratch.mkdir(exist_ok=True)
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=250, user=user,
        env={**os.environ, "OUTSIDE": str(outside), "TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


def removed(way: str, tmp_path: Path) -> tuple[dict[str, Any], Path, dict[str, Any]]:
    outside = outside_folder(tmp_path / "outside")
    before = innocents(outside)
    state = tmp_path / "mine" / "state"
    state.mkdir(parents=True)
    done = run([sys.executable, "-m", "tests.hostile", way, str(state), str(outside)], outside, tmp_path / "scratch")
    assert not done.returncode, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found, outside, before


@pytest.mark.daily(5)
@pytest.mark.parametrize("way", ways("immutable"))
def test_removing_harms_nothing(way: str, tmp_path: Path) -> None:
    """The folder is gone, mounts included; everything outside is unchanged, byte for byte and mode for mode."""
    found, outside, before = removed(way, tmp_path)
    assert innocents(outside) == before
    assert found["left"] == []
    assert not found["there"]
    kept = {"rbind_of_shared": [str(tmp_path / "mine/original"), str(tmp_path / "mine/original/inner")]}
    assert found["mounts"] == kept.get(way, [])
    if (near := tmp_path / "mine" / "near").exists():
        assert innocents(near) == before
    if way in UNUSABLE:
        verdict, text = found["unusable"]
        assert found["blobs"] <= (way in ("bind_file", "tmpfs")), "nothing outside was read"
        replaced = way == "linked_parent" or any(way == each.__name__ for each in REPLACING)
        assert verdict == ("cannot-open" if replaced else "unknown")
        assert ("replaced by a" in text) is replaced
    else:
        assert found["unusable"] == ([] if IS_ROOT or way != "modes" else found["unusable"])


def test_immutable_files_are_left_and_said(tmp_path: Path) -> None:
    """An immutable file stays, since it may have a name elsewhere. The rest goes, and one line says what stayed."""
    probe = tmp_path / "probe"
    probe.write_bytes(b"")
    if not IS_ROOT or subprocess.run(["chattr", "+i", probe], capture_output=True, check=False).returncode:
        pytest.skip("needs root, and a filesystem with immutable files")
    subprocess.run(["chattr", "-i", probe], check=True)
    try:
        found, outside, before = removed("immutable", tmp_path)
        file = tmp_path / "mine/state/root/a/f"
        assert found["left"] == [f"{file} (Operation not permitted)"]
        assert file.read_bytes() == b"x"
        assert not (tmp_path / "mine/state/root/gone").exists()
        assert innocents(outside) == before
    finally:
        subprocess.run(["chattr", "-i", tmp_path / "mine/state/root/a/f"], check=False)


def test_folders_without_permissions() -> None:
    """Folders without permissions are removed by their owner, who is not root."""
    if not IS_ROOT:
        pytest.skip("the other tests are this one, without root")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o733)  # Not readable either, as the folder above it may not be.
        pid = os.fork()
        if not pid:
            try:
                os.setuid(65534)
                (place / "mine").mkdir()
                WAYS["modes"](place / "mine", place)
                os._exit(len(remove_tree(place / "mine")))
            finally:
                os._exit(99)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert list(place.iterdir()) == []


@pytest.mark.daily(2)
@needs_mounts
@pytest.mark.parametrize(
    "way", ["plain", "bind", "bind_file", "bind_over", "bind_twice", "link", "linked_parent", "deep"]
)
def test_without_openat2(way: str, tmp_path: Path) -> None:
    """On a kernel without openat2, mounts are recognised by their numbers, with the same result."""
    outside = outside_folder(tmp_path / "outside")
    before = innocents(outside)
    state = tmp_path / "mine" / "state"
    state.mkdir(parents=True)
    script = (
        "import sys; from pathlib import Path; from crashmatrix.faults.disk.linux import folders; folders._OPENAT2 = 100_000; "
        "import tests.hostile; "
        "found = tests.hostile.report(sys.argv[1], *map(Path, sys.argv[2:])); "
        "print(found['left'], found['there'], found['mounts'], bool(found['unusable']))"
    )
    done = run([sys.executable, "-c", script, way, str(state), str(outside)], outside, tmp_path / "scratch")
    assert done.stdout.strip() == f"[] False [] {way in UNUSABLE}", done.stderr
    assert innocents(outside) == before


def test_a_path_through_a_link_is_no_path(tmp_path: Path) -> None:
    """A path with a link anywhere in it is neither opened nor removed."""
    outside = outside_folder(tmp_path / "outside")
    before = innocents(outside)
    (tmp_path / "link").symlink_to(outside)
    for path in ("link/folder", "link/folder/other", "link"):
        with pytest.raises(NotAFolder), opened_folder(tmp_path / path):
            pass
    assert remove_tree(tmp_path / "link" / "root")
    assert innocents(outside) == before
    assert folders.kind_of(os.open(tmp_path, os.O_RDONLY), "link/folder") == "a symbolic link"


def test_what_is_left_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """One line reports everything that is left, however much it is; without leftovers there is no line."""
    say_what_is_left([])
    say_what_is_left(["/a (no)", "/b (no)", "/c (no)"])
    assert [record.getMessage() for record in caplog.records] == [
        "could not remove /a (no) and 2 more; remove it by hand"
    ]


@pytest.fixture(autouse=True)
def _nothing_deep_is_left(tmp_path: Path) -> Iterator[None]:
    """pytest removes old folders by recursion, which a tree that is deep enough ends."""
    yield
    for each in tmp_path.iterdir():
        if each.is_dir():
            remove_tree(each)


def crashmatrix(tmp_path: Path, way: str, *how: str, when: str = "workload") -> tuple[str, dict[str, str]]:
    """Run it; return its output, and the verdict of each explanation. Checks that nothing is harmed and nothing left."""
    outside = outside_folder(tmp_path / "outside")
    before = innocents(outside)
    report, scratch = tmp_path / "report", tmp_path / "scratch"
    program = str(Path(sys.executable).with_name("crashmatrix"))
    command = [program, "run", "tests.hostile:Hostile", "--seed", "3", "--budget", "12", "--report", str(report), *how]
    watched = 'WAY=$1 WHEN=$2; export WAY WHEN; shift 2; "$@" 2>&1; grep -c "$TMPDIR" /proc/self/mountinfo'
    done = run(["sh", "-c", watched, "sh", way, when, *command], outside, scratch)
    assert innocents(outside) == before
    assert done.stdout.strip().splitlines()[-1] == "0", f"a mount is left: {done.stdout}"
    assert [path for path in scratch.iterdir() if not path.name.startswith("pymp")] == [], done.stdout
    stored = report / "results.jsonl"  # Not there if the workload fails undisturbed.
    results = [json.loads(line) for line in stored.read_text().splitlines()] if stored.exists() else []
    return done.stdout, {each["explanation"]: each["verdict"] for each in results}


FIRST = {
    *(("link", when) for when in ("workload", "recovery")),
    *(("bind", "workload"), ("bind_over", "recovery"), ("fifo", "workload"), ("linked_parent", "recovery")),
}
"""The runs of each day; `test_removing_harms_nothing` tries every way quickly."""


def runs(ways: list[Any], whens: tuple[str, ...] = ("workload", "recovery")) -> list[Any]:
    """Each way at each time, slow but for the first."""
    found = []
    for way in ways:
        name, marks = (way.values[0], list(way.marks)) if hasattr(way, "values") else (way, [])
        for when in whens:
            slow = [] if (name, when) in FIRST else [pytest.mark.slow]
            found.append(pytest.param(name, when, marks=[*marks, *slow]))
    return found


@pytest.mark.daily(1)
@pytest.mark.skipif(bool(lacking()), reason=lacking())
@pytest.mark.parametrize(("way", "when"), runs(ways("immutable", "plain", "deep")))
def test_kill(way: str, when: str, tmp_path: Path) -> None:
    """Each way has its verdict, whether the workload or recovery goes it."""
    if (way, when) == ("linked_parent", "workload"):
        pytest.skip("the journal is gone with the folder above, which is refused: the workload cannot be crashed")
    said, verdicts = crashmatrix(tmp_path, way, "--experiments", "kill", when=when)
    assert "Traceback" not in said
    judge(way, verdicts, said, when)


@pytest.mark.daily(1)
@pytest.mark.skipif(bool(requirements(("posix",))), reason="needs FUSE")
@pytest.mark.parametrize(("way", "when"), runs(ways("immutable", "plain", "linked_parent", "deep"), ("workload",)))
def test_power_posix(way: str, when: str, tmp_path: Path) -> None:
    """Recovery goes each way in the folder of a crash state."""
    said, verdicts = crashmatrix(tmp_path, way, "--experiments", "power", "--fs", "posix", when="recovery")
    judge(way, verdicts, said)


@pytest.mark.daily(1)
@pytest.mark.skipif(bool(requirements(("ext4",))), reason="needs root, FUSE and loop devices")
@pytest.mark.parametrize(("way", "when"), runs(["link", "file", "fifo", "bind", "bind_over", "nested", "names"]))
def test_power_ext4(way: str, when: str, tmp_path: Path) -> None:
    """A crash image may hold a link where the folder was; a mount that recovery makes is in nobody's way afterwards."""
    said, verdicts = crashmatrix(tmp_path, way, "--experiments", "power", "--fs", "ext4", when=when)
    judge(way, verdicts, said, when)


def judge(way: str, verdicts: dict[str, str], said: str, when: str = "recovery") -> None:
    """The way's verdict is among those found, and its reason is said; none of what is outside was found in the folder."""
    if way in HELD_BACK and not no_cells():
        if when == "workload":
            assert not verdicts
            assert "CalledProcessError" in said
        else:
            raised = {verdict for text, verdict in verdicts.items() if text.startswith("recovery raised")}
            assert raised == {"cannot-open"}, said
        return
    kinds = {each.__name__: kind for each, kind in REPLACING.items()}
    reasons = {text: verdict for text, verdict in verdicts.items() if "folder under test" in text}
    if way in UNUSABLE:
        assert reasons, said
        replaced = way in kinds or way == "linked_parent"
        assert set(reasons.values()) == {"cannot-open" if replaced else "unknown"}
        assert all(
            ("was replaced by a " + kinds.get(way, "") if replaced else "a mount is in it") in text for text in reasons
        )
    elif IS_ROOT or way != "modes":
        assert not reasons
        assert "unknown" not in verdicts.values(), said


def test_a_file_is_read_from_its_own_folder_only(tmp_path: Path) -> None:
    """A journal that a target replaced, or whose folder it did, has nothing in it, and nobody waits for it."""
    outside = outside_folder(tmp_path / "outside")
    (tmp_path / "journal").write_bytes(b"attempt 1\n")
    (tmp_path / "link").symlink_to(outside / "file")
    (tmp_path / "above").symlink_to(outside)
    os.mkfifo(tmp_path / "fifo")
    assert folders.read_file(tmp_path / "journal") == b"attempt 1\n"
    for name in ("link", "above/file", "fifo", "not-there", "not-there/file"):
        assert folders.read_file(tmp_path / name) == b""
