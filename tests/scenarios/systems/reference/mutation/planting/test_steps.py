"""How bugs are planted: a step is replaced for the process, preceded by another one, or left out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from crashmatrix.scenarios.systems.reference.mutation.planting import steps


class Store:
    """Something with a step to replace."""

    def step(self, number: int) -> int:
        return number


@pytest.fixture
def store() -> SimpleNamespace:
    return SimpleNamespace(kind=type("Another", (Store,), {}))


def test_changes(store: SimpleNamespace) -> None:
    """A change gets the step as it was; nothing is changed before it is planted; several are planted together, in order."""

    def plus_one(original: object) -> object:
        return lambda self, number: original(self, number) + 1  # type: ignore[operator]

    def double(original: object) -> object:
        return lambda self, number: original(self, number) * 2  # type: ignore[operator]

    plant = steps.together(steps.change(store.kind, "step", plus_one), steps.change(store.kind, "step", double))
    assert store.kind().step(5) == 5
    plant()
    assert (store.kind().step(5), Store().step(5)) == (12, 5)


def test_before_and_instead(store: SimpleNamespace) -> None:
    """A step may be preceded by another one, or left out."""
    seen: list[object] = []
    steps.change(store.kind, "step", steps.after(seen.append))()
    found = store.kind()
    assert (found.step(3), seen) == (3, [found])
    steps.change(store.kind, "step", steps.nothing)()
    assert found.step(3) is None
