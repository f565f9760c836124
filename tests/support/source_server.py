"""A server like Hugging Face, Civitai and any other, with the faults of servers: for tests of downloads.

As a program: ``python source_server.py FOLDER PORT`` serves one file, slowly, and notes every request in the folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from blake3 import blake3

CHUNK = 64 << 10
_BEFORE_CUT_S = 0.05  # clients lose what they have not read when a connection breaks
COMMIT = "a" * 40
MODEL_ID, VERSION_ID = 827184, 2514310


@dataclass(frozen=True)
class Fault:
    """What is wrong with one answer.

    ``cut`` closes the connection after so many bytes, ``stall`` sends no more after them, ``extra`` sends more bytes
    than were announced, ``status`` answers with this status, ``redirect`` leads elsewhere, ``headers`` replace those of
    the answer.
    """

    cut: int | None = None
    stall: int | None = None
    extra: int = 0
    status: int | None = None
    redirect: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class ServedFile:
    """A file of the server. ``faults`` are those of the next answers; ``key`` is what a client must have.

    ``sha256`` and ``size`` are what the providers state, by default the truth.
    """

    content: bytes
    etag: str | None = '"one"'
    ranges: bool = True
    key: str | None = None
    faults: list[Fault] = field(default_factory=list)
    always: Fault | None = None
    sha256: str | None = None
    size: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def stated_sha256(self) -> str:
        return self.sha256 or hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Seen:
    """A request that arrived: ``place`` is "provider" or "storage"."""

    place: Literal["provider", "storage"]
    method: str
    path: str
    range: str | None
    if_range: str | None
    authorization: str | None


@dataclass(frozen=True)
class Question:
    """A request without its body."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """A response. The bytes of the body are sent as the fault says, whatever length the headers announce."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    fault: Fault = field(default_factory=Fault)


class RawServer:
    """An HTTP server that can lie: each connection has one request, and bytes are written as they are."""

    def __init__(self, answer: Callable[[Question], Awaitable[Reply]], pause_s: float = 0.0) -> None:
        self._answer = answer
        self._pause_s = pause_s
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.released = asyncio.Event()
        self.port = 0

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.released.set()
        if self._open:
            await asyncio.wait(self._open, timeout=5)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._converse(reader, writer)
        finally:
            self._open.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.title(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        url = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        reply = await self._answer(Question(method, unquote(url.path), query, headers))
        announced = {"Content-Length": str(len(reply.body)), **reply.headers, "Connection": "close"}
        lines = [f"HTTP/1.1 {reply.status} -", *(f"{name}: {value}" for name, value in announced.items() if value)]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if method != "HEAD":
            await self._send(reader, writer, reply)
        await writer.drain()

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: Reply) -> None:
        fault = reply.fault
        stop = min(limit for limit in (fault.cut, fault.stall, len(reply.body)) if limit is not None)
        for offset in range(0, stop, CHUNK):
            writer.write(reply.body[offset : min(offset + CHUNK, stop)])
            await writer.drain()
            await asyncio.sleep(self._pause_s)
        if fault.stall is not None:
            waits = [asyncio.ensure_future(self.released.wait()), asyncio.ensure_future(reader.read())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)  # the client may give up first
            for each in waits:
                each.cancel()
        if fault.cut is not None:
            await asyncio.sleep(_BEFORE_CUT_S)


class SourceServer:
    """Three origins: two providers with their APIs, and a storage to which they redirect, as the real ones do."""

    def __init__(self) -> None:
        self.files: dict[str, ServedFile] = {}
        self.seen: list[Seen] = []
        self.civitai: dict[str, Any] = {}
        self.most_at_once = 0
        self._provider = RawServer(self._answer_provider)
        self._models = RawServer(self._answer_provider)
        self._storage = RawServer(self._answer_storage)

    async def start(self) -> None:
        for server in (self._provider, self._models, self._storage):
            await server.start()

    async def close(self) -> None:
        for server in (self._provider, self._models, self._storage):
            await server.close()

    def release(self) -> None:
        """Let the answers that stall end."""
        for server in (self._provider, self._models, self._storage):
            server.released.set()
            server.released = asyncio.Event()

    @property
    def url(self) -> str:
        """The address of the provider with repositories; ``/files/PATH`` has plain files."""
        return f"http://127.0.0.1:{self._provider.port}"

    @property
    def civitai_url(self) -> str:
        """The address of the provider with versions of models."""
        return f"http://127.0.0.1:{self._models.port}"

    @property
    def storage_url(self) -> str:
        """The address of the storage."""
        return f"http://127.0.0.1:{self._storage.port}"

    def add(self, path: str, content: bytes, **more: Any) -> ServedFile:
        """Serve a file at the storage and in ``owner/repository``; ``version`` adds it to the other provider."""
        self.files[path] = ServedFile(content, **more)
        return self.files[path]

    def plain(self, path: str) -> str:
        """The address of a file, at neither of the providers."""
        return f"{self.storage_url}/{path}"

    def page(self, path: str) -> str:
        """The page of a file in a repository."""
        return f"{self.url}/owner/repository/blob/main/{path}"

    def version(self, path: str, **more: Any) -> str:
        """Make the file the only one of a model's version; answers the version's page."""
        file = self.files[path]
        entry = {
            "id": 1,
            "name": path.rpartition("/")[2],
            "type": "Model",
            "sizeKB": round((file.size or len(file.content)) / 1024, 2),
            "metadata": {"format": "SafeTensor", "size": "pruned", "fp": "fp16"},
            "pickleScanResult": "Success",
            "virusScanResult": "Success",
            "hashes": {"SHA256": file.stated_sha256.upper(), "AutoV2": "0123456789"},
            "downloadUrl": f"{self.civitai_url}/api/download/models/{VERSION_ID}?path={path}",
            "primary": True,
            **more.pop("file", {}),
        }
        self.civitai = {
            "id": VERSION_ID,
            "modelId": MODEL_ID,
            "name": "v1",
            "baseModel": "SDXL 1.0",
            "trainedWords": ["ink wash", "paper"],
            "model": {"name": "Ink", "type": "LORA", "nsfw": False},
            "files": [entry],
            "images": [],
            **more,
        }
        return f"{self.civitai_url}/models/{MODEL_ID}/ink?modelVersionId={VERSION_ID}"

    def gets(self, place: str = "storage") -> list[Seen]:
        """The requests for contents that arrived at a place."""
        return [each for each in self.seen if each.place == place and each.method == "GET"]

    def _note(self, place: Literal["provider", "storage"], question: Question) -> None:
        headers = question.headers
        facts = (headers.get("Range"), headers.get("If-Range"), headers.get("Authorization"))
        self.seen.append(Seen(place, question.method, question.path, *facts))

    async def _answer_provider(self, question: Question) -> Reply:
        self._note("provider", question)
        match question.path.strip("/").split("/"):
            case ["files", *path]:
                return await self._content(question, "/".join(path))
            case ["owner", "repository", "resolve", revision, *path]:
                return self._resolve(question, "/".join(path), revision)
            case ["api", "v1", "model-versions", version] if version == str(VERSION_ID) and self.civitai:
                return _json(self.civitai)
            case ["api", "v1", "models", model] if model == str(MODEL_ID) and self.civitai:
                return _json({"id": MODEL_ID, **self.civitai["model"], "modelVersions": [self.civitai]})
            case ["api", "download", "models", _]:
                return self._deliver(question, question.query["path"])
        return Reply(404)

    def _resolve(self, question: Question, path: str, revision: str) -> Reply:
        file = self.files.get(path)
        if file is None or revision not in ("main", COMMIT):
            return Reply(404, {"X-Error-Code": "EntryNotFound"})
        reply = self._deliver(question, path)
        if reply.status != 302:
            return reply
        size = str(file.size if file.size is not None else len(file.content))
        facts = {"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{file.stated_sha256}"', "X-Linked-Size": size}
        return Reply(302, {**reply.headers, **facts})

    def _deliver(self, question: Question, path: str) -> Reply:
        """Redirect to the storage, for those who have the key."""
        file = self.files[path]
        authorization = question.headers.get("Authorization")
        if file.key is not None and authorization is None:
            return Reply(401)
        if file.key is not None and authorization != f"Bearer {file.key}":
            return Reply(403 if authorization == "Bearer denied" else 401)
        return Reply(302, {"Location": f"{self.storage_url}/{path}?signature=secret"})

    async def _answer_storage(self, question: Question) -> Reply:
        self._note("storage", question)
        if "Authorization" in question.headers:
            return Reply(400, body=b"Only one auth mechanism allowed")
        return await self._content(question, question.path.strip("/"))

    async def _content(self, question: Question, path: str) -> Reply:
        file = self.files.get(path)
        if file is None:
            return Reply(404)
        is_probe = question.headers.get("Range") == "bytes=0-0"
        fault = file.always or (file.faults.pop(0) if file.faults and not is_probe else Fault())
        if fault.status is not None:
            return Reply(fault.status, fault.headers)
        if fault.redirect is not None:
            return Reply(302, {"Location": fault.redirect})
        self.most_at_once = max(self.most_at_once, self.running)
        return reply_with(question, file, fault)

    @property
    def running(self) -> int:
        """The number of connections to the storage that have not ended."""
        return len(self._storage._open)


@contextmanager
def source_in_thread() -> Iterator[SourceServer]:
    """A server for tests that have no event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="source", daemon=True)
    thread.start()

    async def started() -> SourceServer:
        server = SourceServer()
        await server.start()
        return server

    server = asyncio.run_coroutine_threadsafe(started(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _json(value: Any) -> Reply:
    return Reply(200, {"Content-Type": "application/json"}, json.dumps(value).encode())


def reply_with(question: Question, file: ServedFile, fault: Fault) -> Reply:
    """The answer to a request for a file or a part of it."""
    start, end = part_of(question, file)
    total = len(file.content)
    if start >= total > 0:
        return Reply(416, {"Content-Range": f"bytes */{total}"})
    headers = {"Content-Length": str(end - start), "Content-Type": "application/octet-stream", **file.headers}
    if file.etag is not None:
        headers["ETag"] = file.etag
    status = 200
    if "Range" in question.headers and file.ranges and (start > 0 or "If-Range" not in question.headers):
        status, headers["Content-Range"] = 206, f"bytes {start}-{end - 1}/{total}"
    return Reply(status, {**headers, **fault.headers}, file.content[start:end] + bytes(fault.extra), fault)


def part_of(question: Question, file: ServedFile) -> tuple[int, int]:
    """The part of the file that a request is answered with, as its first byte and the one after the last."""
    total = len(file.content)
    wanted, version = question.headers.get("Range"), question.headers.get("If-Range")
    if wanted is None or not file.ranges or (version is not None and version != file.etag):
        return 0, total
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    return int(first), min(int(last) + 1, total) if last else total


def same_bytes(size: int, seed: int = 1) -> bytes:
    """Bytes that look like noise, the same for the same arguments: a part in the wrong place is noticed."""
    return blake3(bytes([seed])).digest(length=size)


async def serve_slowly(folder: Path, port: int) -> None:
    """Serve ``FOLDER/content`` at every path, 64 KiB each 20 ms, and note requests in ``FOLDER/requests``."""
    file = ServedFile((folder / "content").read_bytes())

    async def answer(question: Question) -> Reply:
        with (folder / "requests").open("a", encoding="utf-8") as notes:
            notes.write(json.dumps([question.method, question.headers.get("Range")]) + "\n")
        return reply_with(question, file, Fault())

    server = RawServer(answer, pause_s=0.02)
    await server.start(port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve_slowly(Path(sys.argv[1]), int(sys.argv[2])))
