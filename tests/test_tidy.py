"""House rules that nobody should have to remember: who imports whom, what is public, how long code may be."""

import ast
import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from crashmatrix import faults, reference_wal
from tests import ROOT, house
from tests.house import NAME, PACKAGES, PATHS

FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 330
ROOM_MODULES_MAX = 15

TEXTS = {path: (ROOT / path).read_text() for path in PATHS}
"""The modules. Each rule is one test of all of them: thousands of tests would cost more than what they look at."""


def tree(path: Path) -> ast.Module:
    return house.parsed(TEXTS[path])


def check(found: dict[Any, list[str]]) -> None:
    """Fail with the names of the modules in which a rule found something."""
    wrong = [f"{path}: {', '.join(each)}" for path, each in found.items() if each]
    assert not wrong, "\n".join(wrong)


def allowed(path: Path) -> tuple[str, ...]:
    """Return which packages of ours a module may import."""
    match path.parts[0]:
        case "reports":
            return ("reports",)
        case "faults":
            return ("faults",)
        case "reference_wal":
            return ("reference_wal", "faults")
        case "scenarios":
            about_it = path.is_relative_to("scenarios/systems/reference")
            return ("scenarios", "faults", "reports", *(["reference_wal"] if about_it else []))
    raise AssertionError(f"no rule for {path}")


def wrong_imports(path: Path, text: str) -> list[str]:
    """Return the imports that a module may not make."""
    return [name for name in house.imports(path, text) if not _may_import(path, name)]


def _may_import(path: Path, name: str) -> bool:
    top, _, rest = name.partition(".")
    package = rest.partition(".")[0]
    failpoints_only = path.parts[0] == "reference_wal" or (path.parts[0] == "faults" and path.parts[1] != "disk")
    if failpoints_only and rest.startswith("faults.disk"):
        return False
    if top == NAME:
        return package in allowed(path)
    if top in PACKAGES:
        return False  # Nobody's, or another project's.
    standard_library_only = path.parts[0] == "faults" and path.parts[1] != "disk"
    return not standard_library_only or top in sys.stdlib_module_names


def test_import_direction() -> None:
    """Engines need only failpoints, failpoints only the standard library, reports nothing; only what is about the reference
    engine imports it."""
    check({path: wrong_imports(path, text) for path, text in TEXTS.items()})


@pytest.mark.parametrize(
    ("path", "text", "wrong"),
    [
        ("faults/x.py", "import crashmatrix.scenarios", ["crashmatrix.scenarios"]),
        ("faults/x.py", "def f():\n    from crashmatrix.reports.store import X", ["crashmatrix.reports.store"]),
        ("faults/x.py", "import os, psutil", ["psutil"]),
        ("faults/x.py", "from crashmatrix.faults.disk import stage", ["crashmatrix.faults.disk.stage"]),
        ("faults/x.py", "from crashmatrix.faults import disk", ["crashmatrix.faults.disk"]),
        ("faults/x.py", "from .disk import stage", ["crashmatrix.faults.disk.stage"]),
        ("faults/disk/x.py", "import xxhash\nfrom crashmatrix.faults.disk import stage", []),
        ("faults/disk/x.py", "import crashmatrix.scenarios.errors", ["crashmatrix.scenarios.errors"]),
        ("reports/x.py", "import rich\nfrom crashmatrix import faults", ["crashmatrix.faults"]),
        ("reports/x.py", "import faults", ["faults"]),
        ("reference_wal/x.py", "import pyarrow\nfrom crashmatrix.faults import declare", []),
        ("reference_wal/x.py", "from crashmatrix.faults.disk import Trace", ["crashmatrix.faults.disk"]),
        ("reference_wal/x.py", "from crashmatrix import SystemUnderTest", ["crashmatrix.SystemUnderTest"]),
        ("scenarios/systems/reference/x.py", "from crashmatrix.reference_wal import StorageEngine", []),
        ("scenarios/systems/x.py", "from crashmatrix import reference_wal", ["crashmatrix.reference_wal"]),
        (
            "scenarios/x.py",
            "if True:\n    import crashmatrix.reference_wal.engine",
            ["crashmatrix.reference_wal.engine"],
        ),
        ("scenarios/x.py", "import crashmatrix.faults.disk, crashmatrix.reports", []),
    ],
)
def test_import_rule_itself(path: str, text: str, wrong: list[str]) -> None:
    """The rule tells a wrong import from a right one, wherever it stands and however it is written."""
    assert wrong_imports(Path(path), text) == wrong


def test_no_import_circle() -> None:
    """Modules stand on floors: none imports, even late or for its types, one that imports it."""
    assert house.circle() == []


def test_rooms_are_small() -> None:
    """A reader takes a folder in at a glance."""
    assert {str(room): count for room, count in house.rooms().items() if count > ROOM_MODULES_MAX} == {}


WITHOUT_NAMESAKE = {
    "scenarios/io_error/jobs.py": "the other end of a run; io_error/test_runs.py drives it",
    "scenarios/io_error/scenario.py": "makes a scenario again; io_error/test_experiment.py and disk/test_source.py replay some",
    "scenarios/io_error/disk/base.py": "records; disk/test_source.py drives it",
    "scenarios/io_error/disk/failures.py": "reads recordings; disk/test_source.py and disk/test_room.py make some",
    "scenarios/io_error/disk/tries.py": "the other end of a job; disk/test_source.py drives it",
    "scenarios/io_error/disk/workers.py": "the driver of tries.py; disk/test_source.py and disk/test_ends.py drive it",
    "scenarios/io_error/disk/workload.py": "runs inside a recording; disk/test_source.py drives it",
    "scenarios/io_error/messages.py": "declarations; io_error/test_runs.py receives them",
    "scenarios/recorded/mounted.py": "reads a folder; test_state_judge.py and io_error/disk/test_ends.py judge by it",
    "scenarios/recorded/needs.py": "words; test_capabilities.py tests what it puts into them",
    "scenarios/campaign/cluster/worker.py": "the other end of a task; cluster/test_pool.py sends some",
    "scenarios/io_error/trying.py": "runs and judges; io_error/test_experiment.py drives it",
    "scenarios/judging/tasks/judge_state.py": "a thin wrapper of the checker; kill's tests judge with it",
    "scenarios/power/exploring.py": "records and judges; power/test_experiment.py and test_posix.py drive it",
    "scenarios/stateful/sessions.py": "the other end of a state machine; test_state_machine.py drives it",
    "faults/disk/change_names.py": "chooses between the rooms' `naming`, whose tests call it",
    "reference_wal/log/counters.py": "a declaration; test_tally.py and test_write_ahead_log.py count with it",
    "scenarios/campaign/until_broken.py": "a thin loop; test_mutation.py and cli/test_mutate.py search with it",
    "scenarios/mutation/attempt.py": "the other end of a mutant's process; cli/test_mutate.py drives it",
    "scenarios/mutation/harness.py": "runs attempts; cli/test_mutate.py drives it",
    "scenarios/cli/long.py": "thin commands; campaign/test_soak.py and cluster/test_pool.py drive what they call",
    "scenarios/cli/refusal.py": "declarations; test_main.py raises them",
    "scenarios/judging/snapshots/of_jobs.py": "drives real jobs; kill's tests take their snapshots with it",
    "scenarios/processes/calls/arguments.py": "reads what calls name; calls/test_table.py makes each call",
    "scenarios/processes/calls/waiting.py": "reads a call's arguments; test_native_lines.py and power's test_findings.py use it",
    "scenarios/processes/calls/traced.py": "wraps ptrace(2); calls/test_mapped_stores.py traces real programs with it",
    "scenarios/processes/fork_server.py": "runs at import in the fork server; tested with it in test_job_server.py",
    "scenarios/processes/job_process.py": "how a job's process starts; test_jobs.py and test_job_server.py start many",
    "scenarios/processes/job_child.py": "the other end of a job; tested through jobs in test_jobs.py",
    "scenarios/processes/sandbox/init.py": "the other end of a cell; test_cell.py drives it",
    "scenarios/processes/sandbox/calls.py": "system calls; test_cell.py and test_view.py see what they do",
    "scenarios/systems/reference/mutation/compressed.py": "rows of the table in mutants.py; test_mutants.py plants each",
    "scenarios/systems/reference/mutation/failed_calls.py": "rows of the table in mutants.py; test_mutants.py plants each",
    "scenarios/systems/reference/mutation/missing_syncs.py": "rows of the table in mutants.py; test_mutants.py plants each",
    "scenarios/systems/reference/mutation/mutant.py": "a declaration; test_mutants.py checks each row",
    "scenarios/systems/reference/mutation/overlapping.py": "rows of the table in mutants.py; test_mutants.py plants each",
    "scenarios/systems/reference/mutation/switches.py": "rows of the table in mutants.py; test_mutants.py plants each",
    "scenarios/systems/reference/oracle/places.py": "reads what a recovery left; every run of the reference drives it",
}
"""Modules that need no test file of their own name, and why."""


def test_each_module_has_a_test_of_its_name() -> None:
    """A reader finds a module's test without a search; what needs none says why."""
    modules = {
        str(path): ROOT / "tests" / path.parent / f"test_{path.name}" for path in PATHS if path.stem != "__init__"
    }
    assert sorted(name for name, test in modules.items() if not test.is_file()) == sorted(WITHOUT_NAMESAKE)


LAYERS: list[set[str]] = [
    {"errors", "last_words"},
    {"target", "shards", "extras", "saying"},
    {"processes"},
    {"systems"},
    {"judging"},
    {"recorded"},
    {"experiment"},
    {"kill", "power", "io_error", "stateful"},
    {"campaign"},
    {"mutation"},
    {"cli", "pytest_fixture"},
]
"""The rooms of `scenarios`, lowest first. A room imports rooms of lower layers only, none beside it."""

UPWARD: set[tuple[str, str]] = set()
"""Imports between rooms of one layer that are allowed: room, and module of the other."""


def layer(room: str) -> int:
    found = [number for number, rooms in enumerate(LAYERS) if room in rooms]
    assert found, f"scenarios/{room} has no place in LAYERS"
    return found[0]


def wrong_layers(path: Path, text: str) -> list[str]:
    """Return the imports of a module of `scenarios` that reach a room beside its own, or above it."""
    room = path.parts[1].removesuffix(".py")
    prefix = f"{NAME}.scenarios."
    others = [name.removeprefix(prefix) for name in house.imports(path, text) if name.startswith(prefix)]
    return [
        name
        for name in others
        if (other := name.partition(".")[0]) != room and layer(other) >= layer(room) and (room, name) not in UPWARD
    ]


def test_layers() -> None:
    """No room of `scenarios` needs one above it or beside it: processes know nothing of judging, judging nothing of power."""
    rooms = [path for path in PATHS if path.parts[0] == "scenarios" and path.parts[1] != "__init__.py"]
    check({path: wrong_layers(path, TEXTS[path]) for path in rooms})


@pytest.mark.parametrize(
    ("path", "text", "wrong"),
    [
        (
            "scenarios/processes/x.py",
            "from crashmatrix.scenarios.judging.snapshots.tree import Tree",
            ["judging.snapshots.tree"],
        ),
        ("scenarios/processes/x.py", "def f():\n    import crashmatrix.scenarios.power.judge", ["power.judge"]),
        ("scenarios/processes/x.py", "from crashmatrix.scenarios.processes.held import HeldProcess", []),
        ("scenarios/power/x.py", "from crashmatrix.scenarios.kill.plan import END", ["kill.plan"]),
        ("scenarios/kill/x.py", "from crashmatrix.scenarios.power.judge import judge", ["power.judge"]),
        ("scenarios/kill/x.py", "from crashmatrix.scenarios.power.explain import causes", ["power.explain.causes"]),
        ("scenarios/errors.py", "from crashmatrix.scenarios.target.notes import parse", ["target.notes"]),
        ("scenarios/cli/x.py", "from crashmatrix.scenarios.campaign.campaign import Plan", []),
    ],
)
def test_layers_rule_itself(path: str, text: str, wrong: list[str]) -> None:
    """The rule knows up from down."""
    assert wrong_layers(Path(path), text) == wrong


TWINS = [
    ("faults/disk/block", "faults/disk/posix", {"recorder", "stage", "images", "digests", "naming"}),
    ("scenarios/kill", "scenarios/power", {"experiment", "exploring"}),
]


@pytest.mark.parametrize(("one", "other", "roles"), TWINS)
def test_twins_name_the_same_roles_alike(one: str, other: str, roles: set[str]) -> None:
    """A reader who knows one of two twins finds the same file names in the other."""
    for room in (one, other):
        assert roles <= {path.stem for path in (ROOT / room).glob("*.py")}


def test_tests_mirror_the_packages() -> None:
    """A test stands where what it tests does."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    assert [str(folder) for folder in sorted(folders) if folder != Path() and not (ROOT / folder).is_dir()] == []


def public_definitions(path: Path) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [node for node in tree(path).body if isinstance(node, kinds) and not node.name.startswith("_")]
    return {node.name for node in found if not any(is_command(decorator) for decorator in node.decorator_list)}


def is_command(decorator: ast.expr) -> bool:
    """A command is called from the command line, not from Python."""
    return ast.unparse(decorator).startswith("app.command(")


def wrong_names(path: Path) -> list[str]:
    """Return what is wrong with the public names of a module."""
    if "__all__" not in TEXTS[path]:
        return [f"{name} is public: say so in __all__" for name in public_definitions(path)]
    try:
        module = importlib.import_module(house.module_name(path))
    except ModuleNotFoundError as error:
        assert error.name, error
        assert not error.name.startswith(NAME), error
        return []  # It is of a package that is not installed here.
    names: list[str] = module.__all__
    missing = [f"__all__ names {name}, which is not there" for name in names if not hasattr(module, name)]
    left_out = [f"__all__ lacks {name}" for name in public_definitions(path) - set(names)]
    return [*missing, *left_out, *(f"__all__ names {name} twice" for name in set(names) if names.count(name) > 1)]


def test_public_names() -> None:
    """`__all__` is a module's interface: it names what exists, once, and every public class and function."""
    check({path: wrong_names(path) for path in PATHS})


def test_typed() -> None:
    """The distribution tells type checkers that it is typed, and has every package, by a link to its folder."""
    assert (ROOT / "src" / NAME / "py.typed").is_file()
    for package in PACKAGES:
        assert (ROOT / "src" / NAME / package).resolve() == ROOT / package


def test_module_docstring() -> None:
    """Every module opens with its role."""
    check({path: [] if ast.get_docstring(tree(path)) else ["no docstring"] for path in PATHS})


def too_long(path: Path) -> list[str]:
    """Return the names of the functions of a module that are too long, and the module's own if it is."""
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX]
    return [*long, *([path.name] if TEXTS[path].count("\n") > MODULE_LINES_MAX else [])]


def test_length() -> None:
    """No module and no function is so long that nobody reads it."""
    check({path: too_long(path) for path in PATHS})


POINTS = [point for point in faults.catalogue() if "/reference_wal/" in point.location]
LAST_STEPS = {"acknowledge", "return", "retire"}
"""The last steps of an operation: after them comes the caller, or the first step of another operation."""


def test_the_engine_has_failpoints() -> None:
    """The rules below have something to judge."""
    assert reference_wal.__all__
    assert len(POINTS) > 50


def wrong_with(point: faults.FailPoint) -> list[str]:
    """Return what is wrong with a failpoint's name or description."""
    area, side, step = re.fullmatch(r"(.+)\.(before|after)_(.+)", point.name).groups()  # type: ignore[union-attr]
    twin = f"{area}.{'after' if side == 'before' else 'before'}_{step}"
    has_twin = any(other.name == twin for other in POINTS)
    last = step in LAST_STEPS
    wrong = []
    if has_twin == last:
        wrong.append(f"a last step has no {twin}" if last else f"there is no {twin}")
    if not point.description.strip() or "\n" in point.description:
        wrong.append("its description is not one line")
    return wrong


def test_failpoints_stand_on_both_sides() -> None:
    """Each step of the engine has a failpoint before and after it, named alike; the last step of an operation has the one."""
    check({point.name: wrong_with(point) for point in POINTS})
