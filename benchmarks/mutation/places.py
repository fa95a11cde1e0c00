"""Which modules get mutants, and which harness and tests judge those of each.

A group's harnesses run in turn, until one notices the bug. The code that judges has no harness but its tests: a harness that
called a broken system safe would call everything safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crashmatrix.scenarios.mutation.attempt import Settings, Stage

__all__ = ["ENGINE_TESTS", "GROUPS", "ROOT", "Group", "group_of", "judges_of", "sweep_of", "tests_of"]

ROOT = Path(__file__).resolve().parents[2]


def _harness(target: str, kills: int, cuts: int, errors: int) -> Settings:
    """A harness that judges about so many crash states of each experiment, then so many calls that fail."""
    return Settings(target, (Stage("kill", kills), Stage("power", cuts), Stage("io-error", errors)))


@dataclass(frozen=True)
class Group:
    """Modules that are judged alike.

    Attributes:
        patterns: of their paths below the root of the repository.
        harnesses: in turn; none for code that only tests judge.
        tests: folders, or files, whose quick tests follow those of the module itself; none for the engine (`ENGINE_TESTS`).
        experiments: whether tests that run experiments count as quick.
    """

    name: str
    patterns: tuple[str, ...]
    harnesses: tuple[Settings, ...]
    tests: tuple[str, ...] = ()
    experiments: bool = False

    @property
    def modules(self) -> list[Path]:
        """Their files, sorted."""
        found = {path for pattern in self.patterns for path in ROOT.glob(pattern)}
        return sorted(path for path in found if path.name != "__init__.py")


_ENGINE, _LOG, _LOG_THREADS, _NO_LOG, _SWITCHED, _COMPRESSED, _MODELS = (
    _harness("reference", 40, 16, 40),
    _harness("reference-log", 60, 40, 60),
    _harness("reference-log:threads", 10, 20, 20),
    _harness("reference:no-log", 40, 16, 40),
    _harness("reference:switched", 30, 12, 30),
    _harness("reference:compressed", 30, 12, 30),
    _harness("reference:models", 20, 8, 20),
)

_THREADS = Settings("reference:threads", (Stage("kill", 20),))
"""Its calls overlap in another way each time: meant for kills."""

_SWEEP = [
    f"tests/reference_wal/test_damage.py::test_damage_shows[{kind}-101]"
    for kind in ("log", "no log", "models", "log by itself")
]
"""One byte in a hundred."""

GROUPS = (
    Group("log", ("reference_wal/log/**/*.py",), (_LOG, _LOG_THREADS, _SWITCHED)),
    Group("delta", ("reference_wal/delta/[!t]*.py",), (_ENGINE, _SWITCHED, _MODELS)),
    Group("transfer", ("reference_wal/delta/transfer.py",), (_ENGINE,)),
    Group(
        "table",
        ("reference_wal/table.py", "reference_wal/access/*.py"),
        (_SWITCHED, _COMPRESSED, _ENGINE, _NO_LOG, _THREADS),
    ),
    Group("spill", ("reference_wal/spill.py",), (_SWITCHED, _COMPRESSED, _NO_LOG, _ENGINE)),
    Group(
        "engine",
        ("reference_wal/[!ts]*.py", "reference_wal/tally.py", "reference_wal/settings.py"),
        (_ENGINE, _NO_LOG),
    ),
    Group("contracts", ("scenarios/target/*.py", "scenarios/target/contracts/*.py"), (), ("tests/scenarios/target",)),
    Group("judging", ("scenarios/judging/*.py",), (), ("tests/scenarios/judging",), experiments=True),
    Group("snapshots", ("scenarios/judging/snapshots/*.py",), (), ("tests/scenarios/judging",)),
    Group("enumeration", ("faults/disk/enumeration/*.py",), (), ("tests/faults/disk/enumeration",)),
    Group(
        "prediction",
        ("scenarios/recorded/prediction.py", "faults/disk/block/ext4/*.py"),
        (),
        ("tests/scenarios/recorded", "tests/faults/disk/block/ext4"),
    ),
)
"""Every module that gets mutants, by what it does."""


def group_of(path: Path) -> Group:
    """Return the group of a module."""
    return next(group for group in GROUPS if path in group.modules)


def judges_of(path: Path) -> list[str]:
    """Return who judges a module: its tests; of the engine also the harness, and the sweep of damaged files."""
    return ["tests", "harness", "sweep"] if group_of(path).harnesses else ["tests"]


def sweep_of(path: Path) -> list[list[str]]:
    """Return the arguments of pytest that damage the engine's files byte by byte, some of them; the same for each module."""
    del path
    return [[*_SWEEP, "-m", "slow"]]


ENGINE_TESTS = ["tests/reference_wal", "-m", "not slow and not recorded and not experiment"]
"""Arguments of pytest. Those of them that run the line with the bug judge a mutant of the engine."""


def tests_of(path: Path) -> list[list[str]]:
    """Return the arguments of pytest for code that judges, one run after the other: the module's tests, those of its folder."""
    own = f"tests/{path.relative_to(ROOT).parent}/test_{path.name}"
    group = group_of(path)
    folders = [folder for folder in group.tests if (ROOT / folder).exists()]
    lengthy = "not slow and not recorded" if group.experiments else "not slow and not recorded and not experiment"
    first = [[own]] if (ROOT / own).is_file() else []
    return [*first, [*folders, "-m", lengthy]]
