"""Failpoints: named places in code where a test can make something happen; and the registry of all of them.

Invariants:
- Without configuration and observer, a hit costs about two empty method calls (`make bench`: 31 ns, an empty method call 15 ns).
- Each hit has a number of its own in any interleaving of threads, and each use of a count is consumed by one hit.
- The single lock guards configuration only. Observers, callbacks, sleeps and raises run outside of it.
- The random numbers of a configured failpoint depend only on the seed, its name and its hits since it was configured.
- A forked child starts with free locks, and with configuration, counts and observer as they were.

Source: the Rust crate fail (https://docs.rs/fail); gofail (https://github.com/etcd-io/gofail) for the environment.
"""

import difflib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from crashmatrix.faults.actions import Plan, Return, Task, perform, split_configuration
from crashmatrix.faults.errors import AlreadyDeclared, InvalidAction, InvalidName, NotDeclared, ScenarioNotHit

__all__ = [
    "FailPoint",
    "Observer",
    "catalogue",
    "configure",
    "configure_callback",
    "configure_from_environment",
    "configured",
    "declare",
    "hits",
    "observe",
    "remove",
    "reset_hits",
    "scenario",
    "seed",
]


class FailPoint:
    """One named place in code. Made by `declare`; the module that declares it keeps it as a constant.

    `location` is the `file:line` of the declaration.
    """

    __slots__ = ("_armed", "_generation", "_hits", "_hits_before_reset", "_plan", "description", "location", "name")

    def __init__(self, name: str, description: str, location: str) -> None:
        self.name, self.description, self.location = name, description, location
        self._hits = self._hits_before_reset = self._generation = 0
        self._plan: Plan | Callback | None = None
        self._armed = False

    def hit(self) -> Return | None:
        """Count the hit, call the observer, and perform the configured actions: usually none.

        Returns None, or a Return if `return` was chosen. Every error of the actions, the callback or the observer is raised here:
        Panic for `panic`, OSError for `raise`.
        """
        if self._armed:
            return self._evaluate()
        # No count is lost without a lock: with its GIL, CPython 3.11+ lets another thread run only at calls, at the
        # start of functions and at jumps back, and none of them is between this statement's load and store.
        self._hits += 1
        return None

    def _evaluate(self) -> Return | None:
        self._hits = number = self._hits + 1  # Nor is a number given twice, for the same reason.
        observer = _REGISTRY.observer
        if observer is not None:
            observer(self, number)
        with _REGISTRY.lock:
            plan, generation = self._plan, self._generation
            term = plan.choose() if isinstance(plan, Plan) else None
        if plan is not None and not isinstance(plan, Plan):
            plan()
        if term is None:
            return None
        if term.task is Task.PAUSE:
            _REGISTRY.wait_for_change(self, generation)
        return perform(term, self.name)

    def __repr__(self) -> str:
        return f"<FailPoint {self.name} at {self.location}>"


Callback = Callable[[], object]
Observer = Callable[[FailPoint, int], object]
"""Called at each hit with the failpoint and how many hits of it there were, this one included; see `observe`."""


class _Registry:
    """All failpoints, and all configurations, also of undeclared names."""

    def __init__(self) -> None:
        self.points: dict[str, FailPoint] = {}
        self.plans: dict[str, Plan | Callback] = {}
        self.observer: Observer | None = None
        self.seed = 0
        self.renew_locks()

    def renew_locks(self) -> None:
        # Reentrant, since a signal handler or a finalizer may hit a failpoint while its thread is in here.
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.scenarios = threading.RLock()

    def set_plan(self, name: str, plan: Plan | Callback | None) -> None:
        with self.lock:
            self.plans.pop(name, None)
            if plan is not None:
                self.plans[name] = plan
            if name in self.points:
                self.refresh(self.points[name])

    def refresh(self, point: FailPoint) -> None:
        with self.lock:
            plan = self.plans.get(point.name)
            if plan is not point._plan:
                point._plan = plan
                point._generation += 1
                self.changed.notify_all()
            point._armed = plan is not None or self.observer is not None

    def wait_for_change(self, point: FailPoint, generation: int) -> None:
        with self.changed:
            self.changed.wait_for(lambda: point._generation != generation)


_REGISTRY: Final = _Registry()
# Holding the lock across the fork gives the child a registry that no thread was changing.
os.register_at_fork(
    before=lambda: _REGISTRY.lock.acquire(),
    after_in_parent=lambda: _REGISTRY.lock.release(),
    after_in_child=_REGISTRY.renew_locks,
)


def declare(name: str, description: str, *, stacklevel: int = 1) -> FailPoint:
    """Make the failpoint `name`, with the configuration that was set before it existed, if any.

    `stacklevel` says whose line counts as its place: 1 is the caller's, 2 that of the caller's caller, and so on.

    Declaring it again with the same description at the same place, as a module reload does, returns the first one.
    Raises InvalidName, and AlreadyDeclared if the name is taken by another place or description.
    """
    _check_name(name)
    caller = sys._getframe(stacklevel)
    location = f"{caller.f_code.co_filename}:{caller.f_lineno}"
    with _REGISTRY.lock:
        point = _REGISTRY.points.setdefault(name, FailPoint(name, description, location))
        if (point.description, point.location) != (description, location):
            raise AlreadyDeclared(name, point.location, location)
        _REGISTRY.refresh(point)
    return point


def configure(name: str, actions: str) -> None:
    """Make failpoint `name` follow an action text from its next hit on, or as soon as it is declared.

    Replaces what was configured, restarts counts and random numbers, and wakes the threads it had paused.
    Raises InvalidName and InvalidAction. Source: `fail::cfg`.
    """
    _check_name(name)
    with _REGISTRY.lock:
        _REGISTRY.set_plan(name, Plan(actions, _REGISTRY.seed, name))


def configure_callback(name: str, function: Callback) -> None:
    """Make failpoint `name` call `function()` at each hit, in the thread that hits it; its result is ignored.

    Its exceptions come out of `hit()`. Raises InvalidName. Source: `fail::cfg_callback`.
    """
    _check_name(name)
    _REGISTRY.set_plan(name, function)


def remove(name: str) -> None:
    """Make failpoint `name` do nothing again, and wake the threads it had paused; no error if nothing is configured."""
    _REGISTRY.set_plan(name, None)


def configured() -> dict[str, str]:
    """The action text of each configured name, declared or not, sorted by name; `callback` stands for a callback."""
    with _REGISTRY.lock:
        plans = dict(sorted(_REGISTRY.plans.items()))
    return {name: plan.text if isinstance(plan, Plan) else "callback" for name, plan in plans.items()}


def catalogue(prefix: str = "") -> list[FailPoint]:
    """The declared failpoints whose name begins with `prefix`, sorted by name."""
    with _REGISTRY.lock:
        return [point for name, point in sorted(_REGISTRY.points.items()) if name.startswith(prefix)]


def hits(name: str) -> int:
    """How often `name` was hit since the process started or `reset_hits()`. Raises NotDeclared."""
    with _REGISTRY.lock:
        if name not in _REGISTRY.points:
            similar = difflib.get_close_matches(name, _REGISTRY.points, n=1)
            raise NotDeclared(name, similar[0] if similar else None)
        return _REGISTRY.points[name]._hits


def reset_hits() -> None:
    """Restart the hit numbers of all failpoints, so that the next hit of each is number 1."""
    for point in catalogue():
        # One statement without a call, for the reason given in FailPoint.hit.
        point._hits_before_reset, point._hits = point._hits_before_reset + point._hits, 0


def seed(number: int) -> None:
    """Set the seed of all probabilities, and restart the random numbers of configured failpoints; the default is 0."""
    with _REGISTRY.lock:
        _REGISTRY.seed = number
        for name, plan in _REGISTRY.plans.items():
            if isinstance(plan, Plan):
                plan.reseed(number, name)


def observe(function: Observer | None) -> Observer | None:
    """Have `function(failpoint, hit_number)` called at every hit of every failpoint, before its actions are chosen.

    So the observer may still configure this hit. It runs in the thread that hits, and in several threads at once if several
    hit; its exceptions come out of `hit()`. Hit numbers start at 1, separately for each failpoint. None removes the observer.
    Returns the observer it replaces.
    """
    with _REGISTRY.lock:
        previous, _REGISTRY.observer = _REGISTRY.observer, function
        for point in _REGISTRY.points.values():
            _REGISTRY.refresh(point)
    return previous


@contextmanager
def scenario(text: str, *, allow_unhit: bool = False) -> Iterator[None]:
    """Configure `name=actions;name=actions` for a block, and restore the earlier configuration after it.

    Blocks of different threads queue for one lock; blocks of one thread nest. Raises InvalidAction on entry and, if
    the block ends without an exception, ScenarioNotHit for names not hit in it (unless `allow_unhit`).
    Source: `fail::FailScenario`.
    """
    actions = split_configuration(text)
    with _REGISTRY.scenarios:
        with _REGISTRY.lock:
            before = dict(_REGISTRY.plans)
            hits_before = {name: _all_hits(name) for name in actions}
        try:
            for name, action in actions.items():
                configure(name, action)
            yield
        finally:
            _restore(before)
        if not allow_unhit:
            _refuse_unhit(hits_before)


def _all_hits(name: str) -> int:
    point = _REGISTRY.points.get(name)
    return 0 if point is None else point._hits_before_reset + point._hits


def _restore(before: Mapping[str, Plan | Callback]) -> None:
    with _REGISTRY.lock:
        for name in before.keys() | _REGISTRY.plans.keys():
            _REGISTRY.set_plan(name, before.get(name))


def _refuse_unhit(hits_before: Mapping[str, int]) -> None:
    unhit = tuple(name for name, count in sorted(hits_before.items()) if _all_hits(name) == count)
    undeclared = tuple(name for name in unhit if name not in _REGISTRY.points)
    if unhit:
        raise ScenarioNotHit(tuple(name for name in unhit if name not in undeclared), undeclared)


def _check_name(name: str) -> None:
    if not name or any(character.isspace() or character in "=;" for character in name):
        raise InvalidName(name)


def configure_from_environment(environment: Mapping[str, str]) -> None:
    """Apply FAILPOINTS (`name=actions;name=actions`) and FAILPOINTS_SEED (a whole number); `faults` does so at import.

    Raises SystemExit with status 2, after one line on stderr, if either cannot be read: a program with misspelt
    faults must not run without faults.
    """
    text = environment.get("FAILPOINTS_SEED") or "0"
    try:
        seed(int(text))
    except ValueError:
        _stop(f"FAILPOINTS_SEED: {text!r} is not a whole number; give one, as in FAILPOINTS_SEED=7")
    try:
        for name, actions in split_configuration(environment.get("FAILPOINTS", "")).items():
            configure(name, actions)
    except InvalidAction as error:
        _stop(f"FAILPOINTS: {error.one_line}")


def _stop(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    raise SystemExit(2)
