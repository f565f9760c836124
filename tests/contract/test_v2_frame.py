"""Comfy API v2 as a whole: the envelope of errors, the ids of requests, addresses, and whose paths they are."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.errors import StoreUnavailableError
from comfy_assets_node.comfy_assets.host.guard import protect
from openapi_spec_validator import OpenAPIV31SpecValidator
from support.contract import Contract
from support.v2 import CONTRACT, DOCUMENT, V2Api

UNKNOWN = "/api/v2/assets/00000000-0000-4000-8000-000000000000"
Serve = Callable[..., Awaitable[V2Api]]


@pytest.fixture
async def serve(make_library: Any, aiohttp_client: Any, tmp_path: Any) -> AsyncIterator[Serve]:
    """Serve the routes of a host behind everything that a real one has in front of them."""

    async def serve(*others: tuple[str, str], login: bool = False, api_v2: bool | None = None) -> V2Api:
        library = await make_library(Config(scan_on_start=False, idle_thumbnails=False, api_v2=api_v2))
        if login:
            accounts = library.services.login.accounts()
            accounts.add_user("Ada", "member", None)
            accounts.set_enabled(True)
        plugin = library.host.plugin
        app = web.Application(middlewares=[plugin.middleware])
        protect(app, plugin.access, plugin.gate, plugin.outer)
        plugin.gate.keep_first(app)

        async def theirs(request: web.Request) -> web.Response:
            if request.query.get("status"):
                raise web.HTTPUnprocessableEntity(text="theirs")
            return web.json_response({"theirs": request.path})

        for method, path in others:
            app.router.add_route(method, path, theirs)
        (tmp_path / "page").mkdir(exist_ok=True)
        app.router.add_static("/", tmp_path / "page")
        client: TestClient[Any, Any] = await aiohttp_client(app)
        api = V2Api(client)
        object.__setattr__(api, "library", library)
        return api

    yield serve


def services_of(api: V2Api) -> Any:
    return api.library.services  # type: ignore[attr-defined]


class TestErrors:
    REFUSED = (
        ("GET", UNKNOWN, 404, "not_found"),
        ("GET", "/api/v2/assets/no-uuid", 404, "not_found"),
        ("GET", "/api/v2/nothing", 404, "not_found"),
        ("POST", "/api/v2/nothing", 404, "not_found"),
        ("GET", "/api/v2/assets/a/b/c", 404, "not_found"),
        ("GET", "/api/v2/", 404, "not_found"),
        ("PUT", UNKNOWN, 405, "method_not_allowed"),
        ("DELETE", "/api/v2/openapi.json", 405, "method_not_allowed"),
    )

    async def test_every_refusal_has_the_envelope(self, serve: Serve) -> None:
        api = await serve()
        for method, path, status, code in self.REFUSED:
            error = (await api.send(method, path, status)).error
            assert error["code"] == code
            assert error["message"]
            if method == "GET":
                await api.send("HEAD", path, status)

    async def test_a_wrong_method_says_which_are_right(self, serve: Serve) -> None:
        answer = await (await serve()).send("PATCH", UNKNOWN, 405)
        allowed = set(answer.headers["Allow"].split(", "))
        assert {"GET", "HEAD"} <= allowed
        assert set(answer.error["details"]["allowed"]) == allowed

    async def test_of_the_login(self, serve: Serve) -> None:
        api = await serve(login=True)
        answer = await api.send("GET", UNKNOWN, 401)
        assert (answer.error["code"], answer.error["details"]) == ("unauthorized", {"reason": "SIGN_IN_REQUIRED"})
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        await api.with_headers(Authorization="Bearer wrong").send("GET", UNKNOWN, 401)
        accounts = services_of(api).login.accounts()
        token = accounts.create_token("Ada", "t", ["read"])[1]
        reading = api.with_headers(Authorization=f"Bearer {token}")
        assert (await reading.send("GET", UNKNOWN, 404)).error["code"] == "not_found"
        refused = (await reading.send("POST", "/api/v2/nothing", 403)).error
        assert (refused["code"], refused["details"]["reason"]) == ("forbidden", "NOT_PERMITTED")

    async def test_what_a_token_permits(self, serve: Serve) -> None:
        api = await serve(login=True)
        accounts = services_of(api).login.accounts()
        tokens = {scope: accounts.create_token("Ada", scope, [scope])[1] for scope in ("read", "write", "run")}
        reading, writing, running = (
            api.with_headers(Authorization=f"Bearer {tokens[scope]}") for scope in ("read", "write", "run")
        )
        for method, path in (("POST", "/api/v2/assets"), ("POST", "/api/v2/assets/from-hash"), ("DELETE", UNKNOWN)):
            for refused in (reading, running):
                assert (await refused.send(method, path, 403)).error["details"]["scopes"] == ["write"]
        await writing.send("DELETE", UNKNOWN, 404)
        await writing.send("POST", "/api/v2/assets/from-hash", 422, json={})
        await reading.send("HEAD", "/api/v2/assets/by-hash/x", 404)
        for path in ("/api/v2/jobs", "/api/v2/jobs/x/cancel"):
            assert (await writing.send("POST", path, 403)).error["details"]["scopes"] == ["run"]

    async def test_of_the_access_checks(self, serve: Serve) -> None:
        api = await serve()
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            answer = await api.with_headers(**headers).send("GET", UNKNOWN, 403)
            assert answer.error["code"] == "forbidden"

    async def test_of_the_store(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        api = await serve()

        async def fail(*_: Any) -> None:
            raise StoreUnavailableError("It is away.")

        monkeypatch.setattr(services_of(api), "ready", fail)
        answer = await api.send("GET", UNKNOWN, 503)
        assert answer.error == {"code": "store_unavailable", "message": "It is away.", "details": None}
        assert int(answer.headers["Retry-After"]) > 0

    async def test_unexpected_ones_tell_nothing(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        api = await serve()

        async def fail(*_: Any) -> None:
            raise LookupError("a secret")

        monkeypatch.setattr(services_of(api), "ready", fail)
        answer = await api.send("GET", UNKNOWN, 500)
        assert answer.error["code"] == "upstream_error"
        assert b"secret" not in answer.body


async def test_every_answer_has_an_id_of_its_own(serve: Serve) -> None:
    api = await serve()
    paths = [("GET", UNKNOWN, 404), ("GET", "/api/v2/nothing", 404), ("GET", "/api/v2/openapi.json", 200)] * 2
    ids = {(await api.send(*each)).headers["X-Comfy-Request-Id"] for each in paths}
    assert len(ids) == len(paths)
    assert all(re.fullmatch(r"[A-Za-z0-9._:+/=@-]{1,200}", each) for each in ids)


class TestWhoseItIs:
    """The server's own routes below the prefix stay its own."""

    THEIRS = (("GET", "/api/v2/userdata"), ("GET", "/api/v2/manager/{name}"))

    async def test_other_routes_of_the_server_are_left_alone(self, serve: Serve) -> None:
        api = await serve(*self.THEIRS)
        async with api.client.get("/api/v2/manager/x", params={"status": "1"}) as response:
            assert (response.status, await response.text()) == (422, "theirs")
            assert "X-Comfy-Request-Id" not in response.headers
        async with api.client.get("/api/v2/userdata") as response:
            assert await response.json() == {"theirs": "/api/v2/userdata"}
        async with api.client.post("/api/v2/userdata") as response:
            assert response.status == 405
            assert not response.headers["Content-Type"].startswith("application/json")
        await api.send("GET", UNKNOWN, 404)

    @pytest.mark.parametrize("path", ["/api/v2/jobs/{id}", "/api/v2/assets", "/api/v2/{rest}", "/api/v2"])
    async def test_a_server_that_has_it_keeps_it(self, serve: Serve, path: str) -> None:
        api = await serve(("GET", path))
        async with api.client.get(UNKNOWN) as response:
            assert response.status == 404
            assert "X-Comfy-Request-Id" not in response.headers

    async def test_the_setting_decides(self, serve: Serve) -> None:
        api = await serve(("GET", "/api/v2/assets/{id}"), api_v2=True)
        assert (await api.send("GET", UNKNOWN, 404)).error["code"] == "not_found"

    async def test_the_setting_turns_it_off(self, serve: Serve) -> None:
        api = await serve(api_v2=False)
        for path in (UNKNOWN, "/api/v2/openapi.json"):
            async with api.client.get(path) as response:
                assert response.status == 404
                assert "X-Comfy-Request-Id" not in response.headers


class TestAssets:
    @pytest.fixture
    async def asset(self, serve: Serve) -> tuple[V2Api, str]:
        api = await serve()
        library: Any = api.library  # type: ignore[attr-defined]
        library.write("input/sub/photo ä.png", b"x" * 5)
        await library.scan()
        [[asset_id]] = await services_of(api).db.fetch_all("SELECT uuid FROM assets")
        return api, asset_id

    async def test_an_asset(self, asset: tuple[V2Api, str]) -> None:
        api, asset_id = asset
        body = (await api.send("GET", f"/api/v2/assets/{asset_id}")).json
        assert (body["id"], body["size_bytes"], body["file_path"]) == (asset_id, 5, "sub/photo ä.png")
        assert body["hash"].startswith("blake3:")
        assert (body["job_id"], body["expires_at"]) == (None, None)
        assert body["created_at"].endswith("Z") and body["url_expires_at"].endswith("Z")
        assert body["url"] == str(api.client.make_url(f"/api/v2/assets/{asset_id}/content"))

    ROOTS: tuple[tuple[dict[str, str], str], ...] = (
        ({"Host": "localhost:81"}, "http://localhost:81"),
        ({"Host": "[::1]"}, "http://[::1]"),
        ({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "studio.example"}, "https://studio.example"),
        ({"Host": "a", "X-Forwarded-Prefix": "/comfy/"}, "http://a/comfy"),
        ({"Host": "a", "X-Forwarded-Prefix": "//evil.example"}, "http://a"),
        ({"Host": "a", "X-Forwarded-Prefix": '/"x'}, "http://a"),
        ({"Host": "a", "X-Forwarded-Host": "b/c"}, "http://a"),
    )

    async def test_addresses_are_as_the_client_reaches_it(self, asset: tuple[V2Api, str]) -> None:
        api, asset_id = asset
        for headers, root in self.ROOTS:
            body = (await api.with_headers(**headers).send("GET", f"/api/v2/assets/{asset_id}")).json
            assert body["url"] == f"{root}/api/v2/assets/{asset_id}/content", headers


class TestDocument:
    async def test_it_is_served(self, serve: Serve) -> None:
        answer = await (await serve()).send("GET", "/api/v2/openapi.json")
        assert answer.json == DOCUMENT

    def test_it_is_valid(self) -> None:
        assert [str(error) for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []

    def test_errors_are_named_as_they_are_sent(self) -> None:
        responses = DOCUMENT["paths"]["/api/v2/assets/{id}"]["get"]["responses"]
        assert {"404", "401", "503", "500"} <= responses.keys()
        assert "`not_found`" in responses["404"]["description"]
        assert all("X-Comfy-Request-Id" in response["headers"] for response in responses.values())

    # What a service that is paid for answers, redirects to its storage, and limits that it has for each account.
    NOT_HERE = frozenset(
        {("getAssetContent", "302"), ("postJobs", "402"), ("getJobEvents", "501"), ("postJobs", "403")}
        | {(name, "429") for name in ("getJob", "getJobWorkflow", "cancelJob")}
    )

    def test_it_says_what_the_contract_says(self) -> None:
        """Of every operation of the contract: its parameters, and its statuses but 403, which any request can get."""
        ours = Contract(DOCUMENT).operations
        for name, (method, path, operation) in CONTRACT.operations.items():
            assert ours[name][:2] == (method, path)
            told = {(name, status) for status in ours[name][2]["responses"]}
            wanted = {(name, status) for status in operation["responses"]} - self.NOT_HERE
            assert wanted - told == {(name, "403")} & wanted, name
            parameters = {(each["in"], each["name"]) for each in operation["parameters"]}
            assert parameters <= {(each["in"], each["name"]) for each in ours[name][2].get("parameters", ())}, name

    def test_its_bodies_have_every_member_of_the_contract(self) -> None:
        schemas = DOCUMENT["components"]["schemas"]
        for name in ("Asset", "ErrorEnvelope", "Job", "Output", "Progress", "JobError", "JobUrls"):
            wanted, own = CONTRACT.components["schemas"][name], schemas[name]
            assert set(wanted["properties"]) <= set(own["properties"]), name
            assert set(wanted["required"]) <= set(own["required"]), name
