"""Findings as text, compared with golden files. ``CRASHMATRIX_REWRITE=1`` writes those anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

from crashmatrix.reports import Finding


def told(finding: Finding) -> str:
    """A finding as text, without what the machine decides."""
    parts = [
        f"verdict: {finding.verdict}",
        f"cause: {finding.cause}",
        *finding.explanation,
        *(f"lost: {line}" for line in finding.lost),
        f"suggestion: {finding.suggestion}",
        f"tested: {finding.tested}",
    ]
    text = "\n".join(parts) + "\n"
    text = re.sub(r"(\.py):\d+", r"\1:#", text).replace("src/crashmatrix/", "")
    return re.sub(r"it: \d+ of \d+", "it: # of #", text)


def agrees_with_golden(path: Path, finding: Finding) -> None:
    """Compare a finding with its golden file, or write that."""
    if os.environ.get("CRASHMATRIX_REWRITE") == "1":
        path.write_text(told(finding))
    assert told(finding) == path.read_text()
