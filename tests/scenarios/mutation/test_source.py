"""A module's text, and where its parts stand."""

import ast

from crashmatrix.scenarios.mutation.source import Edit, Source, applied, called


def test_edits_are_made_from_the_end() -> None:
    """Each edit means the text as it was."""
    assert applied("abc", (Edit(0, 1, "xx"), Edit(2, 3, ""))) == "xxb"


def test_columns_count_characters() -> None:
    """Letters of several bytes before a node do not move it."""
    source = Source("def f():\n    return ('ä', g('é'), x)\n")
    names = [source.segment(node) for node in source.expressions if isinstance(node, ast.Name)]
    assert names == ["x", "g"]


def test_scopes() -> None:
    """A statement is named by the classes and functions around it."""
    source = Source("class A:\n    def f(self):\n        x()\ny()\n")
    calls = {source.segment(node): source.scope(node) for node in ast.walk(source.tree) if isinstance(node, ast.Call)}
    assert calls == {"x()": "A.f", "y()": "module"}


def test_names_of_calls() -> None:
    """The last part of a name is what a reader knows a call by."""
    calls = ("os.fsync(1)", "f()", "f()()", "x")
    assert [called(ast.parse(text, mode="eval").body) for text in calls] == ["fsync", "f", "", ""]
