"""Logs of some tables and none of others, started and removed at any time: ids go on, and nothing of a log is left."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import EngineClosed, InvalidInput, UnknownTable
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.table_logs import Log, NoLog, TableLogs
from crashmatrix.reference_wal.log.unrecovered import UnrecoveredLogs
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog
from tests.reference_wal.log.logs import assert_sizes
from tests.reference_wal.support import SCHEMA, batch, meanwhile

SIZES = {"segment_bytes_max": 1 << 20, "preallocate_bytes": 0}


def made(root: Path) -> TableLogs:
    return TableLogs(root, **SIZES, logs=None, stand_ins={"t": NoLog("t", SCHEMA, "of t", next_id=3)})


def test_a_log_begins_where_the_ids_are(tmp_path: Path) -> None:
    """A log that is started goes on with the ids; once it is removed, they go on without it, and its folder is gone."""
    logs = made(tmp_path / "wal")
    assert logs.log("t").append(batch(1.0)) == 3
    assert not (tmp_path / "wal").exists()
    log = logs.start("t", SCHEMA, identity="of t", next_id=4)
    assert (log.append(batch(2.0)), log.append(batch(3.0))) == (4, 5)
    assert [number for number, _ in logs.log("t").unpersisted()] == [4, 5]
    assert (tmp_path / "wal" / "t").exists()
    assert logs.stop("t").append(batch(4.0)) == 6
    assert list((tmp_path / "wal").iterdir()) == []
    assert list(logs.log("t").unpersisted()) == []
    logs.close()


def test_the_first_two_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tables whose logs are the first, and are started at once, both have one, the one that is returned."""
    logs, make = made(tmp_path / "wal"), WriteAheadLog.__init__
    started = dict[str, Log]()

    def start(name: str) -> None:
        started[name] = logs.start(name, SCHEMA, identity=f"of {name}")

    second = threading.Thread(target=start, args=("v",))

    def make_slowly(wal: WriteAheadLog, *given: Any, **options: Any) -> None:
        meanwhile(second)
        make(wal, *given, **options)

    monkeypatch.setattr(WriteAheadLog, "__init__", make_slowly)
    start("u")
    second.join()
    for name in "uv":
        assert (started[name].append(batch(1.0)), logs.log(name).append(batch(2.0))) == (0, 1)
    logs.close()


def test_who_a_log_is(tmp_path: Path) -> None:
    """A log has the table, the schema and the identity that it was given, switched on and off as well; there is always one."""
    logs, seen = made(tmp_path / "wal"), list[str]()

    def see(log: Log) -> None:
        assert (log.table, log.identity, log.schema) == ("u", "of u", SCHEMA)
        seen.append(type(log).__name__)

    see(logs.create("u", SCHEMA, identity="of u", logged=False))
    see(logs.start("u", SCHEMA, identity="of u"))
    faults.configure_callback("wal.remove_table.before_delete", lambda: see(logs.log("u")))
    try:
        see(logs.stop("u"))
    finally:
        faults.remove("wal.remove_table.before_delete")
    logs.remove("u")
    see(logs.create("u", SCHEMA, identity="of u", logged=True))
    assert seen == ["NoLog", "SegmentedLog", "NoLog", "NoLog", "SegmentedLog"]
    logs.close()


def test_a_started_log_is_recovered(tmp_path: Path) -> None:
    """A log that begins above 0 is whole if the batches below are persisted elsewhere."""
    logs = made(tmp_path / "wal")
    logs.start("t", SCHEMA, identity="of t", next_id=4).append(batch(2.0))
    logs.close()
    log = UnrecoveredLogs(tmp_path / "wal", **SIZES).reconcile({"t": 3})["t"]
    assert ([number for number, _ in log.unpersisted()], log.next_id) == ([4], 5)
    log.close()


@pytest.mark.parametrize("logged", [False, True])
def test_refusals(logged: bool, tmp_path: Path) -> None:
    """A removed table takes no batch, and neither does any once the logs are closed."""
    logs = made(tmp_path / "wal")
    with pytest.raises(UnknownTable, match="tables here: "):
        logs.log("u")
    log, other = (logs.create(name, SCHEMA, identity="of u", logged=logged) for name in "uv")
    assert log.append(batch(1.0)) == 0
    logs.remove("u")
    with pytest.raises(UnknownTable):
        log.append(batch(1.0))
    with pytest.raises(UnknownTable):
        logs.log("u")
    logs.close()
    for each in (other, logs.log("t")):
        with pytest.raises(EngineClosed):
            each.append(batch(1.0))


def test_a_close_that_fails(tmp_path: Path) -> None:
    """No table takes a batch afterwards, whether it has a log or not."""
    logs = made(tmp_path / "wal")
    for name in "uv":
        logs.create(name, SCHEMA, identity=f"of {name}", logged=True).append(batch(1.0))
    with faults.scenario("wal.close.before_write=raise(EIO)"), pytest.raises(OSError, match="output"):
        logs.close()
    for name in "tuv":
        with pytest.raises(EngineClosed):
            logs.log(name).append(batch(1.0))


def test_segment_size(tmp_path: Path) -> None:
    """A new size holds for logs that are there and for those to come."""
    logs = made(tmp_path / "wal")
    logs.create("u", SCHEMA, identity="of u", logged=True)
    logs.change_segment_size(77)
    logs.start("t", SCHEMA, identity="of t", next_id=3)
    assert (logs.log("u").segment_bytes_max, logs.log("t").segment_bytes_max) == (77, 77)
    logs.close()


def test_segment_size_before_the_first_log(tmp_path: Path) -> None:
    """A size that is set while no table has a log holds for the first log."""
    logs = made(tmp_path / "wal")
    logs.change_segment_size(77)
    assert logs.start("t", SCHEMA, identity="of t", next_id=3).segment_bytes_max == 77
    logs.close()


def test_sizes_are_set_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second call waits until the logs have the size of the first one, so that the last call holds for all of them."""
    logs = made(tmp_path / "wal")
    logs.start("t", SCHEMA, identity="of t", next_id=3)
    second, original = threading.Thread(target=logs.change_segment_size, args=(88,)), WriteAheadLog.change_segment_size

    def slow(wal: WriteAheadLog, size: int) -> None:
        if size == 77:
            meanwhile(second)
        original(wal, size)

    monkeypatch.setattr(WriteAheadLog, "change_segment_size", slow)
    logs.change_segment_size(77)
    second.join()
    assert logs.log("t").segment_bytes_max == 88
    logs.close()


@pytest.mark.parametrize("on", [True, False])
def test_a_size_is_set_while_a_log_is_switched(on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds for every log, so for this one as well: the size that goes with the table is not put in its place."""
    logs, size = made(tmp_path / "wal"), vars(SegmentedLog)["segment_bytes_max"]
    second = threading.Thread(target=logs.change_segment_size, args=(88,))

    def get_slowly(log: SegmentedLog) -> int:
        found: int = size.__get__(log)
        meanwhile(second)
        return found

    def set_slowly(log: SegmentedLog, value: int) -> None:
        meanwhile(second)
        size.__set__(log, value)

    logs.log("t").segment_bytes_max = 55
    if not on:
        logs.start("t", SCHEMA, identity="of t", next_id=3)
    with monkeypatch.context() as patch:
        patch.setattr(
            SegmentedLog, "segment_bytes_max", property(size.__get__, set_slowly) if on else property(get_slowly)
        )
        logs.start("t", SCHEMA, identity="of t", next_id=3) if on else logs.stop("t")
        second.join()
    if not on:
        logs.start("t", SCHEMA, identity="of t", next_id=3)
    assert logs.log("t").segment_bytes_max == 88
    logs.close()


def test_sizes_are_those_given(tmp_path: Path) -> None:
    """Logs that are found, made and started have the sizes given."""
    sizes = {"segment_bytes_max": 30_001, "preallocate_bytes": 5003}
    for name in ("a", "b"):
        found = UnrecoveredLogs(tmp_path, **sizes).reconcile({}) if name == "b" else None
        logs = TableLogs(tmp_path, **sizes, logs=found, stand_ins={f"{name}1": NoLog(f"{name}1", SCHEMA, "log")})
        logs.start(f"{name}1", SCHEMA, identity="log")
        logs.create(f"{name}2", SCHEMA, identity="log", logged=True)
        for log in map(logs.log, [f"{name}1", f"{name}2", *(found or {})]):
            assert isinstance(log, SegmentedLog)
            assert_sizes(log, **sizes)
        logs.close()


def test_a_size_of_its_own(tmp_path: Path) -> None:
    """A log's own size goes with its table, while the log is off as well, until a size is set for every log."""
    logs = made(tmp_path / "wal")
    logs.log("t").segment_bytes_max = 55
    assert logs.start("t", SCHEMA, identity="of t", next_id=3).segment_bytes_max == 55
    logs.log("t").segment_bytes_max = 66
    assert logs.stop("t").segment_bytes_max == 66
    assert logs.start("t", SCHEMA, identity="of t", next_id=3).segment_bytes_max == 66
    logs.stop("t")
    logs.change_segment_size(77)
    assert logs.start("t", SCHEMA, identity="of t", next_id=3).segment_bytes_max == 77
    logs.remove("t")
    assert logs.create("t", SCHEMA, identity="another", logged=True).segment_bytes_max == 77
    logs.close()


def test_ids_go_on_from_where_they_were() -> None:
    """Each append gets the next id, from any thread; what was persisted or truncated does not matter."""
    log = NoLog("t", SCHEMA, "log", next_id=7)
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda _: log.append(batch(1.0)), range(50)))
    log.mark_persisted(range(7, 57))
    log.truncate()
    assert sorted(ids) == list(range(7, 57))
    assert (log.next_id, log.append(batch(1.0))) == (57, 57)


def test_nothing_is_held() -> None:
    """There is nothing to replay, and nothing that could fail."""
    log = NoLog("t", SCHEMA, "log")
    assert [log.append(batch(1.0)) for _ in range(2)] == [0, 1]
    log.refuse_if_poisoned()
    assert list(log.unpersisted()) == []
    assert set(asdict(log.counters).values()) == {0}


def test_refusals_without_a_log() -> None:
    """A batch of another schema is refused and takes no id; a log that is closed takes no batch."""
    log = NoLog("t", SCHEMA, "log", next_id=3)
    with pytest.raises(InvalidInput, match="table 't' has"):
        log.append(batch(1.0).select(["value"]))
    assert log.append(batch(1.0)) == 3
    log.closed = True
    with pytest.raises(EngineClosed):
        log.append(batch(1.0))
