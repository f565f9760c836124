"""Deleted assets: their files, restoring, and later scans."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from blake3 import blake3
from comfy_assets_node.comfy_assets.assets import trash_files
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.db import contents
from comfy_assets_node.comfy_assets.db import trash as trash_rows
from comfy_assets_node.comfy_assets.errors import AssetNotFoundError
from comfy_assets_node.comfy_assets.fs import atomic
from msgspec.structs import replace
from support.files import safetensors

UPLOADED, SCANNED = b"what was uploaded", b"what was scanned"


async def upload(library: Any, content: bytes = UPLOADED, file_name: str = "up.bin", **fields: str) -> dict[str, Any]:
    form = FormData()
    form.add_field("file", content, filename=file_name)
    for key, value in fields.items():
        form.add_field(key, value)
    async with library.client.post("/api/assets", data=form) as response:
        assert response.status in (200, 201), await response.text()
        return dict(await response.json())


async def delete(library: Any, asset: dict[str, Any], status: int = 204) -> None:
    async with library.client.delete(f"/api/assets/{asset['id']}") as response:
        assert response.status == status, await response.text()


async def refer(library: Any, content: bytes, *tags: str) -> dict[str, Any]:
    body = {"hash": "blake3:" + blake3(content).hexdigest(), "tags": tags}
    async with library.client.post("/api/assets/from-hash", json=body) as response:
        assert response.status in (200, 201), await response.text()
        return dict(await response.json())


async def content(library: Any, asset: dict[str, Any]) -> bytes | None:
    async with library.client.get(f"/api/assets/{asset['id']}/content") as response:
        return await response.read() if response.status == 200 else None


async def names(library: Any) -> list[str]:
    return sorted(asset["name"] for asset in await library.assets())


def stored(library: Any) -> list[bytes]:
    """The contents of the trash folder."""
    return [path.read_bytes() for path in (library.host.data_directory() / "trash").rglob("*") if path.is_file()]


async def scanned(library: Any, path: str = "models/loras/found.bin") -> dict[str, Any]:
    library.write(path, SCANNED)
    await library.scan()
    return dict(await library.asset(Path(path).name))


async def test_an_upload_goes_to_the_trash_with_its_file_and_returns_as_it_was(library: Any) -> None:
    asset = await upload(library, user_metadata='{"stars": 5}', tags='["input", "mine"]', name="Mine")
    await delete(library, asset)
    assert not (library.base / asset["file_path"]).exists()
    assert stored(library) == [UPLOADED]
    assert await library.assets() == []
    assert (await library.get("/api/tags"))["tags"] == []
    await library.scan()
    assert await library.assets() == []
    (deleted,) = await library.services.trash.entries()
    assert (deleted.id, deleted.name, deleted.size, deleted.file_name) == (
        asset["id"],
        "Mine",
        len(UPLOADED),
        "Mine.bin",
    )
    await library.services.trash.restore(asset["id"])
    (back,) = await library.assets()
    assert {**back, "created_new": True} == asset
    assert (library.base / asset["file_path"]).read_bytes() == UPLOADED
    assert stored(library) == []
    await library.scan()
    assert await library.assets() == [back]


async def test_a_scanned_file_stays_and_its_record_stays_deleted(library: Any, annotate: Any) -> None:
    asset = await scanned(library)
    await annotate(library, "found.bin", "mine", metadata='{"a": 1}')
    await delete(library, asset)
    for _ in range(2):
        await library.scan()
        assert await library.assets() == []
    assert (library.base / asset["file_path"]).read_bytes() == SCANNED
    assert (await library.get("/api/tags"))["tags"] == []
    await library.services.trash.restore(asset["id"])
    back = await library.asset("found.bin")
    assert (back["id"], back["user_metadata"], "mine" in back["tags"]) == (asset["id"], {"a": 1}, True)


def rewrite(path: Path) -> None:
    path.write_bytes(b"other content")


def touch(path: Path) -> None:
    os.utime(path, (1_600_000_000, 1_600_000_000))


def rename(path: Path) -> None:
    path.rename(path.with_name("renamed.bin"))


def replace_after_absence(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    touch(path)


# What happens to the file of a deleted record; whether the scan between sees it gone; whether it is listed afterwards.
LATER = [
    (rewrite, True),
    (touch, False),
    (rename, False),
    (replace_after_absence, False),
]


@pytest.mark.parametrize(("change", "listed"), LATER, ids=lambda value: getattr(value, "__name__", str(value)))
async def test_a_deleted_record_returns_with_other_content_only(library: Any, change: Any, listed: bool) -> None:
    asset = await scanned(library)
    await delete(library, asset)
    change(library.base / asset["file_path"])
    await library.scan()
    assert bool(await library.assets()) == listed
    await library.scan()
    found = await library.assets()
    assert bool(found) == listed
    if listed:
        assert [(item["id"], item["hash"]) for item in found] == [
            (asset["id"], "blake3:" + blake3(b"other content").hexdigest())
        ]
        assert await library.services.trash.entries() == []


async def test_a_file_that_was_gone_and_is_put_there_anew_is_listed(library: Any) -> None:
    asset = await scanned(library)
    await delete(library, asset)
    path = library.base / asset["file_path"]
    path.unlink()
    await library.scan()
    path.write_bytes(SCANNED)
    await library.scan()
    assert await names(library) == ["found.bin"]


async def test_a_drive_that_was_away_brings_no_deleted_record_back(library: Any) -> None:
    asset = await scanned(library)
    await delete(library, asset)
    path = library.base / asset["file_path"]
    path.rename(library.base / "away.bin")
    await library.scan()
    (library.base / "away.bin").rename(path)
    await library.scan()
    assert await library.assets() == []


async def test_a_record_deleted_before_its_file_was_read(make_library: Any) -> None:
    library = await make_library(Config(scan_on_start=False, hash_files=False))
    asset = await scanned(library)
    assert "hash" not in asset
    await delete(library, asset)
    await library.services.stop()
    library = await make_library()
    await library.scan()
    assert await library.assets() == []
    (library.base / asset["file_path"]).write_bytes(b"new")
    await library.scan()
    assert await names(library) == ["found.bin"]


async def test_a_file_of_unknown_content_is_read_after_it_was_restored(make_library: Any) -> None:
    """A file that was overwritten, and whose asset was deleted before it was read again."""
    library = await make_library()
    asset = await upload(library)
    await library.services.stop()
    library = await make_library(Config(scan_on_start=False, hash_files=False))
    (library.base / asset["file_path"]).write_bytes(b"other content")
    await library.scan()
    assert "hash" not in await library.asset("up.bin")
    await delete(library, asset)
    await library.services.trash.restore(asset["id"])
    await library.services.stop()
    library = await make_library()
    await library.scan()
    found = await library.asset("up.bin")
    assert (found["id"], found["hash"]) == (asset["id"], "blake3:" + blake3(b"other content").hexdigest())


async def test_the_same_bytes_uploaded_again_after_deletion_are_a_new_asset(library: Any) -> None:
    first = await upload(library)
    await delete(library, first)
    second = await upload(library)
    assert second["created_new"] and second["id"] != first["id"]
    await library.scan()
    assert [asset["id"] for asset in await library.assets()] == [second["id"]]
    await library.services.trash.restore(first["id"])
    paths = {asset["id"]: asset["file_path"] for asset in await library.assets()}
    assert paths == {first["id"]: "input/up (1).bin", second["id"]: "input/up.bin"}


async def test_the_id_of_a_deleted_asset_can_be_used_again(library: Any) -> None:
    wanted = "22222222-2222-4222-8222-222222222222"
    await delete(library, await upload(library, id=wanted))
    again = await upload(library, b"something else", "other.bin", id=wanted)
    assert (again["id"], again["created_new"]) == (wanted, True)
    (deleted,) = await library.services.trash.entries()
    assert deleted.id != wanted
    await library.services.trash.restore(deleted.id)
    assert await names(library) == ["other.bin", "up.bin"]


async def test_an_asset_that_is_in_use_cannot_be_deleted(library: Any, annotate: Any) -> None:
    asset = await upload(library)
    async with library.services.db.transaction() as tx:
        await tx.execute(
            "INSERT INTO asset_uses (asset_id, kind, used_by)"
            " SELECT id, 'workflow_version', 'w7' FROM assets WHERE uuid = ?",
            (asset["id"],),
        )
    await delete(library, asset, 409)
    assert await names(library) == ["up.bin"]
    assert (library.base / asset["file_path"]).exists() and stored(library) == []


async def test_a_reference_keeps_the_file_that_it_lives_by(library: Any) -> None:
    """A deleted upload leaves its content to references of other users."""
    asset = await scanned(library, "output/one.bin")
    reference = await refer(library, SCANNED, "output", "kept")
    (library.base / "output/one.bin").unlink()
    await library.scan()
    both = {item["id"]: item["tags"] for item in await library.assets()}
    assert "missing" in both[asset["id"]]
    assert both[reference["id"]] == ["output", "kept", "missing"]
    assert await content(library, reference) is None
    library.write("output/two.bin", SCANNED)
    await library.scan()
    both = {item["id"]: item["tags"] for item in await library.assets()}
    assert both[reference["id"]] == ["output", "kept"]
    assert await content(library, reference) == SCANNED
    assert asset["id"] in both


async def test_an_upload_that_another_user_refers_to_stays_in_its_place(make_library: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    ann, bob = {"comfy-user": "ann"}, {"comfy-user": "bob"}
    form = FormData()
    form.add_field("file", UPLOADED, filename="up.bin")
    async with library.client.post("/api/assets", data=form, headers=ann) as response:
        asset = await response.json()
    body = {"hash": asset["hash"], "tags": ["x"]}
    async with library.client.post("/api/assets/from-hash", json=body, headers=bob) as response:
        assert response.status == 404  # what is ann's, bob cannot know of
    async with library.client.delete(f"/api/assets/{asset['id']}", headers=bob) as response:
        assert response.status == 404
    form = FormData()
    form.add_field("file", UPLOADED, filename="bobs.bin")
    async with library.client.post("/api/assets", data=form, headers=bob) as response:
        assert response.status == 201
        bobs = await response.json()
    async with library.client.delete(f"/api/assets/{asset['id']}", headers=ann) as response:
        assert response.status == 204
    assert (library.base / bobs["file_path"]).read_bytes() == UPLOADED
    assert stored(library) == [UPLOADED]


async def test_a_deleted_reference_is_restored(library: Any) -> None:
    await scanned(library)
    reference = await refer(library, SCANNED, "models", "loras", "kept")
    await delete(library, reference)
    assert await names(library) == ["found.bin"]
    await library.services.trash.restore(reference["id"])
    assert {asset["id"] for asset in await library.assets()} >= {reference["id"]}


async def test_emptying_the_trash(library: Any) -> None:
    kept = await scanned(library)
    uploads = [await upload(library, str(n).encode() * 10, f"{n}.bin") for n in range(3)]
    reference = await refer(library, SCANNED, "models", "loras")
    for asset in (*uploads, reference, kept):
        await delete(library, asset)
    deleted = await library.services.trash.entries()
    spared = [entry for entry in deleted if entry.id == uploads[2]["id"]]
    async with library.services.db.transaction() as tx:
        await tx.execute("UPDATE trash SET deleted_at = 10 WHERE asset_id <> ?", (spared[0].row_id,))
    assert await library.services.trash_purge.empty(11) == (4, 20, [])
    assert stored(library) == [b"2" * 10]
    assert await library.services.trash_purge.empty() == (1, 10, [])
    assert stored(library) == []
    assert [(entry.id, entry.kind) for entry in await library.services.trash.entries()] == [(kept["id"], "left_out")]
    await library.scan()
    assert await library.assets() == []
    with pytest.raises(AssetNotFoundError):
        await library.services.trash.restore(uploads[0]["id"])


async def test_a_folder_that_is_no_longer_part_of_the_library(library: Any) -> None:
    asset = await upload(library, tags='["output"]')
    await delete(library, asset)
    async with library.services.db.transaction() as tx:
        await tx.execute("UPDATE trash SET folder = ?", (str(library.base / "elsewhere"),))
    await library.services.trash.restore(asset["id"])
    (back,) = await library.assets()
    assert (back["file_path"], back["tags"]) == ("input/up.bin", ["input"])


async def test_a_file_that_cannot_be_moved_leaves_all_as_it_was(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = await upload(library)

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(13, "The process cannot access the file")

    monkeypatch.setattr(atomic, "move_no_replace", refuse)
    await delete(library, asset, 500)
    assert await names(library) == ["up.bin"]
    assert (library.base / asset["file_path"]).read_bytes() == UPLOADED


async def test_a_store_that_fails_puts_the_file_back(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = await upload(library)

    async def hide(*_: Any) -> None:
        raise RuntimeError("the store has failed")

    monkeypatch.setattr(trash_rows, "hide", hide)
    await delete(library, asset, 500)
    assert (library.base / asset["file_path"]).read_bytes() == UPLOADED
    assert stored(library) == []
    assert await names(library) == ["up.bin"]


async def test_an_upload_whose_file_is_gone_can_be_deleted(library: Any) -> None:
    asset = await upload(library)
    (library.base / asset["file_path"]).unlink()
    await delete(library, asset)
    assert await library.assets() == [] and stored(library) == []
    await library.scan()
    assert await library.assets() == []


@pytest.fixture
async def two_volumes(library: Any, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """With the trash on another volume, record the copies, and whether the database could be written meanwhile.

    The volume of the library itself takes no trash folder.
    """
    monkeypatch.setattr(trash_files, "LIBRARY_FOLDER", "not there/trash")
    copies: list[bool] = []
    copy = atomic.copy_to_volume
    loop = asyncio.get_running_loop()
    trash = library.host.data_directory() / "trash"

    async def can_write() -> bool:
        async def write() -> None:
            async with library.services.db.transaction():
                pass

        try:
            await asyncio.wait_for(write(), 5)
        except asyncio.TimeoutError:
            return False
        return True

    def noted(source: Path, target: Path) -> None:
        copies.append(asyncio.run_coroutine_threadsafe(can_write(), loop).result())
        copy(source, target)

    def is_same_volume(source: Path, folder: Path) -> bool:
        return source.is_relative_to(trash) == folder.is_relative_to(trash)

    monkeypatch.setattr(atomic, "copy_to_volume", noted)
    monkeypatch.setattr(atomic, "is_same_volume", is_same_volume)
    return copies


async def test_the_store_is_free_while_files_are_copied_between_volumes(library: Any, two_volumes: list[bool]) -> None:
    asset = await upload(library)
    place = library.base / asset["file_path"]
    before = place.stat()
    await delete(library, asset)
    assert stored(library) == [UPLOADED] and not place.exists()
    await library.services.trash.restore(asset["id"])
    assert two_volumes == [True, True]
    assert stored(library) == [] and place.read_bytes() == UPLOADED
    assert place.stat().st_mtime_ns == before.st_mtime_ns
    assert sorted(path.name for path in place.parent.iterdir()) == [place.name]
    assert [found["id"] for found in await library.assets()] == [asset["id"]]


async def test_between_volumes_a_store_that_fails_changes_nothing(
    library: Any, two_volumes: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("the store has failed")

    asset = await upload(library)
    place = library.base / asset["file_path"]
    with monkeypatch.context() as broken:
        broken.setattr(trash_rows, "hide", fail)
        await delete(library, asset, 500)
    assert place.read_bytes() == UPLOADED and stored(library) == []
    await delete(library, asset)
    with monkeypatch.context() as broken, pytest.raises(RuntimeError):
        broken.setattr(contents, "update_missing_references", fail)
        await library.services.trash.restore(asset["id"])
    assert stored(library) == [UPLOADED] and list(place.parent.iterdir()) == []
    assert [entry.id for entry in await library.services.trash.entries()] == [asset["id"]]


async def test_an_asset_that_is_deleted_twice_at_once(library: Any, two_volumes: list[bool]) -> None:
    # Fewer than the pool has threads: each waits there until another write has taken place.
    asset = await upload(library)
    answers = await asyncio.gather(*(library.client.delete(f"/api/assets/{asset['id']}") for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [204] + [404] * 3
    assert stored(library) == [UPLOADED] and list((library.base / "input").iterdir()) == []
    restored = await asyncio.gather(
        *(library.services.trash.restore(asset["id"]) for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(each, AssetNotFoundError) for each in restored) == 3
    assert stored(library) == [] and [p.name for p in (library.base / "input").iterdir()] == ["up.bin"]


async def test_an_asset_that_another_request_has_restored(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was deleted when the request came, and its file has left the trash since."""
    asset = await upload(library)
    await delete(library, asset, 204)
    bin_ = library.services.trash
    deleted = await bin_.find(asset["id"], None)
    await bin_.restore(asset["id"])

    async def found(*_: Any) -> Any:
        return deleted

    monkeypatch.setattr(bin_, "find", found)
    with pytest.raises(AssetNotFoundError):
        await bin_.restore(asset["id"])


async def test_a_file_that_changes_while_it_is_copied_is_not_deleted(
    library: Any, two_volumes: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = await upload(library)
    place = library.base / asset["file_path"]
    copy = atomic.copy_to_volume

    def changing(source: Path, target: Path) -> None:
        copy(source, target)
        place.write_bytes(b"saved once more")

    monkeypatch.setattr(atomic, "copy_to_volume", changing)
    await delete(library, asset, 500)
    assert place.read_bytes() == b"saved once more" and stored(library) == []


async def test_a_server_killed_between_file_and_store_puts_the_file_back(make_library: Any) -> None:
    library = await make_library()
    asset = await upload(library)
    place = library.base / asset["file_path"]
    held = library.host.data_directory() / "trash" / asset["id"] / place.name
    held.parent.mkdir(parents=True)
    shutil.move(place, held)
    await library.services.stop()
    library = await make_library()
    assert place.read_bytes() == UPLOADED
    assert stored(library) == []
    await library.scan()
    assert [found["tags"] for found in await library.assets()] == [["input"]]


class KilledError(Exception):
    """Stands for the end of the process: nothing is cleaned up after it."""


@pytest.mark.parametrize("moved", ["not", "half", "whole"])
async def test_a_server_killed_while_it_restores_completes_that(
    make_library: Any, monkeypatch: pytest.MonkeyPatch, moved: str
) -> None:
    library = await make_library()
    asset = await upload(library, user_metadata='{"stars": 5}', tags='["input", "mine"]')
    place = library.base / asset["file_path"]
    await delete(library, asset)
    place_in_trash = trash_files.RestoreMove.place

    def place_and_die(self: trash_files.RestoreMove) -> None:
        if moved != "not":
            place_in_trash(self)
        if moved == "half":  # the file has both names for a moment
            self._stored.hardlink_to(place)
        raise KilledError

    with monkeypatch.context() as killed, pytest.raises(KilledError):
        killed.setattr(trash_files.RestoreMove, "place", place_and_die)
        killed.setattr(trash_files.RestoreMove, "undo", lambda self: None)
        await library.services.trash.restore(asset["id"])
    await library.services.stop()
    library = await make_library()
    if moved == "not":
        assert stored(library) == [UPLOADED] and not place.exists()
        await library.services.trash.restore(asset["id"])
    assert place.read_bytes() == UPLOADED and stored(library) == []
    await library.scan()
    (back,) = await library.assets()
    assert (back["id"], back["tags"], back["user_metadata"]) == (asset["id"], ["input", "mine"], {"stars": 5})
    assert await library.services.trash.entries() == []


async def test_a_file_with_both_names_is_put_back(make_library: Any) -> None:
    """The move into the trash is a second name, and then the end of the first: a server was killed between them."""
    library = await make_library()
    asset = await upload(library)
    place = library.base / asset["file_path"]
    held = library.host.data_directory() / "trash" / asset["id"] / place.name
    held.parent.mkdir(parents=True)
    held.hardlink_to(place)
    await library.services.stop()
    library = await make_library()
    assert place.read_bytes() == UPLOADED and stored(library) == []


@pytest.mark.parametrize("is_seen", [True, False])
async def test_the_file_of_an_upload_that_was_lost_is_taken_up_again(library: Any, is_seen: bool) -> None:
    """The uploaded file is kept even if the loss of the existing file was not noticed yet."""
    asset = await upload(library, user_metadata=json.dumps({"stars": 4}), tags='["input", "mine"]')
    (library.base / asset["file_path"]).unlink()
    if is_seen:
        await library.scan()
        assert "missing" in (await library.asset("up.bin"))["tags"]
    again = await upload(library, file_name="other.bin")
    assert (again["id"], again["created_new"]) == (asset["id"], False)
    assert (again["user_metadata"], again["tags"]) == ({"stars": 4}, ["input", "mine"])
    assert (library.base / again["file_path"]).read_bytes() == UPLOADED
    await library.scan()
    assert len(await library.assets()) == 1


async def test_content_of_a_file_that_was_written_over_is_kept_when_it_is_sent_again(library: Any) -> None:
    asset = await upload(library)
    (library.base / asset["file_path"]).write_bytes(b"other content")
    again = await upload(library, file_name="other.bin")
    assert again["created_new"] and again["id"] != asset["id"]
    assert (library.base / again["file_path"]).read_bytes() == UPLOADED
    await library.scan()
    assert {found["file_path"] for found in await library.assets()} == {asset["file_path"], again["file_path"]}


async def test_scanned_content_whose_file_has_just_gone_is_kept_when_it_is_sent(library: Any) -> None:
    path = library.write("input/found.bin", UPLOADED)
    await library.scan()
    path.unlink()
    sent = await upload(library)
    assert sent["created_new"]
    assert (library.base / sent["file_path"]).read_bytes() == UPLOADED
    assert "missing" in (await library.asset("found.bin"))["tags"]


@pytest.mark.parametrize("how", ["uploaded", "restored"])
async def test_a_file_that_is_put_into_a_folder_does_not_hide_that_others_want_other_tags(
    library: Any, how: str
) -> None:
    """The folder got another category after its scan; the next scan must still notice that."""
    library.write("models/loras/old.safetensors", safetensors(1))
    await library.scan()
    deleted = await upload(library, safetensors(2), "del.safetensors", tags='["models", "loras"]')
    await delete(library, deleted)
    folders = library.host.current_folders
    library.host.current_folders = replace(
        folders, folders=tuple(replace(f, category="styles") if f.category == "loras" else f for f in folders.folders)
    )
    if how == "uploaded":
        await upload(library, safetensors(3), "new.safetensors", tags='["models", "styles"]')
    else:
        await library.services.trash.restore(deleted["id"])
    await library.scan()
    wanted = ["models", "styles", "model_type:styles"]
    assert [asset["tags"] for asset in await library.assets()] == [wanted, wanted]
