"""An ending may come about at several instants; a copy without the page cache has the contents that the disk holds."""

from __future__ import annotations

from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.io_error.copies import Copies
from tests.scenarios.io_error.test_runs import SYSTEMS


def test_copies_of_one_run() -> None:
    """Each copy keeps its folder, the promises made by then, and the call before; the first one keeps its place."""
    journal = b"attempt 1\nack 1\n"
    with workbench(Plan(target=f"{SYSTEMS}:Log")) as (checker, _):
        root = checker.folder() / "root"
        root.mkdir()
        (root / "log").write_bytes(b"cached")
        copies = Copies(checker, root)
        copies.take("killed", len(b"attempt 1\n"), {})
        (root / "log").write_bytes(b"later!")
        copies.take("killed", len(b"attempt 1\n"), {}, "write of log")
        copies.take("reopened", len(journal), {"log": b"on disk"})
        copies.as_at_the_end("killed", len(journal))
        copies.as_at_the_end("killed-later", len(journal))
        stops = copies.stops(journal, ())
        left: dict[str, list[bytes]] = {}
        for ending, each in stops.items():
            for stop in each:
                checker.store.restore(stop.state.tree, folder := checker.folder() / "root")
                left.setdefault(ending, []).append((folder / "log").read_bytes())
    assert left == {
        "killed": [b"cached", b"later!"],
        "reopened": [b"later!"],
        "uncached": [b"on disk"],
        "killed-later": [b"later!"],
    }
    assert [stop.after for stop in stops["killed"]] == ["", "write of log"]
    assert [len(each[0].state.promises.events) for each in stops.values()] == [1, 2, 2, 2]
