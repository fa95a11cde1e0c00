"""Recordings kept as files, for tests of what is made of one: they hold whatever the kernel here would have written.

`python -m tests.kept` makes them anew, which takes root. New ones are needed only if the trace's
format or the recorded workload changes. Read what the tests then say of the new ones, since they count what is in them.
"""

from pathlib import Path

from crashmatrix.faults.disk import Trace, load_trace

FOLDER = Path(__file__).parent


def kept(name: str) -> Trace:
    """A kept recording by its name: the file's, without `.trace`."""
    return load_trace(FOLDER / f"{name}.trace")
