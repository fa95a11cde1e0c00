"""Errors of the recording disk travel from forked children to the caller, with cause and remedy."""

import pickle

import pytest

from crashmatrix.faults.disk import DiskError, SystemCallFailed, errors


@pytest.mark.parametrize("name", errors.__all__)
def test_an_error_survives_pickling_and_gives_cause_and_remedy(name: str) -> None:
    """What arrives is the same kind of error with the same words."""
    kind = getattr(errors, name)
    system = issubclass(kind, SystemCallFailed)
    error = kind("calling", 5, "do this") if system else kind("this happened", "do this")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert isinstance(copy, DiskError)
    assert (str(copy), copy.cause, copy.remedy) == (str(error), error.cause, "do this")
    assert str(error).endswith("; do this")
    assert not system or copy.errno == 5
