"""Comfy API v2: uploads, assets of existing content, their deletion and their content."""

from __future__ import annotations

import asyncio
import errno
import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from blake3 import blake3
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.errors import StoreBusyError
from comfy_assets_node.comfy_assets.fs import atomic
from comfy_assets_node.comfy_assets.host import shared_file_response
from support.sharing import SharingViolation
from support.v2 import V2Answer, V2Api

CONTENT = b"some content" * 9
HASH = f"blake3:{blake3(CONTENT).hexdigest()}"
SETTINGS = Config(scan_on_start=False, idle_thumbnails=False)
_boundary = "0123456789abcdef"


def form(
    *fields: tuple[str, str], content: bytes | None = CONTENT, header: str = "a.bin", first: bool = False
) -> bytes:
    """A form as the SDKs write it: the fields and then the file, under a name that is not escaped."""
    parts = [f'form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields]
    if content is not None:
        file = f'form-data; name="file"; filename="{header}"\r\nContent-Type: application/x\r\n\r\n'.encode() + content
        parts.insert(0 if first else len(parts), file)
    return b"".join(b"--%b\r\nContent-Disposition: %b\r\n" % (_boundary.encode(), part) for part in parts) + (
        f"--{_boundary}--\r\n".encode()
    )


FORM = {"Content-Type": f"multipart/form-data; boundary={_boundary}"}


def files(base: Path) -> set[str]:
    """Every file outside the store."""
    found = (path for path in base.rglob("*") if path.is_file() and "user" not in path.relative_to(base).parts)
    return {path.relative_to(base).as_posix() for path in found}


class Shelf:
    """A library, seen through Comfy API v2."""

    def __init__(self, library: Any, api: V2Api | None = None) -> None:
        self.library = library
        self.api = api or V2Api(library.client)
        self.base: Path = library.base

    def of(self, user: str) -> Shelf:
        return Shelf(self.library, self.api.with_headers(**{"comfy-user": user}))

    async def post(self, path: str = "a.bin", *more: tuple[str, str], status: int = 201, **options: Any) -> V2Answer:
        """Upload a file as the SDKs do."""
        headers = {**FORM, **options.pop("headers", {})}
        fields = (("content_type", options.pop("mime", "application/octet-stream")), ("file_path", path), *more)
        return await self.api.send("POST", "/api/v2/assets", status, data=form(*fields, **options), headers=headers)

    async def mint(self, status: int = 201, **body: Any) -> V2Answer:
        return await self.api.send("POST", "/api/v2/assets/from-hash", status, json={"hash": HASH, **body})

    async def get(self, asset_id: str, status: int = 200) -> V2Answer:
        return await self.api.send("GET", f"/api/v2/assets/{asset_id}", status)

    async def content(self, asset_id: str, status: int = 200, **headers: str) -> V2Answer:
        return await self.api.send("GET", f"/api/v2/assets/{asset_id}/content", status, headers=headers)

    async def delete(self, asset_id: str, status: int = 204) -> V2Answer:
        return await self.api.send("DELETE", f"/api/v2/assets/{asset_id}", status)

    async def has(self, text: str = HASH) -> bool:
        async with self.api.client.head(f"/api/v2/assets/by-hash/{text}", headers=self.api.headers) as response:
            assert response.status in (200, 404)
            return response.status == 200

    async def rows(self, sql: str) -> Sequence[Any]:
        found: Sequence[Any] = await self.library.services.db.fetch_all(sql)
        return found


@pytest.fixture
def shelf(library: Any) -> Shelf:
    return Shelf(library)


class TestUploads:
    async def test_a_file(self, shelf: Shelf) -> None:
        body = (await shelf.post("photo.bin", ("expected_hash", HASH), ("tags", "input"), ("tags", "of mine"))).json
        assert (body["hash"], body["size_bytes"], body["file_path"]) == (HASH, len(CONTENT), "photo.bin")
        assert (body["created_new"], body["expires_at"], body["job_id"]) == (True, None, None)
        assert files(shelf.base) == {"input/photo.bin"}
        assert (shelf.base / "input/photo.bin").read_bytes() == CONTENT
        assert (await shelf.content(body["id"])).body == CONTENT
        assert {**(await shelf.get(body["id"])).json, "created_new": True} | {"url_expires_at": ""} == {
            **body,
            "url_expires_at": "",
        }
        assert (await shelf.library.asset("photo.bin"))["tags"] == ["input", "of mine"]

    PATHS = (
        ("models/checkpoints/x.safetensors", "models/checkpoints/x.safetensors"),
        ("models/loras/style/x.safetensors", "models/loras/style/x.safetensors"),
        ("input/sub/x.bin", "input/sub/x.bin"),
        ("sub/deeper/x.bin", "input/sub/deeper/x.bin"),
        ("output/x.bin", "output/x.bin"),
    )

    async def test_the_path_chooses_the_folder(self, shelf: Shelf) -> None:
        for path, _ in self.PATHS:
            body = (await shelf.post(path, content=path.encode())).json
            assert body["file_path"] == path.removeprefix("input/")
        assert files(shelf.base) == {stored for _, stored in self.PATHS}
        await shelf.library.scan()
        assert await shelf.rows("SELECT count(*) FROM assets") == [(len(self.PATHS),)]

    NAMES = (
        ("ä ö.bin", "ä ö.bin"),
        ('quo"te.bin', "quo_te.bin"),
        ("ab:c?.bin", "ab_c_.bin"),
        ("con.bin", "_con.bin"),
        ("back\\slash.bin", "back_slash.bin"),
        ("semi;colon=1.bin", "semi;colon=1.bin"),
        ("100%.bin", "100%.bin"),
        ("%2e%2e%2fx.bin", "%2e%2e%2fx.bin"),
        (".hidden.bin", "hidden.bin"),
        ("no suffix", "no suffix"),
        ("x" * 300 + ".bin", "x" * 251 + ".bin"),
        ("日本語.bin", "日本語.bin"),
    )

    async def test_odd_names(self, shelf: Shelf) -> None:
        for name, stored in self.NAMES:
            body = (await shelf.post(name, header=name, content=name.encode())).json
            assert body["file_path"] == stored
            assert (await shelf.content(body["id"])).body == name.encode()
        assert files(shelf.base) == {f"input/{stored}" for _, stored in self.NAMES}

    async def test_small_files(self, shelf: Shelf) -> None:
        for content in (b"", b"x"):
            body = (await shelf.post("small.png", mime="image/png", content=content)).json
            assert body["size_bytes"] == len(content)
            assert body["hash"] == f"blake3:{blake3(content).hexdigest()}"
            assert (await shelf.content(body["id"])).body == content
            assert await shelf.has(body["hash"])

    async def test_any_order_of_fields(self, shelf: Shelf) -> None:
        body = (await shelf.post("models/loras/x.safetensors", ("expected_hash", HASH), first=True)).json
        assert body["file_path"] == "models/loras/x.safetensors"
        assert files(shelf.base) == {"models/loras/x.safetensors"}

    async def test_unknown_fields_are_ignored(self, shelf: Shelf) -> None:
        await shelf.post("a.bin", ("priority", "1"), ("idea", "x" * 1000))

    FIELDS: Sequence[tuple[Sequence[tuple[str, str]], str, int]] = (
        ((("file_path", "a.bin"),), "content_type", 422),
        ((("content_type", "image/png"),), "file_path", 422),
        ((("content_type", "image"), ("file_path", "a")), "content_type", 422),
        ((("content_type", "a/b"), ("file_path", "")), "file_path", 422),
        ((("content_type", "a/b"), ("file_path", "../a")), "file_path", 422),
        ((("content_type", "a/b"), ("file_path", "/a")), "file_path", 422),
        ((("content_type", "a/b"), ("file_path", "c:\\a")), "file_path", 422),
        ((("content_type", "a/b"), ("file_path", "a/")), "file_path", 422),
        ((("content_type", "a/b"), ("file_path", "a/" * 600 + "a")), "file_path", 422),
        ((("content_type", "a/b"), ("file_path", "a" * 9000)), "file_path", 422),
        ((("content_type", "a/b"), ("file_path", "a"), ("tags", "b" * 9000)), "tags", 422),
        ((("content_type", "a/b"), ("file_path", "models/a.safetensors")), "file_path", 422),
        ((("content_type", "a/b"), ("file_path", "models/nothing/a")), "tags", 422),
        ((("content_type", "a/b"), ("file_path", "models/loras/a.exe")), "file", 415),
        ((("content_type", "a/b"), ("file_path", "input/a"), ("tags", "output")), "tags", 422),
        ((("content_type", "a/b"), ("file_path", "a"), ("tags", "x,y")), "tags", 422),
        ((("content_type", "a/b"), ("file_path", "a"), ("expires_in", "59")), "expires_in", 422),
        ((("content_type", "a/b"), ("file_path", "a"), ("expires_in", "604801")), "expires_in", 422),
        ((("content_type", "a/b"), ("file_path", "a"), ("expires_in", "1e3")), "expires_in", 422),
        ((("content_type", "a/b"), ("file_path", "a"), ("expected_hash", "blake3:1")), "expected_hash", 422),
        ((("content_type", "a/b"), ("file_path", "a"), ("file_path", "b")), "file_path", 422),
    )

    async def test_bad_fields_leave_nothing(self, shelf: Shelf) -> None:
        for fields, field, status in self.FIELDS:
            answer = await shelf.api.send("POST", "/api/v2/assets", status, data=form(*fields), headers=FORM)
            assert answer.error["details"]["field"] == field, fields
        assert files(shelf.base) == set()
        assert await shelf.rows("SELECT 1 FROM assets") == []

    FORMS = (
        (b"", FORM["Content-Type"], 422),
        (b"{}", "application/json", 415),
        (b"no form", FORM["Content-Type"], 422),
        (form(("content_type", "a/b"), ("file_path", "a"))[:-40], FORM["Content-Type"], 422),
        (form(("content_type", "a/b"), ("file_path", "a"), content=None), FORM["Content-Type"], 422),
        (form(("content_type", "a/b")), "multipart/form-data", 422),
        (form(*[(f"f{number}", "") for number in range(101)]), FORM["Content-Type"], 422),
    )

    async def test_bad_forms(self, shelf: Shelf) -> None:
        for body, kind, status in self.FORMS:
            await shelf.api.send("POST", "/api/v2/assets", status, data=body, headers={"Content-Type": kind})
        assert files(shelf.base) == set()

    # Damaged names are in the warnings, as texts that test processes cannot send to each other.
    @pytest.mark.filterwarnings("ignore::aiohttp.BadContentDispositionHeader")
    @pytest.mark.filterwarnings("ignore::aiohttp.BadContentDispositionParam")
    async def test_damaged_forms_leave_nothing(self, shelf: Shelf) -> None:
        """Cut off anywhere, or with any byte changed: refused, or an upload like any other."""
        whole = form(("content_type", "a/b"), ("file_path", "a.bin"), ("expected_hash", HASH), ("tags", "t"))
        chance = random.Random(1)
        damaged = [whole[:end] for end in range(0, len(whole) - 2, 7)]
        for _ in range(60):
            changed = bytearray(whole)
            changed[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
            damaged.append(bytes(changed))
        for body in damaged:
            async with shelf.api.client.post("/api/v2/assets", data=body, headers=FORM) as response:
                answer = V2Answer(response.status, response.headers, await response.read())
            assert answer.status in (200, 201, 409, 415, 422), (body, answer.body)
            shelf.api.check("POST", "/api/v2/assets", answer)
            if answer.status < 300:
                await shelf.delete(answer.json["id"])
                await shelf.library.services.trash_purge.empty()
            assert files(shelf.base) == set()

    async def test_another_hash_leaves_nothing(self, shelf: Shelf) -> None:
        error = (await shelf.post("sub/a.bin", ("expected_hash", f"blake3:{'0' * 64}"), status=409)).error
        assert error["code"] == "hash_mismatch"
        assert files(shelf.base) == set()
        assert not (shelf.base / "input/sub").exists()
        assert await shelf.rows("SELECT 1 FROM assets") == []

    async def test_a_file_over_the_limit(self, make_library: Any) -> None:
        library = await make_library(Config(scan_on_start=False, idle_thumbnails=False, max_upload_size=1 << 20))
        shelf = Shelf(library)
        answer = await shelf.post(content=bytes((1 << 20) + 1), status=413)
        assert (answer.error["code"], answer.error["details"]["max_bytes"]) == ("file_too_large", 1 << 20)
        assert files(shelf.base) == set()

    async def test_the_same_content_is_stored_once(self, shelf: Shelf) -> None:
        first = (await shelf.post("a.bin")).json
        second = (await shelf.post("b.bin", status=200)).json
        assert (first["created_new"], second["created_new"]) == (True, False)
        assert first["id"] != second["id"]
        assert second["file_path"] == "b.bin"
        assert files(shelf.base) == {"input/a.bin"}

    async def test_a_model_is_stored_where_loaders_look(self, shelf: Shelf) -> None:
        await shelf.post("a.safetensors")
        body = (await shelf.post("models/loras/a.safetensors")).json
        assert body["created_new"] is True
        assert files(shelf.base) == {"input/a.safetensors", "models/loras/a.safetensors"}

    async def test_fifty_at_once(self, shelf: Shelf) -> None:
        async def send(number: int) -> int:
            headers = {**FORM}
            data = form(("content_type", "a/b"), ("file_path", f"{number}.bin"))
            async with shelf.api.client.post("/api/v2/assets", data=data, headers=headers) as response:
                return response.status

        assert sorted(await asyncio.gather(*map(send, range(50)))) == [200] * 49 + [201]
        assert len(files(shelf.base)) == 1
        assert await shelf.rows("SELECT count(*) FROM assets") == [(50,)]


class TestHandles:
    """Assets of one content are deleted apart from each other."""

    async def test_they_live_and_die_apart(self, shelf: Shelf) -> None:
        for order in itertools.permutations(range(3)):
            content = repr(order).encode()
            digest = f"blake3:{blake3(content).hexdigest()}"
            ids = [(await shelf.post("a.bin", content=content)).json["id"]]
            ids.append((await shelf.post("b.bin", content=content, status=200)).json["id"])
            ids.append((await shelf.mint(hash=digest, file_path="c.bin")).json["id"])
            left = set(ids)
            for index in order:
                await shelf.delete(ids[index])
                left.remove(ids[index])
                await shelf.get(ids[index], 404)
                await shelf.delete(ids[index], 404)
                for each in left:
                    assert (await shelf.content(each)).body == content
                assert await shelf.has(digest) == bool(left)

    @pytest.mark.parametrize("is_emptied_between", [False, True])
    async def test_the_file_goes_with_the_last_one(self, shelf: Shelf, is_emptied_between: bool) -> None:
        """The file of a deleted upload stays for others, but no longer than these."""
        ids = [(await shelf.post("a.bin")).json["id"], (await shelf.post("b.bin", status=200)).json["id"]]
        purge = shelf.library.services.trash_purge
        for asset_id in ids:
            await shelf.delete(asset_id)
            assert files(shelf.base) == {"input/a.bin"}
            if is_emptied_between:
                await purge.empty()
        await purge.empty()
        assert files(shelf.base) == set()
        assert await shelf.rows("SELECT 1 FROM assets") == []

    async def test_a_file_that_was_not_uploaded_stays(self, shelf: Shelf) -> None:
        shelf.library.write("output/a.bin", CONTENT)
        await shelf.library.scan()
        made = (await shelf.library.asset("a.bin"))["id"]
        minted = (await shelf.mint(file_path="b.bin")).json["id"]
        for asset_id in (made, minted):
            await shelf.delete(asset_id)
        await shelf.library.services.trash_purge.empty()
        assert files(shelf.base) == {"output/a.bin"}

    async def test_an_equal_reference_is_returned(self, shelf: Shelf) -> None:
        upload = (await shelf.post("a.bin")).json
        first = (await shelf.mint(file_path="a.bin")).json
        again = (await shelf.mint(200, file_path="a.bin")).json
        other = (await shelf.mint(file_path="a.bin", tags=["mine"])).json
        assert first["id"] == again["id"]
        assert len({upload["id"], first["id"], other["id"]}) == 3
        assert {each["created_new"] for each in (first, again, other)} == {False}

    async def test_without_a_path_it_is_named_after_the_file(self, shelf: Shelf) -> None:
        await shelf.post("models/loras/a.safetensors")
        body = (await shelf.mint(hash=HASH.removeprefix("blake3:"))).json
        assert body["file_path"] == "models/loras/a.safetensors"

    BODIES: Sequence[tuple[dict[str, Any], int, str]] = (
        ({"hash": f"blake3:{'0' * 64}"}, 404, "blob_not_found"),
        ({"hash": "x"}, 422, "invalid_request"),
        ({"hash": None}, 422, "invalid_request"),
        ({"file_path": "../a"}, 422, "invalid_request"),
        ({"file_path": 1}, 422, "invalid_request"),
        ({"tags": "a"}, 422, "invalid_request"),
        ({"tags": ["missing"]}, 422, "invalid_request"),
        ({"expires_in": 59}, 422, "invalid_request"),
        ({"expires_in": "60"}, 422, "invalid_request"),
    )

    async def test_bad_bodies(self, shelf: Shelf) -> None:
        await shelf.post("a.bin")
        for body, status, code in self.BODIES:
            assert (await shelf.mint(status, **body)).error["code"] == code, body
        assert await shelf.rows("SELECT count(*) FROM assets") == [(1,)]

    async def test_bodies_that_are_no_object(self, shelf: Shelf) -> None:
        path = "/api/v2/assets/from-hash"
        json = {"Content-Type": "application/json"}
        for data in (b"[]", b"{", b'"x"'):
            await shelf.api.send("POST", path, 422, data=data, headers=json)
        await shelf.api.send("POST", path, 415, data=b"{}", headers={"Content-Type": "text/plain"})
        answer = await shelf.api.send("POST", path, 413, data=b" " * (2 << 20), headers=json)
        assert answer.error["code"] == "body_too_large"

    async def test_unknown_members_are_ignored(self, shelf: Shelf) -> None:
        await shelf.post("a.bin")
        await shelf.mint(file_path="b.bin", priority=1)


class TestUsers:
    @pytest.fixture
    async def shelves(self, make_library: Any) -> tuple[Shelf, Shelf]:
        shelf = Shelf(await make_library(SETTINGS, frozenset({"ada", "bob"})))
        return shelf.of("ada"), shelf.of("bob")

    async def test_they_are_kept_apart(self, shelves: tuple[Shelf, Shelf]) -> None:
        ada, bob = shelves
        asset_id = (await ada.post("a.bin")).json["id"]
        assert await ada.has() and not await bob.has()
        await bob.get(asset_id, 404)
        await bob.content(asset_id, 404)
        await bob.delete(asset_id, 404)
        assert (await bob.mint(404)).error["code"] == "blob_not_found"
        assert (await bob.post("b.bin")).json["created_new"] is True  # nothing tells that the content is known
        assert (await ada.content(asset_id)).body == CONTENT

    async def test_an_unknown_user(self, shelves: tuple[Shelf, Shelf]) -> None:
        stranger = shelves[0].of("eve")
        assert (await stranger.get("x", 401)).error["code"] == "unauthorized"
        await stranger.post("a.bin", status=401)


class TestFilesOnDisk:
    async def test_a_removed_file(self, shelf: Shelf) -> None:
        asset_id = (await shelf.post("a.bin")).json["id"]
        (shelf.base / "input/a.bin").unlink()
        assert not await shelf.has()
        assert (await shelf.mint(404, file_path="b.bin")).error["code"] == "blob_not_found"
        assert (await shelf.content(asset_id, 404)).error["code"] == "not_found"
        assert (await shelf.get(asset_id)).json["size_bytes"] == len(CONTENT)
        await shelf.post("b.bin", status=200)  # the asset gets its file back
        assert (await shelf.content(asset_id)).body == CONTENT

    async def test_another_copy_stands_in(self, shelf: Shelf) -> None:
        shelf.library.write("output/copy.bin", CONTENT)
        await shelf.library.scan()
        asset_id = (await shelf.post("a.bin")).json["id"]
        (shelf.base / "input/a.bin").unlink()
        assert (await shelf.mint(file_path="c.bin")).status == 201
        assert (await shelf.content(asset_id)).body == CONTENT

    async def test_a_file_that_was_scanned(self, shelf: Shelf) -> None:
        shelf.library.write("output/a.png", CONTENT)
        await shelf.library.scan()
        assert await shelf.has()
        body = (await shelf.mint(file_path="photo.png")).json
        assert (await shelf.content(body["id"])).body == CONTENT


class TestContent:
    @pytest.fixture
    async def asset_id(self, shelf: Shelf) -> str:
        return str((await shelf.post("a.bin")).json["id"])

    RANGES = (
        ("bytes=0-4", CONTENT[:5], "bytes 0-4/108"),
        ("bytes=50-59", CONTENT[50:60], "bytes 50-59/108"),
        ("bytes=100-", CONTENT[100:], "bytes 100-107/108"),
        ("bytes=-8", CONTENT[-8:], "bytes 100-107/108"),
        ("bytes=100-9999", CONTENT[100:], "bytes 100-107/108"),
    )

    async def test_ranges(self, shelf: Shelf, asset_id: str) -> None:
        for text, part, told in self.RANGES:
            answer = await shelf.content(asset_id, 206, Range=text)
            assert (answer.body, answer.headers["Content-Range"]) == (part, told)
        for text in ("bytes=108-", "bytes=500-600"):
            answer = await shelf.content(asset_id, 416, Range=text)
            assert answer.error["code"] == "range_not_satisfiable"
            assert answer.headers["Content-Range"] == "bytes */108"
        for text in ("bytes=a-b", "bytes=5-2", "bytes=0-1,3-4", "rows=0-1"):
            assert (await shelf.content(asset_id, Range=text)).body == CONTENT

    async def test_of_an_empty_file(self, shelf: Shelf) -> None:
        asset_id = (await shelf.post("e.bin", content=b"")).json["id"]
        assert (await shelf.content(asset_id, 416, Range="bytes=0-")).headers["Content-Range"] == "bytes */0"
        assert (await shelf.content(asset_id)).body == b""

    async def test_head_and_get_on_one_connection(self, shelf: Shelf, asset_id: str) -> None:
        made: list[object] = []
        trace = aiohttp.TraceConfig()

        async def note(*_: Any) -> None:
            made.append(None)

        trace.on_connection_create_end.append(note)
        url = shelf.api.client.make_url(f"/api/v2/assets/{asset_id}/content")
        async with aiohttp.ClientSession(trace_configs=[trace]) as session:
            for method in ("HEAD", "GET", "HEAD", "HEAD", "GET"):
                async with session.request(method, url) as response:
                    assert response.status == 200
                    assert response.headers["Content-Length"] == str(len(CONTENT))
                    assert await response.read() == (b"" if method == "HEAD" else CONTENT)
        assert len(made) == 1

    async def test_a_copy_that_is_up_to_date(self, shelf: Shelf, asset_id: str) -> None:
        etag = (await shelf.content(asset_id)).headers["ETag"]
        assert (await shelf.content(asset_id, 304, **{"If-None-Match": etag})).body == b""

    async def test_a_file_that_another_program_holds(
        self, shelf: Shelf, asset_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def held(*_: Any) -> None:
            raise SharingViolation

        monkeypatch.setattr(shared_file_response, "open_patiently", held)
        monkeypatch.setattr(shared_file_response, "read_with_stat", held)  # of small files on Windows
        assert (await shelf.content(asset_id, 409)).error["code"] == "file_in_use"

    async def test_nothing_in_it_runs_in_a_browser(self, shelf: Shelf) -> None:
        body = (await shelf.post("page.html", mime="text/html", content=b"<script>1</script>")).json
        answer = await shelf.content(body["id"])
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Disposition"].startswith("attachment")


class TestUse:
    """The references that keep an asset from being deleted."""

    async def test_a_job_that_has_not_ended_holds_its_inputs(self, shelf: Shelf, prompts: Any) -> None:
        body = (await shelf.post("a.png")).json
        prompts.submit(graph={"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}})
        for _ in ("waiting", "running"):
            error = (await shelf.delete(body["id"], 409)).error
            assert (error["code"], error["details"]) == ("asset_in_use", None)
            assert (await shelf.content(body["id"])).body == CONTENT
            if prompts.queue.running is None:
                prompts.start()
        prompts.finish({})
        await shelf.delete(body["id"])

    async def test_it_is_not_expired_meanwhile(self, shelf: Shelf, prompts: Any) -> None:
        body = (await shelf.post("a.png", ("expires_in", "60"))).json
        prompts.submit(graph={"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}})
        assert await TestExpiry.pass_time(shelf) == 0
        assert (await shelf.content(body["id"])).body == CONTENT


class TestKeys:
    """Idempotency-Key: single use, released by a request that made nothing."""

    KEY = {"Idempotency-Key": "key-1"}

    async def test_it_is_used_once(self, shelf: Shelf) -> None:
        await shelf.post("a.bin", headers=self.KEY)
        for content in (CONTENT, b"other"):
            error = (await shelf.post("b.bin", content=content, headers=self.KEY, status=422)).error
            assert error["code"] == "idempotency_key_reuse"
        assert files(shelf.base) == {"input/a.bin"}
        await shelf.post("b.bin", content=b"other", headers={"Idempotency-Key": "key-2"})

    async def test_at_once(self, shelf: Shelf) -> None:
        async def send() -> int:
            data = form(("content_type", "a/b"), ("file_path", "a.bin"))
            async with shelf.api.client.post("/api/v2/assets", data=data, headers={**FORM, **self.KEY}) as response:
                return response.status

        assert sorted(await asyncio.gather(*(send() for _ in range(20)))) == [201] + [422] * 19

    async def test_a_refusal_releases_it(self, shelf: Shelf) -> None:
        await shelf.post("../a", headers=self.KEY, status=422)
        await shelf.post("a.bin", ("expected_hash", "0" * 64), headers=self.KEY, status=409)
        await shelf.post("a.bin", headers=self.KEY)

    async def test_a_full_disk_releases_it(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(atomic, "move_to_free_name", fail)
            error = (await shelf.post("a.bin", headers=self.KEY, status=500)).error
            assert error["code"] == "storage_failed"
        assert files(shelf.base) == set()
        await shelf.post("a.bin", headers=self.KEY)

    async def test_a_store_that_may_have_kept_it_does_not(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        uploads = shelf.library.services.uploads
        complete = uploads.complete_handle

        async def kept_and_lost(*arguments: Any) -> None:
            await complete(*arguments)
            raise StoreBusyError("The change may not have been kept.")

        monkeypatch.setattr(uploads, "complete_handle", kept_and_lost)
        await shelf.post("a.bin", headers=self.KEY, status=503)
        assert (await shelf.post("a.bin", headers=self.KEY, status=422)).error["code"] == "idempotency_key_reuse"

    async def test_a_client_that_goes_releases_it(self, shelf: Shelf) -> None:
        data = form(("content_type", "a/b"), ("file_path", "a.bin"))
        server = shelf.api.client.server
        _, writer = await asyncio.open_connection(server.host, server.port)
        head = f"POST /api/v2/assets HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n"
        head += f"Content-Type: {FORM['Content-Type']}\r\nIdempotency-Key: key-1\r\n\r\n"
        writer.write(head.encode() + data[:-50])
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.transport.abort()
        for _ in range(100):
            if not await shelf.rows("SELECT 1 FROM idempotency_keys"):
                break
            await asyncio.sleep(0.02)
        await shelf.post("a.bin", headers=self.KEY)
        assert files(shelf.base) == {"input/a.bin"}

    async def test_users_and_restarts(self, make_library: Any) -> None:
        users = frozenset({"ada", "bob"})
        shelf = Shelf(await make_library(SETTINGS, users))
        await shelf.of("ada").post("a.bin", headers=self.KEY)
        await shelf.of("bob").post("a.bin", headers=self.KEY)
        await shelf.library.services.stop()
        again = Shelf(await make_library(SETTINGS, users)).of("ada")
        assert (await again.post("a.bin", headers=self.KEY, status=422)).error["code"] == "idempotency_key_reuse"

    async def test_after_a_day(self, shelf: Shelf) -> None:
        await shelf.post("a.bin", headers=self.KEY)
        day = 24 * 3600 * 1000
        async with shelf.library.services.db.transaction() as tx:
            await tx.execute("UPDATE idempotency_keys SET claimed_at = claimed_at - ?", (day - 60_000,))
        await shelf.post("b.bin", headers=self.KEY, status=422)
        async with shelf.library.services.db.transaction() as tx:
            await tx.execute("UPDATE idempotency_keys SET claimed_at = claimed_at - 120000")
        await shelf.post("b.bin", headers=self.KEY, status=200)

    async def test_bad_ones(self, shelf: Shelf) -> None:
        for key in ("", "x" * 256, "ä"):
            error = (await shelf.post("a.bin", headers={"Idempotency-Key": key}, status=422)).error
            assert error["details"]["field"] == "Idempotency-Key"
        assert files(shelf.base) == set()


class TestExpiry:
    @staticmethod
    async def pass_time(shelf: Shelf) -> int:
        """Let the times of all assets be over; return the number that was deleted."""
        async with shelf.library.services.db.transaction() as tx:
            await tx.execute("UPDATE asset_expirations SET expires_at = 1, due = 1")
        deleted: int = await shelf.library.services.expiry.sweep()
        return deleted

    async def test_an_expired_asset_is_gone_for_good(self, shelf: Shelf) -> None:
        body = (await shelf.post("a.bin", ("expires_in", "60"))).json
        assert body["expires_at"].endswith("Z")
        assert await shelf.library.services.expiry.sweep() == 0
        assert (await shelf.get(body["id"])).json["expires_at"] == body["expires_at"]
        assert await self.pass_time(shelf) == 1
        await shelf.get(body["id"], 404)
        assert files(shelf.base) == set()
        assert await shelf.rows("SELECT 1 FROM trash") == []
        assert not await shelf.has()

    async def test_it_happens_by_itself(self, shelf: Shelf) -> None:
        asset_id = (await shelf.post("a.bin", ("expires_in", "60"))).json["id"]
        await shelf.post("b.bin", ("expires_in", "60"), content=b"later")
        async with shelf.library.services.db.transaction() as tx:
            await tx.execute(
                "UPDATE asset_expirations SET expires_at = 1, due = 1"
                " WHERE asset_id = (SELECT id FROM assets WHERE uuid = ?)",
                (asset_id,),
            )
        for _ in range(500):
            if await shelf.rows("SELECT count(*) FROM assets") == [(1,)]:
                break
            await asyncio.sleep(0.02)
        await shelf.get(asset_id, 404)
        assert files(shelf.base) == {"input/b.bin"}

    async def test_content_that_others_have_stays(self, shelf: Shelf) -> None:
        expiring = (await shelf.post("a.bin", ("expires_in", "60"))).json["id"]
        kept = (await shelf.post("b.bin", status=200)).json
        assert kept["expires_at"] is None
        assert await self.pass_time(shelf) == 1
        await shelf.get(expiring, 404)
        assert (await shelf.content(kept["id"])).body == CONTENT

    async def test_a_reference_goes_and_the_file_stays(self, shelf: Shelf) -> None:
        shelf.library.write("input/mine.bin", CONTENT)
        await shelf.library.scan()
        body = (await shelf.mint(file_path="b.bin", expires_in=60)).json
        assert await self.pass_time(shelf) == 1
        await shelf.get(body["id"], 404)
        assert files(shelf.base) == {"input/mine.bin"}
        assert [each["name"] for each in await shelf.library.assets()] == ["mine.bin"]

    async def test_an_equal_reference_is_kept_longer(self, shelf: Shelf) -> None:
        await shelf.post("a.bin")
        first = (await shelf.mint(file_path="b.bin", expires_in=600)).json
        shorter = (await shelf.mint(200, file_path="b.bin", expires_in=60)).json
        longer = (await shelf.mint(200, file_path="b.bin", expires_in=6000)).json
        assert first["expires_at"] == shorter["expires_at"] < longer["expires_at"]
        assert (await shelf.mint(200, file_path="b.bin")).json["expires_at"] is None
        assert (await shelf.mint(200, file_path="b.bin", expires_in=60)).json["expires_at"] is None

    async def test_what_a_collection_has_stays_until_it_is_taken_out(self, shelf: Shelf) -> None:
        asset_id = (await shelf.post("a.bin", ("expires_in", "60"))).json["id"]
        client = shelf.api.client
        async with client.post("/api/collections", json={"name": "c", "asset_ids": [asset_id]}) as response:
            collection = (await response.json())["id"]
        assert await self.pass_time(shelf) == 0
        await shelf.get(asset_id)
        async with client.delete(f"/api/collections/{collection}/assets", json={"asset_ids": [asset_id]}) as response:
            assert response.status < 300, await response.text()
        assert await shelf.library.services.expiry.sweep() == 0  # it is looked at again later
        assert await self.pass_time(shelf) == 1

    async def test_what_a_user_has_rated_stays(self, shelf: Shelf) -> None:
        asset_id = (await shelf.post("a.bin", ("expires_in", "60"))).json["id"]
        for metadata, deleted in (({"rating": 5}, 0), ({}, 1)):
            body = {"user_metadata": metadata}
            async with shelf.api.client.put(f"/api/assets/{asset_id}", json=body) as response:
                assert response.status == 200, await response.text()
            assert await self.pass_time(shelf) == deleted

    async def test_a_deleted_one_can_be_restored_and_stays(self, shelf: Shelf) -> None:
        asset_id = (await shelf.post("a.bin", ("expires_in", "60"))).json["id"]
        await shelf.delete(asset_id)
        assert await self.pass_time(shelf) == 0
        async with shelf.api.client.post(f"/api/trash/{asset_id}/restore") as response:
            assert response.status == 200, await response.text()
        assert await self.pass_time(shelf) == 0
        assert (await shelf.get(asset_id)).json["expires_at"] is None
