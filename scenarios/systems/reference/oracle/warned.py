"""The warnings that recovery logs: an operator learns from them alone that a crash cost something, and that a file is strange.

A warning that is missing hides it; one too many makes people look for damage that is not there.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from crashmatrix.scenarios.errors import PromiseBroken

__all__ = ["warned_of"]

_LOGGER = logging.getLogger("crashmatrix.reference_wal")


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.paths, self.failed = list[Path](), list[Path]()

    def emit(self, record: logging.LogRecord) -> None:
        """Note the path that a warning is about; one that comes with an error is not recovery's own."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        paths = [argument for argument in arguments if isinstance(argument, Path)]
        (self.failed if any(isinstance(one, BaseException) for one in arguments) else self.paths).extend(paths)


@contextmanager
def warned_of(files: Collection[Path]) -> Iterator[list[Path]]:
    """Raise PromiseBroken unless the engine warns of each of these files in the block, once, and of no other.

    Yields a list of files and folders that it warns of because a call failed.
    """
    heard, quiet = _Heard(), not _LOGGER.isEnabledFor(logging.WARNING)
    _LOGGER.addHandler(heard)
    try:
        yield heard.failed
    finally:
        _LOGGER.removeHandler(heard)
    if not quiet and (found := sorted(heard.paths)) != (due := sorted(files)):
        said, right = (", ".join(f"{path.parent.name}/{path.name}" for path in paths) for paths in (found, due))
        raise PromiseBroken("corrupt", f"recovery warns of {said or 'nothing'}, where {right or 'nothing'} is due")
