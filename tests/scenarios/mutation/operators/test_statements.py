"""Bugs in the steps of durable code."""

import pytest

from tests.scenarios.mutation.operators.planted import planted


@pytest.mark.parametrize(
    ("operator", "body", "mutants"),
    [
        ("drop-call", "os.rename(a, b)\nos.fsync(fd)", ["pass\nos.fsync(fd)"]),
        ("drop-call", "BEFORE.hit()\nx = call()\n'a text'", []),
        ("drop-call", "logger.info('%s', a)\nwarnings.warn(b)\nsuper().__init__(a)", []),
        ("swap-statements", "logger.info(a)\nx = a", []),
        ("drop-sync", "os.rename(a, b)\nos.fsync(fd)", ["os.rename(a, b)\npass"]),
        ("drop-sync", "with SYNC:\n    sync_directory(path)", ["with SYNC:\n    pass"]),
        ("drop-assign", "self.next = 1", ["pass"]),
        ("drop-assign", "new = 1", []),
        ("drop-assign", "a = 1\na = 2\na += 3", ["a = 1\npass\na += 3", "a = 1\na = 2\npass"]),
        ("drop-raise", "if bad:\n    raise Bad", ["if bad:\n    pass"]),
        ("swap-statements", "write(fd)\nrename(path)", ["rename(path)\nwrite(fd)"]),
        ("swap-statements", "a = write(fd)\nrename(a)", []),
        ("swap-statements", "write(fd)\nreturn 1", []),
        ("swap-statements", "write(fd)\nAFTER.hit()", []),
        ("swap-statements", "write(fd)\nwrite(fd)", []),
        ("swap-statements", "if a:\n    b()\nc()  # why", ["c()\nif a:\n    b()  # why"]),
        ("move-across", "sync(fd)\nAFTER.hit()\nos.rename(a, b)", []),
        ("move-across", "sync(fd)\nx.check()\nos.rename(a, b)", ["pass\nx.check()\nos.rename(a, b)\nsync(fd)"]),
        ("move-across", "os.unlink(a)\ny()\nsync(fd)", ["sync(fd)\nos.unlink(a)\ny()\npass"]),
        ("move-across", "a = list(path)\nx()\nunlink(a)", []),
        ("move-out", "with self._lock:\n    a()\n    b()\nc()", ["with self._lock:\n    a()\n    pass\nb()\nc()"]),
        ("move-out", "with x:\n    a()\n    return b()", []),
        ("move-out", "with x:\n    a()\n    for i in y:\n        b(i)", [
            "with x:\n    a()\n    pass\nfor i in y:\n    b(i)"]),
        ("drop-lock", "with self._lock:\n    a()", ["if True:\n    a()"]),
        ("drop-lock", "with open(path) as file:\n    a()", []),
        ("widen-except", "try:\n    a()\nexcept OSError as e:\n    b(e)", [
            "try:\n    a()\nexcept Exception as e:\n    b(e)"]),
        ("widen-except", "try:\n    a()\nexcept Exception:\n    b()", []),
        ("ignore-return", "self.size = write(fd)", ["write(fd)"]),
        ("ignore-return", "left = all()\nleft = write(fd)", ["left = all()\nwrite(fd)"]),
        ("ignore-return", "left = write(fd)", []),
    ],
)  # fmt: skip
def test_operator(operator: str, body: str, mutants: list[str]) -> None:
    """Each bug is planted where it can be, once, and nowhere else."""
    assert planted(operator, body) == mutants
