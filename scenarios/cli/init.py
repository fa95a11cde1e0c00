"""``crashmatrix init``: a commented target file to start from, which runs as it stands."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from crashmatrix.scenarios.errors import UsageError

__all__ = ["LANGUAGES", "write_target"]

LANGUAGES = {"python": ".py", "toml": ".toml"}
"""The kinds of target files, each with the ending of its name."""


def write_target(name: str, language: str | None) -> tuple[Path, str]:
    """Write a target file; returns its path and the target's name.

    Args:
        name: of the file, with or without its ending, which may tell the language.

    Raises:
        UsageError: the name cannot be one, or is taken.
    """
    path = Path(name)
    if language is None:
        language = next((known for known, ending in LANGUAGES.items() if path.suffix == ending), "python")
    if language not in LANGUAGES:
        raise UsageError(f"no language {language!r}; there are {', '.join(LANGUAGES)}, the latter for any other")
    if path.suffix not in LANGUAGES.values():
        path = path.parent / (path.name + LANGUAGES[language])
    words = re.findall(r"[A-Za-z0-9]+", path.stem)
    if path.suffix != LANGUAGES[language] or not words or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", path.stem):
        raise UsageError(f"{name!r} cannot name a target in {language}; try my_store")
    kind = "".join(word[0].upper() + word[1:] for word in words)
    kind += "Target" if kind in ("Store", "SystemUnderTest") else ""  # The file has these already.
    template = (
        resources.files("crashmatrix.scenarios").joinpath("data", f"new_target{path.suffix}.txt").read_text("utf-8")
    )
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(template.replace("@FILE@", path.name).replace("@CLASS@", kind))
    except FileExistsError:
        raise UsageError(f"{path} exists; name another file") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}); name another file") from None
    return path, f"{path}:{kind}" if path.suffix == ".py" else str(path)
