"""Views of administrators, guests and outsiders; deletions and administrators' actions in the audit log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from comfy_assets_node.comfy_assets.login.store import AUDIT_FILE_NAME
from gated import Gated, Make
from support.files import picture

USERS = frozenset({"default", "Root", "former"})


def audit(gated: Gated, event: str) -> list[dict[str, Any]]:
    gated.login.refresh_now()
    lines = [json.loads(line) for line in (gated.folder / AUDIT_FILE_NAME).read_text(encoding="utf-8").splitlines()]
    return [each for each in lines if each["event"] == event]


async def saved(gated: Gated, headers: dict[str, str], name: str) -> str:
    """Save a workflow as the user of some headers, and return its id."""
    body = {"name": name, "workflow_json": {"nodes": []}}
    response = await gated.send("POST", "/api/workflows", json=body, headers=headers)
    assert response.status == 201
    return str((await response.json())["id"])


async def names(gated: Gated, headers: dict[str, str], query: str = "") -> list[str]:
    response = await gated.send("GET", f"/api/workflows{query}", headers=headers)
    assert response.status == 200, await response.text()
    return [each["name"] for each in (await response.json())["data"]]


@pytest.fixture
async def several(make_gated: Make) -> Gated:
    return await make_gated(users=USERS)


# An administrator in the place of another user.


@pytest.mark.parametrize("kind", ["cookie", "token"])
async def test_an_administrator_acts_in_the_place_of_a_user(several: Gated, kind: str) -> None:
    ada, root = several.token("write"), await several.cookie("Root")
    if kind == "token":
        root = several.token("admin", user="Root")
    workflow = await saved(several, ada, "adas")
    assert await names(several, root) == []
    for query in ("?user=Ada", "?user=ada", "?limit=5&user=ADA"):
        assert await names(several, root, query) == ["adas"]
    told = await (await several.send("GET", "/api/user?user=Ada", headers=root)).json()
    assert told["id"] == "Ada"
    told = await (await several.send("GET", "/object_info?user=Ada&a=1", headers=root)).json()
    assert told["user"] == "Ada" and told["query"] == {"a": "1"}, "the host gets the request without the choice"
    assert (await several.send("DELETE", f"/api/workflows/{workflow}?user=Ada", headers=root)).status == 204
    assert await names(several, ada) == []
    (line,) = audit(several, "deleted")
    assert (line["user"], line["path"]) == ("Root", f"/api/workflows/{workflow}")
    changes = [each for each in audit(several, "acted_as") if each["method"] == "DELETE"]
    assert [(each["user"], each["acted_as"]) for each in changes] == [("Root", "Ada")]


async def test_a_user_whom_the_login_does_not_know_any_more(several: Gated) -> None:
    root = await several.cookie("Root")
    told = await (await several.send("GET", "/api/user?user=former", headers=root)).json()
    assert told["id"] == "former"
    response = await several.send("GET", "/api/workflows?user=nobody", headers=root)
    assert response.status == 404 and (await response.json())["code"] == "LOGIN_RECORD_NOT_FOUND"
    assert "nobody" not in several.library.host.user_ids()


async def test_nobody_else_acts_in_anothers_place(several: Gated) -> None:
    root, reached = several.token("write"), "/api/workflows?user=Root"
    await saved(several, several.token("write", user="Root"), "roots")
    for headers in (several.token("read", user="Root"), root, await several.cookie(), await several.cookie("Guest")):
        wanted = "/api/workflows?user=Ada" if headers is not root and "X-API-Key" in headers else reached
        response = await several.send("GET", wanted, headers=headers)
        assert response.status == 403 and (await response.json())["details"]["scopes"] == ["admin"]
    assert await names(several, root, "?user=Ada") == [], "in one's own place there is nothing to it"
    for query in ("?user=Ada&user=Root", "?user=Root&user=Ada"):
        response = await several.send("GET", f"/api/workflows{query}", headers=await several.cookie("Root"))
        assert response.status in (200, 403)
    assert (await several.send("GET", reached)).status == 401


async def test_a_packs_own_parameter_is_left_alone(several: Gated) -> None:
    for headers in (await several.cookie("Root"), await several.cookie()):
        told = await (await several.send("GET", "/pack/list?user=Ada", headers=headers)).json()
        assert told["query"] == {"user": "Ada"}
        assert told["user"] == ("Ada" if headers is not None and told["user"] == "Ada" else "Root")


async def test_reading_in_anothers_place_is_noted_once_an_hour(several: Gated) -> None:
    root = await several.cookie("Root")
    for _ in range(5):
        await names(several, root, "?user=Ada")
    assert [(each["user"], each["acted_as"]) for each in audit(several, "acted_as")] == [("Root", "Ada")]


async def test_on_a_server_for_one_user_there_is_no_choice(make_gated: Make) -> None:
    gated = await make_gated()
    for headers in (gated.token("read"), await gated.cookie("Root")):
        told = await (await gated.send("GET", "/queue?user=Ada", headers=headers)).json()
        assert told["query"] == {"user": "Ada"}


# Guests


async def test_a_guest_of_a_server_for_one_user_sees_what_is_public(make_gated: Make) -> None:
    gated = await make_gated()
    for headers in (await gated.cookie("Guest"), gated.token("read", user="Guest")):
        for path in ("/queue", "/view", "/api/assets", "/api/jobs", "/api/workflows", "/api/tags", "/object_info"):
            response = await gated.send("GET", path, headers=headers)
            assert response.status == 403 and (await response.json())["code"] == "NOT_PERMITTED", path
        for path in ("/", "/script.js", "/api/user", "/login", "/health", "/api/openapi.json", "/users"):
            assert (await gated.send("GET", path, headers=headers)).status == 200, path
        response = await gated.send("GET", f"/api/workflows/published/{'0' * 36}", headers=headers)
        assert response.status == 404
    assert (await gated.send("GET", "/queue", headers=gated.token("read"))).status == 200, "members see more"


async def test_a_guest_of_a_server_for_several_users_sees_what_is_public(several: Gated) -> None:
    await saved(several, several.token("write"), "adas")
    several.library.write("models/loras/public.safetensors", b"public")
    await several.library.scan()
    for headers in (await several.cookie("Guest"), several.token("read", user="Guest")):
        assert await names(several, headers) == []
        listed = await (await several.send("GET", "/api/assets", headers=headers)).json()
        assert [each["name"] for each in listed["assets"]] == ["public.safetensors"]
        for method, path in (("POST", "/prompt"), ("POST", "/api/workflows"), ("DELETE", "/api/assets/x")):
            assert (await several.send(method, path, headers=headers)).status == 403


async def test_files_by_their_name_are_their_owners(several: Gated) -> None:
    """With the login, the cookie says who asks for an image, which a page sends without any other name."""
    ada, bob = several.token("write"), several.token("write", user="Root")
    content = picture(1, size=(80, 40))
    form = aiohttp.FormData()
    form.add_field("file", content, filename="adas.png", content_type="image/png")
    form.add_field("tags", json.dumps(["input"]))
    response = await several.send("POST", "/api/assets", data=form, headers=ada)
    assert response.status == 201, await response.text()
    name = (await response.json())["file_path"].rpartition("/")[2]
    several.library.write("input/public.png", picture(2, size=(80, 40)))
    await several.library.scan()
    guest = await several.cookie("Guest")
    for path in ("/view", "/api/view"):
        for query in ("", "&res=64", "&preview=webp", "&subfolder=."):
            if path == "/view" and query == "&res=64":
                continue
            for headers, status in ((ada, 200), (bob, 404), (guest, 404)):
                response = await several.send("GET", f"{path}?type=input&filename={name}{query}", headers=headers)
                assert response.status == status, (path, query, await response.text())
                response = await several.send("GET", f"{path}?type=input&filename=public.png{query}", headers=headers)
                assert response.status == 200, (path, query)
    response = await several.send("GET", f"/view?filename={name}%20[input]", headers=bob)
    assert response.status == 404
    response = await several.send(
        "GET", f"/view?type=input&filename={name}&user=Ada", headers=await several.cookie("Root")
    )
    assert response.status == 200, "an administrator in Ada's place"


# Shares for outsiders


@pytest.fixture(params=[None, USERS], ids=["one user", "several users"])
async def shared(request: Any, make_gated: Make) -> tuple[Gated, dict[str, str], str]:
    """A server, Ada's token, and the id of an asset of hers whose workflow she can publish."""
    gated = await make_gated(users=request.param)
    ada = gated.token("write")
    gated.library.write("models/loras/ink.safetensors", b"ink")
    gated.library.write("input/photo.png", picture(1, size=(8, 4)))
    await gated.library.scan()
    await saved(gated, ada, "portrait")
    listed = await (await gated.send("GET", "/api/assets?name_contains=photo", headers=ada)).json()
    return gated, ada, listed["assets"][0]["id"]


PUBLISH = "/api/userdata/workflows%2Fportrait.json/publish"


async def publish(gated: Gated, ada: dict[str, str], asset_id: str, **more: Any) -> Any:
    response = await gated.send("POST", PUBLISH, json={"asset_ids": [asset_id], **more}, headers=ada)
    assert response.status == 200, await response.text()
    return await response.json()


async def test_a_share_is_closed_to_outsiders_unless_its_owner_opens_it(
    shared: tuple[Gated, dict[str, str], str],
) -> None:
    gated, ada, asset_id = shared
    share = await publish(gated, ada, asset_id)
    path = f"/api/workflows/published/{share['share_id']}"
    content = share["assets"][0]["storage_url"]
    assert share["open"] is False
    for each in (path, content):
        assert (await gated.send("GET", each)).status == 401
        assert (await gated.send("GET", each, headers=await gated.cookie("Guest"))).status == 200
    opened = await publish(gated, ada, asset_id, open=True)
    assert opened["open"] is True and opened["share_id"] == share["share_id"]
    content = opened["assets"][0]["storage_url"]
    response = await gated.send("GET", path)
    told = await response.json()
    assert response.status == 200 and told["assets"][0]["in_library"] is False, "nothing of anybody's library is told"
    for each in (content, f"{content}?res=64", f"{content}?disposition=inline"):
        assert (await gated.send("GET", each)).status == 200
        assert (await gated.send("HEAD", each)).status == 200
    assert (await publish(gated, ada, asset_id))["open"] is True, "publishing again leaves it open"
    assert (await (await gated.send("GET", PUBLISH, headers=ada)).json())["open"] is True
    assert (await publish(gated, ada, asset_id, open=False))["open"] is False
    assert (await gated.send("GET", path)).status == 401
    await publish(gated, ada, asset_id, open=True)
    assert (await gated.send("DELETE", PUBLISH, headers=ada)).status == 204
    assert (await gated.send("GET", path)).status == 401


async def test_everything_else_stays_closed_to_outsiders(shared: tuple[Gated, dict[str, str], str]) -> None:
    gated, ada, asset_id = shared
    share = await publish(gated, ada, asset_id, open=True)
    path = f"/api/workflows/published/{share['share_id']}"
    others = [
        ("POST", path), ("DELETE", path), ("GET", f"{path}/"), ("GET", f"/{path}"), ("GET", f"{path}/assets"),
        ("GET", f"{path}/../../../assets"), ("GET", f"{path}/assets/x/content"), ("GET", f"{path}%2F..%2F..%2Fassets"),
        ("GET", path.upper()), ("GET", path.replace("published", "%70ublished")), ("GET", PUBLISH),
        ("GET", f"/api/assets/{asset_id}"), ("GET", "/queue"), ("GET", "/"), ("POST", "/api/assets/import"),
        ("GET", f"/api/workflows/{share['workflow_id']}"), ("GET", "/api/workflows/published/" + "0" * 36),
        ("GET", f"{path}/assets/{asset_id}/content/x"),
    ]  # fmt: skip
    for method, each in others:
        body = {"published_asset_ids": [], "share_id": share["share_id"]} if method == "POST" else None
        for headers in ({}, {"comfy-user": "Root", "X-Forwarded-User": "Root"}):
            response = await gated.send(method, each, json=body, headers=headers)
            assert response.status == 401, (method, each, response.status)
    named = {"comfy-user": "Root"}
    told = await (await gated.send("GET", path, headers=named)).json()
    assert told["assets"][0]["in_library"] is False, "a user's name is no way to what they have"
    assert (await gated.send("GET", f"{path}/assets/{asset_id}/content")).status == 404, "the owner's id of the asset"
    await gated.library.services.stop()
    assert (await gated.send("GET", path)).status == 401, "without the store nothing is open"


# Deletions in the audit log


async def test_deletions_are_in_the_audit_log_without_their_content(make_gated: Make) -> None:
    gated = await make_gated()
    ada = gated.token("write", "run")
    workflow = await saved(gated, ada, "secret name")
    for number in range(3):
        gated.library.write(f"input/secret{number}.png", picture(number, size=(8, 4)))
    await gated.library.scan()
    listed = await (await gated.send("GET", "/api/assets?include_tags=input", headers=ada)).json()
    first, second, third = [each["id"] for each in listed["assets"]]
    requests: list[tuple[str, str, Any, dict[str, str]]] = [
        ("DELETE", f"/api/workflows/{workflow}", None, {"path": f"/api/workflows/{workflow}"}),
        ("DELETE", f"/api/assets/{first}", None, {"path": f"/api/assets/{first}"}),
        ("POST", "/api/assets/batch", {"action": "trash", "ids": [second], "wait": 10}, {"assets": "1"}),
        ("POST", "/api/trash/empty", {}, {"path": "/api/trash/empty"}),
        ("POST", "/api/history", {"clear": True}, {"path": "/api/history"}),
    ]
    for number, (method, path, body, facts) in enumerate(requests, 1):
        response = await gated.send(method, path, json=body, headers=ada)
        assert response.status < 300, (path, await response.text())
        lines = audit(gated, "deleted")
        assert len(lines) == number and lines[-1]["user"] == "Ada", path
        assert facts.items() <= lines[-1].items()
    refused = [("DELETE", f"/api/assets/{third}", gated.token("read")), ("DELETE", "/api/assets/x", ada)]
    for method, path, headers in refused:
        assert (await gated.send(method, path, headers=headers)).status >= 400
    tagged = {"action": "tag", "ids": [third], "tags": ["x"], "wait": 10}
    assert (await gated.send("POST", "/api/assets/batch", json=tagged, headers=ada)).status < 300
    assert len(audit(gated, "deleted")) == len(requests)
    assert "secret" not in (Path(gated.folder) / AUDIT_FILE_NAME).read_text(encoding="utf-8")
