"""Each thread, task and process of a workload has a name in the journal, the same in every run."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from crashmatrix import Journal, Promises
from crashmatrix.scenarios.target.writers import begin_life, checked_name, writer_here


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    begin_life()
    return Journal(tmp_path / "journal")


def writers(journal: Journal) -> list[str]:
    return [event.writer for event in Promises.parse(journal.path.read_bytes()).events]


def store(journal: Journal, item: int = 1) -> None:
    with journal.attempt(item):
        pass


def in_thread(journal: Journal) -> None:
    thread = threading.Thread(target=store, args=(journal,), name="one writer")
    thread.start()
    thread.join()


def in_tasks(journal: Journal) -> None:
    async def stores() -> None:
        store(journal)

    async def both() -> None:
        await asyncio.gather(asyncio.create_task(stores(), name="v"), asyncio.create_task(stores(), name="w"))

    asyncio.run(both())


def in_forks(journal: Journal) -> None:
    for _ in range(2):
        if (pid := os.fork()) == 0:
            store(journal)
            os._exit(0)
        os.waitpid(pid, 0)


def in_process(journal: Journal) -> None:
    process = multiprocessing.get_context("fork").Process(target=store, args=(journal,), name="P 1")
    process.start()
    process.join()


@pytest.mark.parametrize(
    ("stores", "names"),
    [
        (store, ["", ""]),
        (in_thread, ["one-writer"] * 2),
        (in_tasks, ["v", "v", "w", "w"]),
        (in_forks, ["fork-1"] * 2 + ["fork-2"] * 2),
        (in_process, ["P-1"] * 2),
    ],
)
def test_names(stores: Callable[[Journal], None], names: list[str], journal: Journal) -> None:
    """The main thread needs no name; everybody else has one."""
    stores(journal)
    assert writers(journal) == names


def test_a_name_of_ones_own(journal: Journal) -> None:
    """A workload may name its writers; a name that would break the line is refused."""
    with journal.attempt(1, writer="w1"):
        pass
    assert writers(journal) == ["w1", "w1"]
    for name in ("a b", "a:b", "a\nb", "x" * 81):
        with pytest.raises(ValueError, match="cannot name a writer"):
            checked_name(name)
    assert writer_here() == ""
