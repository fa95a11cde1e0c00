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
]


def is_built_in(contract: Contract) -> bool:
    """Whether it is one of ours by which each item is stored once: a second life must store others than came back."""
    return type(contract).__module__.startswith(contracts.__name__) and contract.stored_once
