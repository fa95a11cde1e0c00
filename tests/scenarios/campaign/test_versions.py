"""The report names the version of everything that took part."""

import platform
from importlib import metadata

from crashmatrix.scenarios.campaign.versions import versions


def test_versions() -> None:
    """Python, the kernel and packages; one that is missing is said to be."""
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["kernel"] == platform.release()
    assert found["pyarrow"] == metadata.version("pyarrow")
    assert versions(["no-such-package"])["no-such-package"] == "not installed"
