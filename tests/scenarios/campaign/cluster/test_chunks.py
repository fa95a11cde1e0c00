"""Chunks keep workers busy for a while, whatever an item takes, and become shorter at the end."""

from __future__ import annotations

from crashmatrix.scenarios.campaign.cluster.chunks import ChunkSize


def sizes(items: int, workers: int, seconds: float) -> list[int]:
    """The chunks of so many items if each takes so long."""
    size, found = ChunkSize(), list[int]()
    while items:
        found.append(size.next(items, workers))
        items -= found[-1]
        size.learn(found[-1], found[-1] * seconds)
    return found


def test_short_items() -> None:
    """First a few, then as many as take a second; at the end a twentieth of a second, for all to end together."""
    found = sizes(100_000, 64, 0.01)
    assert sum(found) == 100_000
    assert found[0] == 4
    assert found[1:800] == [100] * 799
    assert found[1:-1] == sorted(found[1:-1], reverse=True)
    assert found[-2] == 5


def test_long_items() -> None:
    """Each item goes out alone."""
    assert sizes(50, 4, 3.0)[1:] == [1] * (50 - sizes(50, 4, 3.0)[0])


def test_no_time_at_all() -> None:
    """Items that take no time are divided among the workers, as others are."""
    assert sizes(1000, 2, 0.0)[:2] == [4, 249]
    assert sum(sizes(1000, 2, 0.0)) == 1000


def test_few_items() -> None:
    """While nothing is known of them, workers share them."""
    assert ChunkSize().next(8, 4) == 1
    assert ChunkSize().next(1, 64) == 1


def test_one_hangs() -> None:
    """A chunk that took long makes the next ones shorter for a while only."""
    size = ChunkSize()
    size.learn(50, 0.5)
    size.learn(50, 300.5)
    assert size.next(10_000, 2) == 1
    for _ in range(60):
        size.learn(1, 0.01)
    assert size.next(10_000, 2) > 40
