"""JSON Schemas (draft 2020-12) of stored results, made from the types that check them. `docs/schemas/` has the files.

They say what a report of this version holds. A reader of reports should ignore fields that it does not know, as a schema
does: new fields come without a new format.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import msgspec

from crashmatrix.reports.result import FORMAT, REQUIRED, KnownDetails, RunSummary, ScenarioResult

__all__ = ["document_schema", "result_schema", "summary_schema"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ATTRIBUTE = re.compile(r"^ {4}(?P<names>\w+(?:, \w+)*): (?P<text>.+(?:\n {8}.+)*)", re.MULTILINE)


def document_schema(kind: type, title: str, *also: type) -> dict[str, Any]:
    """Return the schema of a type: its own keywords at the top, the types it is made of under ``$defs``.

    Args:
        also: more types to define. An attribute's docstring becomes its property's description.
    """
    (schema, *_), components = msgspec.json.schema_components([kind, *also], ref_template="#/$defs/{name}")
    for part in components.values():
        _describe(part)
    own = components.pop(schema["$ref"].rpartition("/")[2])
    return {"$schema": _DRAFT, **own, "title": title, **({"$defs": components} if components else {})}


def result_schema() -> dict[str, Any]:
    """Return the schema of one line of `results.jsonl`."""
    return document_schema(ScenarioResult, "One line of results.jsonl: a scenario and its outcome")


def summary_schema() -> dict[str, Any]:
    """Return the schema of `summary.json`."""
    schema = document_schema(RunSummary, "summary.json: a whole run, or one shard of it", KnownDetails)
    schema["$defs"]["ExperimentSummary"]["properties"]["details"] = {"$ref": "#/$defs/KnownDetails"}
    stored = {"format": {"const": FORMAT}, "verdict": {"$ref": "#/$defs/Verdict"}}
    return {**schema, "properties": {**stored, **schema["properties"]}, "required": [*stored, *REQUIRED]}


def _describe(schema: dict[str, Any]) -> None:
    """Divide a docstring between the schema and its properties."""
    text, _, attributes = inspect.cleandoc(schema.get("description", "")).partition("\n\nAttributes:\n")
    schema["description"] = text
    for found in _ATTRIBUTE.finditer(attributes):
        for name in found["names"].split(", "):
            if name in schema.get("properties", {}):
                schema["properties"][name]["description"] = " ".join(found["text"].split())
    for part in schema.get("properties", {}).values():
        if part.get("default") in ([], {}):  # Some versions of msgspec state it, others do not.
            del part["default"]
