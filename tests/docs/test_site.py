"""The documentation's site: builds without a warning, shows every public name, and fetches nothing from elsewhere."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import ROOT

PACKAGES = {
    "crashmatrix": "crashmatrix",
    "faults": "crashmatrix.faults",
    "disk": "crashmatrix.faults.disk",
    "reports": "crashmatrix.reports",
    "reference_wal": "crashmatrix.reference_wal",
}
"""The pages of the reference, and the package of each."""

pytestmark = pytest.mark.slow  # Each build takes several seconds.


def build(tree: Path, site: Path) -> subprocess.CompletedProcess[str]:
    if find_spec("mkdocs") is None or find_spec("mkdocstrings") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("mkdocs is missing; the group docs installs it")
        pytest.skip("needs the packages of the group docs; run: pip install --group docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=200)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    ended = build(ROOT, folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


@pytest.mark.parametrize(("page", "package"), PACKAGES.items())
def test_every_public_name_is_there(page: str, package: str, site: Path) -> None:
    """Each name in `__all__` has an entry of its own, under its full name."""
    text = (site / "reference" / f"{page}.html").read_text()
    names = importlib.import_module(package).__all__
    assert [name for name in names if f'id="{package}.{name}"' not in text] == []


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """No script, style, font, picture or frame of any page has another origin."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").glob("*.md")))
    for page in pages:
        tags = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", page.read_text())
        assert tags
        assert [tag for tag in tags if re.search(r"""(?:src|href)=["']?(?:https?:)?//""", tag)] == []


def test_every_guide_is_a_page(site: Path) -> None:
    """Each guide in `docs/`, and each guide at the top of the repository, is a page; one page shows all examples."""
    guides = [path.stem for path in (ROOT / "docs").glob("*.md")]
    for name in (*guides, "index", "ARCHITECTURE", "CONTRIBUTING", "SECURITY", "CHANGELOG", "examples"):
        assert (site / f"{name}.html").is_file(), name
    shown = (site / "examples.html").read_text()
    examples = [path.name for path in (ROOT / "docs" / "examples").iterdir() if path.suffix in (".py", ".toml", ".c")]
    assert [name for name in examples if f">{name}<" not in shown] == []


@pytest.mark.parametrize(
    "wrong", ["[gone](gone.md)", "[gone](targets.md#no-such-heading)", "[gone](../scenarios/gone.py)"]
)
def test_a_dead_link_stops_the_build(wrong: str, tmp_path: Path) -> None:
    """A page that is not there, a heading, or a file of the repository: the build names it."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for path in ROOT.glob("[!.]*"):
        if path.name not in ("docs", "site", "dist"):
            (tree / path.name).symlink_to(path)
    shutil.copytree(ROOT / "docs", tree / "docs")
    with (tree / "docs" / "posix.md").open("a") as page:
        page.write(f"\n{wrong}\n")
    ended = build(tree, tmp_path / "site")
    assert ended.returncode != 0
    assert wrong.partition("(")[2].rstrip(")") in ended.stderr
