"""Parts of a target know that they run, and may be written as ``async def``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from crashmatrix import Item, Journal, Promises, SystemUnderTest
from crashmatrix.scenarios.target.lives import Life, current, repeating


class AsyncStore(SystemUnderTest):
    """Stores items with several tasks."""

    async def workload(self, root: Path, journal: Journal) -> None:
        """Store four items at once."""
        await asyncio.gather(*(self._store(root, journal, number) for number in range(4)))

    async def _store(self, root: Path, journal: Journal, number: int) -> None:
        with journal.attempt(number):
            await asyncio.sleep(0)
            (root / str(number)).touch()
        assert number in await self.recover(root)

    async def recover(self, root: Path) -> Sequence[Item]:  # type: ignore[override]  # both kinds are called alike
        """Return the items."""
        return [int(path.name) for path in root.iterdir()]


def test_async_parts_are_run_to_their_end(tmp_path: Path) -> None:
    """A coroutine is run where a part is called, and awaited within another part."""
    root = tmp_path / "root"
    root.mkdir()
    store = AsyncStore()
    store.workload(root, Journal(tmp_path / "journal"))  # type: ignore[unused-coroutine]  # it is run
    assert sorted(store.recover(root)) == [0, 1, 2, 3]  # type: ignore[call-overload]


def test_every_part_may_be_a_coroutine(tmp_path: Path) -> None:
    """Each method that a target may override is run to its end."""
    ran = []

    class Store(AsyncStore):
        async def prepare(self, root: Path) -> Sequence[Item]:  # type: ignore[override]  # as above
            await asyncio.sleep(0)
            ran.append("prepare")
            return [1]

        async def resume(self, root: Path, journal: Journal) -> None:
            await asyncio.sleep(0)
            ran.append("resume")

        async def verify(self, root: Path, promises: Promises) -> None:  # type: ignore[override]  # as above
            await asyncio.sleep(0)
            ran.append("verify")

    store = Store()
    assert list(store.prepare(tmp_path)) == [1]  # type: ignore[call-overload]
    store.resume(tmp_path, Journal(tmp_path / "journal"))  # type: ignore[unused-coroutine]  # it is run
    store.verify(tmp_path, Promises())  # type: ignore[unused-coroutine]  # it is run
    assert ran == ["prepare", "resume", "verify"]


def test_the_part_that_runs() -> None:
    """A part knows its name and the workspace, and whether it repeats; outside there is none."""
    seen = []

    class Store(SystemUnderTest):
        def workload(self, root: Path, journal: Journal) -> None:
            seen.append(current.get())

        def recover(self, root: Path) -> Sequence[Item]:
            seen.append(current.get())
            return []

    store = Store()
    store.workspace = Path("/w")
    store.workload(Path(), None)  # type: ignore[arg-type]
    with repeating():
        store.recover(Path())
    assert seen == [Life("workload", Path("/w")), Life("recover", Path("/w"), again=True)]
    assert current.get() == Life()
