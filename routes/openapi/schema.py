"""What bodies consist of, as the tables of this package say it: JSON schemas, and words for the structs of handlers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

Schema = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Record:
    """An object that becomes a component of its own. Every member is there unless it is ``optional``."""

    name: str
    description: str
    members: Mapping[str, Any]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True)
class Words:
    """What is said of a struct in the document: its name there, and a sentence for each field (those of its base too).

    A field whose type says less than is known of it, as that of ready-made JSON does, has a schema instead.
    """

    struct: type[msgspec.Struct]
    name: str
    description: str
    fields: Mapping[str, str | Schema] = field(default_factory=dict)


def text(description: str, **more: Any) -> Schema:
    """A string."""
    return {"type": "string", "description": description, **more}


def uuid(description: str) -> Schema:
    """A UUID."""
    return text(description, format="uuid")


def time(description: str) -> Schema:
    """A moment, as RFC 3339 has it, in UTC."""
    return text(description, format="date-time")


def integer(description: str, **more: Any) -> Schema:
    """A whole number."""
    return {"type": "integer", "description": description, **more}


def number(description: str, **more: Any) -> Schema:
    """A number."""
    return {"type": "number", "description": description, **more}


def flag(description: str) -> Schema:
    """True or false."""
    return {"type": "boolean", "description": description}


def array(items: Any, description: str = "", **more: Any) -> Schema:
    """A list of these."""
    return _described({"type": "array", "items": items, **more}, description)


def mapping(values: Any = True, description: str = "", **more: Any) -> Schema:
    """An object whose members have any names."""
    return _described({"type": "object", "additionalProperties": values, **more}, description)


def members(required: Mapping[str, Any], description: str = "", **optional: Any) -> Schema:
    """An object of few members, some of which may be left out."""
    schema: Schema = {"type": "object", "properties": {**required, **optional}}
    if required:
        schema["required"] = list(required)
    return _described(schema, description)


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def _described(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description} if description else schema


BINARY: Schema = {"type": "string", "contentMediaType": "application/octet-stream"}
PLAIN: Schema = {"type": "string"}
