"""Contracts judge a journal and the recovered items: tables of judgements, then properties of a correct store."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings, strategies as st

from crashmatrix import Contract, Promises, UsageError, Violation
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.target.contract import contract_named
from crashmatrix.scenarios.target.journal import Event, Item, item_key

EXACTLY_ONCE, PREFIX, LATEST = (contract_named(name) for name in ("exactly-once", "prefix", "latest"))


LATER = "though {}, acknowledged later, came back"


def promises(text: str, initial: Sequence[Item] = ()) -> Promises:
    """Read a journal in short: `1?` is an attempt, `1!` its acknowledgement, `1` both, `1~` one that failed."""
    lines = []
    for word in text.split():
        item = word.rstrip("?!~")
        if word[-1] == "~":
            lines += [f"attempt {item}", f"fail {item}"]
            continue
        lines += [f"attempt {item}"] * (word[-1] != "!") + [f"ack {item}"] * (word[-1] != "?")
    return Promises.parse("".join(line + "\n" for line in lines).encode(), initial)


def verdicts(contract: Contract, journal: str, recovered: Sequence[Item], initial: Sequence[Item] = ()) -> str:
    return " ".join(violation.verdict for violation in contract.judge(promises(journal, initial), recovered))


EXACTLY_ONCE_TABLE: list[tuple[str, list[Item], str]] = [
    ("", [], ""),
    ("1 2 3", [1, 2, 3], ""),
    ("1 2 3", [3, 1, 2], ""),
    ("1 2 3?", [1, 2], ""),
    ("1 2 3?", [1, 2, 3], ""),
    ("1? 2? 2! 1!", [1, 2], ""),
    ("1? 2? 3", [3, 1], ""),
    ("1 2 3", [1, 2], "loses"),
    ("1 2 3", [], "loses"),
    ("1 2 3?", [1, 3], "loses"),  # 3 was never promised, so it makes no hole
    ("1 2 3", [1, 3], "hole"),
    ("1 2 3", [2, 3], "hole"),
    ("1? 2? 2! 1!", [1], "hole"),  # 1 was acknowledged after 2
    ("1? 2? 2! 1!", [2], "loses"),
    ("1 2", [1, 2, 9], "phantom"),
    ("", [9], "phantom"),
    ("1 2", [1, 2, 9, 9], "phantom"),
    ("1 2", [1, 2, 2], "duplicate"),
    ("1? 2", [1, 1, 2], "duplicate"),
    ("1 2 3", [1, 1, 3, 9], "hole phantom duplicate"),
    ("1 2~ 3", [1, 3], ""),
    ("1 2~ 3", [1, 2, 3], ""),
    ("1~ 1", [1], ""),
    ("1~ 1", [], "loses"),
    ("1~", [1, 1], "duplicate"),
    # attempted several times: each acknowledgement owes one, each attempt allows one
    ("1? 1", [1], ""),
    ("1? 1", [1, 1], ""),
    ("1? 1", [], "loses"),
    ("1? 1", [1, 1, 1], "duplicate"),
    ("1 1", [1, 1], ""),
    ("1 1", [1], "loses"),
    ("1 2 1", [1, 2], "loses"),  # nobody can tell which 1 is gone; the kinder reading is the last
    ("1 2 1", [2], "hole"),
    ("1 2 1", [1, 1], "hole"),
    # items that are no numbers
    ('{"a":[1],"b":{}} [[]]', [[[]], {"b": {}, "a": [1]}], ""),
    ('{"a":[1]} {"a":[2]}', [{"a": [2]}], "hole"),
    ("null true", [None, True], ""),
    ("null", [], "loses"),
    ("1", [True], "loses phantom"),
    ("1", ["1"], "loses phantom"),
    ('["a",1]', [("a", 1)], ""),
]


@pytest.mark.parametrize(("journal", "recovered", "expected"), EXACTLY_ONCE_TABLE)
def test_exactly_once(journal: str, recovered: list[Item], expected: str) -> None:
    """Acknowledged items came back, no other than attempted ones did, none more often than attempted."""
    assert verdicts(EXACTLY_ONCE, journal, recovered) == expected


PREFIX_TABLE: list[tuple[str, list[Item], str]] = [
    ("", [], ""),
    ("1 2 3", [1, 2, 3], ""),
    ("1 2 3?", [1, 2], ""),
    ("1? 2? 3?", [], ""),
    ("1? 2? 3?", [1], ""),
    ("1? 2? 3?", [1, 2], ""),
    ("1? 2? 3? 1! 2!", [1, 2, 3], ""),
    ("1 2 3", [1, 2], "loses"),
    ("1 2 3", [], "loses"),
    ("1? 2? 2!", [1], "loses"),
    ("1? 2? 2! 1!", [1], "hole"),
    ("1? 2? 3?", [2], "hole"),
    ("1? 2? 3?", [1, 3], "hole"),
    ("1 2 3", [1, 3], "hole"),
    ("1 2", [2, 1], "reordered"),
    ("1 2 3?", [1, 3, 2], "reordered"),
    ("1? 2? 3?", [3, 1], "hole"),
    ("1 2", [1, 2, 9], "phantom"),
    ("1 2", [9, 1, 2], "phantom"),
    ("1 2", [1, 2, 2], "duplicate"),
    ("1 2", [1, 1, 2], "duplicate"),
    ("1 2 1?", [1, 1, 2], "reordered"),
    ("1 2 1?", [1, 2, 1], ""),
    ("1? 1", [1], ""),
    ("1 2~ 3 4", [1, 3, 4], ""),
    ("1 2~ 3 4", [1, 2, 3, 4], ""),
    ("1 2~ 3 4", [1, 4], "hole"),
    ("1 2~ 3 4", [1, 3, 2, 4], "reordered"),
    ("1 2? 3", [1, 3], "hole"),  # not known to have failed: the log may not skip it
    ("1~ 2~ 1 3", [1, 3], ""),
    ("1~ 2~ 1 3", [1, 2, 1, 3], ""),
    ("1~ 2~ 1 3", [2, 3], "hole"),
    ('{"a":[1]} {"a":[2]}', [{"a": [2]}, {"a": [1]}], "reordered"),
]


@pytest.mark.parametrize(("journal", "recovered", "expected"), PREFIX_TABLE)
def test_prefix(journal: str, recovered: list[Item], expected: str) -> None:
    """The recovered items are a prefix of the attempted ones and cover the acknowledged ones."""
    assert verdicts(PREFIX, journal, recovered) == expected


LATEST_TABLE: list[tuple[str, list[Item], str]] = [
    ("", [], ""),
    ('["a",1] ["a",2]', [["a", 2]], ""),
    ('["a",1] ["a",2]?', [["a", 1]], ""),
    ('["a",1] ["a",2]?', [["a", 2]], ""),
    ('["a",1]?', [], ""),
    ('["a",1]?', [["a", 1]], ""),
    ('["a",1] ["a",2]? ["a",3]?', [["a", 3]], ""),
    ('["a",1] ["b",1] ["a",2]', [["b", 1], ["a", 2]], ""),
    ('["a",1] ["b",1]', [["b", 1]], "loses"),
    ('["a",1] ["a",2]?', [], "loses"),
    ('["a",1] ["a",2]', [["a", 1]], "loses"),
    ('["a",1]? ["a",2]', [["a", 1]], "loses"),
    ('["a",1] ["a",2] ["a",3]?', [["a", 1]], "loses"),
    ('["a",1] ["a",2]', [["a", 9]], "corrupt"),
    ('["a",1]?', [["a", 9]], "corrupt"),
    ('["a",1] ["b",2]', [["a", 2], ["b", 2]], "corrupt"),
    ('["a",1]', [["a", 1], ["z", 1]], "phantom"),
    ('["a",1] ["a",2]', [["a", 1], ["a", 2]], "duplicate"),
    ('["a",1]', [["a", 1], ["a", 1]], "duplicate"),
    ('["a",1] ["a",2]~', [["a", 1]], ""),
    ('["a",1] ["a",2]~', [["a", 2]], ""),
    ('["a",1] ["a",2]~ ["a",3]', [["a", 2]], "loses"),
    # the same value written again
    ('["a",1] ["a",2] ["a",1]', [["a", 1]], ""),
    ('["a",1] ["a",2] ["a",1]', [["a", 2]], "loses"),
    ('["a",1] ["a",1]', [["a", 1]], ""),
    ('["a",1] ["a",2] ["a",1]?', [["a", 1]], ""),
    ('["a",1] ["a",2] ["a",1]?', [["a", 2]], ""),
    ('["a",1] ["a",1]', [], "loses"),
    # keys and values that are no names
    ('["a",null]', [["a", None]], ""),
    ('["a",null]', [], ""),  # a deletion
    ('["a",1] ["a",null]', [["a", 1]], "loses"),
    ('[[1],{"x":[]}] [null,0]', [[None, 0], [[1], {"x": []}]], ""),
    ('[1,"x"] ["1","y"]', [["1", "y"], [1, "x"]], ""),
    ('[1,"x"]', [(1, "x")], ""),
]


@pytest.mark.parametrize(("journal", "recovered", "expected"), LATEST_TABLE)
def test_latest(journal: str, recovered: list[Item], expected: str) -> None:
    """Each key came back once, with its last acknowledged value or one attempted later."""
    assert verdicts(LATEST, journal, recovered) == expected


@pytest.mark.parametrize(
    ("contract", "table", "reachable"),
    [
        (EXACTLY_ONCE, EXACTLY_ONCE_TABLE, "loses hole phantom duplicate"),
        (PREFIX, PREFIX_TABLE, "loses hole phantom duplicate reordered"),
        (LATEST, LATEST_TABLE, "loses corrupt phantom duplicate"),
    ],
    ids=["exactly-once", "prefix", "latest"],
)
def test_explanations(contract: Contract, table: list[tuple[str, list[Item], str]], reachable: str) -> None:
    """Every verdict a contract can give is in its table, and every violation says in one line what happened."""
    found = [one for journal, recovered, _ in table for one in contract.judge(promises(journal), recovered)]
    assert {one.verdict.value for one in found} == set(reachable.split())
    assert all(one.explanation.strip() and "\n" not in one.explanation for one in found)


@pytest.mark.parametrize(
    ("contract", "journal", "recovered", "explanation"),
    [
        (EXACTLY_ONCE, "1 2 3 4", [1, 4], "acknowledged, but gone: 2, 3 (of 4 acknowledged), " + LATER.format(4)),
        (EXACTLY_ONCE, "1 2 3 1", [1, 3], "acknowledged, but gone: 1, 2 (of 4 acknowledged), " + LATER.format(3)),
        (EXACTLY_ONCE, "1 2 1", [1, 2], "acknowledged, but gone: 1 (of 3 acknowledged)"),
        (EXACTLY_ONCE, "", [*range(7)], "came back but was never attempted: 0, 1, 2, 3, 4 and 2 more"),
        (EXACTLY_ONCE, "1", [1, 1], "came back more often than it was stored: 1"),
        (PREFIX, "1? 2?", [2], "no prefix of what was attempted: 2 came back at place 1, where 1 is due"),
        (LATEST, '["a",1] ["a",2]', [["a", 1]], 'key "a" came back as 1, though 2 was acknowledged after it'),
        (LATEST, '["a",1]', [["a", 9]], 'key "a" came back as 9, which was never stored under it'),
        (LATEST, '["a",1]', [["a", 1], ["a", 1]], 'key came back more than once: "a"'),
    ],
)  # fmt: skip
def test_explanation_names_the_item(contract: Contract, journal: str, recovered: list[Item], explanation: str) -> None:
    """An explanation names the items concerned, a few of many, and what speaks against them."""
    assert [one.explanation for one in contract.judge(promises(journal), recovered)] == [explanation]


@pytest.mark.parametrize(
    ("contract", "recovered", "expected"),
    [
        (EXACTLY_ONCE, [["a", 1], ["b", 2], ["c", 3]], ""),
        (EXACTLY_ONCE, [["b", 2], ["c", 3]], "hole"),
        (EXACTLY_ONCE, [["a", 1], ["a", 1], ["b", 2], ["c", 3]], "duplicate"),
        (PREFIX, [["a", 1], ["b", 2], ["c", 3]], ""),
        (PREFIX, [["c", 3], ["a", 1], ["b", 2]], "reordered"),
        (LATEST, [["c", 3], ["a", 1], ["b", 2]], ""),
        (LATEST, [["c", 3], ["b", 2]], "loses"),
    ],
)
def test_initial_items_are_owed(contract: Contract, recovered: list[Item], expected: str) -> None:
    """Items that were there before the workload began are owed like acknowledged ones, and come first."""
    assert verdicts(contract, '["c",3]', recovered, initial=[["a", 1], ["b", 2]]) == expected


@pytest.mark.parametrize("contract", [EXACTLY_ONCE, PREFIX, LATEST], ids=["exactly-once", "prefix", "latest"])
@pytest.mark.parametrize(
    "journal", ['["a",1]!', '["a",1] ["a",1]!', '["a",1]? ["a",2]!', '["a",1]! ["a",1]?', '["a",1]~ ["a",1]!']
)
def test_senseless_journal(contract: Contract, journal: str) -> None:
    """An acknowledgement without an attempt of its own is the workload's mistake: an error in one line, not a verdict."""
    with pytest.raises(UsageError, match="fix the workload") as refused:
        contract.judge(promises(journal), [])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("item", ["7", "[]", "[1,2,3]", '"ab"', '{"a":1,"b":2}', "null"])
def test_latest_needs_pairs(item: str) -> None:
    """Contract `latest` reports an item that is not a [key, value], in the journal or recovered."""
    for journal, recovered in (
        (item, []),
        (f"{item}?", []),
        ("", [Promises.parse(f"ack {item}\n".encode()).events[0].item]),
    ):
        with pytest.raises(UsageError, match=r"needs items \[key, value\]"):
            LATEST.judge(promises(journal), recovered)


def test_contract_names() -> None:
    """A contract is named or given; another name is refused with the ones there are."""

    class Nothing(Contract):
        def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
            return []

    given_one = Nothing()
    assert contract_named(given_one) is given_one
    with pytest.raises(UsageError, match="exactly-once, prefix, latest"):
        contract_named("at-most-twice")


# Properties: a correct store, crashed anywhere

values = st.sampled_from([0, 1, "a", None, [0]])
pairs = st.tuples(st.sampled_from(["k", "l"]), st.sampled_from([0, 1, [2]])).map(list)


def attempts(items: st.SearchStrategy[Item]) -> st.SearchStrategy[list[tuple[Item, bool]]]:
    """Items one after another, each acknowledged or not (its attempt failed), the last one perhaps cut short."""
    return st.lists(st.tuples(items, st.booleans()), max_size=8)


def journal_of(operations: list[tuple[Item, bool]]) -> Promises:
    events = []
    for item, acknowledged in operations:
        events += [Event("attempt", item), *([Event("ack", item)] if acknowledged else [])]
    return Promises(events=tuple(events))


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_correct_set_is_never_blamed(data: st.DataObject) -> None:
    """A store that keeps all it acknowledged, and any of the rest, in any order, keeps `exactly-once`."""
    operations = data.draw(attempts(values))
    kept = [item for item, acknowledged in operations if acknowledged or data.draw(st.booleans())]
    assert EXACTLY_ONCE.judge(journal_of(operations), data.draw(st.permutations(kept))) == []


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_correct_log_is_never_blamed(data: st.DataObject) -> None:
    """A log cut anywhere behind its last acknowledged record keeps `prefix` and `exactly-once`."""
    operations = data.draw(attempts(values))
    owed = max((number for number, (_, acknowledged) in enumerate(operations, 1) if acknowledged), default=0)
    kept = [item for item, _ in operations[: data.draw(st.integers(owed, len(operations)))]]
    assert PREFIX.judge(journal_of(operations), kept) == []
    assert EXACTLY_ONCE.judge(journal_of(operations), kept) == []


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_correct_map_is_never_blamed(data: st.DataObject) -> None:
    """A map that has put all it acknowledged, in order, and any of the rest, keeps `latest`."""
    operations = data.draw(attempts(pairs))
    kept = dict(item for item, acknowledged in operations if acknowledged or data.draw(st.booleans()))
    assert LATEST.judge(journal_of(operations), list(kept.items())) == []


@pytest.mark.lengthy
@settings(deadline=None, max_examples=150)
@given(st.data())
@pytest.mark.parametrize("contract", [EXACTLY_ONCE, PREFIX], ids=["exactly-once", "prefix"])
def test_dropping_an_acknowledged_item_is_always_found(contract: Contract, data: st.DataObject) -> None:
    """If fewer of an item came back than were acknowledged, something was lost, whatever else came back."""
    operations = data.draw(attempts(values))
    owed = [item for item, acknowledged in operations if acknowledged]
    assume(owed)
    gone = data.draw(st.sampled_from(owed))
    spare = Counter(item_key(item) for item, _ in operations)[item_key(gone)]
    dropped = data.draw(st.integers(spare - Counter(map(item_key, owed))[item_key(gone)] + 1, spare))
    kept = [item for item, _ in operations]
    for _ in range(dropped):
        kept.remove(gone)
    found = contract.judge(journal_of(operations), data.draw(st.permutations(kept)))
    assert {Verdict.LOSES, Verdict.HOLE} & {violation.verdict for violation in found}


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_stale_or_missing_key_is_always_found(data: st.DataObject) -> None:
    """A key whose acknowledged value is gone, or gave way to one that is not newer, breaks `latest`."""
    operations = data.draw(attempts(pairs))
    kept = dict(item for item, _ in operations)
    last = {item[0]: number for number, (item, acknowledged) in enumerate(operations) if acknowledged}
    assume(last)
    key = data.draw(st.sampled_from(sorted(last)))
    newer = [item[1] for item, _ in operations[last[key] :] if item[0] == key]
    value = data.draw(st.sampled_from(["gone", *(v for v in (0, 1, [2], "never") if v not in newer)]))
    recovered = [item for item in kept.items() if item[0] != key] + [(key, value)] * (value != "gone")
    assert LATEST.judge(journal_of(operations), recovered)
