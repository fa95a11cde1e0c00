"""The json of a Delta commit, with a checksum in it of all its bytes.

    {"commitInfo": {"checksum": "0123456789abcdef", "timestamp": ..., ...}}     (first; one action a line)
    {"add": ...}
    {"txn": ...}                                                                (no newline at the end)

The checksum is XXH3-64 of the file with zeros in place of its 16 digits, salted with the version, so that a commit that lies
under another one's name does not fit. It is the first value of the first line: any reader of Delta tables takes it for one more
note about the commit.

    | the file                                             | taken for                                             |
    |------------------------------------------------------|-------------------------------------------------------|
    | begins as above, and fits its checksum               | the commit that was written                           |
    | its ``engineInfo`` is delta-rs, every line is whole, | written before there were checksums: what deltalake   |
    | and it ends in its ``txn`` if it names batches       | makes of it                                           |
    | anything else                                        | TableCorrupted, naming the file                       |

Neither one changed byte nor a truncation makes the first kind pass for the second: its ``engineInfo`` is our own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crashmatrix.reference_wal.errors import TableCorrupted
from crashmatrix.reference_wal.log.segments.seal import checksum

__all__ = ["ENGINE", "check_commit", "is_whole", "sealed"]

ENGINE = "crashmatrix reference_wal"
"""The ``engineInfo`` of our commits."""

Action = dict[str, Any]

_BEGIN, _ZEROS = b'{"commitInfo":{"checksum":"', b"0" * 16


def sealed(info: Action, actions: Sequence[Action], version: int) -> bytes:
    """Return the json of a commit, with its checksum.

    Args:
        info: what ``commitInfo`` says besides.
        actions: the lines after it.
        version: of the table, once the commit is made.
    """
    first = {"commitInfo": {"checksum": _ZEROS.decode(), "engineInfo": ENGINE, **info}}
    data = b"\n".join(json.dumps(action, separators=(",", ":")).encode() for action in (first, *actions))
    return _BEGIN + b"%016x" % checksum(data, version) + data[len(_BEGIN) + len(_ZEROS) :]


def check_commit(path: Path) -> None:
    """Raise TableCorrupted unless the commit at ``path`` is the one that was written; OSError."""
    data, version = path.read_bytes(), int(path.stem)
    if not (_fits(data, version) if data.startswith(_BEGIN) else _is_older(data)):
        raise TableCorrupted(path, "the commit does not fit its checksum: it was changed or cut")


def _fits(data: bytes, version: int) -> bool:
    start, end = len(_BEGIN), len(_BEGIN) + len(_ZEROS)
    return data[start:end] == b"%016x" % checksum(data[:start] + _ZEROS + data[end:], version)


def _is_older(data: bytes) -> bool:
    actions = _actions(data)
    return bool(actions) and str(_info(actions).get("engineInfo", "")).startswith("delta-rs") and _ends_whole(actions)


def is_whole(commit: Path) -> bool:
    """Whether a commit by deltalake has all its lines, as far as the file shows: those that a transfer makes end in ``txn``."""
    actions = _actions(commit.read_bytes())
    return bool(actions) and _ends_whole(actions)


def _actions(data: bytes) -> list[Action]:
    try:
        actions = [json.loads(line) for line in data.splitlines()]
    except (ValueError, RecursionError):  # Lists in lists in lists.
        return []
    return actions if all(isinstance(action, dict) for action in actions) else []


def _info(actions: Sequence[Action]) -> Action:
    info = actions[0].get("commitInfo", {})
    return info if isinstance(info, dict) else {}


def _ends_whole(actions: Sequence[Action]) -> bool:
    return "batchIds" not in _info(actions) or "txn" in actions[-1]
