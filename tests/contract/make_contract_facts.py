"""Write the facts of an OpenAPI document as JSON: ``make_contract_facts.py SOURCE > contract_facts.json``.

The facts are what a machine can check: operations, parameters, statuses, and the types of bodies. Texts, examples and
anything else that a person wrote to be read are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
# Keywords whose values are copied. A keyword that is not listed here or below is dropped, so that no text slips in.
_PLAIN = (
    *("$ref", "type", "format", "enum", "required", "pattern", "uniqueItems"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
)
_ONE_SCHEMA = ("items", "additionalProperties", "not")
_MANY_SCHEMAS = ("allOf", "anyOf", "oneOf")
_PARAMETER = ("name", "in", "required", "style", "explode")


def contract_facts(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the operations of an OpenAPI 3 document by id, and its schemas by name, as JSON Schema."""
    components = document.get("components", {})
    operations = {
        operation["operationId"]: _operation(method, path, item, operation, components)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }
    schemas = components.get("schemas", {})
    return {"operations": operations, "schemas": {name: _schema(schema) for name, schema in schemas.items()}}


def _operation(
    method: str, path: str, item: Mapping[str, Any], operation: Mapping[str, Any], components: Mapping[str, Any]
) -> dict[str, Any]:
    parameters = [*item.get("parameters", ()), *operation.get("parameters", ())]
    responses = operation["responses"].items()
    facts: dict[str, Any] = {
        "method": method.upper(),
        "path": path,
        "parameters": [_parameter(_resolved(parameter, components)) for parameter in parameters],
        "responses": {str(status): _content(_resolved(answer, components)) for status, answer in responses},
    }
    if "requestBody" in operation:
        body = operation["requestBody"]
        facts["request"] = {"required": body.get("required", False), "content": _content(body)}
    return facts


def _resolved(node: Mapping[str, Any], components: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a parameter or response, or what it refers to."""
    if "$ref" not in node:
        return node
    _, kind, name = node["$ref"].rsplit("/", 2)
    found: Mapping[str, Any] = components[kind][name]
    return found


def _parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    facts = {key: parameter[key] for key in _PARAMETER if key in parameter}
    return {**facts, "schema": _schema(parameter["schema"])}


def _content(holder: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas of a body by content type."""
    return {kind: _schema(media.get("schema", {})) for kind, media in holder.get("content", {}).items()}


def _schema(schema: Any) -> Any:
    if isinstance(schema, bool):  # additionalProperties: true
        return schema
    facts = {key: schema[key] for key in _PLAIN if key in schema}
    facts |= {key: _schema(schema[key]) for key in _ONE_SCHEMA if key in schema}
    facts |= {key: [_schema(part) for part in schema[key]] for key in _MANY_SCHEMAS if key in schema}
    if "properties" in schema:
        facts["properties"] = {name: _schema(member) for name, member in schema["properties"].items()}
    return _with_null(facts) if schema.get("nullable") is True else facts


def _with_null(facts: dict[str, Any]) -> dict[str, Any]:
    """Write ``nullable`` of OpenAPI 3.0 as a second type, as JSON Schema has it."""
    if "type" not in facts:
        return {"anyOf": [facts, {"type": "null"}]}
    nullable = {**facts, "type": [facts["type"], "null"]}
    return {**nullable, "enum": [*facts["enum"], None]} if "enum" in facts else nullable


def facts_text(document: Mapping[str, Any]) -> str:
    """Return the facts as they are stored: sorted and indented, for readable differences."""
    return json.dumps(contract_facts(document), indent=1, sort_keys=True) + "\n"


def main() -> None:
    """Print the facts of the document that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="an OpenAPI 3 document, YAML or JSON")
    sys.stdout.write(facts_text(yaml.safe_load(parser.parse_args().source.read_bytes())))


if __name__ == "__main__":
    main()
