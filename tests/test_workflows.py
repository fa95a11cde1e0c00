"""Workflows and the action: valid by their schemas, true to the action's inputs; their scripts run here as on GitHub."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests import ROOT
from tests.scenarios.command_line import CRASHMATRIX

WORKFLOWS = ROOT / ".github" / "workflows"
WORKFLOW, ACTION = WORKFLOWS / "crash-matrix.yml", ROOT / "action.yml"
ALL = sorted(WORKFLOWS.glob("*.yml"))

each_workflow = pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)


def parsed(text: str) -> Any:
    return YAML(typ="safe").load(text)


def example() -> str:
    """The workflow that the documentation offers."""
    (found,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "ci.md").read_text(), re.DOTALL)
    return str(found)


def check(path: Path, schema: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    return subprocess.run(command, capture_output=True, text=True)


def test_schemas(tmp_path: Path) -> None:
    """Workflow, action and the documented example are what GitHub takes; the check itself can tell."""
    (tmp_path / "example.yml").write_text(example())
    (tmp_path / "wrong.yml").write_text(example().replace("runs-on", "run-on"))
    checks = [
        *((path, "vendor.github-workflows", 0) for path in ALL),
        (ROOT / ".github" / "dependabot.yml", "vendor.dependabot", 0),
        (tmp_path / "example.yml", "vendor.github-workflows", 0),
        (ACTION, "vendor.github-actions", 0),
        (tmp_path / "wrong.yml", "vendor.github-workflows", 1),
    ]
    for path, schema, status in checks:
        checked = check(path, schema)
        assert checked.returncode == status, checked.stdout


def steps(workflow: Any) -> list[Any]:
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


@each_workflow
def test_a_job_may_read_only(path: Path) -> None:
    """No job may write anything. Only the upload may request its identity token; it runs alone, in an environment."""
    workflow = parsed(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    granted = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
    assert granted == ({"publish": {"id-token": "write"}} if path.stem == "release" else {})
    for name in granted:
        assert workflow["jobs"][name]["environment"]
        assert not [step for step in workflow["jobs"][name]["steps"] if "run" in step], "it runs no code of ours"


@each_workflow
def test_a_job_ends(path: Path) -> None:
    """Each job has a limit of its own, and a newer push does not wait for an older one."""
    workflow = parsed(path.read_text())
    assert workflow["concurrency"]["group"].endswith("${{ github.ref }}")
    assert [name for name, job in workflow["jobs"].items() if "steps" in job and job["timeout-minutes"] > 60] == []


@each_workflow
def test_actions_have_a_version(path: Path) -> None:
    """No action is taken from a branch that moves without notice; majors are, and the uploader's, as its authors recommend."""
    versions = [
        step["uses"].partition("@")[2] for step in steps(parsed(path.read_text())) if "@" in step.get("uses", "")
    ]
    assert [version for version in versions if not re.fullmatch(r"v\d+|release/v\d+", version)] == []
    assert versions


def test_only_what_is_tested_is_published() -> None:
    """The upload waits for the whole test workflow and for the check of what it uploads, which the tag must name."""
    jobs = parsed((WORKFLOWS / "release.yml").read_text())["jobs"]
    assert set(jobs["publish"]["needs"]) == {"test", "build"}
    assert jobs["test"]["uses"] == "./.github/workflows/test.yml"
    assert "workflow_call" in parsed((WORKFLOWS / "test.yml").read_text())["on"]
    commands = [step["run"] for step in jobs["build"]["steps"] if "run" in step]
    assert commands.index("python -m build --no-isolation") < commands.index("python -m twine check --strict dist/*")
    assert any('= "$GITHUB_REF_NAME"' in command for command in commands)


@each_workflow
def test_make_targets_exist(path: Path) -> None:
    """The Makefile has every target that a workflow makes."""
    called = re.findall(r"\bmake ([a-z-]+)", " ".join(step.get("run", "") for step in steps(parsed(path.read_text()))))
    rules = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [name for name in called if name not in rules] == []


def test_pre_commit_runs_what_lint_does() -> None:
    """Each hook runs a tool of the virtual environment, downloads nothing, and `make lint` runs the same three."""
    (repository,) = parsed((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    hooks = [hook["entry"].replace(" --force-exclude", "") for hook in repository["hooks"]]
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert lint is not None
    assert hooks == [line.strip().removesuffix(" .").replace("$(BIN)", ".venv/bin") for line in lint[1].splitlines()]


@pytest.mark.parametrize("text", [WORKFLOW.read_text(), example()], ids=["workflow", "example"])
def test_inputs_exist(text: str) -> None:
    """Workflows give the action only inputs that it has."""
    inputs = parsed(ACTION.read_text())["inputs"]
    uses = [step["with"] for step in steps(parsed(text)) if step.get("uses") in ("./", "OWNER/crashmatrix@main")]
    assert uses
    assert {name for use in uses for name in use} <= inputs.keys()


def test_ten_lines() -> None:
    """The example is as short as it says."""
    assert len(example().splitlines()) <= 11


def test_every_input_is_used() -> None:
    """Each input of the action reaches a step; each variable the script reads is given to it."""
    action = parsed(ACTION.read_text())
    for name in action["inputs"]:
        assert f"inputs.{name} " in ACTION.read_text()
    (run,) = [step for step in action["runs"]["steps"] if step["name"] == "Run"]
    read = set(re.findall(r"\$\{?([A-Z_]+)", (ROOT / ".ci" / "action-run").read_text()))
    assert read - {"PATH", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"} == run["env"].keys() - {"ACTION"}


def test_every_shard_runs() -> None:
    """The workflow's shards are all of them, and as many as it says."""
    shard = parsed(WORKFLOW.read_text())["jobs"]["shard"]
    of = int(steps(parsed(WORKFLOW.read_text()))[1]["with"]["shard"].partition("/")[2])
    assert shard["strategy"]["matrix"]["shard"] == list(range(1, of + 1))


def act(folder: Path, **inputs: str) -> tuple[str, str]:
    """Run the action's script as GitHub would; returns its outputs and the step's summary."""
    program = folder / "crashmatrix"
    program.write_text(f'#!/bin/sh\nexec {CRASHMATRIX[0]} -c "{CRASHMATRIX[2]}" "$@"\n')
    program.chmod(0o755)
    output, summary = folder / "output", folder / "summary"
    for path in (output, summary):
        path.write_text("")
    defaults = {name.upper(): str(one.get("default", "")) for name, one in parsed(ACTION.read_text())["inputs"].items()}
    environment = {
        **os.environ, **defaults, "CRASHMATRIX": str(program), "FILESYSTEMS": "ext4", "PYTHONPATH": str(ROOT),
        "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary), "EXPERIMENTS": "kill", **inputs,
    }  # fmt: skip
    ended = subprocess.run(
        ["bash", str(ROOT / ".ci" / "action-run")], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return output.read_text(), summary.read_text()


@pytest.mark.parametrize(
    ("target", "merge", "extra"),
    [
        ("reference", "", "[reference]"),
        ("reference+no-sync-record", "", "[reference]"),
        ("modelardb:376", "", "[reference]"),
        ("deltalake:plain", "", "[reference]"),
        ("lmdb:default", "", "[lmdb]"),
        ("sqlite:wal-full", "", ""),
        ("tests/my_store.py:MyStore", "", ""),
        ("reference", "shards", ""),
    ],
)
def test_installs_what_the_target_needs(target: str, merge: str, extra: str, tmp_path: Path) -> None:
    """The action installs large packages only for the built-in targets that need them."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/called\n')
    python.chmod(0o755)
    (tmp_path / "sudo").symlink_to("/bin/true")  # The runner's would load a module.
    environment = {
        **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TARGET": target, "MERGE": merge,
        "GITHUB_OUTPUT": str(tmp_path / "output"),
    }  # fmt: skip
    subprocess.run(["bash", str(ROOT / ".ci" / "action-install"), str(python)], env=environment, check=True)
    *_, installed = (tmp_path / "called").read_text().splitlines()
    assert installed == f"-m pip install --quiet {ROOT}{extra}"
    assert (tmp_path / "output").read_text() == f"crashmatrix={tmp_path}/crashmatrix\n"


@pytest.mark.slow
@pytest.mark.experiment
def test_shards_and_merge(tmp_path: Path) -> None:
    """Two shards run and merged as the workflow does: the statuses are outputs, the summaries GitHub's, the report whole."""
    target = "tests.scenarios.toy_systems:Buffered"
    for number in ("1", "2"):
        output, summary = act(tmp_path, TARGET=target, SHARD=f"{number}/2", REPORT=f"shards/{number}")
        assert output in ("status=0\n", "status=1\n")
        assert f"shard {number}/2" in summary
    output, summary = act(tmp_path, MERGE="shards", REPORT="whole")
    assert output == "status=1\n"
    assert summary.startswith(f"# ❌ `{target}`: loses")
    assert summary == (tmp_path / "whole" / "summary.md").read_text()
    for name in ("index.html", "junit.xml"):
        assert (tmp_path / "whole" / name).exists()


@pytest.mark.experiment
def test_a_run_that_cannot_start(tmp_path: Path) -> None:
    """A mistyped target is status 2, without a report."""
    assert act(tmp_path, TARGET="nosuch", REPORT="none") == ("status=2\n", "")
