"""Ids that the server's own asset feature gives to files: in outputs, in answers to uploads, and in its table."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData, web
from support.files import picture


@dataclass(frozen=True)
class Finished:
    """A prompt that has ended, as hosts report it."""

    prompt_id: str
    outputs: Mapping[str, Any]


async def made(library: Any, prompts: Any, *files: tuple[str, str], owner: str = "", key: str = "images") -> str:
    """End a job whose files, written before, have these ids; return the job's id."""
    shown = [{"filename": Path(f).name, "subfolder": "", "type": "output", "id": given} for f, given in files]
    outputs = {"9": {key: shown}}
    job_id = prompts.run(outputs, owner=owner)
    library.host.hooks.notify(Finished(job_id, outputs))
    await library.services.outputs.drain()
    return str(job_id)


async def test_every_operation_takes_the_id_of_an_output(library: Any, api: Any, prompts: Any) -> None:
    given, other = str(uuid.uuid4()), str(uuid.uuid4())
    content = picture(1)
    library.write("output/a.png", content)
    library.write("output/b.png", picture(2))
    await made(library, prompts, ("a.png", given.upper()), ("b.png", other))
    asset = await library.asset("a.png")
    assert asset["id"] != given
    url = f"/api/assets/{given}"
    for spelled in (url, f"/api/assets/{given.upper()}", f"/api/assets/{given.replace('-', '')}"):
        assert (await api.get(spelled))["id"] == asset["id"]
    assert (await api.send("GET", f"{url}/content")).body == content
    changed = (await api.send("PUT", url, json={"name": "mine.png", "preview_id": other})).json
    assert (changed["id"], changed["name"]) == (asset["id"], "mine.png")
    assert changed["preview_id"] == (await library.asset("b.png"))["id"]
    assert "mine" in (await api.send("POST", f"{url}/tags", json={"tags": ["mine"]})).json["total_tags"]
    assert "mine" not in (await api.send("DELETE", f"{url}/tags", json={"tags": ["mine"]})).json["total_tags"]
    await api.send("DELETE", url, 204)
    assert await api.names() == ["b.png"]
    await api.send("GET", url, 404)
    assert (await api.send("POST", f"{url}/restore")).json["id"] == asset["id"]
    assert (await api.get(url))["name"] == "mine.png"


async def test_an_upload_names_its_preview_by_such_an_id(library: Any, api: Any, prompts: Any) -> None:
    given = str(uuid.uuid4())
    library.write("output/a.png", picture(1))
    await made(library, prompts, ("a.png", given))
    form = FormData()
    form.add_field("file", picture(2), filename="b.png")
    form.add_field("tags", '["input"]')
    form.add_field("preview_id", given)
    created = (await api.send("POST", "/api/assets", 201, data=form)).json
    assert created["preview_id"] == (await library.asset("a.png"))["id"]


async def test_the_id_follows_its_asset(library: Any, api: Any, prompts: Any) -> None:
    """To where the file is moved, and to the asset of the file that is written over it."""
    given = str(uuid.uuid4())
    library.write("output/a.png", picture(1))
    await made(library, prompts, ("a.png", given))
    before = await api.get(f"/api/assets/{given}")
    (library.base / "output/sub").mkdir()
    (library.base / "output/a.png").rename(library.base / "output/sub/a.png")
    await library.scan()
    moved = await api.get(f"/api/assets/{given}")
    assert (moved["id"], moved["file_path"]) == (before["id"], "output/sub/a.png")
    # The server numbers files anew, and gives the same id to the same path.
    content = picture(3)
    library.write("output/a.png", content)
    await made(library, prompts, ("a.png", given))
    assert (await api.send("GET", f"/api/assets/{given}/content")).body == content
    assert (await api.get(f"/api/assets/{before['id']}"))["file_path"] == "output/sub/a.png"


@pytest.mark.parametrize("given", ["x", "", 5, None, [], "0", "../x"])
async def test_what_is_no_id_is_no_alias(library: Any, api: Any, prompts: Any, given: Any) -> None:
    library.write("output/a.png", picture(1))
    await made(library, prompts, ("a.png", given))
    assert await api.names() == ["a.png"]
    assert (await library.services.db.fetch_all("SELECT count(*) FROM asset_aliases"))[0][0] == 0


async def test_an_id_of_ours_stays_its_assets(library: Any, api: Any, prompts: Any) -> None:
    """A node cannot lead the id of another asset, or another's alias, to its own file."""
    library.write("output/a.png", picture(1))
    library.write("output/b.png", picture(2))
    await library.scan()
    a = (await library.asset("a.png"))["id"]
    await made(library, prompts, ("b.png", a))
    assert (await api.get(f"/api/assets/{a}"))["name"] == "a.png"


async def test_ids_of_others(make_library: Any, api_of: Any, prompts_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    ann, bob, prompts = api_of(library).as_user("ann"), api_of(library).as_user("bob"), prompts_of(library)
    given = str(uuid.uuid4())
    for red, (user, name) in enumerate((("ann", "a.png"), ("bob", "b.png")), 1):
        library.write(f"output/{name}", picture(red))
        await made(library, prompts, (name, given), owner=user)  # the second would be Bob's taking of Ann's id
    assert (await ann.get(f"/api/assets/{given}"))["name"] == "a.png"
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", ""), ("POST", "/restore")):
        refused = await bob.send(method, f"/api/assets/{given}{path}", 404)
        assert refused.json["code"] == "ASSET_NOT_FOUND"
    # The server's table is asked for ids of anybody: whose file it is decides here.
    told = str(uuid.uuid4())
    library.host.ids_of_files = {told: library.base / "output/a.png"}
    await bob.get(f"/api/assets/{told}", 404)
    assert (await ann.get(f"/api/assets/{told}"))["name"] == "a.png"
    await bob.get(f"/api/assets/{told}", 404)


async def test_the_servers_table_is_asked(library: Any, api: Any) -> None:
    """For ids that were given while nobody listened: those of known files, of new ones, and of others."""
    content = picture(1)
    known = library.write("output/a.png", content)
    await library.scan()
    new = library.write("input/sub/b.png", picture(2))
    names = ("known", "new", "gone", "elsewhere")
    ids = {name: str(uuid.uuid4()) for name in names}
    library.host.ids_of_files = {
        ids["known"]: known,
        ids["new"]: new,
        ids["gone"]: library.base / "output/gone.png",
        ids["elsewhere"]: library.write("secret.png", picture(3)),
    }
    assert (await api.send("GET", f"/api/assets/{ids['known']}/content")).body == content
    assert (await api.get(f"/api/assets/{ids['new']}"))["file_path"] == "input/sub/b.png"
    for name in ("gone", "elsewhere"):
        assert (await api.get(f"/api/assets/{ids[name]}", 404))["code"] == "ASSET_NOT_FOUND"
    # From now on they are known here, whatever becomes of the server's table.
    library.host.ids_of_files = {}
    assert (await api.get(f"/api/assets/{ids['known']}"))["name"] == "a.png"
    await api.send("DELETE", f"/api/assets/{ids['new']}", 204)
    await api.get(f"/api/assets/{ids['new']}", 404)


async def test_a_file_of_a_job_that_runs(library: Any, api: Any, prompts: Any) -> None:
    """Pages get its id at once; only with several users does it stay unknown until its owner is known."""
    given = str(uuid.uuid4())
    path = library.write("output/a.png", picture(1))
    library.host.ids_of_files = {given: path}
    prompts.submit()
    prompts.start()
    asset = await api.get(f"/api/assets/{given}")
    outputs = {"9": {"images": [{"filename": "a.png", "subfolder": "", "type": "output", "id": given}]}}
    running = library.host.execution.running.prompt_id
    prompts.finish(outputs)
    library.host.hooks.notify(Finished(running, outputs))
    await library.services.outputs.drain()
    after = await api.get(f"/api/assets/{given}")
    assert (after["id"], after["job_id"]) == (asset["id"], running)


async def test_a_file_of_anothers_running_job(make_library: Any, api_of: Any, prompts_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    given = str(uuid.uuid4())
    library.host.ids_of_files = {given: library.write("output/a.png", picture(1))}
    prompts_of(library).submit(owner="ann")
    prompts_of(library).start()
    for user in ("ann", "bob"):
        await api_of(library).as_user(user).get(f"/api/assets/{given}", 404)
    assert await library.services.db.fetch_all("SELECT name FROM assets") == []


@pytest.mark.parametrize("users", [None, frozenset({"ann", "bob"})])
async def test_the_id_of_an_upload(make_library: Any, api_of: Any, users: Any, aiohttp_client: Any) -> None:
    library = await make_library(users=users)
    ids = [str(uuid.uuid4()), str(uuid.uuid4())]
    given = list(ids)

    async def upload(request: web.Request) -> web.Response:
        form = await request.post()
        image: Any = form["image"]
        (library.base / "input" / image.filename).write_bytes(image.file.read())
        answer = {"name": image.filename, "subfolder": "", "type": "input"}
        return web.json_response({**answer, "asset": {"id": ids.pop(0), "name": image.filename, "tags": ["input"]}})

    app = web.Application(middlewares=[library.host.plugin.middleware], client_max_size=1 << 30)
    app.router.add_post("/upload/image", upload)
    app.router.add_post("/api/upload/image", upload)
    api = api_of(type("Served", (), {"client": await aiohttp_client(app)}))
    ann, bob = (api.as_user(user) if users else api for user in ("ann", "bob"))
    for number, path in enumerate(("/upload/image", "/api/upload/image")):
        form = FormData()
        form.add_field("image", picture(number), filename=f"{number}.png")
        answer = await ann.send("POST", path, data=form)
        assert json.loads(answer.body)["asset"]["id"] == given[number]  # the answer is the server's own
        assert (await ann.get(f"/api/assets/{given[number]}"))["name"] == f"{number}.png"
        await bob.get(f"/api/assets/{given[number]}", 404 if users else 200)
