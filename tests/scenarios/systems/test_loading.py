"""Target names: what each means, and that whatever is wrong with one is said in a line that names the remedy."""

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crashmatrix import SystemUnderTest, Target, UsageError
from crashmatrix.scenarios.systems.loading import load, whole_name, whole_names

GOOD = """
from crashmatrix import SystemUnderTest

class Store(SystemUnderTest):
    place = __file__

    def __init__(self, size=1):
        self.size = size

    def workload(self, root, journal): ...
    def recover(self, root): return []

class Unfinished(SystemUnderTest):
    def workload(self, root, journal): ...

def function(): ...
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current directory with a few targets; what they leave in the interpreter goes again."""
    files = {
        "good.py": GOOD,
        "raises.py": "raise RuntimeError('a\\n  b')",
        "exits.py": "raise SystemExit(0)",
        "syntax.py": "class",
        "imports.py": "import no_such_package",
        "neighbour.py": "from good import Store",
        "package/good.py": GOOD,
        "package/__init__.py": "",
        "package/relative.py": "from .good import Store",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    modules = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("good.py:Store", "good.py"),
        ("./good.py:Store", "./good.py"),
        ("package/good.py:Store", "package/good.py"),
        ("neighbour.py:Store", "neighbour.py"),
        ("package/relative.py:Store", "package/relative.py"),
        ("good:Store", "good"),
        ("package.good:Store", "package.good"),
        ("reference", "crashmatrix.scenarios.systems.reference.engine"),
    ],
)
def test_names(name: str, module: str) -> None:
    """A target is a built-in name, package.module:Class or file.py:Class, and always the same class."""
    kind = load(name)
    assert issubclass(kind, SystemUnderTest)
    assert load(name) is kind
    assert isinstance(Target(name).make(), kind)
    assert Target(name).module == module


def test_a_file_alone_means_the_only_system_in_it(here: Path) -> None:
    (here / "two.py").write_text(f"{GOOD}\n\nclass Other(Store):\n    pass\n")
    assert whole_name("good.py") == "good.py:Store"  # `Unfinished` in it has no method `recover`.
    assert whole_name(str(here / "good.py")) == f"{here}/good.py:Store"
    for name in ("good.py:Unfinished", "reference", "no_such.toml"):
        assert whole_name(name) == name
    for name, message in {
        "two.py": "two.py defines Store and Other; name one of them, as in two.py:Store, or all with 'two.py:*'",
        "neighbour.py": "neighbour.py defines no class derived from crashmatrix.SystemUnderTest; "
        "add one, or name neighbour.py:CLASS",
        "missing.py": "no file missing.py; name it relative to the current directory",
    }.items():
        with pytest.raises(UsageError) as refused:
            whole_name(name)
        assert str(refused.value) == message


def test_patterns(here: Path) -> None:
    """A pattern means built-in targets, or the systems of a file; a name means itself."""
    assert whole_names("replace:*") == ["replace:none", "replace:fsync", "replace:fsync-dir"]
    assert whole_names("sqlite:wal-[fn]*") == ["sqlite:wal-normal", "sqlite:wal-full"]
    assert {"reference", "reference-log", "reference:threads"} < set(whole_names("reference*"))
    assert whole_names("good.py:*") == whole_names("good.py:St?re") == whole_names("good.py") == ["good.py:Store"]
    assert whole_names("lmdb:default") == ["lmdb:default"]
    for wrong in ("nosuch*", "good.py:Nope*"):
        with pytest.raises(UsageError, match="no target's name is like"):
            whole_names(wrong)
    with pytest.raises(UsageError, match=r"no file missing\.py"):
        whole_names("missing.py:*")


def test_every_built_in_loads_or_names_what_it_lacks() -> None:
    """Each built-in target either loads or says what to install."""
    from crashmatrix.scenarios.systems import BUILT_IN

    assert "reference" in BUILT_IN
    for name in BUILT_IN:
        try:
            assert issubclass(load(name), SystemUnderTest)
        except UsageError as refused:
            assert "package" in str(refused)


def test_same_name_in_another_folder(here: Path) -> None:
    """Two files of one name in different folders are two targets."""
    places = [Path(load(name).place) for name in ("good.py:Store", "package/good.py:Store")]  # type: ignore[attr-defined]
    assert [place.resolve() for place in places] == [here / "good.py", here / "package" / "good.py"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("nosuch", ["no target 'nosuch'", "crashmatrix targets", "package.module:Class, file.py:Class or file.toml"]),
        ("", ["no target ''", "crashmatrix targets"]),
        ("sqlite", ["no target 'sqlite'; there are sqlite:wal-off, "]),
        ("lmdb:sync", ["no target 'lmdb:sync'; there are lmdb:default, "]),
        ("good.py", ["no target 'good.py'", "file.py:Class"]),
        ("a\nb", ["no target", "file.py:Class"]),
        ("missing.py:Store", ["no file missing.py", "relative to the current directory"]),
        ("package:Store", ["package has no class 'Store'", "add it, or name another"]),
        ("package/:Store", ["cannot import package/", "is its package installed?"]),
        ("no_such_package:Store", ["cannot import no_such_package", "is its package installed?"]),
        (":Store", ["cannot import", "is its package installed?"]),
        ("raises.py:Store", ["raises.py cannot be imported (RuntimeError: a b)", "fix it, then run again"]),
        ("raises:Store", ["cannot import raises (RuntimeError: a b)"]),
        ("exits.py:Store", ["exits.py cannot be imported (SystemExit: 0)", "fix it, then run again"]),
        ("exits:Store", ["cannot import exits (SystemExit: 0)"]),
        ("syntax.py:Store", ["syntax.py cannot be imported (SyntaxError", "fix it, then run again"]),
        (
            "imports.py:Store",
            ["imports.py cannot be imported (ModuleNotFoundError: No module named 'no_such_package')"],
        ),
        (
            "good.py:Missing",
            ["good.py has no class 'Missing' derived from crashmatrix.SystemUnderTest", "name another"],
        ),
        ("good.py:", ["good.py has no class ''"]),
        ("good.py:function", ["good.py has no class 'function' derived"]),
        ("pathlib:Path", ["pathlib has no class 'Path' derived"]),
        ("good.py:Unfinished", ["good.py:Unfinished lacks recover", "workload and a recover method"]),
        ("crashmatrix.scenarios.target.system:SystemUnderTest", ["lacks recover and workload"]),
    ],
)
def test_wrong_names(name: str, parts: list[str]) -> None:
    """A name that means no system is refused in one line that says why and what to do; so is the second try."""
    for _ in range(2):
        with pytest.raises(UsageError) as refused:
            load(name)
        assert "\n" not in str(refused.value)
        for part in parts:
            assert part in str(refused.value)


@pytest.mark.parametrize("options", [{"colour": 1}, {"size": 1, "data": "x"}])
def test_wrong_options(options: dict[str, object]) -> None:
    """Options a system does not take are refused in one line with the remedy."""
    with pytest.raises(UsageError, match=r"target good.py:Store: .*check the options it takes") as refused:
        Target("good.py:Store", options).make()
    assert "\n" not in str(refused.value)


def test_make() -> None:
    """A target makes its system with options, seed and workspace, in this process or in another it was sent to."""
    target = pickle.loads(pickle.dumps(Target("good.py:Store", {"size": 3}, seed=4, workspace="/w")))
    system = target.make()
    assert (system.size, system.seed, system.workspace) == (3, 4, Path("/w"))


def test_unknown_planted_bug() -> None:
    """A planted bug nobody knows is refused in one line that says where they are listed."""
    with pytest.raises(UsageError, match=r"no planted bug 'typo'; .*mutants"):
        Target("good.py:Store", mutant="typo").make()


def test_target_of_an_instance() -> None:
    """A system made in a test is made again elsewhere, with the same arguments."""
    for made in (load("good.py:Store")(3), load("package/good.py:Store")(size=3)):
        target = Target.of(made)
        again = target.make()
        assert type(again) is type(made)
        assert again.size == 3  # type: ignore[attr-defined]
        assert target.options == {"size": 3}
