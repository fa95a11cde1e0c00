"""A system says how it goes on after a recovery, or does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crashmatrix import Journal, SystemUnderTest


class Plain(SystemUnderTest):
    def workload(self, root: Path, journal: Journal) -> None:
        (root / "worked").touch()

    def recover(self, root: Path) -> list[Any]:
        return []


class GoesOn(Plain):
    resumes = True


class Resumed(Plain):
    def resume(self, root: Path, journal: Journal) -> None:
        (root / "resumed").touch()


class Inherits(Resumed):
    pass


@pytest.mark.parametrize(
    ("kind", "can", "left"),
    [(Plain, False, "worked"), (GoesOn, True, "worked"), (Resumed, True, "resumed"), (Inherits, True, "resumed")],
)
def test_resume(kind: type[SystemUnderTest], can: bool, left: str, tmp_path: Path) -> None:
    """A class overrides `resume`, or says that its workload goes on from the items that it finds."""
    assert kind.can_resume() is can
    (root := tmp_path / "root").mkdir()
    kind().resume(root, Journal(tmp_path / "journal"))
    assert [path.name for path in root.iterdir()] == [left]


def test_a_target_with_another_base() -> None:
    """A base beside ours hears of its subclasses."""
    seen: list[str] = []

    class Noting:
        def __init_subclass__(cls, mark: str = "", **options: object) -> None:
            super().__init_subclass__(**options)
            seen.append(mark)

    class Mine(Plain, Noting, mark="mine"):
        pass

    assert seen == ["mine"] and issubclass(Mine, Noting)
