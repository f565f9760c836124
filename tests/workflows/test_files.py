"""Workflow files and workflows of the API stay the same, whoever changes them."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Awaitable
from typing import Any
from urllib.parse import quote

import pytest
from comfy_assets_node.comfy_assets.db import workflow_files
from comfy_assets_node.comfy_assets.db.connection import Database
from comfy_assets_node.comfy_assets.errors import StoreBusyError
from comfy_assets_node.comfy_assets.fs.atomic import temp_name
from comfy_assets_node.comfy_assets.workflows import sync
from comfy_assets_node.comfy_assets.workflows.folder import WorkflowFolder
from comfy_assets_node.comfy_assets.workflows.service import restore_workflow
from comfy_assets_node.routes import userdata
from support.windows import symbolic_links

GRAPH_ID = "6b8f4ea0-0f2d-4c3e-9c55-5f1f1f1d4b01"
ONE, TWO, THREE = ({"nodes": [], "links": [], "number": number} for number in (1, 2, 3))


async def test_what_the_page_saves_is_a_version(desk: Any) -> None:
    await desk.page_saves("Ärger im Bild.json", {**ONE, "id": GRAPH_ID})
    assert await desk.listed() == {"Ärger im Bild": GRAPH_ID}
    await desk.page_saves("Ärger im Bild.json", {**ONE, "id": GRAPH_ID})
    await desk.page_saves("Ärger im Bild.json", {**TWO, "id": GRAPH_ID}, params={"overwrite": "true"})
    assert await desk.versions(GRAPH_ID) == [{**ONE, "id": GRAPH_ID}, {**TWO, "id": GRAPH_ID}]
    await desk.page_saves("Ärger im Bild.json", THREE, 409, params={"overwrite": "false"})
    assert (await desk.get(GRAPH_ID))["latest_version"] == 2


async def test_renaming_in_the_page_keeps_id_and_versions(desk: Any) -> None:
    await desk.page_saves("a.json", ONE)
    await desk.page_saves("a.json", TWO)
    workflow_id = await desk.only()
    await desk.page_moves("a.json", "sub/b.app.json")
    assert await desk.listed() == {"b": workflow_id}
    assert (await desk.get(workflow_id))["default_view"] == "app"
    assert await desk.versions(workflow_id) == [ONE, TWO]


@pytest.mark.parametrize("depth", [31, 32, 33, 34, 60])
async def test_files_in_deep_folders_stay(desk: Any, depth: int) -> None:
    """Files below some depth are not listed, so known ones there must not count as deleted."""
    path = "d/" * depth + "deep.json"
    await desk.page_saves(path, ONE)
    await desk.page_saves("other.json", TWO)
    workflow_id = (await desk.listed())["deep"]
    for _ in range(3):
        await desk.look()
    assert set(await desk.listed()) == {"deep", "other"}
    await desk.page_saves(path, TWO)
    for _ in range(3):
        await desk.look()
    assert await desk.versions(workflow_id) == [ONE, TWO]
    await desk.page_moves(path, "d/" * depth + "renamed.json")
    assert (await desk.listed())["renamed"] == workflow_id
    for _ in range(3):
        await desk.look()
    assert (await desk.listed())["renamed"] == workflow_id
    await desk.page_deletes("d/" * depth + "renamed.json")
    assert set(await desk.listed()) == {"other"}


async def test_what_is_moved_onto_another_replaces_it(desk: Any) -> None:
    await desk.page_saves("a.json", ONE)
    kept = await desk.only()
    await desk.page_saves("b.json", TWO)
    replaced = (await desk.listed())["b"]
    await desk.page_moves("a.json", "b.json", 409, overwrite="false")
    assert set(await desk.listed()) == {"a", "b"}
    await desk.page_moves("a.json", "b.json")
    assert await desk.listed() == {"b": kept}
    await desk.get(replaced, 404)
    assert await desk.versions(kept) == [ONE]


@pytest.mark.parametrize(
    ("path", "value", "versions"),
    [
        ("a.json", {**TWO, "id": GRAPH_ID}, 2),
        ("a.json", {**THREE, "id": GRAPH_ID}, 3),
        ("other.json", {**TWO, "id": GRAPH_ID}, 2),
        ("other.json", {**ONE, "id": GRAPH_ID}, 3),
        ("other.json", {**THREE, "id": GRAPH_ID}, None),  # perhaps made from the same template
        ("other.json", TWO, None),
        ("a.json", TWO, None),
    ],
)
async def test_what_the_page_deletes_comes_back_when_it_is_saved_again(
    desk: Any, path: str, value: Any, versions: int | None
) -> None:
    await desk.page_saves("a.json", {**ONE, "id": GRAPH_ID})
    await desk.page_saves("a.json", {**TWO, "id": GRAPH_ID})
    await desk.page_deletes("a.json")
    assert await desk.listed() == {}
    await desk.page_saves(path, value)
    found = await desk.only()
    assert (found == GRAPH_ID) == (versions is not None)
    assert (await desk.versions(found))[-1] == value
    if versions is not None:
        assert len(await desk.versions(found)) == versions


async def test_another_graph_in_the_place_of_a_deleted_one_is_another_workflow(desk: Any) -> None:
    """This is how the page overwrites: it deletes the old file and saves one with another id."""
    await desk.page_saves("a.json", {**ONE, "id": GRAPH_ID})
    await desk.page_deletes("a.json")
    await desk.page_saves("a.json", {**ONE, "id": GRAPH_ID.replace("6", "7")})
    assert await desk.only() == GRAPH_ID.replace("6", "7")


async def test_edits_outside_are_versions(desk: Any) -> None:
    desk.writes("sub/deep/a.json", ONE)
    await desk.look()
    workflow_id = (await desk.listed())["a"]
    desk.writes("sub/deep/a.json", TWO)
    assert await desk.versions(workflow_id) == [ONE, TWO], "imported when it is read, without a synchronization"
    desk.writes("sub/deep/a.json", THREE)
    await desk.look()
    assert (await desk.get(workflow_id))["latest_version"] == 3


async def test_a_file_renamed_outside_is_the_same_workflow(desk: Any) -> None:
    desk.writes("a.json", ONE)
    desk.writes("b.json", {**TWO, "id": GRAPH_ID})
    await desk.look()
    before = await desk.listed()
    (desk.folder / "a.json").rename(desk.folder / "c.json")
    (desk.folder / "b.json").unlink()
    desk.writes("d.json", {**THREE, "id": GRAPH_ID})
    await desk.look()
    assert await desk.listed() == {"c": before["a"], "d": before["b"]}
    assert await desk.versions(before["b"]) == [{**TWO, "id": GRAPH_ID}, {**THREE, "id": GRAPH_ID}]


async def test_a_file_that_vanishes_is_deleted_only_when_it_is_missed_again(desk: Any) -> None:
    desk.writes("a.json", ONE)
    desk.writes("b.json", TWO)
    await desk.look()
    (desk.folder / "a.json").unlink()
    await desk.services.workflow_sync.sync_all("default")
    assert set(await desk.listed()) == {"a", "b"}
    await desk.services.workflow_sync.sync_all("default")
    assert set(await desk.listed()) == {"b"}


@pytest.mark.parametrize("how", ["folder", "all files"])
async def test_a_folder_that_is_away_deletes_nothing(desk: Any, how: str) -> None:
    desk.writes("a.json", ONE)
    desk.writes("b.json", TWO)
    await desk.look()
    before = await desk.listed()
    away = desk.folder.with_name("away")
    desk.folder.rename(away)
    if how == "all files":
        desk.folder.mkdir()
    await desk.look()
    assert await desk.listed() == before
    assert (await desk.save(before["a"], 1, THREE))["version"] == 2
    assert not list(desk.folder.glob("*"))
    if how == "all files":
        desk.folder.rmdir()
    away.rename(desk.folder)
    await desk.look()
    assert await desk.listed() == before
    assert desk.files() == {"a.json": THREE, "b.json": TWO}
    await desk.save(before["b"], 1, ONE)
    assert desk.files() == {"a.json": THREE, "b.json": ONE}


async def test_what_the_api_saves_is_in_the_file(desk: Any) -> None:
    workflow_id = await desk.create(ONE, name="from outside")
    assert desk.files() == {"from outside.json": ONE}
    await desk.save(workflow_id, 1, TWO)
    assert desk.files() == {"from outside.json": TWO}
    await desk.send("PATCH", f"/api/workflows/{workflow_id}", json={"name": "new name"})
    assert desk.files() == {"new name.json": TWO}
    await desk.send("PATCH", f"/api/workflows/{workflow_id}", json={"default_view": "app", "description": "x"})
    assert desk.files() == {"new name.app.json": TWO}
    fork = await desk.send("POST", f"/api/workflows/{workflow_id}/fork", 201, json={"source_version": 1})
    assert desk.files() == {"new name.app.json": TWO, "new name (1).app.json": ONE}
    await desk.send("DELETE", f"/api/workflows/{workflow_id}", 204)
    assert desk.files() == {"new name (1).app.json": ONE}
    await desk.look()
    assert await desk.only() == fork["id"]


async def test_the_path_of_the_file_is_told(desk: Any) -> None:
    workflow_id = await desk.create(ONE, name="Study: b/c", default_view="app")
    desk.writes("sub/d.json", TWO)
    await desk.look()

    async def paths() -> dict[str, str]:
        return {each["name"]: each["path"] for each in (await desk.send("GET", "/api/workflows"))["data"]}

    assert await paths() == {"Study: b/c": "workflows/Study_ b_c.app.json", "d": "workflows/sub/d.json"}
    for path in (await paths()).values():
        published = await desk.send("POST", f"/api/userdata/{quote(path, safe='')}/publish", json={"asset_ids": []})
        assert published["share_id"]
    await desk.send("PATCH", f"/api/workflows/{workflow_id}", json={"name": "e"})
    assert (await paths())["e"] == "workflows/e.app.json"


async def test_a_version_based_on_what_the_file_held_before_an_edit_conflicts(desk: Any) -> None:
    workflow_id = await desk.create(ONE, name="a")
    desk.writes("a.json", TWO)
    assert (await desk.save(workflow_id, 1, THREE, 409))["details"] == {"base_version": 1, "latest_version": 2}
    await desk.save(workflow_id, 2, THREE)
    assert await desk.versions(workflow_id) == [ONE, TWO, THREE]
    assert desk.files() == {"a.json": THREE}


NAMES = [
    ("a/b\\c:d", "a_b_c_d.json"),
    ("CON", "_CON.json"),
    ("x" * 255, "x" * 250 + ".json"),
    ("ends in dots...", "ends in dots.json"),
    (".hidden", "hidden.json"),
    ("portrait.json", "portrait.json"),
    ("Größe", "Größe.json"),
    (None, "Untitled.json"),
    ("TAKEN", "TAKEN (1).json"),
]


@pytest.mark.parametrize(("name", "file"), NAMES)
async def test_names_that_every_system_can_store(desk: Any, name: str | None, file: str) -> None:
    desk.writes("taken.json", b"no workflow")
    await desk.create(ONE, **({} if name is None else {"name": name}))
    assert desk.files() == {"taken.json": b"no workflow", file: ONE}
    await desk.look()
    assert await desk.only()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (".index.json", json.dumps({"favorites": []}).encode()),
        ("sub/.hidden/a.json", b"{}"),
        ("a.txt", b"{}"),
        ("list.json", b"[]"),
        ("half.json", b'{"nodes": ['),
        ("empty.json", b""),
        ("nan.json", b'{"a": NaN}'),
        ("latin.json", '{"a": "ä"}'.encode("latin-1")),
        ("bom.json", b"\xef\xbb\xbf{}"),
        ("large.json", b'{"a": "%s"}' % (b"x" * (1 << 20))),
    ],
)
async def test_what_is_no_workflow_is_left_alone(open_desk: Any, path: str, content: bytes) -> None:
    desk = await open_desk(max_workflow_size=1 << 20)
    await desk.page_saves(path, content)
    desk.writes(path, content)
    await desk.look()
    assert await desk.listed() == {}
    assert (desk.folder / path).read_bytes() == content


async def test_a_half_written_file_is_looked_at_again(desk: Any) -> None:
    desk.writes("a.json", ONE)
    await desk.look()
    workflow_id = await desk.only()
    desk.writes("a.json", b'{"nodes"')
    await desk.look()
    assert await desk.versions(workflow_id) == [ONE]
    desk.writes("a.json", TWO)
    await desk.look()
    assert await desk.versions(workflow_id) == [ONE, TWO]


@symbolic_links
async def test_links_are_passed_over(desk: Any, tmp_path: Any) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    desk.writes("a.json", ONE)
    (desk.folder / "link.json").symlink_to(outside)
    (desk.folder / "folder").symlink_to(tmp_path)
    await desk.page_saves("link.json/../a.json", ONE)
    await desk.look()
    assert set(await desk.listed()) == {"a"}


async def test_other_files_of_the_user_are_none_of_ours(desk: Any) -> None:
    await desk.send("POST", "/userdata/comfy.settings.json", data=b"{}")
    await desk.send("POST", "/api/userdata/workflows%252Fa.json", data=json.dumps(ONE).encode())
    assert set(await desk.listed()) == {"a"}


async def test_users_have_a_folder_each(open_desk: Any) -> None:
    ann = await open_desk(frozenset({"ann", "bob"}))
    ann = ann.as_user("ann")
    bob = ann.as_user("bob")
    await ann.page_saves("a.json", {**ONE, "id": GRAPH_ID})
    await bob.page_saves("a.json", {**ONE, "id": GRAPH_ID})
    assert await ann.only() == GRAPH_ID
    assert await bob.only() != GRAPH_ID


async def test_a_workflow_restored_through_the_api_has_its_file_at_once(open_desk: Any) -> None:
    ann = (await open_desk(frozenset({"ann", "bob"}))).as_user("ann")
    workflow_id = await ann.create(ONE, name="a")
    await ann.send("DELETE", f"/api/workflows/{workflow_id}", 204)
    await ann.page_saves("a.json", {**TWO, "id": GRAPH_ID})
    await ann.as_user("bob").send("POST", f"/api/workflows/{workflow_id}/restore", 404)
    await ann.send("POST", f"/api/workflows/{workflow_id}/restore")
    assert ann.files() == {"a.json": {**TWO, "id": GRAPH_ID}, "a (1).json": ONE}


async def test_a_restored_workflow_has_its_file_again(desk: Any) -> None:
    first = await desk.create(ONE, name="a")
    await desk.send("DELETE", f"/api/workflows/{first}", 204)
    second = await desk.create(TWO, name="a")
    await desk.send("DELETE", f"/api/workflows/{second}", 204)
    assert desk.files() == {}
    await restore_workflow(desk.services.db, first)
    await restore_workflow(desk.services.db, second)
    await desk.look()
    assert desk.files() == {"a.json": ONE, "a (1).json": TWO}


@pytest.mark.parametrize("edit", [False, True])
async def test_a_version_that_was_not_written_is_written_later(open_desk: Any, edit: bool, monkeypatch: Any) -> None:
    desk = await open_desk()
    workflow_id = await desk.create(ONE, name="a")

    async def killed(row_id: int) -> None:
        """A server that dies here has stored the version but not written the file."""

    monkeypatch.setattr(desk.services.workflow_sync, "write", killed)
    await desk.save(workflow_id, 1, TWO)
    assert desk.files() == {"a.json": ONE}
    await desk.services.stop()
    if edit:
        desk.writes("a.json", THREE)
    desk = await open_desk()
    await desk.look()
    assert desk.files() == {"a.json": THREE if edit else TWO}
    assert await desk.versions(workflow_id) == [ONE, TWO, *([THREE] if edit else [])]


async def test_a_file_that_cannot_be_removed_now_is_removed_later(desk: Any, monkeypatch: Any) -> None:
    """Windows does not replace open files."""
    workflow_id = await desk.create(ONE, name="a")

    def held(folder: Any, path: str, text: bytes) -> None:
        raise PermissionError(13, "in use", path)

    with monkeypatch.context() as patch:
        patch.setattr(WorkflowFolder, "remove", held)
        await desk.send("DELETE", f"/api/workflows/{workflow_id}", 204)
        await desk.look()
        assert (desk.files(), await desk.listed()) == ({"a.json": ONE}, {})
    await desk.look()
    assert (desk.files(), await desk.listed()) == ({}, {})


async def test_a_file_that_cannot_be_written_now_is_written_later(desk: Any, monkeypatch: Any) -> None:
    workflow_id = await desk.create(ONE, name="a")

    def held(folder: Any, path: str, content: bytes, **options: Any) -> None:
        raise PermissionError(13, "in use", path)

    with monkeypatch.context() as patch:
        patch.setattr(WorkflowFolder, "write", held)
        assert (await desk.save(workflow_id, 1, TWO))["version"] == 2
        await desk.look()
        assert desk.files() == {"a.json": ONE}
    await desk.look()
    assert desk.files() == {"a.json": TWO}
    assert await desk.versions(workflow_id) == [ONE, TWO]


async def test_a_folder_that_is_moved_takes_its_workflows_along(desk: Any) -> None:
    await desk.page_saves("old/a.json", ONE)
    await desk.page_saves("old/deep/b.json", TWO)
    before = await desk.listed()
    await desk.page_moves("old", "new")
    assert await desk.listed() == before
    await desk.page_saves("new/a.json", THREE)
    assert await desk.versions(before["a"]) == [ONE, THREE]


async def test_what_goes_wrong_here_spoils_no_answer_of_the_host(desk: Any, monkeypatch: Any) -> None:
    async def fails(owner: str, path: str) -> None:
        raise RuntimeError("a mistake")

    with monkeypatch.context() as patch:
        patch.setattr(desk.services.workflow_sync, "sync_file", fails)
        await desk.page_saves("a.json", ONE)
    await desk.look()
    assert set(await desk.listed()) == {"a"}


async def test_a_server_that_starts_looks_at_the_files(open_desk: Any) -> None:
    desk = await open_desk(follow=False)
    desk.writes("a.json", ONE)
    await desk.services.start_indexing()
    while not await desk.listed():
        await asyncio.sleep(0.01)
    assert set(await desk.listed()) == {"a"}


class Meeting:
    """Holds back an operation of the server on a file, in its thread, until it is released."""

    def __init__(self, monkeypatch: Any, method: str) -> None:
        self._has_begun, self._may_go_on = threading.Event(), threading.Event()
        original = getattr(WorkflowFolder, method)

        def waits(folder: Any, *args: Any, **options: Any) -> Any:
            self._has_begun.set()
            assert self._may_go_on.wait(20)
            return original(folder, *args, **options)

        monkeypatch.setattr(WorkflowFolder, method, waits)

    async def with_page(self, deed: Awaitable[Any], page: Awaitable[Any]) -> None:
        """Begin the server's deed, and have the page do its own before that goes on."""
        doing = asyncio.ensure_future(deed)
        await asyncio.to_thread(self._has_begun.wait, 20)
        of_page = asyncio.ensure_future(page)
        await asyncio.sleep(0.2)
        self._may_go_on.set()
        await asyncio.gather(doing, of_page)


FOUR = {"nodes": [], "links": [], "number": 4}
PAGE_DEEDS = [
    (
        lambda desk: desk.page_saves("a.json", THREE),
        {"a.json": THREE, "c.json": FOUR},
        {"a": [ONE, TWO, THREE], "c": [FOUR]},
    ),
    (lambda desk: desk.page_deletes("a.json"), {"c.json": FOUR}, {"c": [FOUR]}),
    (lambda desk: desk.page_moves("a.json", "b.json"), {"b.json": TWO, "c.json": FOUR}, {"b": [ONE, TWO], "c": [FOUR]}),
    (lambda desk: desk.page_moves("c.json", "a.json"), {"a.json": FOUR}, {"a": [FOUR]}),
]


@pytest.mark.parametrize(("deed", "files", "versions"), PAGE_DEEDS)
async def test_what_the_page_does_while_a_version_is_written_stays_done(
    desk: Any, monkeypatch: Any, deed: Any, files: Any, versions: Any
) -> None:
    workflow_id = await desk.create(ONE, name="a")
    await desk.page_saves("c.json", FOUR)
    meeting = Meeting(monkeypatch, "write")
    await meeting.with_page(desk.save(workflow_id, 1, TWO), deed(desk))
    await desk.look()
    assert desk.files() == files
    assert {name: await desk.versions(each) for name, each in (await desk.listed()).items()} == versions


async def test_what_the_page_saves_while_the_workflow_is_deleted_stays(desk: Any, monkeypatch: Any) -> None:
    workflow_id = await desk.create(ONE, name="a")
    meeting = Meeting(monkeypatch, "remove")
    await meeting.with_page(desk.send("DELETE", f"/api/workflows/{workflow_id}", 204), desk.page_saves("a.json", ONE))
    await desk.look()
    assert desk.files() == {"a.json": ONE}
    assert await desk.only()


async def test_a_workflow_that_is_deleted_while_files_are_looked_at_stays_deleted(desk: Any, monkeypatch: Any) -> None:
    workflow_id = await desk.create(ONE, name="a")
    desk.writes("b.json", TWO)
    meeting = Meeting(monkeypatch, "listing")
    await meeting.with_page(desk.look(), desk.send("DELETE", f"/api/workflows/{workflow_id}", 204))
    await desk.look()
    assert desk.files() == {"b.json": TWO}
    assert set(await desk.listed()) == {"b"}


async def test_requests_wait_for_a_limited_time_while_the_files_are_in_use(desk: Any, monkeypatch: Any) -> None:
    """A saved version is in the store at once, and in the file after the next synchronization. Deleting is refused."""
    monkeypatch.setattr(sync, "REQUEST_WAIT_S", 0.05)
    workflow_id = await desk.create(ONE, name="a")
    long_ago = time.time() - 60
    os.utime(desk.folder / "a.json", (long_ago, long_ago))  # the stamp of a file that was just written is uncertain
    await desk.look()
    async with desk.services.workflow_sync.lock("default"):
        await desk.save(workflow_id, 1, TWO)
        assert desk.files() == {"a.json": ONE}
        await desk.send("PATCH", f"/api/workflows/{workflow_id}", json={"name": "b"})
        refused = await desk.send("DELETE", f"/api/workflows/{workflow_id}", 503)
        assert refused["code"] == "STORE_UNAVAILABLE"
    await desk.look()
    assert desk.files() == {"b.json": TWO}
    assert await desk.listed() == {"b": workflow_id}
    assert await desk.versions(workflow_id) == [ONE, TWO]


OUTSIDE_DEEDS = [
    (lambda desk: desk.writes("a.json", THREE), {"a.json": THREE}, {"a": [ONE, TWO, THREE]}),
    (lambda desk: (desk.folder / "a.json").rename(desk.folder / "b.json"), {"b.json": TWO}, {"b": [ONE, TWO]}),
    (lambda desk: (desk.folder / "a.json").unlink(), {}, {}),
]


@pytest.mark.parametrize(("deed", "files", "versions"), OUTSIDE_DEEDS)
async def test_what_others_do_while_a_version_is_written_stays_done(
    desk: Any, monkeypatch: Any, deed: Any, files: Any, versions: Any
) -> None:
    """The file is checked again when the new one is complete, because writing takes time."""
    workflow_id = await desk.create(ONE, name="a")
    fsync = os.fsync

    def meanwhile(descriptor: int) -> None:
        deed(desk)
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", meanwhile)
        await desk.save(workflow_id, 1, TWO)
    await desk.look()
    assert desk.files() == files
    found = await desk.listed()
    assert {name: await desk.versions(each) for name, each in found.items()} == versions
    assert set(found.values()) <= {workflow_id}


async def test_a_file_moved_while_its_newest_version_is_still_to_be_written_is_the_same(
    desk: Any, monkeypatch: Any
) -> None:
    workflow_id = await desk.create(ONE, name="a")
    with monkeypatch.context() as patch:
        patch.setattr(desk.services.workflow_sync, "write", lambda row_id: asyncio.sleep(0))
        await desk.save(workflow_id, 1, TWO)
    (desk.folder / "a.json").rename(desk.folder / "b.json")
    await desk.look()
    assert desk.files() == {"b.json": TWO}
    assert await desk.listed() == {"b": workflow_id}
    assert await desk.versions(workflow_id) == [ONE, TWO]


async def test_a_name_that_another_workflow_is_about_to_have_is_not_taken(desk: Any, monkeypatch: Any) -> None:
    first = await desk.create(ONE, name="a")

    def held(folder: Any, path: str, content: bytes, **options: Any) -> None:
        raise PermissionError(13, "in use", path)

    with monkeypatch.context() as patch:
        patch.setattr(WorkflowFolder, "write", held)
        second = await desk.create(TWO, name="b")
        await desk.send("PATCH", f"/api/workflows/{first}", json={"name": "b"})
    await desk.look()
    assert desk.files() == {"b.json": TWO, "b (1).json": ONE}
    assert [await desk.versions(each) for each in (first, second)] == [[ONE], [TWO]]


async def test_the_page_saves_only_while_it_holds_the_files(desk: Any, monkeypatch: Any) -> None:
    """Another change of the same file could replace the saved text before it is stored."""
    monkeypatch.setattr(userdata, "LOCK_WAIT_S", 0.05)
    async with desk.services.workflow_sync.lock("default"):
        await desk.page_saves("a.json", ONE, 503)
        await desk.send("POST", "/api/userdata/other.json", json={})  # not a workflow, so it does not wait
    assert desk.files() == {}
    async with desk.services.workflow_sync.lock("another user"):
        await desk.page_saves("a.json", ONE)
    assert set(await desk.listed()) == {"a"}


async def test_a_slow_client_holds_up_nobody(desk: Any) -> None:
    async def slowly() -> Any:
        yield b'{"nodes": [], '
        assert await desk.create(TWO, name="b"), "while the page is still sending"
        yield b'"links": [], "number": 1}'

    await desk.send("POST", "/api/userdata/workflows%2Fa.json", data=slowly())
    assert set(await desk.listed()) == {"a", "b"}


async def test_what_a_killed_server_was_writing_is_removed(open_desk: Any) -> None:
    desk = await open_desk(follow=False)
    old, new = (desk.writes(f"sub/{temp_name()}", b"{") for _ in range(2))
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    desk.writes("a.json", ONE)
    await desk.services.start_indexing()
    while not await desk.listed():
        await asyncio.sleep(0.01)
    assert (old.exists(), new.exists()) == (False, True), "another server may be writing the younger one"


@pytest.mark.parametrize("is_file_renamed", [False, True])
async def test_a_file_whose_renaming_was_cut_short_is_renamed_later(
    open_desk: Any, monkeypatch: Any, is_file_renamed: bool
) -> None:
    desk = await open_desk()
    workflow_id = await desk.create(ONE, name="a")

    async def killed(row_id: int) -> None:
        """A server that dies here has stored the name and perhaps renamed the file."""

    monkeypatch.setattr(desk.services.workflow_sync, "rename", killed)
    await desk.send("PATCH", f"/api/workflows/{workflow_id}", json={"name": "b/c"})
    await desk.services.stop()
    if is_file_renamed:
        (desk.folder / "a.json").rename(desk.folder / "b_c.json")
    desk = await open_desk()
    await desk.look()
    assert (desk.files(), await desk.listed()) == ({"b_c.json": ONE}, {"b/c": workflow_id})


async def test_a_file_that_cannot_be_renamed_now_is_renamed_later(desk: Any, monkeypatch: Any) -> None:
    workflow_id = await desk.create(ONE, name="a")

    def held(folder: Any, path: str, new: str) -> None:
        raise PermissionError(13, "in use", path)

    with monkeypatch.context() as patch:
        patch.setattr(WorkflowFolder, "rename", held)
        await desk.send("PATCH", f"/api/workflows/{workflow_id}", json={"name": "b"})
        await desk.look()
        assert (desk.files(), await desk.listed()) == ({"a.json": ONE}, {"b": workflow_id})
    await desk.look()
    assert (desk.files(), await desk.listed()) == ({"b.json": ONE}, {"b": workflow_id})


@pytest.mark.parametrize("step", ["move", "commit"])
async def test_a_file_keeps_its_name_while_the_store_cannot_be_written(desk: Any, monkeypatch: Any, step: str) -> None:
    """With the new name, which no workflow has, it would be imported as another workflow."""
    workflow_id = await desk.create(ONE, name="a")
    rename = WorkflowFolder.rename

    async def fail(*_: Any) -> None:
        raise StoreBusyError("The disk is full.")

    def renamed(folder: Any, path: str, new: str) -> None:
        rename(folder, path, new)
        commit.setattr(Database, "_commit", fail)

    with monkeypatch.context() as patch, monkeypatch.context() as commit:
        if step == "move":
            patch.setattr(workflow_files, "move", fail)
        else:
            patch.setattr(WorkflowFolder, "rename", renamed)
        await desk.send("PATCH", f"/api/workflows/{workflow_id}", json={"name": "b"})
    assert desk.files() == {"a.json": ONE}
    await desk.page_saves("a.json", TWO)
    await desk.look()
    assert (desk.files(), await desk.listed()) == ({"b.json": TWO}, {"b": workflow_id})
    assert await desk.versions(workflow_id) == [ONE, TWO]


async def test_a_workflow_can_be_read_while_its_file_is_in_use(desk: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(sync, "REQUEST_WAIT_S", 0.05)
    workflow_id = await desk.create(ONE, name="a")
    desk.writes("a.json", TWO)
    async with desk.services.workflow_sync.lock("default"):
        assert await desk.versions(workflow_id) == [ONE]
    assert await desk.versions(workflow_id) == [ONE, TWO]


@pytest.mark.parametrize("where", ["the files", "the store"])
async def test_others_that_are_at_work_do_not_make_looks_rare(desk: Any, where: str) -> None:
    """While clients kept saving, moves and deletions by other programs were noticed only after minutes."""
    sync = desk.services.workflow_sync
    desk.writes("a.json", ONE)
    async with sync.lock("default") if where == "the files" else desk.services.db.transaction():
        looking = asyncio.ensure_future(sync.sync_all("default"))
        await asyncio.sleep(1)
        assert not looking.done()
    assert await looking < 1
    assert set(await desk.listed()) == {"a"}
