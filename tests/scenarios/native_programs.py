"""Small programs in C, for tests of what is said about native code."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

__all__ = ["NEEDS_COMPILER", "compiled"]

NEEDS_COMPILER = pytest.mark.skipif(
    platform.machine() != "x86_64" or not shutil.which("gcc") or not shutil.which("addr2line"),
    reason="needs gcc and addr2line on x86-64: install gcc",
)

_STORE = r"""
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static void put(void) {
    int file = open("a", O_CREAT | O_WRONLY, 0644); /* 7 */
    if (ftruncate(file, 9)) return;                 /* 8 */
    FILE *other = fopen("/dev/null", "w");
    fprintf(other, "%d", file);
    fclose(other);
    if (rename("a", "b")) return;                   /* 12 */
    FILE *buffered = fdopen(file, "w");
    fprintf(buffered, "content");
    fclose(buffered);                               /* 15 */
}

int main(void) { put(); return unlink("b"); }
"""


def compiled(folder: Path, flags: Sequence[str]) -> str:
    """Compile the program; return its path."""
    (folder / "store.c").write_text(_STORE)
    subprocess.run(["gcc", *flags, "-o", "store", "store.c"], cwd=folder, check=True)
    return str(folder / "store")
