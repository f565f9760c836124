"""Interrupted and concurrent uploads, a full disk, a failing database: no file stays behind."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData, web
from blake3 import blake3
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.db import contents as db_contents
from comfy_assets_node.comfy_assets.db import downloads
from comfy_assets_node.comfy_assets.db.downloads import DownloadRow
from comfy_assets_node.comfy_assets.fs import partial_file
from comfy_assets_node.comfy_assets.fs.atomic import temp_name
from comfy_assets_node.comfy_assets.fs.partial_file import PartialFile
from comfy_assets_node.routes import uploads

CONTENT = bytes(range(256)) * 40


def form(content: bytes = CONTENT, name: str = "a.bin", **fields: str) -> FormData:
    data = FormData()
    data.add_field("file", content, filename=name)
    for key, value in fields.items():
        data.add_field(key, value)
    return data


def files(base: Path) -> set[str]:
    """Every file outside the store."""
    return {
        path.relative_to(base).as_posix()
        for path in base.rglob("*")
        if path.is_file() and not path.name.startswith("library.db") and path.parent.name != "queue"
    }


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until the server has noticed it and cleaned up."""
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_fifty_uploads_of_the_same_bytes_leave_one_content(library: Any) -> None:
    async def send(number: int) -> tuple[int, dict[str, Any]]:
        async with library.client.post("/api/assets", data=form(name=f"copy{number}.bin")) as response:
            return response.status, await response.json()

    answers = await asyncio.gather(*(send(number) for number in range(50)))
    assert sorted(status for status, _ in answers) == [200] * 49 + [201]
    assert len({asset["id"] for _, asset in answers}) == 1
    assert [asset["created_new"] for _, asset in answers].count(True) == 1
    (asset,) = await library.assets()
    assert files(library.base) == {asset["file_path"]}
    assert (library.base / asset["file_path"]).read_bytes() == CONTENT


async def test_fifty_uploads_of_one_name_keep_every_content(library: Any) -> None:
    contents = [str(number).encode() * 100 for number in range(50)]

    async def send(content: bytes) -> dict[str, Any]:
        async with library.client.post("/api/assets", data=form(content, "image.bin")) as response:
            assert response.status == 201
            return dict(await response.json())

    answers = await asyncio.gather(*(send(content) for content in contents))
    kept = {(library.base / asset["file_path"]).read_bytes() for asset in answers}
    assert kept == set(contents)
    assert len(files(library.base)) == 50


BOUNDARY = b"0123456789"
HEAD = (
    b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="tags"\r\n\r\n["input", "cut"]\r\n'
    b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="file"; filename="cut.bin"\r\n\r\n'
)  # fmt: skip
BODY = HEAD + b"some content" * 20 + b"\r\n--" + BOUNDARY + b"--\r\n"


def request(length: int) -> bytes:
    return (
        f"POST /api/assets HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n\r\n"
    ).encode()


@dataclass
class Seen:
    """What the server has done: forms begun to be read, files begun, and how large each was when it was discarded."""

    forms: list[object] = field(default_factory=list)
    files: list[object] = field(default_factory=list)
    discarded: list[int] = field(default_factory=list)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    seen = Seen()
    multipart, begin, discard = web.Request.multipart, PartialFile.__init__, PartialFile.discard

    async def noting_multipart(self: web.Request) -> Any:
        seen.forms.append(self)
        return await multipart(self)

    def noting_begin(self: PartialFile, folder: Path) -> None:
        begin(self, folder)
        seen.files.append(self)

    def noting_discard(self: PartialFile) -> None:
        discard(self)
        seen.discarded.append(self.size)

    monkeypatch.setattr(web.Request, "multipart", noting_multipart)
    monkeypatch.setattr(PartialFile, "__init__", noting_begin)
    monkeypatch.setattr(PartialFile, "discard", noting_discard)
    return seen


async def cut(library: Any, parts: Sequence[Sequence[bytes]], *signs: list[object]) -> None:
    """Send requests part by part, and end the connections after the last.

    A next part is sent when the server has shown the sign of the one before, for each request.
    """
    address = library.client.host, library.client.port
    writers = [(await asyncio.open_connection(*address))[1] for _ in parts]
    for step, sign in enumerate(signs):
        wanted = len(sign) + len(parts)
        for writer, each in zip(writers, parts, strict=True):
            writer.write(each[step])
        await until(lambda sign=sign, wanted=wanted: len(sign) == wanted)
    for writer, each in zip(writers, parts, strict=True):
        writer.write(each[-1])
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in writers))


def in_turns(values: range, count: int = 40) -> Iterator[range]:
    return (values[start : start + count] for start in range(0, len(values), count))


# Whether the server cancels a request whose connection has ended; else it lets it find out.
cancelling = pytest.mark.parametrize("cancels", [True, False], ids=["cancelled", "not cancelled"])


@cancelling
async def test_a_connection_cut_at_any_byte_leaves_nothing(library: Any, seen: Seen, cancels: bool) -> None:
    library.client.server.runner.server.handler_cancellation = cancels
    whole = request(len(BODY))
    for ends in in_turns(range(len(HEAD))):
        await cut(library, [(whole + BODY[:end], b"") for end in ends], seen.forms)
    assert not seen.files
    begun = len(HEAD) + 2 * len(BOUNDARY)  # by then the server knows that the tags are complete
    for ends in in_turns(range(begun, len(BODY))):
        parts = [(whole + HEAD, BODY[len(HEAD) : begun], BODY[begun:end]) for end in ends]
        await cut(library, parts, seen.forms, seen.files)
    await until(lambda: len(seen.discarded) == len(BODY) - begun)
    assert files(library.base) == set()
    assert await library.assets() == []
    async with library.client.post("/api/assets", data=form()) as response:
        assert response.status == 201


@cancelling
async def test_a_large_file_cut_while_it_is_written_leaves_nothing(
    make_library: Any, seen: Seen, cancels: bool
) -> None:
    """Batches are under way to the disk when the connection ends."""
    library = await make_library(Config(scan_on_start=False, max_upload_size=64 << 20))
    library.client.server.runner.server.handler_cancellation = cancels
    content = bytes(range(256)) * (40 << 10)  # 10 MiB, several batches
    begin = request(len(HEAD) + len(content) + 100) + HEAD
    ends = range(1 << 20, len(content) + 1, 701_111)
    await cut(library, [(begin, content[:99], content[99:end]) for end in ends], seen.forms, seen.files)
    await until(lambda: len(seen.discarded) == len(ends))
    assert max(seen.discarded) > 4 << 20
    assert files(library.base) == set()
    assert await library.assets() == []


async def test_a_file_is_not_discarded_while_a_thread_writes_it(tmp_path: Path) -> None:
    """A cancelled request does not wait for its thread."""
    draft = PartialFile(tmp_path)
    writing, go_on = threading.Event(), threading.Event()

    def blocks() -> Iterator[bytes]:
        writing.set()
        assert go_on.wait(10)
        yield CONTENT

    given_up = asyncio.create_task(asyncio.to_thread(draft.write, blocks()))
    await asyncio.to_thread(writing.wait, 10)
    discarding = asyncio.create_task(asyncio.to_thread(draft.discard))
    done, _ = await asyncio.wait([discarding], timeout=0.05)
    assert not done
    go_on.set()
    await asyncio.gather(given_up, discarding)
    assert draft.size == len(CONTENT)
    assert list(tmp_path.iterdir()) == []


async def test_a_form_that_ends_at_any_byte_leaves_nothing(library: Any) -> None:
    """The length is right, but the form is incomplete: an error response, and no file."""

    async def send(end: int) -> int:
        reader, writer = await asyncio.open_connection(library.client.host, library.client.port)
        writer.write(request(end) + BODY[:end])
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return int(line.split()[1])

    whole = len(BODY) - len(b"--\r\n")  # what follows the last boundary is optional
    for end in range(0, whole - 2, 7):
        assert await send(end) == 400, (end, BODY[:end][-40:])
    await until(lambda: files(library.base) == set())
    assert await library.assets() == []


async def test_a_disk_that_is_full(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(self: Any, blocks: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PartialFile, "write", write)
    async with library.client.post("/api/assets", data=form()) as response:
        assert response.status == 500
        error = await response.json()
    assert error["code"] == "STORAGE_FAILED"
    assert "No space left" in error["message"] and str(library.base) not in json.dumps(error)
    assert files(library.base) == set()


async def test_a_store_that_fails_takes_the_file_back(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def settle(*_: Any) -> None:
        raise RuntimeError("the store has failed")

    monkeypatch.setattr(db_contents, "update_missing_references", settle)
    async with library.client.post("/api/assets", data=form()) as response:
        assert response.status == 500
    monkeypatch.undo()
    assert files(library.base) == set()
    assert await library.assets() == []


async def test_another_volume_is_copied_to(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file comes before the tags that say where it belongs."""
    monkeypatch.setattr(partial_file, "is_same_volume", lambda source, folder: source.parent == folder)
    async with library.client.post("/api/assets", data=form(tags='["output"]')) as response:
        assert response.status == 201
    assert files(library.base) == {"output/a.bin"}
    assert (library.base / "output/a.bin").read_bytes() == CONTENT


async def test_a_volume_without_hard_links(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    library.write("input/a.bin", b"older")
    async with library.client.post("/api/assets", data=form()) as response:
        assert (response.status, (await response.json())["file_path"]) == (201, "input/a (1).bin")
    assert (library.base / "input/a.bin").read_bytes() == b"older"
    assert (library.base / "input/a (1).bin").read_bytes() == CONTENT


async def test_what_a_killed_server_left_is_removed(make_library: Any) -> None:
    library = await make_library()
    names = ("input/.comfy-assets-0123.part", "user/__comfy_assets/.comfy-assets-89ab.part")
    leftovers = [library.write(name, b"half") for name in names]
    young = library.write("output/.comfy-assets-4567.part", b"of another server")
    others = library.write("input/.other.part", b"not ours")
    for path in (*leftovers, others):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    await library.services.stop()
    await make_library()
    assert not any(path.exists() for path in leftovers)
    assert young.exists() and others.exists()


async def test_a_scan_removes_what_a_killed_process_left_below_a_folder(library: Any) -> None:
    """Links that are undone, files that return from the trash of another volume, and uploads of pages lie there."""
    names = ("output/a/.comfy-assets-copy-0123.part", "models/loras/b/c/.comfy-assets-4567.part")
    leftovers = [library.write(name, b"half") for name in names]
    partial = library.write(f"models/loras/b/{temp_name('wanted')}", b"of a download")
    young = library.write("output/a/.comfy-assets-89ab.part", b"of another server")
    others = library.write("output/a/.other.part", b"not ours")
    for path in (*leftovers, partial, others):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    wanted = DownloadRow(uuid.uuid4().bytes, "default", 0, "wanted", False, "{}", "{}", str(partial.parent))
    await downloads.claim(library.services.db, wanted, 1)
    await library.scan()
    assert not any(path.exists() for path in leftovers)
    assert partial.exists() and young.exists() and others.exists()


async def test_a_scan_beside_uploads_makes_no_second_asset(library: Any) -> None:
    async def send(number: int) -> None:
        async with library.client.post("/api/assets", data=form(str(number).encode() * 50, f"n{number}.bin")) as answer:
            assert answer.status == 201

    await asyncio.gather(*(send(number) for number in range(30)), *(library.scan() for _ in range(3)))
    await library.scan()
    assets = await library.assets()
    assert len(assets) == 30
    assert {asset["name"] for asset in assets} == {f"n{number}.bin" for number in range(30)}


async def test_many_small_chunks_are_written_before_they_take_much_memory() -> None:
    """A client may send single bytes, and each chunk takes tens of bytes beside its content."""
    batches: list[list[bytes]] = []

    class Draft:
        def write(self, blocks: list[bytes]) -> None:
            batches.append(list(blocks))

    chunks = iter([*(bytes([number % 256]) for number in range(5000)), b""])

    async def read(_: int) -> bytes:
        return next(chunks)

    await uploads.receive_into(Draft(), read, 10_000)  # type: ignore[arg-type]
    assert b"".join(b"".join(each) for each in batches) == bytes(number % 256 for number in range(5000))
    assert max(len(each) for each in batches) <= uploads._MAX_CHUNKS


@pytest.mark.skipif(not hasattr(os, "writev"), reason="Windows has no call for several blocks")
@pytest.mark.parametrize("most", [1, 3, 7, 1000])
def test_a_call_that_writes_a_part_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    write = os.writev

    def write_some(handle: int, blocks: list[memoryview]) -> int:
        return os.write(handle, b"".join(blocks)[:most])

    monkeypatch.setattr(os, "writev", write_some)
    draft = PartialFile(tmp_path)
    blocks = [b"abc", b"", b"defghij", b"k" * 20, b""]
    draft.write(blocks)
    monkeypatch.setattr(os, "writev", write)
    draft.write([bytes([number]) for number in range(200)] * 10)  # more than a call takes
    content = b"".join(blocks) + bytes(range(200)) * 10
    assert draft.finish() == blake3(content).digest() and draft.size == len(content)
    assert draft.path.read_bytes() == content
    draft.discard()
