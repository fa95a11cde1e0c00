"""The models: how far each reaches, and that no value is farther off than its bound."""

from __future__ import annotations

import sys

import pytest

from crashmatrix.reference_wal.models.bound import LOSSLESS, Bound, absolute, relative
from crashmatrix.reference_wal.models.fitting import PMC_MEAN, RAW, SWING, decode, longest

CASES: list[tuple[list[float], Bound, tuple[str, int] | None]] = [
    ([5.0] * 9, LOSSLESS, (PMC_MEAN, 9)),
    ([0.1] * 9, LOSSLESS, (PMC_MEAN, 9)),
    ([1.0, 2.0, 3.0, 4.0, 9.0], LOSSLESS, (SWING, 4)),
    ([1.0, 5.0, 2.0], LOSSLESS, None),
    ([1.0], absolute(9.0), None),
    ([1.0, 1.4, 0.8, 1.2, 5.0], absolute(0.5), (PMC_MEAN, 4)),
    ([0.0, 10.3, 19.8, 30.1, 90.0], absolute(0.5), (SWING, 4)),
    ([100.0, 100.5, 99.5, 105.0], relative(1.0), (PMC_MEAN, 3)),
    ([0.0, 0.0, 1.0], relative(1.0), (PMC_MEAN, 2)),
    ([float("nan"), float("nan"), float("nan")], absolute(1.0), None),
    ([float("inf"), float("inf")], absolute(1.0), (PMC_MEAN, 2)),
    ([1e308, -1e308, 1e308], absolute(1.0), None),
    ([1.0, 1.0, float("nan")], absolute(1.0), (PMC_MEAN, 2)),
    ([1e308] * 9, LOSSLESS, (PMC_MEAN, 9)),
    ([1.5e308] * 9, relative(5.0), (PMC_MEAN, 9)),
    ([1.0, 1.0, sys.float_info.max], relative(2.0), (PMC_MEAN, 2)),
    ([-1.7e308, 1.7e308, 1.7e308], absolute(1.7e308), (PMC_MEAN, 3)),
    ([0.0, 0.0, 0.0, -0.0], LOSSLESS, (PMC_MEAN, 3)),
    ([-0.0, -0.0, -0.0, 0.0], LOSSLESS, (PMC_MEAN, 3)),
    ([0.0] * 40 + [-0.0], LOSSLESS, (PMC_MEAN, 40)),
    ([1.0, -1.0, -0.0, 0.0], relative(200.0), (PMC_MEAN, 3)),
    ([-2.0, -1.5, -1.0, -0.5, -0.0, 0.5], LOSSLESS, (SWING, 4)),
    ([place / 8 for place in range(-40, 0)] + [-0.0], LOSSLESS, (SWING, 40)),
]


@pytest.mark.parametrize(("values", "bound", "expected"), CASES)
def test_the_longest(values: list[float], bound: Bound, expected: tuple[str, int] | None) -> None:
    """The model that stands for the most points is taken, if each of them is within the bound."""
    times = list(range(0, 10 * len(values), 10))
    fit = longest(values, times, 0, len(values), bound, float, shortest={PMC_MEAN: 2, SWING: 3})
    assert (None if fit is None else (fit[0], fit[2])) == expected
    if fit is not None:
        found = decode(fit[0], fit[1], times[: fit[2]])
        assert all(map(bound.holds, values, found))


@pytest.mark.parametrize(
    ("model", "parameters"), [(PMC_MEAN, b"123"), (SWING, b"12345678"), (RAW, b""), ("no such", b"")]
)
def test_what_is_no_model(model: str, parameters: bytes) -> None:
    """Parameters of another length, or an unknown name, are refused."""
    with pytest.raises(ValueError, match=r"model|parameters"):
        decode(model, parameters, [1, 2])
