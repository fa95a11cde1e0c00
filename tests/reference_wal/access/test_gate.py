"""The gate: many pass together, the one that closes it is alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from crashmatrix.reference_wal.access.gate import Gate


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_gate() -> None:
    """Many pass together; who closes it is alone; a closing that waits is not overtaken by those who come later."""
    gate, order = Gate(), list[str]()

    def close() -> None:
        with gate.closed():
            order.append("closed")

    def pass_() -> None:
        with gate.passed():
            order.append("passed")

    with ThreadPoolExecutor() as pool:
        with gate.passed():
            with gate.passed():
                closing = pool.submit(close)
                wait_until(lambda: gate.closing)
                late = [pool.submit(pass_) for _ in range(3)]
                time.sleep(0.02)
                assert order == []
            assert order == []
        closing.result()
        for one in late:
            one.result()
    assert order == ["closed", "passed", "passed", "passed"]
