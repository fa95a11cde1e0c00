"""Contracts: what recovery owes, given what was promised. The public names; `contracts/` has one module for each kind of promise.

contract_named("latest")                                    a contract without parameters
contract_named({"name": "within", "relative": 0.01})        one with parameters, as in a TOML file
"""

from __future__ import annotations

from crashmatrix.scenarios.target import contracts
from crashmatrix.scenarios.target.contracts.base import Contract, Violation, is_ours, judge_safely
from crashmatrix.scenarios.target.contracts.counter import Counter
from crashmatrix.scenarios.target.contracts.items import AtLeastOnce, AtMostOnce, ExactlyOnce
from crashmatrix.scenarios.target.contracts.latest import Latest
from crashmatrix.scenarios.target.contracts.named import ContractName, ContractTable, contract_named, name_of
from crashmatrix.scenarios.target.contracts.prefix import Prefix
from crashmatrix.scenarios.target.contracts.queues import Queue
from crashmatrix.scenarios.target.contracts.tables import Tables
from crashmatrix.scenarios.target.contracts.transactions import Transactions
from crashmatrix.scenarios.target.contracts.within import Within
from crashmatrix.scenarios.target.journal import Promises

__all__ = [
    "AtLeastOnce",
    "AtMostOnce",
    "Contract",
    "ContractName",
    "ContractTable",
    "Counter",
    "ExactlyOnce",
    "Latest",
    "Prefix",
    "Queue",
    "Tables",
    "Transactions",
    "Violation",
    "Within",
    "contract_named",
    "is_built_in",
    "is_ours",
    "judge_safely",
    "name_of",
    "stored_again",
]


def is_built_in(contract: Contract) -> bool:
    """Whether it is one of ours by which each item is stored once."""
    return _is_named(contract) and contract.stored_once


def stored_again(contract: Contract, promises: Promises) -> list[str]:
    """Return the items by which a second life says nothing. A contract of the user's own may mean something else by its items."""
    return contract.stored_again(promises) if _is_named(contract) else []


def _is_named(contract: Contract) -> bool:
    return type(contract).__module__.startswith(contracts.__name__)
