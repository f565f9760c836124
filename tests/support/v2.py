"""Requests to Comfy API v2, whose every answer is held against its document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jsonschema
from aiohttp.test_utils import TestClient
from comfy_assets_node.routes import v2
from yarl import URL

from .contract import FACTS, Contract, closed, openapi_of

DOCUMENT: Any = v2.document(v2.ROUTES)
_FACTS = FACTS.with_name("contract_v2_facts.json")
CONTRACT = Contract(openapi_of(json.loads(_FACTS.read_text(encoding="utf-8"))))
"""The published contract of Comfy API v2, by its facts."""
_CLOSED = Contract(closed(DOCUMENT))
_ENVELOPE = {"$ref": "#/components/schemas/ErrorEnvelope", "components": closed(DOCUMENT["components"])}


@dataclass(frozen=True)
class V2Answer:
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """The error in the envelope."""
        return self.json["error"]


@dataclass(frozen=True)
class V2Api:
    """Sends requests; every answer must be what the document says, and every error an envelope."""

    client: TestClient[Any, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_headers(self, **headers: str) -> V2Api:
        """The same, with these headers in every request."""
        return replace(self, headers={**self.headers, **headers})

    async def send(self, method: str, path: str, status: int = 200, **options: Any) -> V2Answer:
        """The answer, which must have this status; the path is sent as it is written."""
        options["headers"] = {**self.headers, **options.get("headers", {})}
        url = URL(str(self.client.make_url("/")).removesuffix("/") + path, encoded=True)
        async with self.client.session.request(method, url, allow_redirects=False, **options) as response:
            answer = V2Answer(response.status, response.headers, await response.read())
        assert answer.status == status, (method, path, answer.status, answer.body[:2000])
        self.check(method, url.raw_path, answer)
        return answer

    @staticmethod
    def check(method: str, path: str, answer: V2Answer) -> None:
        """Raises AssertionError, or jsonschema.ValidationError, for an answer that is not as it should be."""
        assert answer.headers["X-Comfy-Request-Id"], path
        if method == "HEAD":
            assert answer.body == b""
            return
        operation = _CLOSED.operation(method, path)
        if answer.status >= 400:
            assert answer.headers["Content-Type"].startswith("application/json"), answer.body
            jsonschema.Draft202012Validator(_ENVELOPE).validate(answer.json)
            told = operation is None or answer.status in (401, 403) or str(answer.status) in operation["responses"]
            assert told, f"the document does not say that {method} {path} answers {answer.status}: {answer.body!r}"
        elif operation is not None:
            assert str(answer.status) in operation["responses"], (method, path, answer.status)
            if (schema := _CLOSED.schema_of(operation, answer.status)) is not None:
                jsonschema.Draft202012Validator(schema).validate(answer.json)
            if (schema := CONTRACT.schema(method, path, answer.status)) is not None:
                jsonschema.Draft202012Validator(schema).validate(answer.json)
