"""The plan of a kill experiment: thinning keeps the crashes that matter, and ids say where each one is."""

import pytest
from hypothesis import example, given, settings, strategies as st

from crashmatrix import UsageError, faults
from crashmatrix.scenarios.judging.worker import Hit
from crashmatrix.scenarios.kill.plan import (
    END,
    FOLLOWED_MIN,
    INSIDE_MIN,
    RESUMED,
    CrashPath,
    choose,
    crash_fault,
    followed,
    parse_id,
    scenario_id,
    thin,
    thin_states,
)

points = st.sampled_from(["wal.append.a", "wal.append.b", "wal.rotate.a", "journal.after_ack", "a@2", "kill:x"])


def numbered(names: list[str]) -> tuple[Hit, ...]:
    """Give each hit its number, as a run would."""
    return tuple((name, names[: place + 1].count(name)) for place, name in enumerate(names))


hit_lists = st.lists(points, max_size=40).map(numbered)
AB = numbered(["a", "b"] * 50)
ROTATING = numbered(["a"] * 50 + ["r.x"] + ["a"] * 49)


def must_keep(hits: tuple[Hit, ...], boundaries: tuple[str, ...]) -> set[Hit]:
    """The first and last hit of each failpoint, and each hit at a boundary with its neighbours: worked out the long way."""
    keep = set()
    for place, (name, number) in enumerate(hits):
        if number == 1 or (name, number + 1) not in hits:
            keep.add(hits[place])
        near = hits[max(0, place - 1) : place + 2]
        if any(other.startswith(boundaries) for other, _ in near):
            keep.add(hits[place])
    return keep


@settings(deadline=None, max_examples=200)
@given(hit_lists, st.integers(1, 45), st.integers(0, 3), st.sampled_from([(), ("wal.rotate.",), ("wal.rotate.", "a@")]))
@example(ROTATING, 10, 0, ("r.",))
def test_thin(hits: tuple[Hit, ...], budget: int, seed: int, boundaries: tuple[str, ...]) -> None:
    """Thinned hits keep their order, the ends of each failpoint and the surroundings of boundaries, fill the budget exactly
    where those leave room, and come out the same for the same seed."""
    chosen, rule = thin(hits, budget, seed, boundaries)
    if len(hits) <= budget:
        assert (chosen, rule) == (list(hits), "")
        return
    kept = must_keep(hits, boundaries)
    assert chosen == [hit for hit in hits if hit in set(chosen)]
    assert kept <= set(chosen)
    assert len(chosen) == max(budget, len(kept))
    assert thin(hits, budget, seed, boundaries) == (chosen, rule)


def test_thin_says_its_rule() -> None:
    """A note says what was left out: how many of how many, the budget, the seed, and what was kept for certain."""
    assert thin(AB, 10, 3, ())[1] == (
        "100 hits thinned to 10 (budget 10, seed 3): first and last of each failpoint, and 6 drawn"
    )
    assert thin(ROTATING, 7, 0, ["r.", "s."])[1] == (
        "100 hits thinned to 7 (budget 7, seed 0): first and last of each failpoint, those next to r., s., and 2 drawn"
    )


def test_thin_draws_with_the_seed() -> None:
    """Other seeds draw other hits, so that several runs see more than one."""
    assert len({tuple(thin(AB, 10, seed, ())[0]) for seed in range(10)}) == 10


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(points, st.integers(1, 5)), unique=True, max_size=30), st.integers(1, 400), st.integers(0, 3))
def test_thin_states(paths: list[Hit], budget: int, seed: int) -> None:
    """The first state of each failpoint of recovery is judged, and others up to a share of the budget."""
    states: dict[CrashPath, str] = {(("workload", 1), hit): f"state {place // 2}" for place, hit in enumerate(paths)}
    chosen, rule = thin_states(1, states, budget, seed)
    room = max(1, round(0.03 * budget))
    firsts: dict[str, str] = {}
    for path, state in states.items():
        firsts.setdefault(path[-1][0], state)
    assert set(firsts.values()) <= chosen <= set(states.values())
    distinct = len(set(states.values()))
    assert len(chosen) == (distinct if distinct <= room else max(room, len(set(firsts.values()))))
    assert (rule == "") is (distinct <= room)
    assert thin_states(1, states, budget, seed) == (chosen, rule)


@settings(deadline=None, max_examples=200)
@given(st.lists(points, max_size=60), st.integers(1, 2000), st.integers(0, 3), st.integers(0, 2))
def test_followed(names: list[str], budget: int, seed: int, depth: int) -> None:
    """A path to each state chosen, the first one; as many as there is room for, and one of each failpoint before a second."""
    states: dict[CrashPath, str] = {((name, place + 1),): f"state {place // 2}" for place, name in enumerate(names)}
    chosen, rule = followed(depth, states, budget, seed)
    firsts = [path for place, path in enumerate(states) if place % 2 == 0]
    most = max(FOLLOWED_MIN, round(0.03 * budget))
    assert chosen <= set(firsts) and len(chosen) == min(len(firsts), most)
    kinds = {path[-1][0] for path in firsts}
    assert len({path[-1][0] for path in chosen}) == min(len(kinds), len(chosen))
    assert (f"from {len(chosen)} of {len(firsts)} distinct states" in rule) is (len(firsts) > most)
    assert ("times in a row" in rule) is bool(rule and depth)
    assert followed(depth, states, budget, seed) == (chosen, rule)


def test_thin_states_says_its_rule() -> None:
    """A note says what was left out in recovery, and names the option that changes it."""
    states: dict[CrashPath, str] = {(("w", 1), ("r", number)): str(number) for number in range(1, 101)}
    chosen, rule = thin_states(2, states, 200, 5)
    assert len(chosen) == 6
    assert rule.startswith(
        "crashes during recovery, 2 in a row, left 100 distinct states; 6 of them were judged (seed 5)"
    )
    assert thin_states(1, states, 200, 5)[1].startswith("crashes during recovery left 100 distinct states")
    assert "--budget" in rule
    assert thin_states(2, states, 200, 6)[0] != chosen


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ((("wal.append.before_sync", 3),), "kill:wal.append.before_sync@3"),
        ((("a", 1), ("b", 22), ("c", 3)), "kill:a@1+b@22+c@3"),
        ((("a@2", 1),), "kill:a@2@1"),
        ((("a+b", 1), ("c+", 2)), "kill:a+b@1+c+@2"),
    ],
)
def test_scenario_ids(path: tuple[Hit, ...], name: str) -> None:
    """An id names each failpoint and hit of the path, in order."""
    assert scenario_id(path) == name
    assert parse_id(name) == path


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(points, st.integers(1, 10**6)), min_size=1, max_size=3).map(tuple))
def test_ids_round_trip(path: tuple[Hit, ...]) -> None:
    """The path read from an id is the one it was made from."""
    assert parse_id(scenario_id(path)) == path


@pytest.mark.parametrize(
    "text",
    [
        "", "kill", "kill:", "a@1", "power:a@1", "kill:a", "kill:a@", "kill:@1", "kill:a@0", "kill:a@-1", "kill:a@x",
        "kill:a@1+", "kill:+a@1", "kill:a@1+b", "kill:a@1.5", "kill:a@1 ", "KILL:a@1", "kill:a@1\n", "kill:a@²", "kill:a@1_0",
    ],
)  # fmt: skip
def test_malformed_ids(text: str) -> None:
    """A malformed scenario id is refused in one line that shows the syntax and where to find ids."""
    with pytest.raises(UsageError, match=r"kill:FAILPOINT@HIT, see results.jsonl") as refused:
        parse_id(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("number", [1, 2, 9])
def test_crash_fault(number: int) -> None:
    """The fault of a hit, configured as it is written, strikes at that hit and at no other."""
    text = crash_fault(("p", number)).replace("kill", "panic")
    point = faults.declare("test.kill_units.p", "hit by the test")
    faults.reset_hits()
    with faults.scenario(f"test.kill_units.{text}"):
        for _ in range(number - 1):
            point.hit()
        with pytest.raises(faults.Panic):
            point.hit()


@pytest.mark.parametrize("hit", [END, ("a", 3)])
def test_a_second_life_has_an_id(hit: tuple[str, int]) -> None:
    """One crash, or the end, comes after the resumption."""
    path = (("a", 1), ("b", 2), RESUMED, hit)
    assert parse_id(scenario_id(path)) == path


@pytest.mark.parametrize(
    "text",
    [
        "kill:workload.resumed@1+a@1",
        "kill:a@1+workload.resumed@1",
        "kill:a@1+workload.resumed@1+b@1+c@1",
        "kill:a@1+workload.resumed@1+workload.resumed@1",
    ],
)
def test_a_second_life_out_of_place_is_refused(text: str) -> None:
    """Nothing is resumed before a crash, and no second life has a third."""
    with pytest.raises(UsageError):
        parse_id(text)


def test_choose() -> None:
    """One of each kind comes first, the first of it; the seed draws the order and the others."""
    kinds: dict[CrashPath, str] = {((kind, number),): kind for kind in "abc" for number in range(1, 10)}
    for seed in map(str, range(5)):
        chosen = choose(kinds, 8, seed)
        assert {*chosen[:3]} == {(("a", 1),), (("b", 1),), (("c", 1),)}
        assert len({*chosen}) == 8
        assert choose(kinds, 8, seed) == chosen
    assert len({tuple(choose(kinds, 8, str(seed))) for seed in range(5)}) > 1
    assert {*choose(kinds, 99, "0")} == {*kinds}
    assert len(choose(kinds, 2, "0")) == 2


def test_few_hits_inside_writes_and_at_stores() -> None:
    """They are many and much alike: a few are kept, the first and the last always, and the others are all kept."""
    hits = numbered(["call.write"] * 20 + ["call.write.cut", "mapped.store"] * 500)
    chosen, rule = thin(hits, 2000, 1, ())
    for name in ("call.write.cut", "mapped.store"):
        numbers = [number for point, number in chosen if point == name]
        assert len(numbers) == INSIDE_MIN
        assert (numbers[0], numbers[-1]) == (1, 500)
        assert numbers != [number for point, number in thin(hits, 2000, 2, ())[0] if point == name]
    assert chosen[:20] == list(hits[:20])
    assert chosen == [hit for hit in hits if hit in set(chosen)]
    assert rule.count("of 500 ") == 2
    few = numbered(["mapped.store"] * INSIDE_MIN)
    assert thin(few, 2000, 1, ()) == (list(few), "")
