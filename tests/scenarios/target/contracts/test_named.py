"""Contracts by name and parameters, in Python and TOML alike."""

from __future__ import annotations

from typing import Any

import pytest

from crashmatrix import UsageError
from crashmatrix.scenarios.target.contract import (
    Contract,
    Latest,
    Queue,
    Tables,
    Within,
    contract_named,
    is_built_in,
    name_of,
)

GOOD: list[tuple[Any, Contract]] = [
    ({"name": "within", "absolute": 1}, Within(absolute=1.0)),
    ({"name": "within", "relative": 0.1, "of": "exactly-once"}, Within(relative=0.1, of="exactly-once")),
    ({"name": "at-least-once", "queue": True}, Queue(repeats=True)),
    ({"name": "at-most-once", "queue": True}, Queue(lossy=True)),
    ({"name": "exactly-once", "queue": True}, Queue()),
]


@pytest.mark.parametrize(("given", "contract"), GOOD)
def test_parameters(given: dict[str, Any], contract: Contract) -> None:
    """A table with name and parameters is that contract."""
    assert contract_named(given) == contract
    assert name_of(given) == given["name"]


@pytest.mark.parametrize("name", ["exactly-once", "at-least-once", "at-most-once", "prefix"])
def test_retries(name: str) -> None:
    """An item that is attempted again is the same one, if the table says so."""
    plain, retried = contract_named(name), contract_named({"name": name, "retries": True})
    assert type(plain) is type(retried)
    assert [vars(contract)["retries"] for contract in (plain, retried)] == [False, True]


def test_tables() -> None:
    """The contract of a table may have parameters of its own."""
    found = contract_named({"name": "tables", "tables": {"a": "latest", "b": {"name": "within", "absolute": 2}}})
    assert isinstance(found, Tables)
    assert isinstance(found.tables["a"], Latest)
    assert found.tables["b"] == Within(absolute=2.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("always", "no contract 'always'; use one of exactly-once, prefix, latest, at-least-once"),
        ({"name": "always"}, "no contract 'always'; use one of"),
        ({}, "no contract None; use one of"),
        ("within", "contract 'within' needs parameters: contract = { name = \"within\", absolute = 0.5 }"),
        ({"name": "within"}, "contract 'within' needs parameters"),
        ("tables", "contract 'tables' needs parameters"),
        ({"name": "within", "absolute": -1}, "contract 'within': absolute is wrong: "),
        ({"name": "within", "bound": 1}, "contract 'within': bound is wrong: "),
        ({"name": "latest", "queue": True}, "contract 'latest' has no parameter 'queue'; there are: none"),
        ({"name": "latest", "retries": True}, "contract 'latest' has no parameter 'retries'; there are: none"),
        (
            {"name": "exactly-once", "queue": True, "retries": True},
            "a queue takes no retries: a job may be done before",
        ),
        (
            {"name": "exactly-once", "absolute": 1},
            "contract 'exactly-once' has no parameter 'absolute'; there are: queue, retries",
        ),
        ({"name": "tables", "tables": {"a": "always"}}, "contract 'tables': tables.a is wrong: "),
        ({"name": "tables", "tables": {"a": {"name": "within"}}}, "contract 'within' needs parameters"),
    ],
)
def test_refusals(given: Any, message: str) -> None:
    """A wrong name or parameter is refused in one line, with what there is."""
    with pytest.raises(UsageError) as refused:
        contract_named(given)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_where_items_are_stored_once() -> None:
    """By some contracts what comes back is what was attempted, so a second life must store other items."""
    once = {
        name
        for name in ("exactly-once", "prefix", "latest", "counter", "transactions")
        if is_built_in(contract_named(name))
    }
    assert once == {"exactly-once", "prefix", "latest"}
    assert not is_built_in(Queue())
