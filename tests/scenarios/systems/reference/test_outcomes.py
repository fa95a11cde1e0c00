"""The contract of the reference workload: which tables and batches may come back after which operations."""

from __future__ import annotations

from typing import Any

import pytest

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.systems.reference.outcomes import LogContract, TableContract, outcomes
from crashmatrix.scenarios.target.journal import Promises, item_key

CREATE, ZERO, ONE = ["create", "t"], ["ingest", "t", 0], ["ingest", "t", 1]
MOVED = ["received", "t", 0]


def promises(*acknowledged: Any, attempted: Any = None, initial: tuple[Any, ...] = ()) -> Promises:
    lines = [f"attempt {item_key(item)}\nack {item_key(item)}\n" for item in acknowledged]
    lines += [f"attempt {item_key(attempted)}\n"] if attempted else []
    return Promises.parse("".join(lines).encode(), initial)


@pytest.mark.parametrize(
    ("promised", "found", "kept"),
    [
        (promises(CREATE, ZERO), [CREATE, ZERO], True),
        (promises(CREATE, ZERO), [CREATE], False),
        (promises(CREATE, attempted=ZERO), [CREATE], True),
        (promises(CREATE, attempted=ZERO), [CREATE, ZERO], True),
        (promises(CREATE, ZERO, ["truncate", "t"]), [CREATE], True),
        (promises(CREATE, ZERO, ["drop", "t"]), [], True),
        (promises(CREATE, ZERO, ["transfer", "t", 0]), [CREATE, MOVED], True),
        (promises(CREATE, ZERO, ["transfer", "t", 0]), [CREATE, ZERO], False),
        (promises(CREATE, ZERO, attempted=["transfer", "t", 0]), [CREATE, MOVED], True),
        # A second life owes what was recovered, rows moved before included.
        (promises(initial=(CREATE, ZERO, MOVED)), [CREATE, ZERO, MOVED], True),
        (promises(initial=(CREATE, ZERO, MOVED)), [CREATE, ZERO], False),
        (promises(ONE, initial=(CREATE, MOVED)), [CREATE, ONE, MOVED], True),
        (promises(ONE, initial=(CREATE, MOVED)), [CREATE, MOVED], False),
        (promises(["transfer", "t", 2], initial=(CREATE, ONE, MOVED)), [CREATE, MOVED, ["received", "t", 1]], True),
    ],
)
def test_contract(promised: Promises, found: list[Any], kept: bool) -> None:
    """Everything acknowledged took effect, and perhaps what was in flight."""
    assert (not TableContract().check(promised, found)) == kept


def test_outcomes() -> None:
    """The first so many of the operations in flight on one table may have taken effect."""
    assert outcomes(promises(CREATE, attempted=ZERO)) == [{"t": []}, {"t": [ZERO]}]


@pytest.mark.parametrize(("ends", "found"), [([], [[ONE]]), ([f"fail {item_key(ZERO)}"], [[ONE]])])
def test_a_failure_of_one_that_was_settled(ends: list[str], found: list[Any]) -> None:
    """A kill fails every attempt without an end, also those that a later acknowledgement has settled: that changes nothing."""
    lines = [f"attempt {item_key(ZERO)}", f"attempt {item_key(ONE)}", f"ack {item_key(ONE)}", *ends]
    promised = Promises.parse("".join(f"{line}\n" for line in lines).encode(), (CREATE,))
    assert outcomes(promised) == [{"t": batches} for batches in found]


@pytest.mark.parametrize(("failed", "found"), [(True, [[ONE], [ZERO, ONE]]), (False, [[ONE]])])
def test_one_that_failed_may_have_taken_effect(failed: bool, found: list[Any]) -> None:
    """Also if something later is acknowledged; one that was given up without a word has not."""
    zero, one = item_key(ZERO), item_key(ONE)
    lines = [f"attempt {zero}", *([f"fail {zero}"] if failed else []), f"attempt {one}", f"ack {one}"]
    promised = Promises.parse("".join(f"{line}\n" for line in lines).encode(), (CREATE,))
    assert outcomes(promised) == [{"t": batches} for batches in found]


MAKE, FILL, DROP = item_key(CREATE), item_key(ZERO), item_key(["drop", "t"])


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([f"attempt {MAKE}", f"fail {MAKE}", f"attempt {FILL}", f"fail {FILL}"], [{}, {"t": []}, {"t": [ZERO]}]),
        ([f"attempt {MAKE}", f"fail {MAKE}", f"attempt {FILL}", f"ack {FILL}"], [{"t": [ZERO]}]),
        ([f"attempt {FILL}", f"fail {FILL}"], [{}]),
        ([f"attempt {FILL}"], [{}]),
        ([f"attempt {FILL}", f"fail {FILL}", f"attempt {MAKE}"], [{}, {"t": []}]),
        (
            [f"attempt {MAKE}", f"fail {MAKE}", f"attempt {DROP}", f"fail {DROP}", f"attempt {MAKE}", f"ack {MAKE}"],
            [{"t": []}],
        ),
        ([f"attempt {MAKE}", f"ack {MAKE}", f"attempt {DROP}", f"fail {DROP}", f"attempt {DROP}", f"ack {DROP}"], [{}]),
        ([f"attempt {DROP}", f"fail {DROP}", f"attempt {MAKE}", f"fail {MAKE}", f"attempt {DROP}"], [{}, {"t": []}]),
    ],
)
def test_a_table_that_could_not_be_made(lines: list[str], found: list[Any]) -> None:
    """Later operations on it had no effect, unless it was made all the same; an acknowledgement says that it was."""
    assert outcomes(Promises.parse("".join(f"{line}\n" for line in lines).encode())) == found


def test_failed_ones_are_independent() -> None:
    """Any of them may have taken effect; of those in flight, the first so many."""
    lines = [f"attempt {FILL}", f"fail {FILL}", f"attempt {item_key(ONE)}", f"fail {item_key(ONE)}"]
    found = outcomes(Promises.parse("".join(f"{line}\n" for line in lines).encode(), (CREATE,)))
    assert sorted(outcome["t"] for outcome in found) == [[], [ZERO], [ZERO, ONE], [ONE]]
    lines = [f"attempt {FILL}", f"attempt {item_key(ONE)}"]
    found = outcomes(Promises.parse("".join(f"{line}\n" for line in lines).encode(), (CREATE,)))
    assert sorted(outcome["t"] for outcome in found) == [[], [ZERO], [ZERO, ONE]]


def test_an_acknowledged_batch_of_a_table_that_nobody_made() -> None:
    """No outcome is possible, which is a mistake of the workload."""
    with pytest.raises(UsageError, match="nobody had made"):
        TableContract().check(promises(ZERO), [])


MADE, GONE = '["create", "t"]', '["drop", "t"]'


@pytest.mark.parametrize(
    ("lines", "there", "kept"),
    [
        ([], False, True),
        ([], True, False),
        ([f"attempt {MADE}"], True, True),
        ([f"attempt {MADE}"], False, True),
        ([f"attempt {MADE}", f"ack {MADE}"], True, True),
        ([f"attempt {MADE}", f"ack {MADE}"], False, False),
        ([f"attempt {MADE}", f"ack {MADE}", f"attempt {GONE}"], False, True),
        ([f"attempt {MADE}", f"ack {MADE}", f"attempt {GONE}", f"fail {GONE}"], True, True),
        ([f"attempt {MADE}", f"ack {MADE}", f"attempt {GONE}", f"ack {GONE}"], False, True),
        ([f"attempt {MADE}", f"ack {MADE}", f"attempt {GONE}", f"ack {GONE}"], True, False),
        ([f"attempt {MADE}", f"fail {MADE}", f"attempt {MADE}", f"ack {MADE}"], False, False),
        (
            [f"attempt {MADE}", f"ack {MADE}", f"attempt {GONE}", f"fail {GONE}", f"attempt {MADE}", f"ack {MADE}"],
            False,
            False,
        ),
        (
            [f"attempt {GONE}", f"fail {GONE}", f"attempt {MADE}", f"fail {MADE}", f"attempt {GONE}", f"ack {GONE}"],
            True,
            False,
        ),
    ],
)
def test_tables_of_a_log(lines: list[str], there: bool, kept: bool) -> None:
    """A table that was made is there, one that was removed is not; batches of other tables are judged as before."""
    journal = "".join(f"{line}\n" for line in [*lines, 'attempt ["append", "s", 0]', 'ack ["append", "s", 0]'])
    promised, table = Promises.parse(journal.encode()), [["create", "t"]] if there else []
    assert (not LogContract().check(promised, [*table, ["append", "s", 0]])) == kept
    assert LogContract().check(promised, table)
