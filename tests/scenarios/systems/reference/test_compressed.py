"""The target whose compressed rows wait: its script reaches what it is for, and an undisturbed life keeps every promise.

It is crashed in `test_switched`, as the other target of that kind is.
"""

from __future__ import annotations

from pathlib import Path

from crashmatrix import faults
from crashmatrix.scenarios.systems.reference.compressed import CompressedEngine
from crashmatrix.scenarios.systems.reference.switched import COMPRESSED
from crashmatrix.scenarios.target.journal import Journal, Promises


def test_an_undisturbed_life(tmp_path: Path) -> None:
    """The whole script passes each failpoint of compressed rows, in both sessions; everything acknowledged is there."""
    system, root, journal = CompressedEngine(), tmp_path / "root", tmp_path / "journal"
    system.workspace = tmp_path
    root.mkdir()
    initial, seen = tuple(system.prepare(root)), set[str]()
    faults.observe(lambda point, _: seen.add(point.name))
    try:
        system.workload(root, Journal(journal))
    finally:
        faults.observe(None)
    assert {point.name for prefix in COMPRESSED for point in faults.catalogue(prefix)} <= seen
    recovered = system.recover(root)
    promises = Promises.parse(journal.read_bytes(), initial)
    assert not system.contract.check(promises, recovered)
    system.verify(root, promises)
    assert system.contract.check(promises, recovered[:-1])
