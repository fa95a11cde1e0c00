"""The published JSON Schemas: made from the types, true of what is written, and they refuse what reading refuses."""

import json
import os
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from crashmatrix.reports import ScenarioResult
from crashmatrix.reports.schemas import result_schema, summary_schema
from tests import ROOT
from tests.reports.samples import found, hostile, plain, result, summary

FILES: dict[str, Callable[[], dict[str, Any]]] = {"result": result_schema, "summary": summary_schema}


def published(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The file in the documentation, made anew if that is wanted."""
    path = ROOT / "docs" / "schemas" / f"{name}.schema.json"
    if os.environ.get("CRASHMATRIX_REWRITE") == "1":
        path.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
    stored: dict[str, Any] = json.loads(path.read_text())
    return stored


def lines(schema: dict[str, Any]) -> list[str]:
    """The schema in lines, so that a difference is shown whole."""
    return json.dumps(schema, indent=1, sort_keys=True).splitlines()


@pytest.mark.parametrize("name", FILES)
def test_published(name: str) -> None:
    """The published file is what the types say today; `make schemas` writes it."""
    schema = plain(FILES[name]())
    assert lines(published(name, schema)) == lines(schema)
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("run", [found(), hostile(), (summary([]), [])], ids=["full", "hostile", "empty"])
def test_true_of_what_is_written(run: Any) -> None:
    """A written report is valid."""
    made, results = run
    jsonschema.validate(plain(made.to_json()), summary_schema())
    validator = jsonschema.Draft202012Validator(result_schema())
    for one in results:
        validator.validate(plain(one.to_json()))


@pytest.mark.parametrize("name", result().to_json())
def test_refuses_wrong_types(name: str) -> None:
    """A field of the wrong type is refused by the schema as it is by us."""
    line = {**result().to_json(), name: ["wrong"]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(line, result_schema())
    with pytest.raises(ValueError, match=name):
        ScenarioResult.from_json(line)


def test_properties_are_described() -> None:
    """A reader of the schema finds what each field of a scenario means."""
    schema = result_schema()
    assert [name for name, part in schema["properties"].items() if not part.get("description")] == []
    assert schema["properties"]["hit"]["description"].startswith("which hit")
    assert "Attributes" not in schema["description"]
