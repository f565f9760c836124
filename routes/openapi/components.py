"""Schemas of structs and records, each once, under the name that the document calls it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

import msgspec

from .schema import Record, Schema, Words

_TEMPLATE = "#/components/schemas/{name}"


class Components:
    """Gathers what schemas refer to while they are made."""

    def __init__(self, words: Iterable[Words]) -> None:
        self._words = {each.struct: each for each in words}
        self._names = {each.struct.__name__: each.name for each in self._words.values()}
        self.schemas: dict[str, Schema] = {}

    def schema(self, shape: Any, *, is_answer: bool = False) -> Any:
        """The JSON schema of a struct, of a Record, or of a schema that holds some.

        Members of a struct that have a default may be left out by those who send it; in an answer they are there.
        """
        if isinstance(shape, Record):
            return self._record(shape, is_answer)
        if isinstance(shape, dict):
            return {key: self.schema(value, is_answer=is_answer) for key, value in shape.items()}
        if isinstance(shape, list | tuple):
            return [self.schema(item, is_answer=is_answer) for item in shape]
        if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
            return self._struct(shape, is_answer)
        return shape

    def whole(self, struct: type[msgspec.Struct]) -> Schema:
        """The schema of a struct itself, without a component of its own."""
        _, parts = msgspec.json.schema_components([struct], ref_template=_TEMPLATE)
        schema: Schema = self._renamed(parts[struct.__name__], {})
        return self._worded(schema, struct)

    def _record(self, record: Record, is_answer: bool) -> Schema:
        if record.name not in self.schemas:
            self.schemas[record.name] = {}  # so that a record may hold its like
            schema: Schema = {
                "type": "object",
                "description": record.description,
                "properties": self.schema(dict(record.members), is_answer=is_answer),
            }
            if required := [name for name in record.members if name not in record.optional]:
                schema["required"] = required
            self.schemas[record.name] = schema
        return {"$ref": _TEMPLATE.format(name=record.name)}

    def _struct(self, struct: type[msgspec.Struct], is_answer: bool) -> Schema:
        name = self._name(struct)
        if name not in self.schemas:
            self.schemas[name] = {}
            _, parts = msgspec.json.schema_components([struct], ref_template=_TEMPLATE)
            own = parts.pop(struct.__name__)
            names = {**self._names, struct.__name__: name}
            for part in self._known(parts):
                self._struct(part, is_answer)
            schema = self._worded(self._renamed(own, names), struct)
            self.schemas[name] = _as_answered(schema, struct) if is_answer else schema
        return {"$ref": _TEMPLATE.format(name=name)}

    def _known(self, parts: Iterable[str]) -> list[type[msgspec.Struct]]:
        """The structs that another holds: each has to have words."""
        by_name = {struct.__name__: struct for struct in self._words}
        if unknown := [name for name in parts if name not in by_name]:
            raise LookupError(f"these structs are not described: {', '.join(unknown)}")
        return [by_name[name] for name in parts]

    def _name(self, struct: type[msgspec.Struct]) -> str:
        words = self._words.get(struct)
        return words.name if words is not None else struct.__name__

    def _renamed(self, node: Any, names: dict[str, str]) -> Any:
        if isinstance(node, list):
            return [self._renamed(item, names) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            return {**node, "$ref": _TEMPLATE.format(name=names.get(name, name))}
        return {key: self._renamed(value, names) for key, value in node.items()}

    def _worded(self, schema: Schema, struct: type[msgspec.Struct]) -> Schema:
        """The schema of an object with the words of its struct and of those it derives from."""
        worded = {key: value for key, value in schema.items() if key != "title" and value != []}
        properties = dict(worded.get("properties", {}))
        for base in reversed(struct.__mro__):
            words = self._words.get(base)
            if words is None:
                continue
            if base is struct:
                worded["description"] = words.description
            for name, said in words.fields.items():
                more = {"description": said} if isinstance(said, str) else self.schema(said)
                properties[name] = {**properties[name], **more}
        return {**worded, "properties": properties}


def _as_answered(schema: Schema, struct: type[msgspec.Struct]) -> Schema:
    """The schema of a struct in an answer, where what has a default is there, unless the struct leaves it out."""
    if struct.__struct_config__.omit_defaults:
        return schema
    fields = msgspec.structs.fields(struct)
    always = [field.encode_name for field in fields if msgspec.UnsetType not in get_args(field.type)]
    properties = {
        name: {key: value for key, value in member.items() if key != "default"}
        for name, member in schema["properties"].items()
    }
    return {**schema, "properties": properties, **({"required": always} if always else {})}
