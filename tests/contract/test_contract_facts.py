"""The script that writes the facts of the contract, and the facts that are stored."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from support.contract import FACTS, ORIGINAL, Contract, openapi_of, original_document

SCRIPT = Path(__file__).with_name("make_contract_facts.py")
SOURCE = """
openapi: 3.0.2
info: {title: A shop, version: "1", description: Sells fruit.}
paths:
  /fruit/{id}:
    summary: One fruit.
    parameters:
      - {name: id, in: path, required: true, description: The fruit., schema: {type: string, format: uuid}}
    put:
      operationId: updateFruit
      summary: Change a fruit.
      security: [{key: []}]
      parameters:
        - name: kinds
          in: query
          style: form
          explode: false
          example: apple
          schema:
            type: array
            maxItems: 2
            items: {type: string, enum: [apple, pear], description: A kind., default: apple}
      requestBody:
        description: The new fruit.
        required: true
        content:
          application/json: {schema: {$ref: "#/components/schemas/Fruit"}, example: {name: Apple}}
      responses:
        "200":
          description: Changed.
          headers: {Vary: {schema: {type: string}}}
          content:
            application/json:
              schema:
                allOf:
                  - $ref: "#/components/schemas/Fruit"
                  - {type: object, required: [changed], properties: {changed: {type: boolean}}}
        "404": {description: No such fruit.}
  /fruit:
    get:
      operationId: listFruit
      responses:
        "200": {description: All of it., content: {text/plain: {}}}
components:
  securitySchemes: {key: {type: apiKey, name: k, in: header, description: A key.}}
  schemas:
    Fruit:
      type: object
      title: Fruit
      description: A fruit.
      required: [name]
      additionalProperties: {type: integer, description: How many.}
      properties:
        name: {type: string, pattern: "^[A-Z]", minLength: 1, nullable: true, description: Its name., x-note: sweet}
        colour: {type: string, enum: [red, green], nullable: true}
        description: {type: string, description: Not a text but a member of this name.}
        peer: {nullable: true, allOf: [{$ref: "#/components/schemas/Fruit"}]}
        weight: {type: number, minimum: 0.5, maximum: 9, default: 1, readOnly: true, deprecated: true}
"""
FRUIT = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": {"type": "integer"},
    "properties": {
        "name": {"type": ["string", "null"], "pattern": "^[A-Z]", "minLength": 1},
        "colour": {"type": ["string", "null"], "enum": ["red", "green", None]},
        "description": {"type": "string"},
        "peer": {"anyOf": [{"allOf": [{"$ref": "#/components/schemas/Fruit"}]}, {"type": "null"}]},
        "weight": {"type": "number", "minimum": 0.5, "maximum": 9},
    },
}
EXPECTED: dict[str, Any] = {
    "operations": {
        "updateFruit": {
            "method": "PUT",
            "path": "/fruit/{id}",
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}},
                {
                    "name": "kinds",
                    "in": "query",
                    "style": "form",
                    "explode": False,
                    "schema": {"type": "array", "maxItems": 2, "items": {"type": "string", "enum": ["apple", "pear"]}},
                },
            ],
            "request": {"required": True, "content": {"application/json": {"$ref": "#/components/schemas/Fruit"}}},
            "responses": {
                "200": {
                    "application/json": {
                        "allOf": [
                            {"$ref": "#/components/schemas/Fruit"},
                            {"type": "object", "required": ["changed"], "properties": {"changed": {"type": "boolean"}}},
                        ]
                    }
                },
                "404": {},
            },
        },
        "listFruit": {"method": "GET", "path": "/fruit", "parameters": [], "responses": {"200": {"text/plain": {}}}},
    },
    "schemas": {"Fruit": FRUIT},
}


def test_the_script(tmp_path: Path) -> None:
    source = tmp_path / "shop.yaml"
    source.write_text(SOURCE, encoding="utf-8")
    ran = subprocess.run([sys.executable, str(SCRIPT), str(source)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == EXPECTED


def test_facts_become_the_same_contract(make_facts: Any) -> None:
    """An OpenAPI document of the facts has the facts of the document that they came from."""
    assert make_facts.contract_facts(openapi_of(EXPECTED)) == EXPECTED
    by_facts, by_document = Contract(openapi_of(EXPECTED)), Contract(yaml.safe_load(SOURCE))
    for contract in (by_facts, by_document):
        assert contract.statuses() == {"updateFruit": ("PUT", [200, 404]), "listFruit": ("GET", [200])}
        schema = contract.schema("PUT", "/fruit/x", 200) or {}
        assert schema["allOf"] == EXPECTED["operations"]["updateFruit"]["responses"]["200"]["application/json"]["allOf"]


def _strings(node: Any) -> Any:
    if isinstance(node, dict):
        for key, value in node.items():
            yield key
            yield from _strings(value)
    elif isinstance(node, list):
        for item in node:
            yield from _strings(item)
    elif isinstance(node, str):
        yield node


def test_the_stored_facts_hold_no_text(make_facts: Any) -> None:
    stored = json.loads(FACTS.read_text(encoding="utf-8"))
    assert (len(stored["operations"]), len(stored["schemas"])) == (77, 58)
    assert [text for text in _strings(stored) if " " in text] == []
    assert make_facts.contract_facts(openapi_of(stored)) == stored


if ORIGINAL:  # the report's header says when there is none to compare with

    def test_the_stored_facts_are_those_of_the_original(make_facts: Any) -> None:
        assert make_facts.facts_text(original_document()) == FACTS.read_text(encoding="utf-8")
