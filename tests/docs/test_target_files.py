"""The examples in TOML: each keeps its promise as it stands, and its deliberate bug is found. Programs that lack are named."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from crashmatrix.scenarios.kill.experiment import KillExperiment
from crashmatrix.scenarios.shards import Shard
from tests import ROOT
from tests.scenarios.experiments import run_kill
from tests.scenarios.kill.test_experiment import verdicts

EXAMPLES = ROOT / "docs" / "examples"

ELSEWHERE = {"kvlog", "kvserver", "sqlite_shell"}
"""Tested in tests/scenarios/systems/test_command.py."""

NEEDS = {
    "rust_settings": ("rustc",),
    "node_queue": ("node",),
    "bank": ("java", "javac"),
    "rust_fail": ("cargo",),
    "go_notes": ("go",),
    "redis": ("redis-server", "redis-cli"),
    "beanstalkd": ("beanstalkd",),
    "postgresql": ("postgres", "initdb", "psql", "setpriv"),
}
BUGS = [
    ("bank", 'BANK_BUG = ""', 'BANK_BUG = "two-writes"', "corrupt"),
    # PostgreSQL then writes five times a second. Seldom, here, so that the test does not depend on the speed of the machine.
    ("postgresql", 'COMMIT = "on"', 'COMMIT = "off -c wal_writer_delay=10s"', "loses"),
    ("rust_settings", 'SETTINGS_BUG = ""', 'SETTINGS_BUG = "in-place"', "cannot-open"),
    ("node_queue", 'QUEUE_BUG = ""', 'QUEUE_BUG = "in-place"', "loses"),
    ("rust_fail", 'SETTINGS_BUG = ""', 'SETTINGS_BUG = "in-place"', "cannot-open"),
    ("beanstalkd", "contract", "contract", "phantom"),  # not planted
    ("go_notes", 'NOTES_BUG = ""', 'NOTES_BUG = "buffered"', "loses"),
]
"""Each example, the line that plants its bug, and the verdict of a kill."""

UNPACKED = ROOT / ".venv" / "unpacked" / "usr" / "bin"
"""Programs that `make test` unpacks, because to install them would start a service."""


def test_every_example_is_tested() -> None:
    """No example in TOML is forgotten."""
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == ELSEWHERE | set(NEEDS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Copy the examples, so that what they build does not stay in the tree."""
    return Path(shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__")))


def found(program: str, folder: Path) -> str | None:
    """Return where a program is. Processes of targets have the path of this process's beginning, so it is not changed."""
    if program == "redis-server" and not shutil.which(program) and (twin := shutil.which("redis-check-rdb")):
        link = folder / program  # One program of two names.
        if not link.exists():
            link.symlink_to(twin)
        return str(link)
    return shutil.which(program) or shutil.which(program, path=UNPACKED)


def target(folder: Path, name: str) -> Path:
    """Return an example's file; skips where its programs lack."""
    if lacks := [program for program in NEEDS[name] if not found(program, folder)]:
        pytest.skip(f"needs {', '.join(lacks)}")
    if name == "postgresql" and (
        os.geteuid() != 0 or subprocess.run(["id", "postgres"], capture_output=True).returncode
    ):
        pytest.skip("needs root, and the user postgres")
    if name == "rust_fail":
        manifest = folder / name / "Cargo.toml"
        fetched = subprocess.run(
            ["cargo", "fetch", "--quiet", "--manifest-path", manifest],
            env={**os.environ, "CARGO_NET_RETRY": "0"},
            capture_output=True,
            timeout=120,
        )
        if fetched.returncode:
            pytest.skip("needs cargo's registry; rust_settings has the same source with a stand-in for the crate")
    file = folder / f"{name}.toml"
    file.write_text(with_servers(file.read_text(), folder))
    return file


def with_servers(text: str, folder: Path) -> str:
    """Return the text of a target with the places of servers that may be off the path."""
    for server in ("redis-server", "beanstalkd"):
        text = text.replace(f'server = "{server} ', f'server = "{found(server, folder)} ')
    return text


SAFE = [name for name in NEEDS if name != "beanstalkd"]
SHARES = 6
"""A test of every day has one in so many kills: to start some of these programs takes half a second."""


def assert_kept(experiment: KillExperiment, *, but_for: str = "") -> None:
    """A server does not make the same calls at the same time in each run. So one may be missed, which is `unknown`."""
    results = experiment.ordered()
    assert "safe" in verdicts(results)
    assert [result for result in results if result.verdict.broken and result.verdict.value != but_for] == []


def at_length(name: str) -> tuple[str, int, int]:
    """Budget and depth of a long run. A recovery of PostgreSQL makes thousands of calls: to crash it, too, takes many minutes."""
    return (name, 3, 0) if name == "postgresql" else (name, 8, 2)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "budget", "depth_max"), [pytest.param(*at_length(name), marks=pytest.mark.slow) for name in SAFE]
)
def test_example_is_safe(name: str, budget: int, depth_max: int, folder: Path) -> None:
    """As it stands, the example keeps its promise."""
    experiment = run_kill(str(target(folder, name)), real_kills=1, budget=budget, depth_max=depth_max)
    assert_kept(experiment)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NEEDS)
def test_example_runs(name: str, folder: Path) -> None:
    """As it stands, the example works undisturbed, and recovers after a few of its kills: a share of those of the least budget.

    beanstalkd keeps its promise but for the bug that its file tells of.
    """
    experiment = run_kill(str(target(folder, name)), real_kills=1, budget=1, depth_max=0, shard=Shard(1, SHARES))
    assert_kept(experiment, but_for="phantom" if name == "beanstalkd" else "")


@pytest.mark.daily(1)
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "line", "bug", "verdict"), BUGS, ids=[bug[0] for bug in BUGS])
def test_bug_is_found(name: str, line: str, bug: str, verdict: str, folder: Path) -> None:
    """The bug that the head of the example names is found by kills."""
    file = target(folder, name)
    text = file.read_text()
    assert line in text
    file.write_text(text.replace(line, bug))
    budget = 40 if name == "beanstalkd" else 12
    assert verdict in verdicts(run_kill(str(file), real_kills=1, budget=budget, depth_max=0).ordered())


@pytest.mark.timeout(300)
def test_the_page_of_a_server_works_as_it_stands(folder: Path) -> None:
    """A reader who copies the first file of docs/stores/server.md has a target that runs."""
    page = (ROOT / "docs" / "stores" / "server.md").read_text()
    file = target(folder, "redis").with_name("page.toml")
    file.write_text(with_servers(page.split("```toml\n")[1].split("```")[0], folder))
    assert_kept(run_kill(str(file), real_kills=1, budget=1, depth_max=0, shard=Shard(1, SHARES)))
