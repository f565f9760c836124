"""``comfy-assets trash``, and the lines of ``status`` about it."""

from __future__ import annotations

import asyncio
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets.cli import main
from comfy_assets_node.comfy_assets.fs import shared_files
from support.sharing import SharingViolation

DAY_MS = 86_400_000


class Deleting:
    """A library whose assets are deleted over HTTP, and a way to run the command beside it."""

    def __init__(self, library: Any, capture: pytest.CaptureFixture[str]) -> None:
        self.library = library
        self.capture = capture

    async def upload(self, name: str, content: bytes) -> str:
        """Upload a file, and return the id of its asset."""
        form = FormData()
        form.add_field("tags", '["input"]')
        form.add_field("file", content, filename=name, content_type="application/octet-stream")
        async with self.library.client.post("/api/assets", data=form) as response:
            assert response.status == 201, await response.text()
            return str((await response.json())["id"])

    async def delete(self, asset_id: str, days_ago: int = 0) -> None:
        """Delete an asset, as if that many days ago."""
        async with self.library.client.delete(f"/api/assets/{asset_id}") as response:
            assert response.status == 204, await response.text()
        async with self.library.services.db.transaction() as tx:
            await tx.execute(
                "UPDATE trash SET deleted_at = deleted_at - ? WHERE asset_id = (SELECT id FROM assets WHERE uuid = ?)",
                (days_ago * DAY_MS, asset_id),
            )

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Status, output and errors of the command."""
        self.capture.readouterr()
        base = ["--base-directory", str(self.library.base)]
        status = await asyncio.to_thread(main, [*arguments, *base])
        return status, *self.capture.readouterr()

    async def listed(self) -> list[dict[str, Any]]:
        """List deleted assets."""
        status, out, _ = await self.run("trash", "list", "--json")
        assert status == 0
        return list(json.loads(out))

    def files(self) -> list[str]:
        """Return the files in the input folder and in the trash."""
        folders = (self.library.base / "input", self.library.base / "user/__comfy_assets/trash")
        return sorted(path.name for folder in folders for path in folder.rglob("*") if path.is_file())


@pytest.fixture
async def deleting(library: Any, capsys: pytest.CaptureFixture[str]) -> Deleting:
    return Deleting(library, capsys)


async def test_list_in_part(deleting: Deleting) -> None:
    kept = await deleting.upload("Kept_Portrait.bin", b"k" * 10)
    gone = await deleting.upload("portrait.bin", b"p" * 20)
    await deleting.delete(await deleting.upload("other.bin", b"o" * 30))
    for asset_id, action in ((kept, "remove"), (gone, "trash")):
        async with deleting.library.client.delete(f"/api/assets/{asset_id}?action={action}") as response:
            assert response.status == 204

    async def names(*arguments: str) -> list[str]:
        status, out, _ = await deleting.run("trash", "list", "--json", *arguments)
        assert status == 0
        return sorted(entry["name"] for entry in json.loads(out))

    assert await names("PORTRAIT") == ["Kept_Portrait.bin", "portrait.bin"]
    assert await names("portrait", "--kind", "trashed") == ["portrait.bin"]
    assert await names("--kind", "removed") == ["Kept_Portrait.bin"]
    assert await names("nothing") == []
    async with deleting.library.client.delete(f"/api/trash/{kept}") as response:
        assert response.status == 204
    assert await names("--kind", "removed") == []
    assert await names("--kind", "left-out") == ["Kept_Portrait.bin"]


async def test_list(deleting: Deleting) -> None:
    assert await deleting.listed() == []
    uploaded = await deleting.upload("ü pload.bin", b"u" * 2000)
    deleting.library.write("output/scanned.bin", b"s" * 30)
    await deleting.library.scan()
    scanned = (await deleting.library.asset("scanned.bin"))["id"]
    await deleting.delete(uploaded, days_ago=2)
    await deleting.delete(scanned)
    first, second = await deleting.listed()
    when = [entry.pop("deleted_at") for entry in (first, second)]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text) for text in when) and when[0] > when[1]
    assert first == {"id": scanned, "name": "scanned.bin", "owner": "", "size": 30, "file_in_trash": False}
    owner = second.pop("owner")
    assert second == {"id": uploaded, "name": "ü pload.bin", "size": 2000, "file_in_trash": True}
    assert isinstance(owner, str)
    _, out, _ = await deleting.run("trash", "list")
    head, *lines = out.splitlines()
    assert head.split() == ["DELETED", "SIZE", "KEPT", "ID", "NAME"]
    assert lines[0].endswith(f"{scanned}  scanned.bin") and lines[1].endswith(f"{uploaded}  ü pload.bin")
    assert "file in its place" in lines[0] and "file in the trash" in lines[1]
    assert lines[2] == "2 deleted assets, 2 kB of files in the trash"
    _, out, _ = await deleting.run("status")
    assert out.splitlines()[-1] == "2 deleted assets can be restored, with 2 kB of files in the trash"
    _, out, _ = await deleting.run("status", "--json")
    assert {key: json.loads(out)[key] for key in ("deleted", "trash_bytes")} == {"deleted": 2, "trash_bytes": 2000}


async def test_restore(deleting: Deleting) -> None:
    ids = [await deleting.upload(f"{number}.bin", b"%d" % number) for number in range(3)]
    for asset_id in ids:
        await deleting.delete(asset_id)
    assert await deleting.library.assets() == []
    status, out, err = await deleting.run("trash", "restore", ids[0], ids[2])
    assert (status, err) == (0, "")
    assert [line.split("  ")[0] for line in out.splitlines()] == [ids[0], ids[2]]
    assert str(deleting.library.base / "input" / "0.bin") in out
    assert {asset["id"] for asset in await deleting.library.assets()} == {ids[0], ids[2]}
    assert (deleting.library.base / "input" / "2.bin").read_bytes() == b"2"
    assert [entry["id"] for entry in await deleting.listed()] == [ids[1]]


@pytest.mark.parametrize("unknown", ["00000000-0000-4000-8000-000000000000", "no id"])
async def test_restore_of_nothing_but_unknown_ids(deleting: Deleting, unknown: str) -> None:
    await deleting.delete(await deleting.upload("a.bin", b"a"))
    assert await deleting.run("trash", "restore", unknown) == (1, "", f"{unknown}: There is no such asset.\n")


async def test_restore_by_the_first_characters_of_an_id(deleting: Deleting) -> None:
    asset_id = await deleting.upload("a.bin", b"a")
    await deleting.upload("kept.bin", b"kept")  # which its first characters fit as well, but it is not deleted
    await deleting.delete(asset_id)
    status, out, _ = await deleting.run("trash", "restore", asset_id[:8])
    assert status == 0 and out.startswith(asset_id)


@pytest.mark.parametrize("unknown", ["00000000-0000-4000-8000-000000000000", "no id"])
async def test_restore_goes_on_after_an_unknown_id(deleting: Deleting, unknown: str) -> None:
    asset_id = await deleting.upload("a.bin", b"a")
    await deleting.delete(asset_id)
    status, out, err = await deleting.run("trash", "restore", unknown, asset_id)
    assert status == 3
    assert err == f"{unknown}: There is no such asset.\n"
    assert out.startswith(asset_id)
    assert await deleting.listed() == []


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ((), []),
        (("--older-than", "2d"), ["new.bin"]),
        (("--older-than", "36h"), ["new.bin"]),
        (("--older-than", "1w"), ["days.bin", "new.bin"]),
        (("--older-than", "999999w"), ["days.bin", "new.bin", "weeks.bin"]),
    ],
)
async def test_empty(deleting: Deleting, arguments: tuple[str, ...], left: list[str]) -> None:
    for name, days_ago in (("new.bin", 0), ("days.bin", 3), ("weeks.bin", 20)):
        await deleting.delete(await deleting.upload(name, name.encode() * 100), days_ago)
    kept = await deleting.upload("kept.bin", b"kept")
    status, out, _ = await deleting.run("trash", "empty", "--yes", *arguments)
    assert status == 0
    assert out.startswith(f"{3 - len(left)} deleted asset")
    assert sorted(entry["name"] for entry in await deleting.listed()) == left
    assert deleting.files() == sorted([*left, "kept.bin"])
    assert [asset["id"] for asset in await deleting.library.assets()] == [kept]


@pytest.mark.parametrize("trouble", ["held open", "read-only"])
async def test_empty_goes_on_after_a_file_that_windows_does_not_remove(
    deleting: Deleting, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """The first in the list, so that a stop would leave all others."""
    ids = [await deleting.upload(f"{number}.bin", b"%d" % number * 10) for number in range(4)]
    for asset_id in ids:
        await deleting.delete(asset_id)
    listed = [entry["id"] for entry in await deleting.listed()]
    first = next((deleting.library.base / "user/__comfy_assets/trash" / listed[0]).iterdir())
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path == first and (trouble == "held open" or not path.stat().st_mode & stat.S_IWRITE):
            raise SharingViolation(32 if trouble == "held open" else 5)
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(shared_files, "WINDOWS", True)
    monkeypatch.setattr(shared_files, "PATIENCE_S", 0.05)
    first.chmod(stat.S_IREAD)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        status, out, err = await deleting.run("trash", "empty", "--yes")
    if trouble == "read-only":
        assert (status, err, deleting.files()) == (0, "", [])
        return
    assert status == 3
    assert err.startswith(f"{listed[0]}  ") and "Another program has the file open" in err
    assert out.startswith("3 deleted assets removed for good, 30 B")
    assert deleting.files() == [first.name]
    assert [entry["id"] for entry in await deleting.listed()] == listed[:1]
    assert (await deleting.run("trash", "empty", "--yes"))[0] == 0
    assert deleting.files() == []


async def test_empty_leaves_files_in_their_places(deleting: Deleting) -> None:
    deleting.library.write("output/scanned.bin", b"s")
    await deleting.library.scan()
    await deleting.delete((await deleting.library.asset("scanned.bin"))["id"])
    _, out, _ = await deleting.run("trash", "empty", "--yes")
    assert out == "1 deleted asset removed for good, 0 B freed\n"
    assert (deleting.library.base / "output/scanned.bin").exists()
    assert await deleting.listed() == []
    await deleting.library.scan()
    assert await deleting.library.assets() == []


@pytest.mark.parametrize(
    ("answer", "arguments", "status", "emptied"),
    [
        ("y\n", (), 0, True),
        ("n\n", (), 1, False),
        ("", (), 1, False),
        (None, (), 2, False),
        (None, ("--yes",), 0, True),
    ],
)
async def test_emptying_is_confirmed(
    deleting: Deleting,
    someone_says: Callable[[str], None],
    answer: str | None,
    arguments: tuple[str, ...],
    status: int,
    emptied: bool,
) -> None:
    await deleting.delete(await deleting.upload("a.bin", b"a" * 1500))
    if answer is not None:
        someone_says(answer)
    ended, _, err = await deleting.run("trash", "empty", *arguments)
    assert ended == status
    assert (deleting.files() == []) == emptied
    assert ("Remove 1 file (1.5 kB) for good? [y/N]" in err) == (answer is not None)


@pytest.mark.parametrize("age", ["", "30", "d", "-1d", "1.5d", "30 d", "1y", "٣d", "9999999d"])
def test_ages_that_are_none(base: Any, age: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        base.run("trash", "empty", "--yes", "--older-than", age)
    assert ended.value.code == 2
    assert "--older-than" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["id", "short id", "place", "name"])
@pytest.mark.parametrize("action", ["remove", "trash"])
async def test_assets_are_removed_or_trashed_and_restored(deleting: Deleting, action: str, way: str) -> None:
    path = deleting.library.write("output/sub/one.png", b"one")
    deleting.library.write("output/two.png", b"two")
    await deleting.library.scan()
    asset = await deleting.library.asset("one.png")
    text = {"id": asset["id"], "short id": asset["id"], "place": "output/sub/one.png", "name": "one.png"}[way]
    if way == "short id":
        # Ids of one scan begin alike: as much of it as tells them apart.
        text = asset["id"][:-4]
    status, out, err = await deleting.run("assets", action, text, "--yes")
    assert (status, out, err) == (0, f"{asset['id']}  output/sub/one.png\n", "")
    assert path.exists() == (action == "remove")
    assert [each["name"] for each in await deleting.library.assets()] == ["two.png"]
    status, out, err = await deleting.run("assets", "restore", text)
    assert (status, err) == (0, "") and asset["id"] in out
    assert path.read_bytes() == b"one"
    assert len(await deleting.library.assets()) == 2


async def test_four_characters_of_an_id_name_an_asset(deleting: Deleting) -> None:
    asset_id = await deleting.upload("one.bin", b"one")
    assert (await deleting.run("assets", "remove", asset_id[:3], "--yes"))[0] == 1
    for action in (("remove", asset_id[:4], "--yes"), ("restore", asset_id[:4])):
        status, out, err = await deleting.run("assets", *action)
        assert (status, err) == (0, "") and out.startswith(asset_id)


async def test_assets_that_cannot_be_deleted(deleting: Deleting, someone_says: Callable[[str], None]) -> None:
    for place in ("output/a.png", "output/sub/a.png", "output/b.png"):
        deleting.library.write(place, place.encode())
    await deleting.library.scan()
    graph = {"nodes": [{"type": "LoadImage", "widgets_values": ["b.png [output]"]}]}
    body = {"workflow_json": graph, "name": "Portrait"}
    async with deleting.library.client.post("/api/workflows", json=body) as response:
        assert response.status == 201
    assert (await deleting.run("assets", "trash", "output/b.png"))[0] == 2  # nobody is there to be asked
    someone_says("n\n")
    assert (await deleting.run("assets", "trash", "output/b.png"))[0] == 1
    status, _, err = await deleting.run("assets", "trash", "--yes", "a.png", "none.png", "output/b.png")
    assert status == 1
    several, unknown, used = err.splitlines()
    assert several.startswith("a.png: Several assets are meant: ") and "output/sub/a.png" in several
    assert unknown == "none.png: There is no such asset."
    assert "version 1 of Portrait" in used and "--force" in used
    assert len(await deleting.library.assets()) == 3
    status, _, _ = await deleting.run("assets", "trash", "--yes", "--force", "none.png", "output/b.png")
    assert status == 3
    assert [entry["name"] for entry in await deleting.listed()] == ["b.png"]
