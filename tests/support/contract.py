"""The API contract: its facts, which are stored beside the tests, and the original where there is one.

``COMFY_ASSETS_CONTRACT`` names the original, an OpenAPI document. Everything is then checked against it as well.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

FACTS = Path(__file__).resolve().parents[1] / "contract" / "contract_facts.json"
ORIGINAL = os.environ.get("COMFY_ASSETS_CONTRACT")
METHODS = ("get", "put", "post", "delete", "patch", "head", "options")


class Contract:
    """Operations of an OpenAPI document, and the schemas of their responses."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.operations: dict[str, tuple[str, str, Mapping[str, Any]]] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Mapping[str, Any]]] = []
        self.components = document["components"]
        self._components = _as_json_schema(document["components"])
        for path, item in document["paths"].items():
            pattern = re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))
            for method in METHODS:
                if method in item:
                    operation = item[method]
                    self.operations[operation["operationId"]] = (method.upper(), path, operation)
                    self._patterns.append((method.upper(), pattern, operation))
        self._patterns.sort(key=lambda entry: entry[1].pattern.count("[^/]+"))  # fixed paths first

    def schema(self, method: str, path: str, status: int) -> dict[str, Any] | None:
        """Return the schema of a JSON response: the operation's own for a success, ErrorResponse for an error."""
        if status >= 400:
            return self._whole({"$ref": "#/components/schemas/ErrorResponse"})
        operation = self.operation(method, path)
        return None if operation is None else self.schema_of(operation, status)

    def operation(self, method: str, path: str) -> Mapping[str, Any] | None:
        """Return the operation of a request, or None if the document has none."""
        return next((o for m, p, o in self._patterns if m == method and p.fullmatch(path)), None)

    def schema_of(self, operation: Mapping[str, Any], status: int) -> dict[str, Any] | None:
        """Return the schema of an operation's JSON response, or None if it has none."""
        answer = operation["responses"].get(str(status), {})
        schema = answer.get("content", {}).get("application/json", {}).get("schema")
        return self._whole(schema) if schema is not None else None

    def statuses(self) -> dict[str, tuple[str, list[int]]]:
        """Return the method and the documented statuses of each operation."""
        return {
            name: (method, [int(status) for status in operation["responses"]])
            for name, (method, _, operation) in self.operations.items()
        }

    def _whole(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        return {**_as_json_schema(schema), "components": self._components}


def closed(node: Any) -> Any:
    """The schemas of a document, as objects that have no members beside those it tells."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    members = {key: closed(value) for key, value in node.items()}
    return {"additionalProperties": False, **members} if isinstance(node.get("properties"), dict) else members


def _as_json_schema(node: Any) -> Any:
    """Convert OpenAPI 3.0 to JSON Schema: ``nullable`` becomes a second type."""
    if isinstance(node, list):
        return [_as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    converted = {key: _as_json_schema(value) for key, value in node.items() if key != "nullable"}
    if node.get("nullable") is True:
        if "type" in converted:
            converted["type"] = [converted["type"], "null"]
        else:
            converted = {"anyOf": [converted, {"type": "null"}]}
    return converted


def openapi_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return contract facts as an OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for name, operation in facts["operations"].items():
        paths.setdefault(operation["path"], {})[operation["method"].lower()] = _operation(name, operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "The facts of the contract", "version": "1"},
        "paths": paths,
        "components": {"schemas": facts["schemas"]},
    }


def _operation(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    operation = {
        "operationId": name,
        "parameters": facts["parameters"],
        "responses": {
            status: {"description": "", **_content(content)} for status, content in facts["responses"].items()
        },
    }
    if "request" in facts:
        body = facts["request"]
        operation["requestBody"] = {"required": body["required"], **_content(body["content"])}
    return operation


def _content(schemas: Mapping[str, Any]) -> dict[str, Any]:
    media = {kind: {"schema": schema} for kind, schema in schemas.items()}
    return {"content": media} if media else {}


def read_document(path: Path) -> dict[str, Any]:
    """Read an OpenAPI document, YAML or JSON."""
    loaded: dict[str, Any] = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return loaded


def facts_document() -> dict[str, Any]:
    """Return the stored facts as an OpenAPI document; a caller may change it."""
    return openapi_of(json.loads(FACTS.read_text(encoding="utf-8")))


def original_document() -> dict[str, Any] | None:
    """Return the document that the environment names, or None if it names none."""
    return read_document(Path(ORIGINAL)) if ORIGINAL else None


def with_newer_facts(document: dict[str, Any]) -> dict[str, Any]:
    """Add what today's pages and the hosted service know beyond the contract's text: tasks can be cancelled."""
    for name in ("TaskEntry", "TaskResponse"):
        states = document["components"]["schemas"][name]["properties"]["status"]["enum"]
        if "cancelled" not in states:
            states.append("cancelled")
    return document


@lru_cache(maxsize=1)
def facts_contract() -> Contract:
    """Return the contract by its stored facts."""
    return Contract(with_newer_facts(facts_document()))


@lru_cache(maxsize=1)
def contracts() -> dict[str, Contract]:
    """Return everything that responses are checked against: the facts, and the original where it is named."""
    original = original_document()
    return {
        "facts": facts_contract(),
        **({"original": Contract(with_newer_facts(original))} if original is not None else {}),
    }
