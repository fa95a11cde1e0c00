"""Whether the engine may go on: the first failure stops it, and stays the one that is reported."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest

from crashmatrix.reference_wal.access.health import Health
from crashmatrix.reference_wal.errors import BackgroundFailed, EngineClosed, LogPoisoned

ERRORS = [OSError("disk"), KeyboardInterrupt(), LookupError("table")]


def fail_in_background(health: Health, error: Exception) -> None:
    with health.in_background():
        raise error


@pytest.fixture
def health(tmp_path: Path) -> Health:
    return Health(tmp_path)


def test_well(health: Health) -> None:
    """A healthy engine refuses no call."""
    with health.poisoned_by_errors():
        pass
    assert not health.poisoned
    health.refuse_new_calls()
    health.refuse_changes()


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_any_exception_poisons(error: BaseException, health: Health) -> None:
    """An exception of any kind goes through, and every later call is refused with that cause."""
    with pytest.raises(type(error)), health.poisoned_by_errors():
        raise error
    for refuse in (health.refuse_if_poisoned, health.refuse_new_calls, health.refuse_changes):
        with pytest.raises(LogPoisoned, match="reopen the log") as caught:
            refuse()
        assert caught.value.__cause__ is error


@pytest.mark.parametrize(("error", "poisons"), [(ValueError(), False), (LookupError(), False), (OSError(), True)])
def test_exceptions_that_may_be_excluded(error: Exception, poisons: bool, health: Health) -> None:
    """Exceptions named by the caller go through and poison nothing."""
    with pytest.raises(type(error)), health.poisoned_by_errors(but_for=(ValueError, LookupError)):
        raise error
    assert health.poisoned is poisons


def test_the_first_failure_stays(health: Health) -> None:
    """Later failures, in the background or not, do not replace the first."""
    first = OSError("first")
    with pytest.raises(OSError), health.poisoned_by_errors():  # compared below
        raise first
    with pytest.raises(ValueError, match="later"), health.poisoned_by_errors():
        raise ValueError("later")
    fail_in_background(health, OSError("even later"))
    with pytest.raises(BackgroundFailed) as caught:
        health.refuse_if_poisoned()
    assert caught.value.__cause__ is first


def test_closed(health: Health) -> None:
    """A closed engine says so, unless it has something worse to say."""
    health.closing = True
    health.refuse_if_poisoned()
    health.refuse_changes()  # Closing commits what waits.
    with pytest.raises(EngineClosed):
        health.refuse_new_calls()
    health.closed = True
    with pytest.raises(EngineClosed):
        health.refuse_changes()
    fail_in_background(health, OSError())
    for refuse in (health.refuse_new_calls, health.refuse_changes):
        with pytest.raises(BackgroundFailed):
            refuse()


def test_a_thread_that_has_ended(health: Health) -> None:
    """Its number is free again. An error in a thread that gets it has a caller who sees it."""
    with health.in_background():
        pass
    with pytest.raises(OSError), health.poisoned_by_errors():  # like any other error
        raise OSError
    with pytest.raises(LogPoisoned) as caught:
        health.refuse_if_poisoned()
    assert not isinstance(caught.value, BackgroundFailed)


def test_an_error_in_the_background_is_known_as_one_at_once(health: Health) -> None:
    """No call between the failure and the end of the background thread takes it for an error that some caller saw."""
    with health.in_background():
        with contextlib.suppress(OSError), health.poisoned_by_errors():
            raise OSError
        with pytest.raises(BackgroundFailed):
            health.refuse_if_poisoned()


def test_a_call_while_the_failure_is_noted(health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread that sees that something failed sees, too, that it was in the background."""
    get_ident = threading.get_ident

    def beside_a_call() -> int:
        with contextlib.suppress(BackgroundFailed):
            health.refuse_if_poisoned()
        return get_ident()

    with health.in_background(), contextlib.suppress(OSError), health.poisoned_by_errors():
        monkeypatch.setattr(threading, "get_ident", beside_a_call)
        raise OSError
    with pytest.raises(BackgroundFailed):
        health.refuse_if_poisoned()


def test_a_background_failure_that_a_caller_meets(health: Health) -> None:
    """A caller's own failure afterwards does not hide that the first one was seen by nobody."""
    first = OSError("first")
    fail_in_background(health, first)
    with pytest.raises(ValueError, match="later"), health.poisoned_by_errors():
        raise ValueError("later")
    with pytest.raises(BackgroundFailed) as caught:
        health.refuse_if_poisoned()
    assert caught.value.__cause__ is first
