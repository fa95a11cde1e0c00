"""The TOML file of a target: each mistake is named with its key and the remedy, and the schema says the same."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings, strategies as st

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.systems.command_file import CommandSpec, TargetFile, read_spec, target_schema
from crashmatrix.scenarios.systems.loading import Target, load
from tests import ROOT
from tests.reports.test_schemas import published

BOTH = 'workload = "true"\nrecover = "true"\n'

MISTAKES = [
    ("", "lacks workload and recover: the command to run"),
    ('workload = "true"', "lacks recover"),
    (BOTH + 'recover = "x"', "is not TOML: Cannot overwrite a value"),
    (BOTH + 'prepair = "x"', "unknown key 'prepair'; there are build, contract"),
    (BOTH + "prepare = 1", "prepare must be a command: a string, or a list of strings, not 1"),
    (BOTH + "prepare = []", "prepare must be a command"),
    (BOTH + 'prepare = ["a", 1]', "prepare must be a command"),
    (BOTH + """prepare = "a 'b" """, "prepare cannot be split into arguments (No closing quotation)"),
    (BOTH + 'contract = "always"', "no contract 'always'; use one of exactly-once"),
    (BOTH + "contract = 1", "contract must be a string, or a table"),
    (BOTH + 'seconds_max = "1"', "seconds_max must be a number of seconds above 0"),
    (BOTH + "seconds_max = 0", "seconds_max must be"),
    (BOTH + "seconds_max = true", "seconds_max must be"),
    (BOTH + "disk_bytes = 0.5", "disk_bytes must be a whole number above 0"),
    (BOTH + "environment = { A = 1 }", "environment must be a table of strings"),
    (BOTH + 'failpoints = "a"', "failpoints must be a list of strings"),
    (BOTH + "ignore = [1]", "ignore must be a list of strings"),
    (BOTH + "seconds_max = inf", "seconds_max must be a number of seconds above 0, not inf"),
    (BOTH + "seconds_max = nan", "seconds_max must be a number of seconds above 0, not nan"),
    (BOTH + f"disk_bytes = {'9' * 400}", "disk_bytes must be a whole number above 0"),
    (BOTH + f"disk_bytes = {'9' * 5_000}", "is not TOML: "),
    (BOTH + f"ignore = {'[' * 100_000}", "is nested too deep"),
    (BOTH + 'environment = { "A=B" = "x" }', "environment: 'A=B' cannot be a variable"),
    (BOTH + 'environment = { A = "x\\u0000" }', "environment: 'A' cannot be a variable"),
    (BOTH + 'build = "a\\u0000b"', "build holds a NUL byte"),
    (BOTH + 'build = " "', "build must be a command"),
    (
        BOTH + 'build = "echo x >> {root}/log"',
        """build: no shell runs this, so '>>' would be an argument; write ["sh", "-c",""",
    ),
    (BOTH + 'build = "make 2>/dev/null"', "build: no shell runs this, so '2>/dev/null' would be"),
    (BOTH + 'build = "a | b"', "build: no shell runs this, so '|' would be"),
    (BOTH + 'build = "a && b"', "build: no shell runs this, so '&&' would be"),
    (BOTH + 'build = "a; b ; c"', "build: no shell runs this, so ';' would be"),
    (BOTH + "server = []", "server must be a command"),
    (BOTH + 'server = "a & "', "server: no shell runs this, so '&' would be"),
    (BOTH + "ready_line = 1", "ready_line must be a string"),
    (BOTH + 'ready_socket = ["a"]', "ready_socket must be a path"),
    (BOTH + 'ready = "true"', "ready says something of a server, and there is none; add server"),
    (BOTH + 'stop = "true"', "stop says something of a server, and there is none"),
    (BOTH + 'verify = "query {port}"', "verify: {port} is the port of a server, and there is none; add server"),
    (BOTH + "stable_recovery = 1", "stable_recovery must be true or false"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_mistakes(text: str, message: str, tmp_path: Path) -> None:
    """A file that cannot be used is refused in one line, which names the file and the key."""
    path = tmp_path / "system.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        load(str(path))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_missing_file(tmp_path: Path) -> None:
    """A file that does not exist is refused in one line, with the remedy."""
    with pytest.raises(
        UsageError, match=r"no file .*nosuch.toml; name it relative to the current directory, or write one"
    ):
        load(str(tmp_path / "nosuch.toml"))


def test_spec(tmp_path: Path) -> None:
    """A command may be a string, split as a shell would, or a list, taken as it is."""
    path = tmp_path / "system.toml"
    path.write_text(
        "workload = \"a 'b c' {root}\"\nrecover = ['a', 'b c']\nseconds_max = 2\ndisk_bytes = 99\nfailpoints = ['x']\n"
    )
    spec = read_spec(path)
    assert spec.workload == ("a", "b c", "{root}")
    assert spec.recover == ("a", "b c")
    assert (spec.seconds_max, spec.failpoints, spec.folder) == (2.0, ("x",), tmp_path)
    kind = load(str(path))
    assert (kind.contract, kind.seconds_max, kind.disk_bytes) == ("exactly-once", 2.0, 99)
    assert Target(str(path)).module is None


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("grep '|' {root}", ("grep", "|", "{root}")),
        ("sh -c 'a | b >> c; d && e'", ("sh", "-c", "a | b >> c; d && e")),
        ("get http://x/?a=1&b=2;c", ("get", "http://x/?a=1&b=2;c")),
        ('run "a>b" --to=x>y', ("run", "a>b", "--to=x>y")),
        ("run a#b # c", ("run", "a#b", "#", "c")),
    ],
)
def test_what_is_no_shell_syntax(command: str, arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Quoted operators, and characters within a word, are arguments as they always were."""
    (tmp_path / "x.toml").write_text(BOTH + f"build = {json.dumps(command)}\n")
    assert read_spec(tmp_path / "x.toml").build == arguments


def test_published() -> None:
    """The published schema is what the type says; each key has a title, which refusals quote, and a description."""
    schema = target_schema()
    assert published("target", schema) == schema
    jsonschema.Draft202012Validator.check_schema(schema)
    for part in schema["properties"].values():
        assert part["title"]
        assert part["description"]
    assert set(schema["properties"]) == {*CommandSpec.__dataclass_fields__} - {"folder"}


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "examples").glob("*.toml")), ids=lambda path: path.name)
def test_the_examples_are_valid(path: Path) -> None:
    """The documentation's examples are valid under the schema, and so is the file that `crashmatrix init` writes."""
    template = ROOT / "scenarios" / "data" / "new_target.toml.txt"
    for file in (path, template):
        jsonschema.validate(tomllib.loads(file.read_text()), target_schema())


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=5)
values = st.recursive(
    st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


def toml(value: Any) -> str:
    """A value in TOML's syntax."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_quoted(key)} = {toml(part)}" for key, part in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case str():
            return _quoted(value)
        case float():
            return repr(value)
    return json.dumps(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


@pytest.mark.lengthy
@settings(deadline=None, max_examples=300)
@given(st.sampled_from([*TargetFile.__struct_fields__, "unknown"]), values)
def test_any_value(tmp_path_factory: pytest.TempPathFactory, name: str, value: Any) -> None:
    """With any value of a key, the file is accepted, or refused in one line that names the key."""
    path = tmp_path_factory.getbasetemp() / "any.toml"
    required = {"workload": '"true"', "recover": '"true"', name: toml(value)}
    path.write_text("".join(f"{key} = {text}\n" for key, text in required.items()))
    try:
        spec = read_spec(path)
    except UsageError as refused:
        assert name in str(refused) or "contract" in str(refused)
        assert "\n" not in str(refused)
    else:
        assert isinstance(getattr(spec, name), tuple | dict | str | int | float)
