"""Exports: what archives contain, their progress, who may download them, and what becomes of them."""

from __future__ import annotations

import asyncio
import io
import os
import threading
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets import exports
from support.files import picture

ANN_AND_BOB = frozenset({"ann", "bob"})
NONE = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Finished:
    """A prompt that has ended, as hosts report it."""

    prompt_id: str
    outputs: Mapping[str, Any]


async def made(library: Any, prompts: Any, *names: str, owner: str = "", temp: tuple[str, ...] = ()) -> str:
    """A job with these outputs, written before, and these temporary files; answers its id."""
    shown = [{"filename": Path(n).name, "subfolder": str(Path(n).parent), "type": "output"} for n in names]
    shown += [{"filename": name, "subfolder": "", "type": "temp"} for name in temp]
    outputs = {"9": {"images": [{**each, "subfolder": each["subfolder"].strip(".")} for each in shown]}}
    job_id = prompts.run(outputs, owner=owner)
    library.host.hooks.notify(Finished(job_id, outputs))
    await library.services.outputs.drain()
    return str(job_id)


async def export(api: Any, **body: Any) -> str:
    """Start an export; return the task's id."""
    return str((await api.send("POST", "/api/assets/export", 202, json=body)).json["task_id"])


async def ended(api: Any, task_id: str) -> Any:
    """The task once it has ended."""
    while (task := await api.get(f"/api/tasks/{task_id}"))["status"] in ("created", "running"):
        await asyncio.sleep(0.005)
    return task


async def exported(api: Any, **body: Any) -> tuple[Any, dict[str, bytes]]:
    """The result of an export, and what is in its archive."""
    task = await ended(api, await export(api, **body))
    assert task["status"] == "completed", task
    return task["result"], await members(api, task["result"]["export_name"])


async def members(api: Any, name: str) -> dict[str, bytes]:
    """Return the contents of an archive, downloaded as the page does."""
    place = await api.get(f"/api/assets/exports/{name}")
    async with api.client.get(place["url"]) as response:
        assert response.status == 200 and response.headers["Content-Type"] == "application/zip"
        assert f'filename="{name}"' in response.headers["Content-Disposition"]
        content = await response.read()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


@pytest.fixture
async def selection(library: Any) -> dict[str, str]:
    """The ids of four assets by their paths."""
    for number, name in enumerate(("output/a.png", "output/sub/a.png", "input/b.png", "input/A.png")):
        library.write(name, picture(number, size=(40, 30)))
    await library.scan()
    return {asset["file_path"]: asset["id"] for asset in await library.assets()}


async def test_a_selection_has_the_right_bytes(library: Any, api: Any, selection: dict[str, str]) -> None:
    result, found = await exported(api, asset_ids=list(selection.values()), naming_strategy="preserve")
    contents = {path: (library.base / path).read_bytes() for path in selection}
    assert sorted(found.values()) == sorted(contents.values())
    assert found["sub/a.png"] == contents["output/sub/a.png"] and found["b.png"] == contents["input/b.png"]
    assert sorted(found) in (["A (1).png", "a.png", "b.png", "sub/a.png"], ["A.png", "a (1).png", "b.png", "sub/a.png"])
    size = sum(map(len, contents.values()))
    assert result["success"] and "failed_assets" not in result
    assert (result["assets_total"], result["assets_attempted"], result["assets_failed"]) == (4, 4, 0)
    assert (result["bytes_total"], result["bytes_processed"], result["progress"]) == (size, size, 1.0)
    assert result["export_size"] > result["uncompressed_size"] == size
    assert [a["file_path"] for a in await library.assets(include_tags="models")] == []  # nothing else is listed


async def test_a_renamed_asset_has_its_name(library: Any, api: Any, selection: dict[str, str]) -> None:
    await api.send("PUT", f"/api/assets/{selection['output/sub/a.png']}", json={"name": "mine"})
    _, found = await exported(api, asset_ids=[selection["output/sub/a.png"]], naming_strategy="preserve")
    assert list(found) == ["sub/mine.png"]


async def test_jobs_and_their_previews(library: Any, api: Any, prompts: Any) -> None:
    for number, name in enumerate(("output/x.png", "output/sub/y.png", "output/z.png", "temp/p.png")):
        library.write(name, picture(number))
    library.write("secret.png", b"secret")
    first = await made(library, prompts, "x.png", "sub/y.png", temp=("p.png", "gone.png", "../secret.png"))
    second = await made(library, prompts, "z.png")
    jobs = [first, second]
    _, found = await exported(api, job_ids=jobs, naming_strategy="group_by_job_id")
    assert set(found) == {f"{first}/x.png", f"{first}/sub/y.png", f"{second}/z.png"}
    _, found = await exported(api, job_ids=jobs, naming_strategy="group_by_job_id", include_previews=True)
    assert found[f"{first}/previews/p.png"] == (library.base / "temp/p.png").read_bytes() and len(found) == 4
    result, found = await exported(api, job_ids=jobs)  # by the times of the jobs, which are a second apart
    assert set(found) == {"2023-11-14T22-13-20/x.png", "2023-11-14T22-13-20/sub/y.png", "2023-11-14T22-13-21/z.png"}
    assert result["used_job_time_fallback"] is False
    hash_of_y = (await library.asset("y.png"))["hash"]
    for names in (["sub/y.png"], ["y.png"], [hash_of_y], ["y.png", "none.png"]):
        filters = {first: names}
        _, found = await exported(api, job_ids=[first], job_asset_name_filters=filters, naming_strategy="preserve")
        assert list(found) == ["sub/y.png"], names
    y = (await library.asset("y.png"))["id"]
    _, found = await exported(api, job_ids=[second], asset_ids=[y, y.upper()], naming_strategy="asset_id")
    assert set(found) == {f"{y}.png", f"{(await library.asset('z.png'))['id']}.png"}


async def test_a_job_that_was_removed(library: Any, api: Any, prompts: Any) -> None:
    library.write("output/x.png", picture(1))
    job_id = await made(library, prompts, "x.png")
    asset = await library.asset("x.png")
    await api.send("POST", "/api/history", json={"delete": [job_id]})
    result, found = await exported(api, asset_ids=[asset["id"]])
    assert result["used_job_time_fallback"] is True and len(found) == 1
    task = await ended(api, await export(api, job_ids=[job_id]))
    assert (task["status"], task["error_message"]) == ("failed", "None of the assets can be exported.")
    assert task["result"]["unknown_jobs"] == [job_id]


async def test_files_that_are_missing_are_named(library: Any, api: Any, selection: dict[str, str]) -> None:
    """They do not keep the others from being exported; another file with the content serves as well."""
    content = (library.base / "output/a.png").read_bytes()
    library.write("input/copy.png", content)
    await library.scan()
    (library.base / "output/a.png").unlink()
    (library.base / "input/b.png").unlink()
    await api.send("POST", "/api/assets/prune")
    ids = [*selection.values(), NONE]
    result, found = await exported(api, asset_ids=ids, naming_strategy="preserve")
    assert found["a.png" if "a.png" in found else "a (1).png"] is not None and content in found.values()
    assert result["failed_assets"] == [
        {"asset_id": NONE, "error": "not_found"},
        {"asset_id": selection["input/b.png"], "asset_name": "b.png", "error": "content_missing"},
    ]
    assert (result["assets_total"], result["assets_failed"], result["assets_succeeded"]) == (5, 2, 3)


async def test_a_file_that_vanishes_meanwhile(
    library: Any, api: Any, selection: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = exports.ArchiveWriter.add

    def add(writer: Any, path: Path, *arguments: Any) -> None:
        if path.name == "b.png":
            path.unlink()
        original(writer, path, *arguments)

    monkeypatch.setattr(exports.ArchiveWriter, "add", add)
    result, found = await exported(api, asset_ids=list(selection.values()), naming_strategy="preserve")
    assert len(found) == 3
    (failed,) = result["failed_assets"]
    assert (failed["error"], failed["asset_name"]) == ("fetch_failed", "b.png") and failed["reason"]


REFUSED: list[tuple[Any, str | None]] = [
    ({}, "asset_ids"),
    ({"asset_ids": [], "job_ids": []}, "asset_ids"),
    ({"asset_ids": ["x"]}, "asset_ids"),
    ({"asset_ids": [NONE, "../x"]}, "asset_ids"),
    ({"asset_ids": NONE}, "asset_ids"),
    ({"asset_ids": [5]}, "asset_ids[0]"),
    ({"asset_ids": [NONE] * 10_001}, "asset_ids"),
    ({"job_ids": ["x" * 257]}, "job_ids[0]"),
    ({"asset_ids": [NONE], "naming_strategy": "flat"}, "naming_strategy"),
    ({"asset_ids": [NONE], "naming_strategy": None}, "naming_strategy"),
    ({"asset_ids": [NONE], "include_previews": "yes"}, "include_previews"),
    ({"asset_ids": [NONE], "announce": 1}, "announce"),
    ({"job_ids": [NONE], "job_asset_name_filters": {NONE: []}}, "job_asset_name_filters[...]"),
    ({"job_ids": [NONE], "job_asset_name_filters": [NONE]}, "job_asset_name_filters"),
    ([], None),
]


@pytest.mark.parametrize(("body", "field"), REFUSED)
async def test_requests_that_are_refused(library: Any, api: Any, body: Any, field: str | None) -> None:
    answer = (await api.send("POST", "/api/assets/export", 400, json=body)).json
    assert (answer["code"], answer.get("details", {}).get("field")) == ("INVALID_BODY", field)
    assert (await api.get("/api/tasks", task_name="asset_export"))["tasks"] == []


async def test_nothing_to_export(library: Any, api: Any) -> None:
    task = await ended(api, await export(api, asset_ids=[NONE]))
    assert (task["status"], task["error_message"]) == ("failed", "None of the assets can be exported.")
    assert task["result"]["success"] is False
    assert task["result"]["failed_assets"] == [{"asset_id": NONE, "error": "not_found"}]
    assert not (library.host.data_directory() / "exports").exists()


async def test_the_events_that_pages_read(library: Any, api: Any, selection: dict[str, str]) -> None:
    task_id = await export(api, asset_ids=list(selection.values()))
    await ended(api, task_id)
    events = [event.data for event in library.host.events if event.type == "asset_export"]
    numbers = {"assets_total", "assets_attempted", "assets_failed", "bytes_total", "bytes_processed", "progress"}
    for event in events:
        assert event["task_id"] == task_id and all(isinstance(event[name], (int, float)) for name in numbers)
    assert {event["status"] for event in events[:-1]} <= {"created", "running"}
    last = events[-1]
    assert (last["status"], last["progress"], last["assets_attempted"]) == ("completed", 1.0, 4)
    assert set(await members(api, last["export_name"])) != set()
    await ended(api, failing := await export(api, asset_ids=[NONE]))
    last = [event.data for event in library.host.events if event.data.get("task_id") == failing][-1]
    assert (last["status"], last["error"]) == ("failed", "None of the assets can be exported.")


async def test_an_export_that_is_not_announced(library: Any, api: Any, selection: dict[str, str]) -> None:
    """Pages of ComfyUI download every export of which they are told."""
    task = await ended(api, await export(api, asset_ids=list(selection.values()), announce=False))
    assert (task["status"], task["result"]["assets_attempted"]) == ("completed", 4)
    await ended(api, await export(api, asset_ids=[NONE], announce=False))
    assert [event for event in library.host.events if event.type == "asset_export"] == []
    await ended(api, await export(api, asset_ids=list(selection.values())))
    assert [event for event in library.host.events if event.type == "asset_export"] != []


class Gate:
    """Stops exports where they read a file, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened, self.reached = threading.Event(), threading.Event()
        original = exports.ArchiveWriter.add

        def add(writer: Any, path: Path, name: str, check: Any, count: Any) -> None:
            self.reached.set()
            while not self.opened.wait(0.005):
                check()
            original(writer, path, name, check, count)

        monkeypatch.setattr(exports.ArchiveWriter, "add", add)

    async def wait(self) -> None:
        await asyncio.to_thread(self.reached.wait, 20)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def leftovers(library: Any) -> list[str]:
    """Files in the folder of exports."""
    folder = library.host.data_directory() / "exports"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


async def test_an_export_is_cancelled(library: Any, api: Any, selection: dict[str, str], gate: Gate) -> None:
    task_id = await export(api, asset_ids=list(selection.values()))
    await gate.wait()
    assert len(leftovers(library)) == 1
    await api.send("DELETE", f"/api/tasks/{task_id}", 204)
    task = await ended(api, task_id)
    assert task["status"] == "cancelled" and leftovers(library) == []
    last = [event.data for event in library.host.events if event.type == "asset_export"][-1]
    assert (last["task_id"], last["status"]) == (task_id, "cancelled")


async def test_the_same_selection_is_exported_once_at_a_time(
    library: Any, api: Any, selection: dict[str, str], gate: Gate
) -> None:
    ids = list(selection.values())
    first = await export(api, asset_ids=ids)
    await gate.wait()
    assert await export(api, asset_ids=ids[::-1]) == first
    other = await export(api, asset_ids=ids, naming_strategy="asset_id")
    assert other != first
    gate.opened.set()
    await ended(api, first)
    await ended(api, other)
    assert await export(api, asset_ids=ids) not in (first, other)


async def test_too_many_exports(library: Any, api: Any, selection: dict[str, str], gate: Gate) -> None:
    """Two are written at a time, more wait, and too many are refused."""
    ids = list(selection.values())
    filters = [{"x": [str(number)]} for number in range(21)]
    tasks = [await export(api, asset_ids=ids, job_asset_name_filters=each) for each in filters[:20]]
    answer = (await api.send("POST", "/api/assets/export", 429, json={"asset_ids": ids})).json
    assert answer["code"] == "TOO_MANY_EXPORTS"
    await gate.wait()
    assert len(leftovers(library)) <= 2
    await api.send("DELETE", f"/api/tasks/{tasks[-1]}", 204)  # one that waits
    assert (await ended(api, tasks[-1]))["status"] == "cancelled"
    gate.opened.set()
    assert {(await ended(api, task_id))["status"] for task_id in tasks[:-1]} == {"completed"}


async def test_a_full_disk(library: Any, api: Any, selection: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "_RESERVE", 1 << 60)
    task = await ended(api, await export(api, asset_ids=list(selection.values())))
    assert task["status"] == "failed" and "MiB free" in task["error_message"] and leftovers(library) == []
    monkeypatch.undo()

    def fill(writer: Any, *arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exports.ArchiveWriter, "finish", fill)
    task = await ended(api, await export(api, asset_ids=list(selection.values())))
    assert task["error_message"] == "The archive cannot be written: No space left on device."
    assert leftovers(library) == []


async def test_parts_of_an_archive(library: Any, api: Any, selection: dict[str, str]) -> None:
    result, _ = await exported(api, asset_ids=list(selection.values()))
    name, size = result["export_name"], result["export_size"]
    path = f"/api/assets/exports/{name}"
    place = await api.get(path)
    whole = (await api.send("GET", f"{path}/content")).body
    assert len(whole) == size
    for url in (place["url"], f"{path}/content", path):
        answer = await api.send("GET", url, 206, headers={"Range": "bytes=10-19"})
        assert answer.body == whole[10:20] and answer.headers["Content-Range"] == f"bytes 10-19/{size}"
        assert (await api.send("GET", url, 416, headers={"Range": f"bytes={size}-"})).body == b""
    assert (await api.send("GET", path, headers={"Accept": "application/zip"})).body == whole
    head = await api.send("HEAD", f"{path}/content")
    assert head.headers["Content-Length"] == str(size)


@pytest.mark.parametrize("name", ["none.zip", "x", "..%2Flibrary.db", "%00.zip", "a%2Fb.zip", ".zip", "library.db"])
async def test_no_such_export(api: Any, name: str) -> None:
    for path in (name, f"{name}/content", f"{name}/content?token=x"):
        assert (await api.get(f"/api/assets/exports/{path}", 404))["code"] == "EXPORT_NOT_FOUND"


async def test_what_users_see_of_each_others_exports(make_library: Any, api_of: Any, prompts_of: Any) -> None:
    library = await make_library(users=ANN_AND_BOB)
    ann, bob, prompts = api_of(library).as_user("ann"), api_of(library).as_user("bob"), prompts_of(library)
    for number, name in enumerate(("output/anns.png", "output/bobs.png", "input/all.png")):
        library.write(name, picture(number))
    anns, bobs = [await made(library, prompts, f"{user}s.png", owner=user) for user in ("ann", "bob")]
    await library.scan()
    names = {a["name"]: a["id"] for api in (ann, bob) for a in (await api.get("/api/assets"))["assets"]}
    body = {"job_ids": [anns, bobs], "asset_ids": list(names.values()), "naming_strategy": "preserve"}
    result, found = await exported(bob, **body)
    assert set(found) == {"bobs.png", "all.png"}
    assert result["failed_assets"] == [{"asset_id": names["anns.png"], "error": "not_found"}]
    assert result["unknown_jobs"] == [anns]
    # Ann gets nothing of it: neither its task, nor its file, nor an event.
    task_id = await export(bob, **body, include_previews=True)
    name = (await ended(bob, task_id))["result"]["export_name"]
    for method, path in (("GET", f"/api/tasks/{task_id}"), ("DELETE", f"/api/tasks/{task_id}")):
        await ann.send(method, path, 404)
    for path in (name, f"{name}/content", f"{name}/content?token=x", f"{name}/content?token="):
        assert (await ann.get(f"/api/assets/exports/{path}", 404))["code"] == "EXPORT_NOT_FOUND"
    assert [event for event in library.host.events if event.type == "asset_export"] == []
    # A link has no header: its token is enough, without one the request is nobody's.
    url = (await bob.get(f"/api/assets/exports/{name}"))["url"]
    nobody = api_of(library).as_user("nobody")
    assert (await nobody.send("GET", url)).body.startswith(b"PK")
    await nobody.send("GET", url.partition("?")[0], 404)
    await nobody.get(f"/api/assets/exports/{name}", 401)
    assert (await ann.get("/api/tasks", task_name="asset_export"))["tasks"] == []


async def test_an_export_expires(library: Any, api: Any, selection: dict[str, str], hand: Any) -> None:
    ids = list(selection.values())
    old, _ = await exported(api, asset_ids=ids)
    new, _ = await exported(api, asset_ids=ids)
    await hand.execute("UPDATE exports SET expires_at = 5 WHERE name = ?", old["export_name"])
    await api.get(f"/api/assets/exports/{old['export_name']}", 404)
    assert len(leftovers(library)) == 2
    stray = library.host.data_directory() / "exports" / "comfy-export-x.zip"
    stray.write_bytes(b"a killed server left it")
    await library.services.exports.sweep()
    assert leftovers(library) == sorted([new["export_name"], stray.name])  # another server may just be writing it
    os.utime(stray, (0, 0))
    await library.services.exports.sweep()
    assert leftovers(library) == [new["export_name"]]
    await members(api, new["export_name"])


async def test_a_restart(make_library: Any, api_of: Any, gate: Gate) -> None:
    """A complete archive can still be downloaded; an interrupted export starts again from its beginning."""
    library = await make_library()
    api = api_of(library)
    library.write("output/a.png", picture(1))
    await library.scan()
    asset = await library.asset("a.png")
    gate.opened.set()
    done, _ = await exported(api, asset_ids=[asset["id"]])
    gate.opened.clear()
    gate.reached.clear()
    task_id = await export(api, asset_ids=[asset["id"]], naming_strategy="asset_id")
    await gate.wait()
    await library.services.stop()
    gate.opened.set()
    again = await make_library()
    api = api_of(again)
    task = await ended(api, task_id)
    assert task["status"] == "completed" and task["payload"]["naming_strategy"] == "asset_id"
    assert list(await members(api, task["result"]["export_name"])) == [f"{asset['id']}.png"]
    assert list((await members(api, done["export_name"])).values()) == [(library.base / "output/a.png").read_bytes()]
    assert leftovers(again) == sorted([done["export_name"], task["result"]["export_name"]])


async def test_a_request_of_another_version(make_library: Any, api_of: Any) -> None:
    """An export that cannot be continued ends with a message."""
    library = await make_library()
    task_id = uuid.uuid4()
    async with library.services.db.transaction() as tx:
        await tx.execute(
            "INSERT INTO tasks (id, owner, name, idempotency_key, status, payload, created_at, updated_at, instance)"
            " VALUES (?, 'default', 'asset_export', 'k', 'running', '{\"naming_strategy\": 5}', 5, 5, 77)",
            (task_id.bytes,),
        )
    await library.services.stop()
    api = api_of(await make_library())
    task = await ended(api, str(task_id))
    assert task["status"] == "failed" and "start it again" in task["error_message"]


async def test_the_servers_ids_are_exported(library: Any, api: Any, prompts: Any) -> None:
    """Pages export the outputs of a node by the ids that the server gave them."""
    given = [str(uuid.uuid4()) for _ in range(2)]
    for number, each in enumerate(given):
        library.host.ids_of_files[each] = library.write(f"output/{number}.png", picture(number))
    await library.scan()
    _, found = await exported(api, asset_ids=given, naming_strategy="preserve")
    assert found == {f"{number}.png": picture(number) for number in range(2)}


async def test_a_collection(library: Any, api: Any) -> None:
    for number in range(4):
        library.write(f"output/{number}.png", picture(number))
    await library.scan()
    ids = [asset["id"] for asset in (await api.get("/api/assets", sort="name", order="asc"))["assets"]]
    body = {"name": "Mine", "asset_ids": ids[1:3]}
    made_id = (await api.send("POST", "/api/collections", 201, json=body)).json["id"]
    result, files = await exported(api, collection_id=made_id, naming_strategy="preserve")
    assert sorted(Path(name).name for name in files) == ["1.png", "2.png"] and result["assets_failed"] == 0
    _, files = await exported(api, collection_id=made_id, asset_ids=ids[:2], naming_strategy="preserve")
    assert sorted(Path(name).name for name in files) == ["0.png", "1.png", "2.png"]
    body = {"name": "Empty"}
    empty_id = (await api.send("POST", "/api/collections", 201, json=body)).json["id"]
    for collection, status, code in ((empty_id, 400, "INVALID_BODY"), (NONE, 404, "COLLECTION_NOT_FOUND")):
        answer = await api.send("POST", "/api/assets/export", status, json={"collection_id": collection})
        assert answer.json["code"] == code


async def test_a_search(library: Any, api: Any, selection: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    _, files = await exported(api, filter={"folder": "output"}, naming_strategy="preserve")
    assert sorted(files) == ["a.png", "sub/a.png"]
    _, files = await exported(api, filter={"folder": "output", "folder_recursive": False}, naming_strategy="preserve")
    assert sorted(files) == ["a.png"]
    _, files = await exported(
        api, filter={"name_contains": "b.p"}, asset_ids=[selection["output/a.png"]], naming_strategy="preserve"
    )
    assert sorted(files) == ["a.png", "b.png"]
    for wanted, field in (
        ({"name_contains": "none"}, "filter"),
        ({"folder": "nowhere"}, "filter.folder"),
        ({"folders": "output"}, "filter"),
    ):
        error = (await api.send("POST", "/api/assets/export", 400, json={"filter": wanted})).json
        assert error["code"] == "INVALID_BODY" and error["details"]["field"].startswith(field), error
    monkeypatch.setattr("comfy_assets_node.routes.exports.MAX_FILES", 3)
    error = (await api.send("POST", "/api/assets/export", 400, json={"filter": {}})).json
    assert (error["code"], error["details"]) == ("SELECTION_TOO_LARGE", {"count": 4, "max": 3})


async def test_a_search_of_a_user(make_library: Any, api_of: Any, hand_of: Any) -> None:
    library = await make_library(users=ANN_AND_BOB)
    for name in ("anns.png", "bobs.png"):
        library.write(f"output/{name}", picture(len(name)))
    await library.scan()
    await hand_of(library).belongs("anns.png", "ann", "output")
    await hand_of(library).belongs("bobs.png", "bob", "output")
    _, files = await exported(api_of(library).as_user("bob"), filter={}, naming_strategy="preserve")
    assert list(files) == ["bobs.png"]
