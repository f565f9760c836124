"""The rules of docs/library.md for moved files, from files to assets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets.assets.index import scanner
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder

TIME_NS = 1_600_000_000_123_456_700


def copy(source: Path, target: Path) -> None:
    """Copy a file, not its times: only its content and its place tell what it is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


async def tagged(library: Any, annotate: Callable[..., Any], *names: str) -> dict[str, str]:
    """Tag each asset with the name that it has now; return the ids by these."""
    return {name: await annotate(library, name, f"was {name}") for name in names}


async def placed(library: Any) -> dict[str, str]:
    """The path of each asset whose file is there, by its id."""
    return {asset["id"]: asset["file_path"] for asset in await library.assets(exclude_tags="missing")}


class TestEqualContents:
    """Several missing files and several new ones hold the same."""

    async def test_the_path_below_the_root_decides_before_the_name(self, library: Any) -> None:
        """Two folders of models have moved to a drive where each has the name that the other had."""
        usual = library.host.current_folders

        def folders_on(drive: str, loras: str, vae: str) -> HostFolders:
            base = library.base / drive
            found = (LibraryFolder("models", base / loras, "loras"), LibraryFolder("models", base / vae, "vae"))
            return HostFolders(found, usual.excluded)

        library.host.current_folders = folders_on("one", "first", "second")
        for folder in ("first", "second"):
            library.write(f"one/{folder}/x.safetensors", b"the same")
            await library.scan()
        before = {asset["tags"][1]: asset["id"] for asset in await library.assets()}
        assert before.keys() == {"loras", "vae"}
        for folder in ("first", "second"):
            copy(library.base / f"one/{folder}/x.safetensors", library.base / f"two/{folder}/x.safetensors")
        shutil.rmtree(library.base / "one")
        library.host.current_folders = folders_on("two", "second", "first")
        await library.scan()
        found = await library.assets(exclude_tags="missing")
        assert {asset["tags"][1]: asset["id"] for asset in found} == before
        assert len(await library.assets()) == 2

    async def test_the_path_in_another_case_decides_before_the_name(
        self, library: Any, annotate: Callable[..., Any]
    ) -> None:
        """A folder whose name is spelled otherwise now is the same one; the file elsewhere is the other."""
        for number, path in enumerate(("output/sub/X.png", "output/other/x.png")):
            os.utime(library.write(path, b"the same"), ns=(1, TIME_NS + number * 10**9))
            await library.scan()
        ids = await tagged(library, annotate, "X.png", "x.png")
        copy(library.base / "output/sub/X.png", library.base / "kept")
        shutil.rmtree(library.base / "output/sub")
        shutil.rmtree(library.base / "output/other")
        copy(library.base / "kept", library.base / "output/SUB/x.png")
        copy(library.base / "kept", library.base / "output/third/X.png")
        await library.scan()
        assert await placed(library) == {ids["X.png"]: "output/SUB/x.png", ids["x.png"]: "output/third/X.png"}


class TestOwners:
    """A file that a user has sent becomes nobody else's asset, however much it looks like a missing one."""

    @pytest.fixture
    async def shared(self, make_library: Callable[..., Any]) -> Any:
        """A library of two users that reads no files, so that contents never tell them apart."""
        return await make_library(Config(scan_on_start=False, hash_files=False), users=frozenset({"ann", "bob"}))

    @pytest.mark.parametrize("becomes", ["removed", "written over"])
    @pytest.mark.parametrize("has_inode", [True, False])
    async def test_an_upload_that_looks_like_a_missing_file(
        self, shared: Any, monkeypatch: pytest.MonkeyPatch, becomes: str, has_inode: bool
    ) -> None:
        """Bob's upload comes while a scan goes on, and has by chance the time of the file that it looks for."""
        path = shared.write("output/x.bin", b"content")
        os.utime(path, ns=(1, TIME_NS))
        await self._scan(shared)
        [(lost,)] = await shared.services.db.fetch_all("SELECT uuid FROM assets")
        if not has_inode:
            await self._set(shared, lost, "inode = 0")
        if becomes == "removed":
            path.unlink()
        else:
            path.write_bytes(b"something else")
        sent: list[str] = []
        real = scanner.Scanner._end

        async def end(scan: Any, *arguments: Any, **options: Any) -> None:
            sent.append(await self._upload(shared, "x.bin", "bob"))
            await self._set(shared, sent[0], f"mtime_ns = {TIME_NS}, (size, inode) = ({self._look_of(lost)})")
            await real(scan, *arguments, **options)

        monkeypatch.setattr(scanner.Scanner, "_end", end)
        await self._scan(shared)
        rows = dict(
            await shared.services.db.fetch_all(
                "SELECT a.uuid, s.owner FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
            )
        )
        assert rows == {lost: "", sent[0]: "bob"}
        response = await shared.client.get(f"/api/assets/{sent[0]}/content", headers={"comfy-user": "bob"})
        assert await response.read() == b"of bob!"
        of_ann = {"comfy-user": "ann"}
        tags = (await shared.get(f"/api/assets/{lost}", headers=of_ann))["tags"]
        assert ("missing" in tags) == (becomes == "removed")
        await shared.get(f"/api/assets/{sent[0]}", status=404, headers=of_ann)

    @staticmethod
    def _look_of(lost: str) -> str:
        return f"SELECT 7, inode FROM files f JOIN assets a ON a.id = f.id WHERE a.uuid = '{lost}'"

    @staticmethod
    async def _scan(library: Any) -> None:
        """Scan, as a user of the library or as nobody."""
        task, _ = library.services.indexer.start_scan()
        await task.done.wait()
        await library.services.indexer.finish()

    @staticmethod
    async def _set(library: Any, uuid: str, values: str) -> None:
        async with library.services.db.transaction() as tx:
            sql = f"UPDATE files SET {values} WHERE id = (SELECT id FROM assets WHERE uuid = ?)"
            assert await tx.execute(sql, (uuid,)) == 1

    @staticmethod
    async def _upload(library: Any, name: str, user: str) -> str:
        form = FormData()
        form.add_field("file", b"of bob!", filename=name)
        async with library.client.post("/api/assets", data=form, headers={"comfy-user": user}) as response:
            assert response.status == 201, await response.text()
            return str((await response.json())["id"])
