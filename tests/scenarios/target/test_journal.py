"""The journal: what was attempted and acknowledged is known after any crash, and never more than that."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from crashmatrix import Journal, Promises, UsageError, faults
from crashmatrix.scenarios.target.contract import contract_named
from crashmatrix.scenarios.target.journal import Event, Item, item_key, several_writers
from crashmatrix.scenarios.target.notes import DEPTH_MAX
from tests import ROOT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    yield
    faults.observe(None)
    for name in faults.configured():
        faults.remove(name)


def run(script: str, *args: object, failpoints: str = "") -> int:
    """Run a script in a process of its own; returns how it ended."""
    environment = {**os.environ, "FAILPOINTS": failpoints}
    return subprocess.run([sys.executable, "-c", script, *map(str, args)], cwd=ROOT, env=environment).returncode


STORE_FIVE = """
import sys
from pathlib import Path
from crashmatrix import Journal
journal = Journal(Path(sys.argv[1]))
for i in range(5):
    with journal.attempt([i, "x" * 5000]):
        pass
"""


@pytest.mark.parametrize(("failpoint", "acknowledged"), [("journal.after_attempt", 0), ("journal.after_ack", 1)])
@pytest.mark.parametrize("hit", [1, 2, 5])
def test_lines_survive_sigkill(path: Path, failpoint: str, acknowledged: int, hit: int) -> None:
    """A process killed right after an attempt or an acknowledgement leaves that line and all before it, whole."""
    ended = run(STORE_FIVE, path, failpoints=f"{failpoint}={hit - 1}*off->kill")
    assert ended == -signal.SIGKILL
    promises = Promises.parse(path.read_bytes())
    assert [item[0] for item in promises.attempted] == list(range(hit))
    assert [item[0] for item in promises.acknowledged] == list(range(hit - 1 + acknowledged))


def test_every_line_has_its_failpoint(path: Path) -> None:
    """Each attempt and each acknowledgement hits its failpoint, after the line is written."""
    seen = []
    faults.observe(lambda point, _: seen.append((point.name, path.read_text().count("\n"))))
    journal = Journal(path)
    for item in "ab":
        with journal.attempt(item):
            pass
    names = ["journal.after_attempt", "journal.after_ack"] * 2
    assert seen == list(zip(names, [1, 2, 3, 4], strict=True))


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, faults.Panic, SystemExit, OSError])
def test_exception_does_not_acknowledge(path: Path, kind: type[BaseException]) -> None:
    """An attempt whose block ends with an exception of any kind is not acknowledged, and the exception goes on."""
    with pytest.raises(kind), Journal(path).attempt(1):
        raise kind
    promises = Promises.parse(path.read_bytes())
    assert promises.events == (Event("attempt", 1), Event("fail", 1))
    assert promises.attempted == [1]
    assert promises.acknowledged == []


def test_an_error_behind_an_acknowledgement_is_no_failure(path: Path) -> None:
    """An item acknowledged by hand stays so, however the block ends."""
    with pytest.raises(OSError), Journal(path).attempt(1) as attempt:
        attempt.acknowledge()
        raise OSError
    assert Promises.parse(path.read_bytes()).events == (Event("attempt", 1), Event("ack", 1))


def test_acknowledged_by_hand(path: Path) -> None:
    """An attempt can be acknowledged without a block, in whatever order; a journal goes on where another stopped."""
    journal = Journal(path)
    first, second = journal.attempt(1), Journal(path).attempt(2)
    second.acknowledge()
    first.acknowledge()
    promises = Promises.parse(path.read_bytes(), initial=[0])
    assert (promises.attempted, promises.acknowledged) == ([0, 1, 2], [0, 2, 1])


CIRCLE: list[Item] = []
CIRCLE.append(CIRCLE)
NO_VALUES = [{1}, b"x", object(), [1, {2}], {"a": b""}, {(1, 2): 3}, 1j, CIRCLE]
COERCED = [{1: "a"}, {None: 1}, {1: "a", "1": "b"}, {1: "a", "b": "c"}, [{"a": ({True: 1},)}], {"a": {0.5: []}}]
"""Values that Python's JSON module writes, but under other names than they have."""


@pytest.mark.parametrize("item", NO_VALUES, ids=lambda item: type(item).__name__)
def test_no_json_value_is_refused(path: Path, item: Item) -> None:
    """An item that is not a JSON value is refused before anything is written or any failpoint hit."""
    faults.configure("journal.after_attempt", "panic")
    with pytest.raises((TypeError, ValueError)):
        Journal(path).attempt(item)
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("item", "part"),
    [(b"x", "of type bytes"), ([1, {"a": {2}}], "of type set"), (None, "")] + [(item, "names") for item in COERCED],
)
def test_a_value_is_refused_with_cause_and_remedy(path: Path, item: Item, part: str) -> None:
    """No value silently becomes another one: the error says which part is not JSON, and how to make an item of it."""
    if not part:
        assert item_key(item) == "null"
        return
    with pytest.raises(TypeError, match=rf"an item must be a JSON value; .*{part}.*crashmatrix\.to_item") as refused:
        Journal(path).attempt(item)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == b""


PARTS: list[Item] = [None, True, 1, "1", 1.0, -0.0, 0.0, 10**400, float("nan"), float("inf"), "NaN", "", b"1"]


def plain(item: Item) -> object:
    """A value as JSON distinguishes it: a tuple is a list, one NaN is the other, but True is not 1."""
    if isinstance(item, list | tuple):
        return ["list", *map(plain, item)]
    if isinstance(item, dict):
        return {"dict": [(plain(name), plain(part)) for name, part in sorted(item.items(), key=repr)]}
    return type(item).__name__, repr(item)


names = st.sampled_from(["1", "True", "null", "", 1, True, None, 1.0])
any_values = st.recursive(
    st.sampled_from(PARTS),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(names, inner, max_size=2)
        | st.dictionaries(st.sampled_from(["1", "True", ""]), inner, max_size=2)
    ),
    max_leaves=3,
)


@settings(deadline=None, max_examples=400)
@given(st.lists(any_values, min_size=2, max_size=8))
def test_no_two_different_items_have_one_text(items: list[Item]) -> None:
    """An item is refused, or comes back from the journal's file as it is: equal texts are of equal items."""
    texts: dict[str, object] = {}
    for item in items:
        try:
            text = item_key(item)
        except TypeError:
            continue
        assert item_key(json.loads(text)) == text
        assert plain(json.loads(text)) == plain(item)
        assert texts.setdefault(text, plain(item)) == plain(item)


@pytest.mark.parametrize("item", ['{"a":1,"a":2}', '[0,{"a":{"b":1,"c":2,"b":1}}]'])
def test_two_values_of_one_name_are_refused(item: str) -> None:
    """A program in another language may write an object that is two different ones to two readers."""
    with pytest.raises(UsageError, match=r"journal line 2: an object has the name '[ab]' twice.* fix the workload"):
        Promises.parse(f"attempt 1\nattempt {item}\n".encode())


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(alphabet="a\n\u2028é\udcff")
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(alphabet="ab"), inner, max_size=3)),
    max_leaves=5,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(json_values, st.booleans()), max_size=5))
def test_round_trip(operations: list[tuple[Item, bool]]) -> None:
    """Any JSON values are read back in order, one line each."""
    read, write = os.pipe()
    journal = Journal(Path(f"/dev/fd/{write}"))
    for item, acknowledged in operations:
        attempt = journal.attempt(item)
        if acknowledged:
            attempt.acknowledge()
    os.close(write)
    os.close(journal._fd)
    with open(read, "rb") as file:
        promises = Promises.parse(file.read())
    assert promises.attempted == [item for item, _ in operations]
    assert promises.acknowledged == [item for item, acknowledged in operations if acknowledged]


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}, True),
        ((1, 2), [1, 2], True),
        ([1, 2], [2, 1], False),
        (1, True, False),
        (0, False, False),
        (1, "1", False),
        (None, "null", False),
        ("é", "e\u0301", False),
    ],
)
def test_item_key(one: Item, other: Item, equal: bool) -> None:
    """Items have one canonical text exactly if they are the same JSON value."""
    assert (item_key(one) == item_key(other)) is equal


def test_threads_write_whole_lines(path: Path) -> None:
    """Threads that share a journal, and journals that share a file, leave every line whole and each thread's in order."""
    shared, together = Journal(path), threading.Barrier(4)

    def store(thread: int, journal: Journal) -> None:
        together.wait()
        for number in range(100):
            with journal.attempt([thread, number, "x" * (7 * number)]):
                pass

    threads = [threading.Thread(target=store, args=(n, shared if n < 2 else Journal(path))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = Promises.parse(path.read_bytes()).events
    assert len(events) == 800
    for number in range(4):
        mine = [(event.kind, event.item[1]) for event in events if event.item[0] == number]
        assert mine == [(kind, n) for n in range(100) for kind in ("attempt", "ack")]


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (b"", []),
        (b"attempt 1", []),
        (b"attempt 1\nack 1", ["attempt"]),
        (b"attempt 1\nack", ["attempt"]),
        (b"attempt 1\nack 1\natt", ["attempt", "ack"]),
        (b"attempt 1\nack 1\n", ["attempt", "ack"]),
        (b'attempt  {"a": [1]} \n', ["attempt"]),
    ],
)
def test_unfinished_last_line(text: bytes, events: list[str]) -> None:
    """A last line without its newline was never finished and does not count."""
    assert [event.kind for event in Promises.parse(text).events] == events


@pytest.mark.parametrize(
    "line",
    ["", "attempt", "attempt ", "attempted 1", "ack 1 2", "ack {", "Ack 1", "1", " ack 1", "ack\t1", "attempt \udcff"],
)
def test_unreadable_line(line: str) -> None:
    """A finished line that is neither an attempt nor an acknowledgement is refused, in one line with its number."""
    text = b"attempt 1\n" + line.encode(errors="surrogateescape") + b"\nack 1\n"
    with pytest.raises(
        UsageError, match=r"journal line 2 is none of 'attempt <json>', 'ack <json>' and 'fail <json>'"
    ) as refused:
        Promises.parse(text)
    assert "\n" not in str(refused.value)


FULL = """
import resource, sys
from pathlib import Path
from crashmatrix import Journal
journal = Journal(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (25, 25))
journal.attempt(1).acknowledge()
try:
    journal.attempt("a long item")
except OSError:
    sys.exit(7)
"""


def test_full_disk_is_no_promise(path: Path) -> None:
    """A line the disk has no room for raises, even if a part of it fitted; that part does not count."""
    assert run(FULL, path) == 7
    assert path.stat().st_size == 25
    assert Promises.parse(path.read_bytes()).events == (Event("attempt", 1), Event("ack", 1))


def test_not_inherited(path: Path) -> None:
    """Programs that the workload starts cannot write to its journal by accident."""
    journal = Journal(path)
    assert not os.get_inheritable(journal._fd)


def test_a_process_that_is_handed_the_journal_writes_into_it(tmp_path: Path) -> None:
    """A worker that is started, not forked, gets the journal pickled, and opens the same file."""
    journal = Journal(tmp_path / "journal", [1])
    handed = pickle.loads(pickle.dumps(journal))  # our own
    os.close(journal._fd)
    with handed.attempt(7):
        pass
    assert journal.path.read_bytes() == b"attempt 7\nack 7\n"
    assert handed.recovered == (1,)


def test_several_writers() -> None:
    """Writers are counted by their names; one writer, with or without a name, is not several."""
    assert several_writers(Promises.parse(b"attempt 1\nack 1\n")) == 0
    assert several_writers(Promises.parse(b"attempt:v 1\nattempt:v 2\n")) == 0
    assert several_writers(Promises.parse(b"attempt:v 1\nattempt:w 2\nattempt 3\n")) == 3


def test_writers_names_are_no_part_of_the_promises_text() -> None:
    """Two runs whose threads have other names have made the same promises."""
    assert Promises.parse(b"attempt:v 1\n").text == Promises.parse(b"attempt:w 1\n").text


def nested(depth: int, *, objects: bool = False) -> Item:
    item: Item = 7
    for _ in range(depth):
        item = {"a": item} if objects else [item, item]
    return item


@pytest.mark.parametrize("objects", [False, True])
@pytest.mark.parametrize("depth", [DEPTH_MAX + 1, 5_000])
def test_an_item_nested_too_deep_is_refused(depth: int, objects: bool) -> None:
    """An item that is nested deeper than any call can follow is refused in one sentence, with its depth and the remedy."""
    item = nested(depth, objects=objects) if objects or depth > 1_000 else [nested(depth - 1, objects=True)]
    with pytest.raises(
        UsageError, match=f"made of {depth:,} lists and objects .* at most 200 .* Store a flatter item, or its JSON"
    ):
        item_key(item)
    assert item_key(nested(DEPTH_MAX, objects=True)).count("{") == DEPTH_MAX
    assert item_key("[" * 500) == f'"{"[" * 500}"'


def test_an_item_that_holds_itself_after_many_others_is_refused() -> None:
    """A circle too long to be noticed as such ends the count of its depth, too."""
    first: list[Item] = []
    last = first
    for _ in range(5_000):
        last.append([])
        last = last[0]
    last.append(first)
    with pytest.raises(UsageError, match="lists and objects"):
        item_key(first)


@pytest.mark.parametrize("depth", [DEPTH_MAX + 1, 100_000])
def test_a_line_nested_too_deep_is_refused(depth: int) -> None:
    """A journal that a program wrote may hold such an item, too: the line is named."""
    item = "[" * depth + "]" * depth
    with pytest.raises(UsageError, match=r"^(journal line 1: )?an item is made of .* Store a flatter item"):
        contract_named("exactly-once").judge(Promises.parse(f"attempt {item}\n".encode()), [])
