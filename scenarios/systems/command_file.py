"""The TOML file of a target in any language: its keys, and their values. `command.py` runs the commands.

    contract = "exactly-once"               # or "prefix", "latest", ...; the default. With parameters, a table:
                                            # contract = { name = "within", relative = 0.01 }
    build    = "make kvlog"                 # once per run, before anything else
    prepare  = "./kvlog init {root}"        # may print items that recovery owes from the start
    workload = "./kvlog fill {root}"        # appends `attempt <json>` and `ack <json>` lines to $CRASHMATRIX_JOURNAL
    recover  = ["./kvlog", "dump", "{root}"]    # prints what it finds, one JSON value a line
    resume   = "./kvlog fill {root}"        # goes on after a recovery; $CRASHMATRIX_RECOVERED holds the items found
    verify   = "./kvlog check {root}"       # a check of your own after recovery: any exit status but 0 breaks the promise
    server   = "./kvserver {root} {port}"   # runs while workload, resume, recover and verify do; in the foreground
    ready    = "./kvping {port}"            # the server is ready once this succeeds; or
    ready_line = "ready to accept"          # ... once it has printed a line with this; or
    ready_socket = "{root}/socket"          # ... once it answers at this socket. Without any: once its port answers
    stop     = "./kvstop {port}"            # stops it in order; without one, SIGTERM does. After ten seconds, SIGKILL
    seconds_max = 30                        # for recover; the workload has ten times that
    disk_bytes = 4_000_000_000              # under power cuts, if the usual 1 GiB is too small
    ignore   = ["LOCK", "*.log"]            # files in which two runs may differ
    failpoints = ["before_rename"]          # names of fail-rs's or gofail's failpoints, or
    list_failpoints = "./kvlog failpoints"  # a command that prints one a line

    [failing]                               # failpoints that can do more than be a place to crash
    before_rename = ["return(EIO)", "panic"]

    [environment]
    KVLOG_SYNC = "1"

A command is a list of arguments, or a string that is split as a shell would split it. No shell runs it: a string with ``>>``
or ``|`` is refused, and ``["sh", "-c", "..."]`` calls a shell.

msgspec checks the file against `TargetFile` (`crashmatrix.reports.validation` says why msgspec). From the same type comes
`docs/schemas/target.schema.json`: with it, an editor completes and checks a target file as it is written.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from crashmatrix.reports.schemas import document_schema
from crashmatrix.reports.validation import Invalid, checked
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.target.contract import ContractTable, contract_named

__all__ = ["COMMANDS", "CommandSpec", "TargetFile", "read_spec", "target_schema"]

COMMANDS = (
    "build",
    "prepare",
    "server",
    "ready",
    "stop",
    "workload",
    "recover",
    "resume",
    "verify",
    "list_failpoints",
)
"""Keys that hold a command."""

_OF_SERVER = ("ready", "ready_line", "ready_socket", "stop")
"""Keys that mean something with a server only."""

_SHELL = re.compile(r"\d*>{1,2}.*|<|\|{1,2}|&{1,2}|;")
"""Words that only a shell understands."""

_COMMAND = "a command: a string, or a list of strings"
_STRINGS = "a list of strings"
_Command = Annotated[str, Meta(min_length=1)] | Annotated[list[str], Meta(min_length=1)] | UnsetType


class TargetFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A target in any language, described by commands. A field's title is what a refusal says was expected."""

    workload: Annotated[
        Annotated[str, Meta(min_length=1)] | Annotated[list[str], Meta(min_length=1)],
        Meta(
            title=_COMMAND, description="Stores items; appends `attempt ITEM` and `ack ITEM` to $CRASHMATRIX_JOURNAL."
        ),
    ]
    recover: Annotated[
        Annotated[str, Meta(min_length=1)] | Annotated[list[str], Meta(min_length=1)],
        Meta(title=_COMMAND, description="Opens what a crash left; prints each item found, one JSON value a line."),
    ]
    build: Annotated[_Command, Meta(title=_COMMAND, description="Runs once per run, before anything else.")] = UNSET
    prepare: Annotated[
        _Command,
        Meta(
            title=_COMMAND, description="Makes what is there at first; may print items that recovery owes from then on."
        ),
    ] = UNSET
    resume: Annotated[
        _Command,
        Meta(
            title=_COMMAND,
            description="Goes on after a recovery: stores new items, none of those in $CRASHMATRIX_RECOVERED.",
        ),
    ] = UNSET
    verify: Annotated[
        _Command,
        Meta(
            title=_COMMAND,
            description="Checks more than the contract says, after recovery; any exit status but 0 breaks the promise.",
        ),
    ] = UNSET
    server: Annotated[
        _Command,
        Meta(
            title=_COMMAND,
            description="A server, in the foreground; runs while workload, resume, recover and verify do. `{port}` is its port.",
        ),
    ] = UNSET
    ready: Annotated[
        _Command, Meta(title=_COMMAND, description="Succeeds once the server is ready; tried again until then.")
    ] = UNSET
    ready_line: Annotated[
        str, Meta(title="a string", description="Part of a line that the server prints once it is ready.")
    ] = ""
    ready_socket: Annotated[
        str, Meta(title="a path", description="A socket at which the server answers once it is ready.")
    ] = ""
    stop: Annotated[
        _Command, Meta(title=_COMMAND, description="Stops the server in order; SIGTERM does if there is none.")
    ] = UNSET
    list_failpoints: Annotated[
        _Command, Meta(title=_COMMAND, description="Prints the names of the program's failpoints, one a line.")
    ] = UNSET
    failpoints: Annotated[
        list[str], Meta(title=_STRINGS, description="Names of the program's failpoints, as in fail-rs or gofail.")
    ] = []
    failing: Annotated[
        dict[str, list[Annotated[str, Meta(pattern=r"^(return|panic)(\(.*\))?(?![\s\S])")]]],
        Meta(
            title="a table of failpoints, each with a list of actions: return, return(TEXT), panic",
            description="How failpoints fail under io-error: actions of fail-rs or gofail.",
        ),
    ] = {}
    ignore: Annotated[
        list[str], Meta(title=_STRINGS, description="Patterns of files in which two runs may differ: `*.log`.")
    ] = []
    environment: Annotated[
        dict[str, str], Meta(title="a table of strings", description="Environment variables of every command.")
    ] = {}
    contract: Annotated[
        str | ContractTable,
        Meta(
            title="a string, or a table with name and parameters",
            description="The promise that recovery owes: exactly-once, prefix, latest, transactions, ...",
        ),
    ] = "exactly-once"
    seconds_max: Annotated[
        float,
        Meta(
            gt=0, le=1e9, title="a number of seconds above 0",
            description="How long recovery may take; the workload has ten times that.",
        ),
    ] = 30.0  # fmt: skip
    disk_bytes: Annotated[
        int,
        Meta(
            gt=0, le=2**50, title="a whole number above 0",
            description="Size of the disk under power cuts, if 1 GiB is too small.",
        ),
    ] | UnsetType = UNSET  # fmt: skip
    stable_recovery: Annotated[
        bool, Meta(title="true or false", description="Whether recovering twice must leave the same folder.")
    ] = False
    recovers_from_full_disk: Annotated[
        bool, Meta(title="true or false", description="Whether it stores again, without a restart, once there is room.")
    ] = False
    fails_reads: Annotated[
        bool, Meta(title="true or false", description="Whether `io-error` fails the reads of its workload, too.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class CommandSpec:
    """The checked content of the TOML file. Commands are argument lists; an empty list means that the command is not given."""

    folder: Path
    workload: tuple[str, ...]
    recover: tuple[str, ...]
    build: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()
    verify: tuple[str, ...] = ()
    server: tuple[str, ...] = ()
    ready: tuple[str, ...] = ()
    ready_line: str = ""
    ready_socket: str = ""
    stop: tuple[str, ...] = ()
    list_failpoints: tuple[str, ...] = ()
    failpoints: tuple[str, ...] = ()
    failing: Mapping[str, list[str]] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    contract: str | ContractTable = "exactly-once"
    seconds_max: float = 30.0
    disk_bytes: int = 0
    stable_recovery: bool = False
    recovers_from_full_disk: bool = False
    fails_reads: bool = False


def read_spec(path: Path) -> CommandSpec:
    """Read a TOML file. Raises UsageError with the key at fault and the remedy."""
    data = _load(path)
    if isinstance(data.get("contract"), dict):
        contract_named(data["contract"])
    try:
        file = checked(data, TargetFile)
    except Invalid as error:
        raise UsageError(f"{path}{_refusal(data, error)}") from None
    contract_named(file.contract)
    given = {name: value for name in file.__struct_fields__ if (value := getattr(file, name)) is not UNSET}
    for name in given.keys() & {*COMMANDS}:
        given[name] = _arguments(path, name, given[name])
    for name in ("failpoints", "ignore"):
        given[name] = tuple(given[name])
    _refuse_nul(path, given)
    _refuse_without_server(path, given)
    return CommandSpec(folder=path.resolve().parent, **given)


def target_schema() -> dict[str, Any]:
    """Return the JSON Schema of a target file."""
    return document_schema(TargetFile, "A crashmatrix target in any language")


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"no file {path}; name it relative to the current directory, or write one: crashmatrix init"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error})") from None
    except ValueError as error:  # Also a number of too many digits.
        raise UsageError(f"{path} is not TOML: {error}") from None
    except RecursionError:
        raise UsageError(f"{path} is nested too deeply") from None


def _refusal(data: dict[str, Any], error: Invalid) -> str:
    """Return what is wrong with a file, to stand behind its name."""
    name = str(error.path[0])
    if name not in TargetFile.__struct_fields__:
        return f": unknown key {name!r}; there are {', '.join(sorted(TargetFile.__struct_fields__))}"
    if name not in data:
        missing = [key for key in ("workload", "recover") if key not in data]
        return f" lacks {' and '.join(missing)}: the command to run, as a string or a list of arguments"
    return f": {name} must be {_expected(name)}, not {_brief(data[name])}"


def _expected(name: str) -> str:
    """Return the title of a key, which says what it may hold."""
    hint = get_type_hints(TargetFile, include_extras=True)[name]
    metadata = [
        *getattr(hint, "__metadata__", ()),
        *(meta for part in getattr(hint, "__args__", ()) for meta in getattr(part, "__metadata__", ())),
    ]
    return next(str(meta.title) for meta in metadata if meta.title)


def _brief(value: Any) -> str:
    try:
        return f"{value!r:.60}"
    except (RecursionError, ValueError):  # Nested deep, or a number too long to print.
        return "what it holds"


def _arguments(path: Path, name: str, command: str | list[str]) -> tuple[str, ...]:
    if isinstance(command, list):
        return tuple(command)
    try:
        words = _words(command)
        split = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(f"{path}: {name} cannot be split into arguments ({error}); give a list of them") from None
    if not split:
        raise UsageError(f"{path}: {name} must be {_COMMAND}, not {command!r:.60}")
    if shell := [word for word in words if _SHELL.fullmatch(word)]:
        raise UsageError(
            f"{path}: {name}: no shell runs this, so {shell[0]!r} would be an argument; "
            f'write ["sh", "-c", "..."], or a list of arguments if it is one'
        )
    return split


def _words(command: str) -> list[str]:
    """Split at spaces, but not within quotes, and keep the quotes: a quoted ``|`` is an argument."""
    lexer = shlex.shlex(command, posix=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    return list(lexer)


def _refuse_without_server(path: Path, given: Mapping[str, Any]) -> None:
    """Raise UsageError for what belongs to a server if there is none."""
    if given.get("server"):
        return
    if lone := [name for name in _OF_SERVER if given.get(name)]:
        raise UsageError(
            f"{path}: {lone[0]} says something of a server, and there is none; add server, or leave it out"
        )
    for name in COMMANDS:
        if any("{port}" in argument for argument in given.get(name, ())):
            raise UsageError(f"{path}: {name}: {{port}} is the port of a server, and there is none; add server")


def _refuse_nul(path: Path, given: Mapping[str, Any]) -> None:
    """Raise UsageError for what no program can be given: the kernel ends each argument and variable at a NUL byte."""
    for name in (*COMMANDS, "failpoints"):
        if any("\0" in argument for argument in given.get(name, ())):
            raise UsageError(f"{path}: {name} holds a NUL byte, which no argument can; leave it out")
    for key, value in given["environment"].items():
        if not key or "=" in key or "\0" in key + value:
            raise UsageError(f"{path}: environment: {key!r:.60} cannot be a variable; leave out = and NUL bytes")
