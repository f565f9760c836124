"""What a user has given an asset stays with it, and with no other, whatever becomes of files."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets.assets.index import hash_run, walker
from comfy_assets_node.comfy_assets.assets.prompts import output_recorder, outputs
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.fs import paths
from comfy_assets_node.comfy_assets.host.execution import FinishedPrompt
from PIL import Image

JOB, OTHER_JOB = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
LORA = "models/loras/style.safetensors"
GIVEN = {"user_metadata": {"stars": 4}, "mime_type": "application/x-mine", "name": "My own"}


async def give(library: Any, asset: dict[str, Any], preview: dict[str, Any] | None = None) -> dict[str, Any]:
    """Give an asset all that a user can; answers it."""
    body = {**GIVEN, **({"preview_id": preview["id"]} if preview else {})}
    async with library.client.put(f"/api/assets/{asset['id']}", json=body) as response:
        assert response.status == 200, await response.text()
    async with library.client.post(f"/api/assets/{asset['id']}/tags", json={"tags": ["mine"]}) as response:
        assert response.status == 200, await response.text()
    return await library.get(f"/api/assets/{asset['id']}")


def has_all(asset: dict[str, Any]) -> bool:
    """Whether an asset has all that it was given."""
    return {**asset, **GIVEN} == asset and "mine" in asset["tags"]


async def at(library: Any, path: str) -> dict[str, Any]:
    """The asset whose file is there and lies at this path."""
    [asset] = [a for a in await library.assets(exclude_tags="missing") if a["file_path"] == path]
    return asset


def written(library: Any, relative: str, content: bytes = b"content", number: int = 0) -> Path:
    """Write a file with a time that no other has."""
    path = library.write(relative, content)
    os.utime(path, ns=(1, 1_600_000_000_123_456_700 + number * 1_000_000_000))
    return path


def without_inodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have listings tell no inodes, as on Windows."""
    for module in (walker, paths):
        real = module.file_stat
        monkeypatch.setattr(module, "file_stat", lambda info, real=real: (*real(info)[:2], 0))


def copied(source: Path, target: Path) -> None:
    """Move to another drive, with another time."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    source.unlink()


def renamed(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


def respelled(source: Path, target: Path) -> None:
    """Change the case of a file's name and of its folder's in two steps, as Wine does nothing in one."""
    if str(source.parent) != str(target.parent):  # paths of Windows are equal in any case
        respelled(source.parent, target.parent)
        source = target.with_name(source.name)
    source.rename(target.with_name("between")).rename(target)


@pytest.mark.parametrize("way", [renamed, copied])
@pytest.mark.parametrize("target", ["models/loras/b.safetensors", "output/x/style.bin", "input/style.safetensors"])
async def test_all_that_was_given_goes_along(library: Any, way: Callable[[Path, Path], None], target: str) -> None:
    path, other = written(library, LORA), written(library, "output/shown.png", b"another", 1)
    await library.scan()
    shown = await at(library, "output/shown.png")
    asset = await give(library, await at(library, LORA), shown)
    way(path, library.base / target)
    way(other, library.base / "input/shown too.png")
    await library.scan()
    after = await library.get(f"/api/assets/{asset['id']}")
    assert has_all(after) and after["file_path"] == target
    assert after["preview_id"] == shown["id"]
    assert len(await library.assets()) == 2


@pytest.mark.parametrize("has_inodes", [True, False])
@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize(
    ("source", "target"),
    [("output/a.png", "output/A.PNG"), ("output/a", "output/A"), ("output/ä/x.png", "output/Ä/X.png")],
)
async def test_the_case_of_a_name_alone_changes(
    make_library: Any, monkeypatch: pytest.MonkeyPatch, has_inodes: bool, is_read: bool, source: str, target: str
) -> None:
    """Listings tell how names are spelled, also where a file is found by every spelling."""
    library = await make_library(Config(scan_on_start=False, hash_files=is_read))
    if not has_inodes:
        without_inodes(monkeypatch)
    old = Path(source) if Path(source).suffix else Path(source) / "x.png"
    new = Path(target) if Path(target).suffix else Path(target) / "x.png"
    written(library, old.as_posix())
    await library.scan()
    asset = await give(library, await at(library, old.as_posix()))
    respelled(library.base / source, library.base / target)
    await library.scan()
    assert has_all(await at(library, new.as_posix()))
    assert [a["id"] for a in await library.assets()] == [asset["id"]]


async def test_another_content_in_the_same_place_keeps_what_that_was_given(library: Any) -> None:
    """A model that was updated, a picture that was edited: also when programs write a new file over the old one."""
    path = written(library, LORA)
    await library.scan()
    asset = await give(library, await at(library, LORA))
    (library.base / "draft").write_bytes(b"edited")
    (library.base / "draft").replace(path)
    await library.scan()
    after = await at(library, LORA)
    assert after["id"] == asset["id"] and after["hash"] != asset["hash"]
    assert {**after, "mime_type": ""} == {**after, **GIVEN, "mime_type": ""} and "mine" in after["tags"]


async def test_a_file_that_is_gone_for_long_and_its_like(make_library: Any) -> None:
    """What has the same content later is that file again; what has not is another."""
    library = await make_library()
    path = written(library, LORA)
    await library.scan()
    asset = await give(library, await at(library, LORA))
    path.unlink()
    await library.scan()
    await library.services.stop()
    library = await make_library()
    written(library, "models/loras/unlike.safetensors", b"CONTENT", 1)
    await library.scan()
    assert not has_all(await at(library, "models/loras/unlike.safetensors"))
    await library.services.stop()
    library = await make_library()
    written(library, "models/loras/like.safetensors", number=2)
    await library.scan()
    after = await at(library, "models/loras/like.safetensors")
    assert has_all(after) and after["id"] == asset["id"]


@pytest.mark.parametrize("way", [renamed, copied])
async def test_what_is_on_a_drive_that_is_away_is_not_taken_over(
    library: Any, way: Callable[[Path, Path], None]
) -> None:
    written(library, "output/a.png")
    await library.scan()
    asset = await give(library, await at(library, "output/a.png"))
    away = (library.base / "output").rename(library.base / "away")
    written(library, "input/copy.png", number=1)
    await library.scan()
    copy = await at(library, "input/copy.png")
    assert copy["id"] != asset["id"] and not has_all(copy)
    shutil.copytree(away, library.base / "output") if way is copied else away.rename(library.base / "output")
    await library.scan()
    assert has_all(await at(library, "output/a.png")) and not has_all(await at(library, "input/copy.png"))
    assert len(await library.assets()) == 2


@pytest.mark.parametrize("change", [{"preview_id": None}, {"user_metadata": {}}, {"name": "other"}, {"tags": ["x"]}])
async def test_a_new_asset_that_was_given_anything_stays_one(library: Any, change: dict[str, Any]) -> None:
    """Also when a missing one had the same content."""
    path, shown = written(library, LORA), written(library, "output/shown.png", b"another", 1)
    await library.scan()
    asset = await give(library, await at(library, LORA))
    path.unlink()
    library.services.indexer._hash_files = False
    await library.scan()
    written(library, "models/loras/new.safetensors", number=2)
    await library.scan()
    new = await at(library, "models/loras/new.safetensors")
    if "preview_id" in change:
        change = {"preview_id": (await at(library, f"output/{shown.name}"))["id"]}
    url = f"/api/assets/{new['id']}"
    sent = library.client.post(f"{url}/tags", json=change) if "tags" in change else library.client.put(url, json=change)
    async with sent as response:
        assert response.status == 200, await response.text()
    library.services.indexer._hash_files = True
    await library.scan()
    after = await at(library, "models/loras/new.safetensors")
    assert after["id"] == new["id"] != asset["id"]
    assert {name: after[name] for name in change if name != "tags"} == {n: v for n, v in change.items() if n != "tags"}
    assert has_all(await library.get(f"/api/assets/{asset['id']}"))


async def test_uploads_of_several_users_that_move_stay_theirs(make_library: Any) -> None:
    """Equal contents, of two users and of nobody, moved by a copy that tells nothing but names and contents."""
    library = await make_library(users=frozenset({"ann", "bob"}))
    ids: dict[str, str] = {}
    for user in ("ann", "bob"):
        form = FormData()
        form.add_field("file", b"content", filename="photo.bin")
        form.add_field("tags", json.dumps(["output", f"of {user}"]))
        async with library.client.post("/api/assets", data=form, headers={"comfy-user": user}) as response:
            assert response.status == 201, await response.text()
            asset = await response.json()
            ids[asset["file_path"].removeprefix("output/")] = asset["id"]
    written(library, "output/z.bin")
    await library.scan()
    [(ids["z.bin"],)] = await library.services.db.fetch_all("SELECT uuid FROM assets WHERE name = 'z.bin'")
    (library.base / "output/moved").mkdir()
    for name in ids:
        copied(library.base / "output" / name, library.base / "output/moved" / name)
    await library.scan()
    rows = await library.services.db.fetch_all(
        "SELECT f.name, a.uuid, s.owner, l.tags FROM files f JOIN assets a ON a.id = f.id"
        " JOIN tag_sets s ON s.id = a.tag_set_id JOIN asset_tag_lists l ON l.id = a.id WHERE f.missing = 0"
    )
    assert {row[0]: row[1] for row in rows} == ids
    assert {tuple(row[2:]) for row in rows} == {
        ("ann", '["output","of ann"]'),
        ("bob", '["output","of bob"]'),
        ("", '["output"]'),
    }


async def test_of_two_lost_uploads_the_one_of_the_name_takes_up_the_file(library: Any) -> None:
    async def upload(name: str, tag: str) -> dict[str, Any]:
        form = FormData()
        form.add_field("file", b"content", filename=name)
        form.add_field("tags", json.dumps(["input", tag]))
        async with library.client.post("/api/assets", data=form) as response:
            assert response.status in (200, 201), await response.text()
            return await response.json()

    first = await upload("a.bin", "first")
    (library.base / "input/a.bin").rename(library.base / "away")
    await library.scan()
    async with library.services.db.transaction() as tx:  # so that the next is not taken for the first again
        await tx.execute("UPDATE assets SET content_id = NULL")
    second = await upload("b.bin", "second")
    (library.base / "input/b.bin").unlink()
    await library.scan()
    async with library.services.db.transaction() as tx:
        await tx.execute("UPDATE assets SET content_id = (SELECT id FROM contents)")
    again = await upload("b.bin", "again")
    assert (again["id"], again["tags"]) == (second["id"], ["input", "second"])
    assert first["id"] != second["id"]


def png(color: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 2), color).save(buffer, "PNG")
    return buffer.getvalue()


async def make(library: Any, job_id: str, name: str, content: bytes, number: int) -> dict[str, Any]:
    """Have a job write a file, as a new one; answers its asset."""
    path = library.base / "output" / name
    draft = library.base / f"draft {number}"
    draft.write_bytes(content)
    os.utime(draft, ns=(1, 1_700_000_000_123_456_700 + number * 1_000_000_000))
    draft.replace(path)
    prompt = FinishedPrompt(job_id, {"9": {"images": [{"filename": name, "subfolder": "", "type": "output"}]}})
    worker = threading.Thread(target=library.services.outputs.record, args=(prompt,))
    worker.start()
    await asyncio.to_thread(worker.join)
    await library.services.outputs.drain()
    return await at(library, f"output/{name}")


@pytest.mark.parametrize("becomes", ["moved", "removed", "removed and seen missing", "moved and seen missing"])
@pytest.mark.parametrize("has_inodes", [True, False])
async def test_the_next_output_takes_the_name_of_one_that_is_gone(
    library: Any, monkeypatch: pytest.MonkeyPatch, becomes: str, has_inodes: bool
) -> None:
    """The server counts on from the highest number there is: what was given to the last one is not the next one's."""
    monkeypatch.setattr(output_recorder, "IDLE_S", 0.01)
    if not has_inodes:
        without_inodes(monkeypatch)
        monkeypatch.setattr(outputs, "file_stat", walker.file_stat)
        monkeypatch.setattr(outputs, "birth_ns", lambda info: info.st_mtime_ns - 1000)
    asset = await give(library, await make(library, JOB, "a_00001_.png", png(1), 1))
    path = library.base / "output/a_00001_.png"
    path.rename(library.base / ("input/kept.png" if "moved" in becomes else "away"))
    if "seen" in becomes:
        hidden = (library.base / "input").rename(library.base / "hidden")
        await library.scan()
        assert "missing" in (await library.get(f"/api/assets/{asset['id']}"))["tags"]
        hidden.rename(library.base / "input")
    new = await make(library, OTHER_JOB, "a_00001_.png", png(2), 2)
    assert new["id"] != asset["id"] and not has_all(new)
    before = await library.get(f"/api/assets/{asset['id']}")
    assert has_all(before) and "missing" in before["tags"]
    await library.scan()
    after = await library.get(f"/api/assets/{asset['id']}")
    assert has_all(after)
    if "moved" in becomes:
        assert after["file_path"] == "input/kept.png" and "missing" not in after["tags"]
    assert (await at(library, "output/a_00001_.png"))["id"] == new["id"]
    assert len(await library.assets()) == 2


async def test_an_output_takes_the_name_of_a_missing_one_before_its_job_is_known(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan may see it first."""
    monkeypatch.setattr(output_recorder, "IDLE_S", 0.01)
    asset = await give(library, await make(library, JOB, "a_00001_.png", png(1), 1))
    (library.base / "output/a_00001_.png").unlink()
    await library.scan()
    written(library, "output/a_00001_.png", png(2), 2)
    await library.scan()
    new = await at(library, "output/a_00001_.png")
    assert new["id"] != asset["id"] and not has_all(new)
    assert has_all(await library.get(f"/api/assets/{asset['id']}"))
    written(library, "output/back.png", png(1), 3)
    await library.scan()
    after = await at(library, "output/back.png")
    assert after["id"] == asset["id"] and has_all(after)


async def test_a_node_that_writes_the_same_file_again_and_again(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one asset while nobody gives it anything."""
    monkeypatch.setattr(output_recorder, "IDLE_S", 0.01)
    ids = {(await make(library, JOB, "latest.png", png(number), number))["id"] for number in range(4)}
    assert len(ids) == 1 and len(await library.assets()) == 1


async def test_what_jobs_have_shown_and_named_goes_along(library: Any) -> None:
    """A file is listed, and linked to jobs, before it is read; what it holds then shows that it is a missing one."""
    path = written(library, "output/a.png")
    await library.scan()
    asset = await at(library, "output/a.png")
    path.unlink()
    library.services.indexer._hash_files = False
    await library.scan()
    written(library, "output/b.png", number=1)
    await library.scan()
    new = await at(library, "output/b.png")
    async with library.services.db.transaction() as tx:
        await tx.execute(
            "INSERT INTO jobs (uuid, owner, status, number, seat, created_at, updated_at)"
            " VALUES (?, '', 2, 1, 1, 1, 1)",
            (JOB,),
        )
        for table, columns, values in (
            ("job_outputs", "job_id, node_id, output_key, output_index, asset_id", "j.id, '9', 'images', 0, a.id"),
            ("job_inputs", "job_id, asset_id", "j.id, a.id"),
        ):
            await tx.execute(
                f"INSERT INTO {table} ({columns}) SELECT {values} FROM jobs j, assets a WHERE a.uuid = ?", (new["id"],)
            )
    library.services.indexer._hash_files = True
    await library.scan()
    assert (await at(library, "output/b.png"))["id"] == asset["id"]
    shown = await library.get(f"/api/jobs/{JOB}/assets")
    assert [output["id"] for output in shown["assets"]] == [asset["id"]]
    named = "SELECT a.uuid FROM job_inputs i JOIN assets a ON a.id = i.asset_id"
    assert await library.services.db.fetch_all(named) == [(asset["id"],)]


def cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files be read one by one, and every run stopped after two."""
    monkeypatch.setattr(hash_run, "_SMALL_BATCH", 1)
    real = hash_run.HashRun._record

    async def record(self: Any, outcomes: Any) -> int:
        changed = await real(self, outcomes)
        self._token.cancel()
        return changed

    monkeypatch.setattr(hash_run.HashRun, "_record", record)


async def test_a_run_that_is_cut_short_is_taken_up_by_the_next(make_library: Any) -> None:
    """Of three files of one content two were read when the server stopped: which is which is said when all are read."""
    library = await make_library()
    for number, name in enumerate("bca"):
        written(library, f"output/{name}/x.png", number=number)
        await library.scan()
    ids = {name: (await at(library, f"output/{name}/x.png"))["id"] for name in "abc"}
    for name in "abc":
        copied(library.base / f"output/{name}/x.png", library.base / f"input/{name}/x.png")
    with pytest.MonkeyPatch.context() as patch:
        cut_short(patch)
        await library.scan()
    assert len(await library.services.db.fetch_all("SELECT * FROM newcomers")) == 2
    assert len(await library.assets(include_tags="missing")) == 3
    await library.services.stop()
    library = await make_library()
    await library.scan()
    assert {name: (await at(library, f"input/{name}/x.png"))["id"] for name in "abc"} == ids
    assert len(await library.assets()) == 3


async def test_a_copy_that_waits_while_the_missing_file_comes_back_stays_a_copy(library: Any) -> None:
    """Also when that goes again later."""
    path = written(library, "output/a.png")
    await library.scan()
    asset = await give(library, await at(library, "output/a.png"))
    away = path.rename(library.base / "away")
    written(library, "output/copy.png", number=1)
    for number in range(2, 4):
        written(library, f"output/d{number}.png", b"CONTEN%d" % number, number)
    with pytest.MonkeyPatch.context() as patch:
        cut_short(patch)
        await library.scan()
    assert len(await library.services.db.fetch_all("SELECT * FROM newcomers")) == 1
    away.rename(path)
    await library.scan()
    assert (await at(library, "output/a.png"))["id"] == asset["id"]
    path.unlink()
    await library.scan()
    assert not has_all(await at(library, "output/copy.png"))
    assert has_all(await library.get(f"/api/assets/{asset['id']}"))


async def test_a_file_that_cannot_be_read_keeps_no_other_waiting(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(library, "output/a/x.png")
    await library.scan()
    asset = await give(library, await at(library, "output/a/x.png"))
    copied(path, library.base / "output/b/y.png")
    written(library, "output/bad.png", b"CONTENT", 1)
    real = hash_run.read_file

    def read_file(file: Any, *rest: Any) -> Any:
        if file.name == "bad.png":
            raise RuntimeError("a reader's fault")
        return real(file, *rest)

    monkeypatch.setattr(hash_run, "read_file", read_file)
    await library.scan()
    assert (await at(library, "output/b/y.png"))["id"] == asset["id"]
