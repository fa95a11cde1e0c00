"""Every mutation operator, by name. To add one, write its function in one of the modules beside this one, and its line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from crashmatrix.scenarios.mutation.operators import statements, usual, values
from crashmatrix.scenarios.mutation.source import Site, Source

__all__ = ["OPERATORS", "Operator"]


@dataclass(frozen=True)
class Operator:
    """A kind of bug.

    Attributes:
        about: the bug, in a few words.
        noticing: how a workload or a test notices it: advice for a reader whose harness missed one.
        sites: where it can be planted.
    """

    name: str
    about: str
    noticing: str
    sites: Callable[[Source], Iterator[Site]]


_ERROR_PATH = "let the call fail (experiment io-error, a failpoint with raise), and judge what is there afterwards"
_MORE_DATA = "store more: several items at once, none at all, the first, the last, and one more than fits"
_COMPARE = "compare everything that is read back with what was stored: values, counts, order"
_DAMAGE = "flip each byte in turn, and read"
_ORDER = "add power cuts, on ext4 and on posix, with a failpoint on each side of the step"

OPERATORS = {
    operator.name: operator
    for operator in (
        Operator("drop-call", "a call is not made", "look at what the call is for, after every step", statements.drop_call),
        Operator("drop-sync", "a sync is not made", _ORDER, statements.drop_sync),
        Operator("drop-assign", "a value is not noted", "go on using the store after the step", statements.drop_assign),
        Operator("drop-raise", "an error is not raised", "give the store input that it must refuse", statements.drop_raise),
        Operator("swap-statements", "two steps in the wrong order", _ORDER, statements.swap),
        Operator(
            "move-across", "a step moved across an acknowledgement, a rename or an unlink", _ORDER, statements.move_across
        ),
        Operator("move-out", "the last step of a with block comes after the block", _ORDER, statements.move_out),
        Operator("drop-lock", "a lock is not taken", "call the store from several threads", statements.drop_lock),
        Operator("widen-except", "every exception is taken for the expected one", _ERROR_PATH, statements.widen_except),
        Operator("ignore-return", "a call's result is not used", _ERROR_PATH, statements.ignore_return),
        Operator("loop-short", "the last or first round of a loop is left out", _MORE_DATA, values.loop_short),
        Operator("off-by-one", "an id, length or position is one too high or too low", _COMPARE, values.off_by_one),
        Operator("wrong-variable", "another variable of the same type", _COMPARE, values.wrong_variable),
        Operator("short-checksum", "a checksum leaves out the last byte", _DAMAGE, values.short_checksum),
        Operator("drop-flag", "a flag is not passed", "begin where a crashed run left its files", values.drop_flag),
        Operator("boundary", "a comparison is one off", _MORE_DATA, usual.boundary),
        Operator("comparison", "equal for unequal, in for not in", _COMPARE, usual.comparison),
        Operator("negate-condition", "a condition is reversed", "take both branches", usual.negate_condition),
        Operator("never", "a branch is never taken", "take this branch, and look at what it does", usual.never),
        Operator("boolean", "and for or; a part of a condition is left out", "vary each part alone", usual.boolean),
        Operator("arithmetic", "plus for minus and the like", _COMPARE, usual.arithmetic),
        Operator("constant", "another number; true for false", _MORE_DATA, usual.constant),
        Operator("return-none", "a function returns None", "use what the function returns", usual.return_none),
        Operator("break-continue", "break for continue", _MORE_DATA, usual.break_continue),
    )
}  # fmt: skip
"""The operators, by name."""
