"""Judge the undisturbed run before anything is crashed: is there a promise that a crash could break?

nothing acknowledged           `unknown`: no crash could break a promise
the journal makes no sense,
or the contract's check fails  `unknown`
the contract is broken         an error: no crash is to blame
the workload noted that the    the verdict: it looked at the living system
living system broke it
recovery fails                 nothing here: each crash has its verdict, and the run's headline says that the end has one, too
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crashmatrix.reports import ScenarioResult, Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.judging.words import counted
from crashmatrix.scenarios.target.contract import Contract, Violation, name_of
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["broken_undisturbed", "judge_undisturbed", "refuse_if_broken", "unfired", "unreached"]

_ITEMS_SHOWN, _CHARACTERS_SHOWN = 5, 40


def judge_undisturbed(
    promises: Promises, recovered: Sequence[Item] | None, judge: Callable[[Promises, Sequence[Item]], Violation | None]
) -> Violation | None:
    """Return why a target cannot be crashed; None if it can.

    Args:
        promises: all those of the undisturbed run.
        recovered: what recovery returned after it; None if it failed.
        judge: applies the contract.
    """
    violation = None if recovered is None else judge(promises, recovered)
    if violation is not None and violation.living:  # It was seen, though it may have come before any promise.
        return violation
    if reason := _nothing_promised(promises):
        return Violation(Verdict.UNKNOWN, reason)
    if violation is None or recovered is None or not violation.verdict.broken:
        return violation
    return Violation(violation.verdict, f"{violation.explanation}. {_account(promises, recovered)}")


def refuse_if_broken(target: str, violation: Violation, promised: str | Mapping[str, Any] | Contract) -> None:
    """Raises UsageError if an undisturbed run breaks the contract, unless the workload saw the living system break it."""
    if violation.verdict.broken and not violation.living:
        contract = name_of(promised)
        raise UsageError(
            f"{target} breaks its contract ({contract}) in an undisturbed run, so no crash is to blame: {violation.verdict}: "
            f"{violation.explanation}. Fix workload or recover: does it keep its data outside of its folder, or nowhere, "
            "acknowledge what it has yet to write, or have processes or threads that undo one another's work?"
        )


def broken_undisturbed(end: ScenarioResult) -> str:
    """Say for a run's headline that its undisturbed end has a verdict that no crash is to blame for."""
    return f"an undisturbed run is broken already, so no crash is to blame: {end.verdict}: {end.explanation}"


def unfired(name: str, reason: str = "") -> str:
    """Say why a failpoint that the target lists says nothing; ``reason`` is what this machine lacks to see it."""
    if reason:
        return f"failpoint {name}, which the target lists, cannot be seen: {reason}"
    return (
        f"failpoint {name}, which the target lists, never fired, neither in the workload nor in a recovery: check its name. A "
        "fail-rs program must call FailScenario::setup() and be built with the feature `failpoints` of crate fail; a gofail "
        "program must be built after `gofail enable`. Take failpoints that this workload does not reach off the list"
    )


def unreached(name: str) -> str:
    """Say why a run of a built-in target says nothing about a failpoint or a row of recovery's tables."""
    return (
        f"{name} was reached neither by the workload nor by a recovery, so nothing is known of it: the workload of a built-in "
        "target reaches every one, whatever the seed. This is a mistake in crashmatrix"
    )


def _nothing_promised(promises: Promises) -> str:
    """Acknowledged items are promised; so are those from the start, if the workload stores none and only works on them."""
    attempts = sum(event.kind == "attempt" for event in promises.events)
    if any(event.kind == "ack" for event in promises.events) or (promises.initial and not attempts):
        return ""
    done = (
        f"attempted {counted(attempts, 'item')} and acknowledged none"
        if attempts
        else "attempted and acknowledged nothing"
    )
    return (
        f"the undisturbed workload {done}, so there is no promise that a crash could break: acknowledge each item once the "
        "system has called it durable, by leaving the block `with journal.attempt(item):`, by .acknowledge(), or in a program "
        "by an `ack` line in $CRASHMATRIX_JOURNAL"
    )


def _account(promises: Promises, recovered: Sequence[Item]) -> str:
    parts = (("Attempted", promises.attempted), ("acknowledged", promises.acknowledged), ("recovered", recovered))
    return "; ".join(f"{what} {counted(len(items), 'item')}{_some(items)}" for what, items in parts)


def _some(items: Sequence[Item]) -> str:
    keys = [item_key(item) for item in items[:_ITEMS_SHOWN]]
    shown = [key if len(key) <= _CHARACTERS_SHOWN else f"{key[: _CHARACTERS_SHOWN - 3]}..." for key in keys]
    more = f" and {len(items) - _ITEMS_SHOWN:,} more" if len(items) > _ITEMS_SHOWN else ""
    return f": {', '.join(shown)}{more}" if shown else ""
