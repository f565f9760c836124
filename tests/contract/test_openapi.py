"""The project's own document: valid, complete, at least what the contract says, and served with its page."""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import jsonschema
import msgspec
import pytest
from comfy_assets_node.comfy_assets.app import Services
from comfy_assets_node.routes import HOST_OPERATIONS, INTERCEPTORS, ROUTES, openapi
from comfy_assets_node.routes.asset_body import AssetBody
from comfy_assets_node.routes.context import NoQuery, RequestContext
from comfy_assets_node.routes.openapi import Components
from comfy_assets_node.routes.operations import Record, Route
from comfy_assets_node.routes.server import docs_page
from openapi_spec_validator import OpenAPIV31SpecValidator
from support.contract import Contract, contracts

# What a service that is paid for answers, redirects to its storage, and what cannot happen: a setting that was never
# set is null, which the page reads.
NOT_HERE = {
    ("executePrompt", "402"), ("executePrompt", "429"), ("getAssetContent", "302"), ("viewFile", "302"),
    ("getQueueInfo", "400"), ("getPromptInfo", "401"), ("getPromptInfo", "500"), ("getSettingById", "404"),
}  # fmt: skip
# The page reads a setting bare; servers for several users do not tell `migrated`.
OTHERWISE = {"getSettingById", "getUsersInfo"}
# The stock server compares these with the text "true"; the others take several values where the contract knows of one.
TYPED_OTHERWISE = {("getUserdata", name) for name in ("recurse", "split", "full_info")}
TYPED_OTHERWISE |= {("listJobs", "status"), ("listTasks", "status")}
NOT_ERROR_RESPONSES = {
    "executePrompt", "getHealth", "getUserdata", "getUserdataFile", "postUserdataFile", "deleteUserdataFile",
    "moveUserdataFile", "checkAssetByHash", "listUserdataEntries",
    "addUser", "exchangeAuthorizationCode",
}  # fmt: skip
DOCUMENT = openapi.document(ROUTES, HOST_OPERATIONS)
OPERATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}


def query_of(route: Route) -> type[msgspec.Struct]:
    """What the endpoint parses the query with."""
    found: type[msgspec.Struct] = inspect.getclosurevars(route.handler).nonlocals["query"]
    return found


def test_it_is_valid() -> None:
    assert [str(error) for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_every_route_is_in_it_and_nothing_else() -> None:
    ours = {route.operation.id: (route.method, route.path) for route in ROUTES}
    hosts = {host.operation.id: (host.method, host.path) for host in HOST_OPERATIONS}
    assert ours.keys() & hosts.keys() == set()
    assert {name: (method, path) for name, (method, path, _) in OPERATIONS.items()} == {**hosts, **ours}


# The server's own history, which the contract has as history_v2, and lists of files that pages ask for.
OF_THE_SERVER_ALONE = {("GET", f"{prefix}/history{path}") for prefix in ("", "/api") for path in ("", "/{prompt_id}")}
OF_THE_SERVER_ALONE |= {("GET", "/internal/files/{directory_type}")}


def test_what_passes_through_is_in_it() -> None:
    through = {(interceptor.method, interceptor.path) for interceptor in INTERCEPTORS} - OF_THE_SERVER_ALONE
    documented = {(method, path) for method, path, _ in OPERATIONS.values()}
    plain = {(method, path) for method, path in through if not path.startswith(("/api/", "/internal/"))}
    of_plain = {(method, f"/api{path}") for method, path in plain} - {("GET", "/api/view_metadata/{folder_name}")}
    assert of_plain <= documented  # other paths of what is in it
    of_comfyui = {("GET", "/api/view_metadata/{folder_name}")}  # the contract has no such operation
    assert through - plain - of_comfyui <= documented


def test_a_route_without_a_description_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="operation"):
        Route("GET", "/api/secret", ROUTES[0].handler)  # type: ignore[call-arg]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation.id)
def test_the_query_is_that_of_the_endpoint(route: Route) -> None:
    hint = get_type_hints(inspect.unwrap(route.handler)).get("call", RequestContext[NoQuery])
    assert get_args(hint) == (query_of(route),)
    _, _, operation = OPERATIONS[route.operation.id]
    documented = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"}
    assert documented >= set(query_of(route).__struct_fields__)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation.id)
def test_the_answer_is_that_of_the_handler(route: Route) -> None:
    answer = get_type_hints(inspect.unwrap(route.handler)).get("return")
    if not (isinstance(answer, type) and issubclass(answer, msgspec.Struct)):
        return
    assert {each.schema for status, each in route.operation.responses.items() if status < 300} == {answer}


def schemas(node: Any) -> Any:
    """Every schema below a node."""
    if isinstance(node, list):
        for item in node:
            yield from schemas(item)
    elif isinstance(node, dict):
        if "properties" in node and isinstance(node["properties"], dict):
            yield node
        for value in node.values():
            yield from schemas(value)


def test_everything_is_said_in_words() -> None:
    silent = [
        name
        for name, (_, _, operation) in OPERATIONS.items()
        if not operation["summary"] or not all(p["description"] for p in operation.get("parameters", ()))
    ]
    assert silent == []
    for schema in schemas(DOCUMENT):
        missing = [
            name for name, member in schema["properties"].items() if member.keys().isdisjoint(("description", "$ref"))
        ]
        assert missing == [], schema
    assert [name for name, schema in DOCUMENT["components"]["schemas"].items() if not schema.get("description")] == []
    assert {tag["name"] for tag in DOCUMENT["tags"]} == {
        tag for *_, each in OPERATIONS.values() for tag in each["tags"]
    }


def test_names_of_schemas_are_unique_and_tell_no_module() -> None:
    components = Components()
    components.schema(Record("Asset", "A record.", {}))
    with pytest.raises(LookupError, match="two schemas are called Asset"):
        components.schema(AssetBody)
    assert all(re.fullmatch(r"[A-Z]\w+", name) for name in DOCUMENT["components"]["schemas"])
    assert openapi.document(ROUTES, HOST_OPERATIONS) == DOCUMENT


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_errors_are_error_responses(name: str) -> None:
    if name in NOT_ERROR_RESPONSES:
        return
    for status, answer in OPERATIONS[name][2]["responses"].items():
        if int(status) >= 400 and "content" in answer:
            assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorResponse"}


class TestBesideTheContract:
    """What the contract says, the document says too; it may say more."""

    @pytest.fixture(params=contracts())
    def theirs(self, request: pytest.FixtureRequest) -> Contract:
        return contracts()[request.param]

    def test_operations(self, theirs: Any) -> None:
        missing = {
            name: (method, path)
            for name, (method, path, _) in theirs.operations.items()
            if OPERATIONS[name][:2] != (method, path)
        }
        assert missing == {}

    def test_parameters_and_statuses(self, theirs: Any) -> None:
        for name, (_, _, operation) in theirs.operations.items():
            ours = OPERATIONS[name][2]
            parameters = {(p["in"], p["name"]) for p in operation.get("parameters", ())}
            assert parameters <= {(p["in"], p["name"]) for p in ours.get("parameters", ())}, name
            statuses = {status for status in operation["responses"] if (name, status) not in NOT_HERE}
            assert statuses <= ours["responses"].keys(), name

    def test_types_of_parameters(self, theirs: Contract) -> None:
        """Every value that the contract allows is allowed, and has the same type."""
        for name, (_, _, operation) in theirs.operations.items():
            ours = {p["name"]: p["schema"] for p in OPERATIONS[name][2].get("parameters", ())}
            for parameter in operation.get("parameters", ()):
                if (name, parameter["name"]) in TYPED_OTHERWISE:
                    continue
                wanted = values(parameter["schema"], theirs.components)
                given = values(ours[parameter["name"]], DOCUMENT["components"])
                assert wanted[0] == given[0], (name, parameter["name"])
                assert not given[1] or wanted[1] <= given[1], (name, parameter["name"])

    def test_required_members(self, theirs: Any) -> None:
        for name, (_, _, operation) in theirs.operations.items():
            for status, answer in operation["responses"].items():
                schema = answer.get("content", {}).get("application/json", {}).get("schema")
                if (name, status) in NOT_HERE or schema is None or name in OTHERWISE:
                    continue
                our_answer = OPERATIONS[name][2]["responses"][status]
                if "content" in our_answer:
                    wanted = required(schema, theirs.components)
                    ours = our_answer["content"]["application/json"]["schema"]
                    assert wanted <= required(ours, DOCUMENT["components"]), (name, status)


def resolved(schema: Any, components: Any) -> Any:
    while "$ref" in schema:
        schema = components["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def values(schema: Any, components: Any) -> tuple[tuple[str, ...], set[str]]:
    """The types of a parameter, from the outside in, and the values it may have where they are listed."""
    schema = resolved(schema, components)
    if schema.get("type") == "array":
        types, listed = values(schema["items"], components)
        return ("array", *types), listed
    return (schema.get("type", "string"),), set(schema.get("enum", ()))


def required(schema: Any, components: Any, path: str = "") -> set[str]:
    """The members that are always there, at every depth."""
    if "$ref" in schema:
        return required(components["schemas"][schema["$ref"].rpartition("/")[2]], components, path)
    found: set[str] = set()
    for part in schema.get("allOf", ()):
        found |= required(part, components, path)
    if isinstance(schema.get("items"), dict):
        found |= required(schema["items"], components, f"{path}[]")
    for name, member in schema.get("properties", {}).items():
        if name in schema.get("required", ()):
            found.add(f"{path}.{name}")
            found |= required(member, components, f"{path}.{name}")
    return found


@pytest.mark.parametrize(
    ("method", "path", "status", "body", "what"),
    [
        ("GET", "/api/tags", 200, {"tags": [], "total": 0, "has_more": False}, ""),
        ("GET", "/api/tags", 418, {}, "does not say"),
        ("GET", "/api/tags", 200, {"tags": [], "total": 0}, "required"),
        ("GET", "/api/tags", 200, {"tags": [], "total": 0, "has_more": False, "more": 1}, "Additional properties"),
        ("GET", "/api/jobs/x", 404, {"code": "JOB_NOT_FOUND"}, "required"),
        ("HEAD", "/api/tags", 418, {}, "does not say"),
        ("GET", "/nobody's", 218, {}, ""),
    ],
)
def test_the_check_of_answers_finds(
    api: Any, answer: Any, method: str, path: str, status: int, body: Any, what: str
) -> None:
    came = answer(status, {"Content-Type": "application/json"}, json.dumps(body).encode())
    if not what:
        api.check(method, path, came)
        return
    with pytest.raises((AssertionError, jsonschema.ValidationError), match=what):
        api.check(method, path, came)


async def test_it_is_served(library: Any) -> None:
    async with library.client.get("/api/openapi.json") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        assert await response.json() == DOCUMENT
        etag = response.headers["ETag"]
    async with library.client.get("/api/openapi.json", headers={"If-None-Match": etag}) as again:
        assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", etag)
    async with library.client.get("/api/openapi.json", headers={"If-None-Match": '"other"'}) as other:
        assert other.status == 200


async def test_it_is_made_once(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with library.client.get("/api/openapi.json") as response:
        first = await response.read()
    monkeypatch.setattr(openapi, "document", lambda *_: pytest.fail("it is made anew"))
    async with library.client.get("/api/openapi.json") as response:
        assert await response.read() == first


def test_a_server_that_starts_does_not_load_the_words() -> None:
    code = "import conftest, sys; print([name for name in sys.modules if 'routes.openapi' in name])"
    tests = Path(__file__).resolve().parents[1]
    ran = subprocess.run([sys.executable, "-c", code], cwd=tests, capture_output=True, text=True, timeout=60)
    assert (ran.stdout.strip(), ran.returncode) == ("[]", 0), ran.stderr


async def test_without_a_store(library: Any) -> None:
    services: Services = library.services
    await services.stop()
    for path in ("/api/openapi.json", "/api/docs"):
        async with library.client.get(path) as response:
            assert response.status == 200, path


async def test_the_page_needs_nothing_from_elsewhere(library: Any) -> None:
    async with library.client.get("/api/docs") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        text, policy, etag = (
            await response.text(),
            response.headers["Content-Security-Policy"],
            response.headers["ETag"],
        )
    async with library.client.get("/api/docs", headers={"If-None-Match": etag}) as again:
        assert again.status == 304
    assert re.findall(r'(?:src|href)="(?!#)([^"]*)"', text) == ["data:,", "openapi.json", "openapi.json"]
    assert "http://" not in text and "https://" not in text and "@import" not in text and "style=" not in text
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy


def test_the_script_puts_no_markup_together() -> None:
    text = docs_page().html.decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node to read the script with")
def test_the_script_is_one(tmp_path: Any) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", docs_page().html.decode(), re.DOTALL)
    file = tmp_path / "docs.js"
    file.write_text(script, encoding="utf-8")
    checked = subprocess.run(["node", "--check", str(file)], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
