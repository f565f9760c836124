"""A client that holds every answer against the contract and our document; and hands to set what no operation sets."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest
from aiohttp.test_utils import TestClient
from comfy_assets_node.comfy_assets import desktop
from comfy_assets_node.comfy_assets.db import tags as tag_rows
from comfy_assets_node.comfy_assets.host.execution import SubmittedPrompt
from comfy_assets_node.comfy_assets.jobs.submission import JobSubmission, submitting
from comfy_assets_node.routes import HOST_OPERATIONS, ROUTES, openapi
from support.contract import Contract, closed, contracts

sys.path.append(str(Path(__file__).resolve().parent))  # the tests' folders are no packages
from gated import gated, make_gated

__all__ = ["gated", "make_gated"]  # fixtures

_RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_ASSET_CONTENT = re.compile(r"/api/assets/[^/]+/content")
_HEAD = re.compile(r"/api/assets/hash/[^/]+")  # an operation that is asked with HEAD alone
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_formats = jsonschema.FormatChecker(formats=())


@_formats.checks("date-time")
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or _RFC3339_UTC.fullmatch(value) is not None


@_formats.checks("uuid")
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or _UUID.fullmatch(value) is not None


@_formats.checks("int64")
def _is_int64(value: object) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**63


@pytest.fixture(autouse=True)
def _no_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests open no folders on the desktop of whoever runs them."""
    monkeypatch.setattr(desktop, "has_desktop", lambda: False)


DOCUMENT = Contract(openapi.document(ROUTES, HOST_OPERATIONS))
CLOSED_DOCUMENT = Contract(closed(openapi.document(ROUTES, HOST_OPERATIONS)))


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True)
class Api:
    """Sends requests; every answer must be what the contract and the document say, and every error an ErrorResponse."""

    client: TestClient[Any, Any]
    user: str | None = None

    def as_user(self, user: str) -> Api:
        """The same, with requests of this user."""
        return replace(self, user=user)

    async def send(self, method: str, path: str, status: int | None = 200, **options: Any) -> Answer:
        """The answer, which must have this status (None: any)."""
        if isinstance(options.get("data"), bytes | str):
            options["headers"] = {"Content-Type": "application/json", **options.get("headers", {})}
        if self.user is not None:
            options["headers"] = {"comfy-user": self.user, **options.get("headers", {})}
        async with self.client.request(method, path, **options) as response:
            answer = Answer(response.status, response.headers, await response.read())
            if status is not None:
                assert answer.status == status, (method, str(response.url), answer.status, answer.body[:2000])
            self.check(method, str(response.url.raw_path), answer)
        return answer

    def check(self, method: str, path: str, answer: Answer) -> None:
        """Raises AssertionError, or jsonschema.ValidationError, for an answer that is not as it should be."""
        asked = "GET" if method == "HEAD" and not _HEAD.fullmatch(path) else method
        operation = DOCUMENT.operation(asked, path)
        is_said = operation is None or str(answer.status) in operation["responses"]
        assert is_said, f"the document does not say that {method} {path} answers {answer.status}: {answer.body!r}"
        if answer.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            return
        if method == "HEAD" or (_ASSET_CONTENT.fullmatch(path) and answer.status < 400):  # no body, or a file's
            return
        body = answer.json
        assert list(_nulls(body, "")) == []
        if operation is not None:
            # Others may say more than we know of.
            document = CLOSED_DOCUMENT if operation["x-answered-by"] == "project" else DOCUMENT
            self.validate(body, document.schema_of(document.operation(asked, path) or {}, answer.status) or {})
        for contract in contracts().values():
            if answer.status < 400 and operation and operation["operationId"] not in contract.operations:
                continue  # an extension at a path that looks like one of the contract's
            schema = contract.schema(method, unquote(path), answer.status)
            if schema is not None:
                self.validate(body, schema)

    @staticmethod
    def validate(body: Any, schema: Mapping[str, Any]) -> None:
        """Raises jsonschema.ValidationError when the body is not as the schema says."""
        jsonschema.Draft202012Validator(schema, format_checker=_formats).validate(body)

    async def get(self, path: str, status: int = 200, **parameters: Any) -> Any:
        """The JSON answer to a GET with these query parameters."""
        return (await self.send("GET", path, status, params=parameters)).json

    async def names(self, **parameters: Any) -> list[str]:
        """The names on a page of assets."""
        return [asset["name"] for asset in (await self.get("/api/assets", **parameters))["assets"]]

    async def error(self, path: str, status: int, parameters: Any = None, method: str = "GET") -> Any:
        """The body of an error."""
        return (await self.send(method, path, status, params=parameters)).json


# What users, nodes and servers bring along; it is handed on as it is.
_DOCUMENTS = frozenset({"metadata", "user_metadata", "details", "workflow", "prompt", "extra_data", "outputs"})
_DOCUMENTS |= {"preview_output", "workflow_json", "meta", "execution_meta", "execution_status"}
_NULLABLE = frozenset({"publish_time"})  # null where the contract says so: never published


def _nulls(value: Any, path: str) -> Iterable[str]:
    """Where nulls are; documents may hold some."""
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in _DOCUMENTS and not (item is None and key in _NULLABLE):
                yield from _nulls(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nulls(item, f"{path}[{index}]")


@pytest.fixture(scope="session")
def make_facts() -> Any:
    """The script that writes the facts of the contract."""
    import make_contract_facts  # needs this folder on the path, which the line at the top of this module adds

    return make_contract_facts


@pytest.fixture
def answer() -> type[Answer]:
    """Makes answers that nobody gave."""
    return Answer


@pytest.fixture
def api_of() -> Callable[[Any], Api]:
    """Make an Api for a library."""
    return lambda library: Api(library.client)


@pytest.fixture
def api(library: Any, api_of: Callable[[Any], Api]) -> Api:
    """Requests to the ``library``."""
    return api_of(library)


@dataclass(frozen=True)
class Hand:
    """Sets by SQL what no operation sets yet."""

    library: Any

    async def execute(self, sql: str, *parameters: Any) -> None:
        """Run one statement; it must change something."""
        async with self.library.services.db.transaction() as tx:
            assert await tx.execute(sql, parameters) > 0, sql

    async def user_metadata(self, name: str, value: Mapping[str, Any]) -> None:
        """Give the asset user metadata."""
        await self.execute("UPDATE assets SET user_metadata = ? WHERE name = ?", json.dumps(value), name)

    async def metadata(self, name: str, value: Mapping[str, Any]) -> None:
        """Let the content of the asset's file have this metadata."""
        await self.execute(
            "UPDATE contents SET metadata = ? WHERE id = (SELECT content_id FROM assets WHERE name = ?)",
            json.dumps(value),
            name,
        )

    async def belongs(self, name: str, owner: str, *names: str) -> None:
        """Let the asset belong to the owner ("" for all), with these tags."""
        async with self.library.services.db.transaction() as tx:
            place, given = tag_rows.split(names)
            tag_set = await tag_rows.intern(tx, owner, place)
            sql = "UPDATE assets SET tag_set_id = ? WHERE name = ?"
            assert await tx.execute(sql, (tag_set, name)) == 1, name
            [(row_id,)] = await tx.fetch_all("SELECT id FROM assets WHERE name = ?", (name,))
            await tx.execute("DELETE FROM asset_tags WHERE asset_id = ?", (row_id,))
            await tag_rows.retag(tx, [row_id], add=given)

    async def created(self, name: str, milliseconds: int) -> None:
        """Set when the asset was made."""
        await self.execute("UPDATE assets SET created_at = ? WHERE name = ?", milliseconds, name)


@pytest.fixture
def hand_of() -> Callable[[Any], Hand]:
    """Make a Hand for a library."""
    return Hand


@pytest.fixture
def hand(library: Any) -> Hand:
    """Sets things in the ``library``."""
    return Hand(library)


FILE = {"filename": "made_00001_.png", "subfolder": "", "type": "output"}
SUCCESS: Mapping[str, Any] = {"status_str": "success", "completed": True, "messages": []}
INTERRUPTED: Mapping[str, Any] = {
    "status_str": "error",
    "completed": False,
    "messages": [["execution_interrupted", {"node_id": "2", "node_type": "SaveImage", "executed": []}]],
}
ERROR: Mapping[str, Any] = {
    "node_id": "2",
    "node_type": "SaveImage",
    "exception_message": "it broke\n",
    "exception_type": "LookupError",
    "traceback": ["  File x, line 1\n"],
    "current_inputs": {"width": [1]},
    "current_outputs": ["1"],
}
GRAPH: Mapping[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 4, "height": 2}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}},
}
FIRST_CREATED = 1_700_000_000_000


class Prompts:
    """What a server and its worker do with prompts, each step when a test says so."""

    def __init__(self, library: Any) -> None:
        self.queue = library.host.execution
        self._numbers = itertools.count()

    def submit(self, owner: str = "", **more: Any) -> str:
        """A prompt enters the queue; answers its id. They are created a second apart."""
        number = next(self._numbers)
        extra = {"create_time": FIRST_CREATED + number * 1000, **more.get("extra", {})}
        prompt_id = more.get("prompt_id") or f"00000000-0000-4000-8000-{number:012d}"
        submission = JobSubmission(owner, more.get("workflow_id"), more.get("workflow_version_id"))
        secrets = frozenset(more.get("secrets", ()))
        with submitting(submission):
            self.queue.submit(
                SubmittedPrompt(more.get("number", number), prompt_id, more.get("graph", GRAPH), extra, ["2"], secrets)
            )
        return str(prompt_id)

    def start(self) -> str:
        return str(self.queue.start().prompt_id)

    def finish(self, outputs: Any = None, status: Any = SUCCESS, meta: Any = None) -> None:
        """The running prompt ends."""
        self.queue.finish({"2": {"images": [FILE]}} if outputs is None else outputs, status, meta)

    def fail(self, **change: Any) -> None:
        """The running prompt fails."""
        messages = [["execution_start", {}], ["execution_error", {**ERROR, **change}]]
        self.finish({}, {"status_str": "error", "completed": False, "messages": messages})

    def run(self, outputs: Any = None, status: Any = SUCCESS, meta: Any = None, **more: Any) -> str:
        """A prompt from its beginning to its end; nothing else may wait."""
        prompt_id = self.submit(**more)
        assert self.start() == prompt_id
        self.finish(outputs, status, meta)
        return prompt_id

    def one_of_each(self) -> dict[str, str]:
        """A job in each state there is, by the name of the state, created in this order."""
        ids = {"completed": self.run(), "failed": self.submit()}
        self.start()
        self.fail()
        ids["cancelled"] = self.submit()
        self.queue.cancel(ids["cancelled"])
        ids["in_progress"] = self.submit()
        self.start()
        ids["pending"] = self.submit()
        return ids


@pytest.fixture
def prompts_of() -> Callable[[Any], Prompts]:
    """Make Prompts for a library."""
    return Prompts


@pytest.fixture
def prompts(library: Any) -> Prompts:
    """Prompts in the queue of the ``library``."""
    return Prompts(library)


@pytest.fixture
def make_studio(tmp_path: Path, aiohttp_client: Any) -> Callable[..., Any]:
    """Serve Comfy API v2 on standalone hosts over ``tmp_path``. See ``v2_studio``."""
    import v2_studio  # needs this folder on the path, which the line at the top of this module adds

    return partial(v2_studio.serve, tmp_path, aiohttp_client)


@pytest.fixture
async def studio(make_studio: Callable[..., Any]) -> Any:
    """Serve Comfy API v2 on a standalone host."""
    return await make_studio()
