"""The object store in memory answers as S3 does, as far as deltalake goes; it refuses who has no key, and what it is set to."""

from __future__ import annotations

import os
import threading

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from crashmatrix.scenarios.systems.reference.oracle.apart.object_store import ObjectStore

ROWS = pa.table({"x": [1, 2]})


def test_a_table_lives_there() -> None:
    """It is made, read, added to, and read at an earlier version."""
    with ObjectStore() as store:
        uri = f"{store.uri}/a b/there"
        for mode in ("error", "append"):
            write_deltalake(uri, ROWS, mode=mode, storage_options=store.options)
        assert DeltaTable(uri, storage_options=store.options).to_pyarrow_table().num_rows == 4
        assert DeltaTable(uri, version=0, storage_options=store.options).to_pyarrow_table().num_rows == 2
        assert sum(key.endswith(".json") for key in store.objects) == 2
        assert all(key.startswith("a b/there/") for key in store.objects)


def test_refusals() -> None:
    """A request without the key, and one that the store is set to refuse."""
    with ObjectStore() as store:
        uri = f"{store.uri}/there"
        with pytest.raises((DeltaError, OSError)):
            write_deltalake(uri, ROWS, storage_options={**store.options, "AWS_ACCESS_KEY_ID": "another"})
        store.refuses = lambda method, key: method == "PUT" and key.endswith(".json")
        with pytest.raises((DeltaError, OSError)):
            write_deltalake(uri, ROWS, storage_options=store.options)
        assert not any(key.endswith(".json") for key in store.objects)


def test_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither threads nor settings of the process outlast the block."""
    before = threading.active_count()
    for proxies in (None, "example.com"):
        if proxies:
            monkeypatch.setenv("NO_PROXY", proxies)
        else:
            monkeypatch.delenv("NO_PROXY", raising=False)
        with ObjectStore() as store:
            write_deltalake(f"{store.uri}/there", ROWS, storage_options=store.options)
        assert os.environ.get("NO_PROXY") == proxies
    for thread in threading.enumerate():
        if thread.daemon and "process_request" in thread.name:
            thread.join(5)
    assert threading.active_count() <= before
