"""The table of operators."""

from crashmatrix.scenarios.mutation.operators.table import OPERATORS
from crashmatrix.scenarios.mutation.source import Source, applied


def test_each_operator_is_explained() -> None:
    """A reader of a report learns what the bug is, and how a harness would notice it."""
    assert all(operator.about and operator.noticing and name == operator.name for name, operator in OPERATORS.items())


def test_no_operator_changes_a_text_without_code() -> None:
    """Docstrings and comments have no bugs."""
    text = '"""1 < 2."""\n\ndef f():\n    """Return x + 1."""\n    # a < b\n'
    assert [applied(text, site.edits) for operator in OPERATORS.values() for site in operator.sites(Source(text))] == []
