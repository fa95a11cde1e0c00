"""The site's pages that are elsewhere in the repository, or made here: MkDocs calls these functions (`hooks` in mkdocs.yml).

README.md and its like stay at the top of the repository, where readers of the repository look for them. Links that lead
to a file of the repository which is not a page are shown as its path: where the repository is served from is not known here.
"""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
AT_THE_TOP = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
LINK = re.compile(r"\[([^\[\]]*)\]\((?!https?://|#)([^()\s#]+)(#[^()\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in `docs_dir`."""
    for name in AT_THE_TOP:
        _add(files, config, "index.md" if name == "README.md" else name, (ROOT / name).read_text())
    _add(files, config, "examples.md", _examples())
    return files


def on_page_markdown(markdown: str, *, page: Any, files: Files, **_: Any) -> str:
    """Point links of the repository at the site's pages."""
    name = page.file.src_uri
    folder = "" if name == "index.md" or name in AT_THE_TOP else posixpath.join("docs", posixpath.dirname(name))

    def pointed(link: re.Match[str]) -> str:
        text, path, anchor = link[1], posixpath.normpath(posixpath.join(folder, link[2])), link[3] or ""
        page_name = "index.md" if path == "README.md" else path.removeprefix("docs/")
        if (path in AT_THE_TOP or path.startswith("docs/")) and files.get_file_from_path(page_name):
            return f"[{text}]({posixpath.relpath(page_name, posixpath.dirname(name) or '.')}{anchor})"
        if not (ROOT / path).exists():
            return link[0]  # MkDocs warns, which is an error.
        return f"`{path}`" if text.strip("`") == posixpath.basename(path) else f"{text} (`{path}`)"

    return LINK.sub(pointed, markdown)


def _add(files: Files, config: MkDocsConfig, name: str, content: str) -> None:
    files.append(File.generated(config, name, content=content))


def _examples() -> str:
    """Every example with its source, in one page; the first paragraph of each head introduces it."""
    parts = ["# Examples\n\nEach example runs as it stands, and the tests check the verdict in its head."]
    for path in sorted((ROOT / "docs" / "examples").iterdir()):
        if path.suffix in (".py", ".toml", ".c", ".rs", ".go", ".mjs", ".java"):
            text = path.read_text()
            about = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0] if path.suffix == ".py" else ""
            language = path.suffix.removeprefix(".")
            parts.append(f"## {path.name}\n\n{about}\n\n````{language}\n{text.rstrip()}\n````")
    return "\n\n".join(parts) + "\n"
