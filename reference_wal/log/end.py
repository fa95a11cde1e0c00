"""The end of a log that was closed in good order: the file ``end`` in its folder, which says what must still be there.

    57
    CHECKSUM       (the id of the next batch; `atomic_file.checked`, for the log's identity)

A crash may tear the last group of the active segment, so damage to that group can look like a crash (`segments.tear`). After
an orderly close it cannot have been one: every batch below the id was durable before the file was written. Recovery refuses
a log that ends earlier.

The file promises nothing, so it is neither synced nor replaced as a whole: one that is torn, old or gone says less, and never
anything wrong, since ids are never taken back. For the same reason it is not removed when the log goes on, and an error
of the disk is passed over.
"""

from __future__ import annotations

import logging
from pathlib import Path

from crashmatrix.reference_wal.atomic_file import checked, content_of
from crashmatrix.reference_wal.durable_io import step

__all__ = ["END", "read_end", "write_end"]

logger = logging.getLogger(__name__)

WRITE_END = step("wal.close.write", "every record durable, the log not closed", "its end noted, in the page cache only")

END = "end"
"""The file's name."""


def write_end(folder: Path, identity: str, next_id: int) -> None:
    """Note the id of the next batch."""
    with WRITE_END:
        try:
            (folder / END).write_bytes(checked(b"%d" % next_id, identity))
        except OSError as error:
            logger.warning("%s: the log's end could not be noted: %s", folder, error)


def read_end(folder: Path, identity: str) -> int:
    """Return the id that was noted last; 0 if none was, or its note is torn."""
    try:
        content = content_of((folder / END).read_bytes(), identity)
    except FileNotFoundError:
        return 0
    return int(content) if content is not None else 0
