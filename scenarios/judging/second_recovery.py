"""Recovery must be repeatable: a second one returns the same items, whatever crash came before the first.

The contract says what that means (`Contract.lasts`): a log has an order, a map or a queue may return its items in any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.target.contract import Contract, Violation, is_ours
from crashmatrix.scenarios.target.journal import Item, item_key

__all__ = ["CAUSE", "changed_folder", "is_about", "named", "other_items", "same_items"]

_SHOWN = 5

CAUSE = (
    "recovery does not leave what it found: a second recovery has another result",
    "The first recovery kept the promise; the second one began with what the first had left.",
)
"""Why a promise broken by a second recovery is broken: in one line, and in a sentence more."""


def other_items(
    items: Sequence[Item],
    again: Sequence[Item],
    judge: Callable[[Sequence[Item]], Violation | None],
    contract: Contract,
) -> Violation | None:
    """Return what is wrong with the items of a second recovery; None if they are those of the first.

    Args:
        judge: applies the contract. Its verdict says more than that items differ.
        contract: says what must be the same. One of a user, which may do anything, is not called.
    """
    first, second = [item_key(item) for item in items], [item_key(item) for item in again]
    if first == second:
        return None
    if violation := judge(again):
        return Violation(violation.verdict, f"after a second recovery: {violation.explanation}")
    if same_items(items, again, contract):
        return None
    one, other = Counter(first), Counter(second)
    if one != other:
        differing = ", ".join(sorted((one - other) + (other - one))[:_SHOWN])
        return Violation(Verdict.CORRUPT, f"a second recovery returned other items than the first: {differing}")
    return Violation(Verdict.REORDERED, "a second recovery returned the items in another order than the first")


def same_items(first: Sequence[Item], again: Sequence[Item], contract: Contract) -> bool:
    """Whether two recoveries returned the same, as far as a contract sees; so it is if that is too large to be decided."""
    lasts = contract.lasts if is_ours(contract) else partial(Contract.lasts, contract)
    try:
        return lasts(first, again)
    except UsageError:
        return True


def changed_folder(differences: Sequence[str]) -> Violation | None:
    """Return what is wrong if a second recovery changed these paths, of a system that promises to change none."""
    if not differences:
        return None
    return Violation(Verdict.CORRUPT, f"a second recovery changed the folder: {', '.join(differences[:_SHOWN])}")


def is_about(explanation: str) -> bool:
    """Whether a verdict's explanation blames a second recovery."""
    return "second recovery" in explanation.partition(":")[0]


def named(explanation: str) -> str:
    """The explanation of how a second recovery failed, which says that it was the second."""
    if is_about(explanation):
        return explanation
    return f"a second {explanation}" if explanation.startswith("recovery ") else f"in a second recovery: {explanation}"
