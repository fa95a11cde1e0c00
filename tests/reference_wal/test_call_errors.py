"""A system call fails, or reports an error after it was made: nothing is lost or doubled, nobody is locked out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reference_wal.failing_calls import CallPlace, Failing, When, calls_seen
from tests.reference_wal.sweep import TRIGGERS, Sweep, Trigger, follow_ups, make_bases

Bases = dict[str, tuple[Path, frozenset[tuple[str, int]]]]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    return make_bases(tmp_path_factory.mktemp("calls"))


def places_of(trigger: Trigger, bases: Bases, root: Path) -> list[CallPlace]:
    """Return the places of the calls that the trigger's operation makes undisturbed."""
    sweep = Sweep.begin(trigger, bases, root)
    with calls_seen() as places:
        sweep.strike()
    assert sweep.system is not None
    sweep.system.close()
    return places


@pytest.mark.lengthy
@pytest.mark.daily(4)
@pytest.mark.parametrize("when", ["instead", "afterwards"])
@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: trigger.name)
def test_an_error_of_each_call(trigger: Trigger, when: When, bases: Bases, tmp_path: Path) -> None:
    """Each call of the operation fails in turn; everything else is tried afterwards, and what reopening finds was promised."""
    for number, place in enumerate(places_of(trigger, bases, tmp_path / "dry")):
        then_all(Sweep.begin(trigger, bases, tmp_path / str(number)), Failing(place, when))


def then_all(sweep: Sweep, failing: Failing) -> None:
    """Let the call fail in the operation, and do everything else afterwards."""
    with failing.going_on():
        sweep.strike()
    assert failing.struck, failing
    sweep.done.insert(0, str(failing))
    for operation in follow_ups(sweep.trigger.system) if sweep.system is not None and sweep.goes_on else ():
        sweep.perform(operation)
    sweep.finish()


def test_a_folder_that_was_made_by_a_call_that_failed(bases: Bases, tmp_path: Path) -> None:
    """The name of the table is not locked out: it can be created again at once."""
    create = next(trigger for trigger in TRIGGERS if trigger.name == "log: create")
    made = next(place for place in places_of(create, bases, tmp_path / "dry") if place.name == "mkdir")
    then_all(Sweep.begin(create, bases, tmp_path / "made"), Failing(made, "afterwards"))


def test_the_calls_that_are_seen(bases: Bases, tmp_path: Path) -> None:
    """An append writes and syncs; the sweep would show nothing if it saw nothing."""
    append = next(trigger for trigger in TRIGGERS if trigger.name == "log: append")
    places = places_of(append, bases, tmp_path / "dry")
    assert {"pwritev", "fdatasync"} <= {place.name for place in places}
    assert {place.module for place in places} <= {"active_segment.py", "durable_io.py"}
