"""Contracts by name, with parameters: the same words in Python and in a TOML file.

    contract = "latest"
    contract = { name = "within", relative = 0.01 }
    contract = { name = "exactly-once", queue = true }
    contract = { name = "exactly-once", retries = true }
    contract = { name = "tables", tables = { accounts = "transactions", log = "prefix" } }

msgspec checks the table against `ContractTable`, from which the published schema of target files comes, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from crashmatrix.reports.validation import Invalid, checked
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.target.contracts.base import Contract
from crashmatrix.scenarios.target.contracts.counter import Counter
from crashmatrix.scenarios.target.contracts.items import AtLeastOnce, AtMostOnce, ExactlyOnce
from crashmatrix.scenarios.target.contracts.latest import Latest
from crashmatrix.scenarios.target.contracts.prefix import Prefix
from crashmatrix.scenarios.target.contracts.queues import Queue
from crashmatrix.scenarios.target.contracts.tables import Tables
from crashmatrix.scenarios.target.contracts.transactions import Transactions
from crashmatrix.scenarios.target.contracts.within import Within

__all__ = ["ContractName", "ContractTable", "contract_named", "name_of"]

ContractName = Literal[
    "exactly-once", "at-least-once", "at-most-once", "prefix", "latest", "transactions", "counter", "within", "tables"
]
"""The names of contracts."""

_PLAIN: dict[str, Contract] = {
    "exactly-once": ExactlyOnce(),
    "prefix": Prefix(),
    "latest": Latest(),
    "at-least-once": AtLeastOnce(),
    "at-most-once": AtMostOnce(),
    "transactions": Transactions(),
    "counter": Counter(),
}
_QUEUES = {
    "exactly-once": Queue(),
    "at-least-once": Queue(repeats=True),
    "at-most-once": Queue(lossy=True),
}
_RETRIED: dict[str, Contract] = {
    "exactly-once": ExactlyOnce(retries=True),
    "at-least-once": AtLeastOnce(retries=True),
    "at-most-once": AtMostOnce(retries=True),
    "prefix": Prefix(retries=True),
}
_PARAMETERS = {
    "within": ("absolute", "relative", "of"),
    "tables": ("tables",),
    **dict.fromkeys(_RETRIED, ("retries",)),
    **dict.fromkeys(_QUEUES, ("queue", "retries")),
}


class ContractTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A contract with parameters."""

    name: Annotated[ContractName, Meta(description="The contract's name.")]
    queue: Annotated[
        bool, Meta(description='For exactly-, at-least- and at-most-once: items are ["put", X] and ["done", X].')
    ] = False
    retries: Annotated[
        bool,
        Meta(
            description="For exactly-, at-least- and at-most-once, and prefix: an item attempted again is the same one."
        ),
    ] = False
    absolute: Annotated[float, Meta(ge=0, description="For within: how far a number may be from the one stored.")] = 0.0
    relative: Annotated[float, Meta(ge=0, description="For within: the same, as a part of the number stored.")] = 0.0
    of: Annotated[Literal["latest", "exactly-once"], Meta(description="For within: which values a key may have.")] = (
        "latest"
    )
    tables: Annotated[
        dict[str, ContractName | ContractTable], Meta(description="For tables: the contract of each table.")
    ] = {}


def contract_named(contract: str | Mapping[str, Any] | Contract | ContractTable) -> Contract:
    """Return the contract that a system names. Raises UsageError for an unknown name, and for parameters that do not fit."""
    if isinstance(contract, Contract):
        return contract
    if isinstance(contract, ContractTable):
        return _with_parameters(contract)
    if isinstance(contract, Mapping):
        given = dict(contract)
        try:
            return _with_parameters(checked(given, ContractTable))
        except Invalid as error:
            raise UsageError(_refusal(given, error)) from None
    if isinstance(contract, str) and contract in _PARAMETERS and contract not in _PLAIN:
        raise _lacks_parameters(contract)
    if not isinstance(contract, str) or contract not in _PLAIN:
        raise _unknown(contract)
    return _PLAIN[contract]


def name_of(contract: str | Mapping[str, Any] | Contract | ContractTable) -> str:
    """Return what a contract is called in messages."""
    match contract:
        case str():
            return contract
        case ContractTable():
            return contract.name
        case Mapping():
            return str(contract.get("name"))
    return type(contract).__name__


def _with_parameters(table: ContractTable) -> Contract:
    given = [name for name in table.__struct_fields__[1:] if getattr(table, name) != _default(name)]
    if wrong := [name for name in given if name not in _PARAMETERS.get(table.name, ())]:
        known = ", ".join(_PARAMETERS.get(table.name, ())) or "none"
        raise UsageError(f"contract {table.name!r} has no parameter {wrong[0]!r}; there are: {known}")
    match table.name:
        case "within":
            if not (table.absolute or table.relative):
                raise _lacks_parameters("within")
            return Within(table.absolute, table.relative, table.of)
        case "tables":
            if not table.tables:
                raise _lacks_parameters("tables")
            return Tables({name: contract_named(contract) for name, contract in table.tables.items()})
        case name if table.queue and table.retries:
            raise UsageError(
                f"contract {name!r}: a queue takes no retries: a job may be done before its put is tried again; "
                "give each put a job of its own"
            )
        case name:
            return (_QUEUES if table.queue else _RETRIED if table.retries else _PLAIN)[name]


def _default(name: str) -> Any:
    return (
        next(field.default for field in msgspec.structs.fields(ContractTable) if field.name == name)
        if (name != "tables")
        else {}
    )


def _lacks_parameters(name: str) -> UsageError:
    example = {
        "within": '{ name = "within", absolute = 0.5 }, or relative = 0.01',
        "tables": '{ name = "tables", tables = { accounts = "latest", log = "prefix" } }',
    }[name]
    return UsageError(f"contract {name!r} needs parameters: contract = {example} (in Python, a dict of the same)")


def _unknown(contract: object) -> UsageError:
    return UsageError(
        f"no contract {contract!r:.60}; use one of {', '.join(_PLAIN)}, within, tables, or a crashmatrix.Contract"
    )


def _refusal(given: dict[str, Any], error: Invalid) -> str:
    name = given.get("name")
    if name not in {*_PLAIN, *_PARAMETERS}:
        return str(_unknown(name))
    where = ".".join(map(str, error.path))
    return f"contract {name!r}: {where} is wrong: {error}; see docs/contracts.md for the parameters"
