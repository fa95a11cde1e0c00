"""Other text for some modules, for the processes started with an environment. No file of the store is touched."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["Overlay"]

_HOOK = Path(__file__).with_name("overlay_hook.py")


class Overlay:
    """A folder that makes Python load other texts (`overlay_hook` says how)."""

    def __init__(self, folder: Path, texts: Mapping[Path, str], note: Iterable[Path] = ()) -> None:
        """Write it into an empty folder.

        Args:
            texts: the text to load for each file.
            note: files whose executed lines are noted; see `lines`.
        """
        self.folder = folder.resolve()
        self._maps = {os.path.realpath(path): f"reached-{number}.map" for number, path in enumerate(note)}
        names = {os.path.realpath(path): f"text-{number}.py" for number, path in enumerate(texts)}
        for path, text in texts.items():
            (self.folder / names[os.path.realpath(path)]).write_text(text, "utf-8")
        (self.folder / "files.json").write_text(json.dumps(names), "utf-8")
        (self.folder / "reached.json").write_text(json.dumps(self._maps), "utf-8")
        (self.folder / "sitecustomize.py").write_bytes(_HOOK.read_bytes())

    def environment(self) -> dict[str, str]:
        """Return the environment variables of a process that is to load the texts."""
        before = os.environ.get("PYTHONPATH", "")
        return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(self.folder), before]))}

    def was_loaded(self) -> bool:
        """Whether some process has loaded one of the texts."""
        return (self.folder / "loaded").exists()

    def lines(self, path: Path) -> frozenset[int] | None:
        """Return the lines of functions that any process has executed in a file: the first one of each statement.

        None: no process imported it.
        """
        try:
            content = (self.folder / self._maps[os.path.realpath(path)]).read_bytes()
        except FileNotFoundError:
            return None
        return frozenset(line for line, reached in enumerate(content) if reached)
