"""No request stalls the event loop: every operation is sent bodies and queries up to what it takes at most.

The server runs in a thread with a loop of its own, so that only its work counts. A stall is how long the loop was late,
but no longer than this process has used a processor meanwhile: what other programs do to this machine does not count.
The limit is a time, unlike in other tests; a request that is over it is sent up to four times more, and the shortest
stall counts.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import http.client
import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints
from urllib.parse import quote

import msgspec
import pytest
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.comfy_assets.plugin import attach
from comfy_assets_node.routes import INTERCEPTORS, ROUTES
from comfy_assets_node.routes.interceptors import Interceptor
from comfy_assets_node.routes.openapi import query_of
from comfy_assets_node.routes.operations import Route
from comfy_assets_node.routes.request_body import MIB
from PIL import Image

pytestmark = pytest.mark.slow

# Bodies of every kind are as large as they may be only if this is asked for; it takes some minutes.
IS_WHOLE = bool(os.environ.get("COMFY_ASSETS_WHOLE_BODIES"))
MAX_STALL_S = 0.05
TRIES = 5
_TICK_S = 0.003
_QUERY = 7500  # characters; a request line has at most 8190
_REFERENCE = f"blake3:{'0' * 64}"


class StallMeter:
    """Measures the longest stall of the running loop."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.turns = 0

    async def run(self) -> None:
        while True:
            wall, used = time.perf_counter(), time.process_time()
            await asyncio.sleep(_TICK_S)
            late = min(time.perf_counter() - wall - _TICK_S, time.process_time() - used)
            self.longest = max(self.longest, late)
            self.turns += 1


@dataclass
class MeteredServer:
    """A standalone server in a thread, and what its requests name."""

    base: Path
    port: int = 0
    meter: StallMeter = field(default_factory=StallMeter)
    ids: dict[str, str] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop | None = None
    _task: asyncio.Task[None] | None = None

    def run(self, is_ready: threading.Event) -> None:
        """Serve until ``stop``."""
        host = StandaloneHost(self.base)
        attach(host, Config(scan_on_start=False, follow=False))

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            metering = asyncio.create_task(self.meter.run())

            def ready(url: str) -> None:
                self.port = int(url.rpartition(":")[2])
                is_ready.set()

            self._task = asyncio.ensure_future(host.serve("127.0.0.1", 0, on_ready=ready))
            await asyncio.wait({self._task})
            metering.cancel()

        asyncio.run(serve())

    def stop(self) -> None:
        assert self._loop is not None and self._task is not None
        self._loop.call_soon_threadsafe(self._task.cancel)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
        """Send a request; return the status and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def stall(self, *request: Any) -> tuple[int, float]:
        """Send a request; return its status, or 0 where the connection was closed, and the longest stall."""
        # Objects of the tests and of earlier requests, such as prompts in the history, prolong no collection.
        gc.collect()
        gc.freeze()
        self._settle()
        self.meter.longest = 0.0
        try:
            status = self.ask(*request)[0]
        except (ConnectionError, http.client.HTTPException):
            status = 0  # refused before all of it was sent
        self._settle()
        return status, self.meter.longest

    def _settle(self) -> None:
        """Wait for what the loop is late with."""
        turns, end = self.meter.turns, time.monotonic() + 60
        while self.meter.turns < turns + 3 and time.monotonic() < end:
            time.sleep(_TICK_S)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeteredServer]:
    found = MeteredServer(tmp_path_factory.mktemp("base"))
    is_ready = threading.Event()
    thread = threading.Thread(target=found.run, args=(is_ready,))
    thread.start()
    assert is_ready.wait(30)
    try:
        found.ids |= _fill(found)
        yield found
    finally:
        gc.unfreeze()
        found.stop()
        thread.join(30)


def _fill(server: MeteredServer) -> dict[str, str]:
    """Make one thing of each kind, whose ids requests can name."""
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    status, answer = server.ask("POST", "/api/assets", *_form("file", "a.png", picture.getvalue(), tags='["input"]'))
    assert status == 201, answer
    asset_id = json.loads(answer)["id"]
    sent = json.dumps({"name": "one", "workflow_json": {"nodes": [], "version": 1}}).encode()
    status, answer = server.ask("POST", "/api/workflows", sent, _JSON)
    assert status == 201, answer
    return {"id": asset_id, "asset_id": asset_id, "workflow_id": json.loads(answer)["id"], "version": "1"}


_JSON = {"Content-Type": "application/json"}


def _form(name: str, file_name: str, content: bytes, **fields: str) -> tuple[bytes, dict[str, str]]:
    parts = [f'--B\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{text}\r\n' for key, text in fields.items()]
    head = f'--B\r\nContent-Disposition: form-data; name="{name}"; filename="{file_name}"\r\n\r\n'
    body = "".join(parts).encode() + head.encode() + content + b"\r\n--B--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=B"}


def _path(server: MeteredServer, entry: Route | Interceptor) -> str:
    path = entry.path
    for name in path.replace("}", "{").split("{")[1::2]:
        if name in ("file", "dest"):
            value = "workflows%2Fsome.json"
        else:
            value = server.ids.get(name, "00000000-0000-4000-8000-000000000000")
        path = path.replace(f"{{{name}}}", value)
    return path


# Bodies.


def _filled(size: int, item: bytes, head: bytes = b"[", tail: bytes = b"]") -> bytes:
    """A list, or what head and tail make of it, of as many items as fit."""
    room = max(1, (size - len(head) - len(tail) + 1) // (len(item) + 1))
    return head + b",".join([item] * room) + tail


def _members(size: int, value: bytes = b"0") -> bytes:
    """An object of as many members as fit."""
    width = len(value) + 13
    return b"{" + b",".join(b'"k%08d":%b' % (n, value) for n in range(max(1, (size - 2) // width))) + b"}"


def _shapes(size: int) -> dict[str, bytes]:
    """JSON of any kind and what is none."""
    half = (size - 6) // 2
    return {
        "lists": _filled(size, b"[]"),
        "texts": _filled(size, b'""'),
        "escapes": b'"' + b"\\u00e9" * ((size - 2) // 6) + b'"',
        "numbers": _filled(size, b"1e308"),
        "digits": b"9" * size,
        "objects": _filled(size, b'{"a":0}'),
        "members": _members(size),
        "deep lists": b"[" * half + b"]" * half,
        "deep objects": b'{"a":' * (size // 6) + b"0" + b"}" * (size // 6),
        "open lists": b"[" * size,
        "nulls": _filled(size, b"null"),
        "backslashes": b'"' + b"\\" * (size - 2) + b'"',
        "spaces": b" " * size,
        "no Unicode": b'{"a":"' + b"\xff" * (size - 8) + b'"}',
        "NUL": b"\0" * size,
    }


def _one_text(size: int) -> bytes:
    return b'{"a":"' + b"x" * (size - 8) + b'"}'


def _of_schema(schema: Any, size: int) -> dict[str, bytes]:
    """The members that an operation knows, one after the other as large as can be."""
    if not (isinstance(schema, type) and issubclass(schema, msgspec.Struct)):
        return {}
    found: dict[str, bytes] = {}
    hints = get_type_hints(schema, include_extras=True)
    small = {name: _small(hint) for name, hint in hints.items()}
    for name, hint in hints.items():
        rest = b",".join(f'"{other}":'.encode() + text for other, text in small.items() if other != name)
        head = b"{" + rest + b"," * bool(rest) + f'"{name}":'.encode()
        for kind, text in _large(hint, size - len(head) - 1).items():
            found[f"{name}: {kind}"] = head + text + b"}"
    return found


def _kinds(hint: Any) -> set[Any]:
    origin = get_origin(hint)
    if origin is Annotated:
        return _kinds(get_args(hint)[0])
    if origin is Union or type(hint).__name__ == "UnionType":
        return set().union(*(_kinds(each) for each in get_args(hint)))
    return {origin or hint}


def _small(hint: Any) -> bytes:
    kinds = _kinds(hint)
    for kind, text in ((dict, b"{}"), (list, b'["a"]'), (bool, b"false"), (msgspec.Raw, b'{"nodes":[]}'), (int, b"1")):
        if kind in kinds:
            return text
    return b'"a"'


def _large(hint: Any, size: int) -> dict[str, bytes]:
    kinds = _kinds(hint)
    found: dict[str, bytes] = {}
    if list in kinds:
        found |= {"many": _filled(size, b'"a"'), "distinct": _distinct(size)}
        # As many, and as long, as pass the check of the schema.
        found["allowed"] = _filled(min(size, 1000 * 259), b'"' + b"a" * 256 + b'"')
    if dict in kinds or msgspec.Raw in kinds:
        found |= {
            "members": _members(size),
            "nodes": _filled(size, _NODE, b'{"nodes":[', b"]}"),
            "lists": _filled(size, b"[]", b'{"a":[', b"]}"),
            "fifty thousand": _filled(min(size, 100_000), b"0", b'{"a":[', b"]}"),
            "deep": b'{"a":' + b"[" * 98 + b"]" * 98 + b"}",
            "text": b'{"a":"' + b"x" * (size - 8) + b'"}',
        }
    if str in kinds:
        found |= {"text": b'"' + b"x" * (size - 2) + b'"', "allowed": b'"' + b"x" * min(size - 2, 9000) + b'"'}
    if int in kinds or float in kinds:
        found["digits"] = b"9" * size
    return found


_NODE = b'{"id":1,"type":"SaveImage","pos":[1,2],"inputs":[{"name":"a","link":1}],"widgets_values":["a.png",1,0.5]}'


def _distinct(size: int) -> bytes:
    return b"[" + b",".join(b'"%08d"' % n for n in range(size // 11)) + b"]"


def _prompts(size: int) -> dict[str, bytes]:
    """Prompts, whose checks go further than those of other bodies."""
    save = b'"s":{"class_type":"SaveImage","inputs":{"images":["0",0],"filename_prefix":"x"}}'
    empty = b'{"class_type":"EmptyImage","inputs":{"width":8,"height":8,"batch_size":1,"color":%b}}'
    named = empty % f'"{_REFERENCE}"'.encode()
    head = b'{"prompt":{' + save + b","

    def nodes(node: bytes, count: int) -> bytes:
        return head + b",".join(b'"%d":%b' % (n, node) for n in range(count)) + b"}}"

    one = b'{"class_type":"EmptyImage","inputs":{"width":8,"height":8,"batch_size":1,"color":0,"more":'
    whole = head + b'"0":' + one
    chain = b'"%d":{"class_type":"SaveImage","inputs":{"images":["%d",0],"filename_prefix":"' + _REFERENCE.encode()
    linked = [chain % (n, n + 1) + b'"}}' for n in range(3000)]
    extra = b'{"prompt":{' + save + b',"0":' + empty % b"0" + b'},"extra_data":{"extra_pnginfo":{"workflow":'
    return {
        "nodes": nodes(empty % b"0", 90_000),
        "allowed nodes": nodes(empty % b"0", 9_900),
        "lists": _filled(3 * 79_000, b"[]", whole + b"[", b"]}}}}"),
        "escapes": whole + b'"' + b"\\u00e9" * 1_990_000 + b'"}}}}',
        "references": nodes(named, 10_000),
        "allowed references": nodes(named, 1000),
        "a chain of references": b'{"prompt":{' + b",".join(linked) + b"}}",
        "lists in an input": _filled(size, b"[]", whole + b"[", b"]}}}}"),
        "many values in an input": _filled(min(size, 4_000_000), b"0.5", whole + b"[", b"]}}}}"),
        "references in an input": _filled(4 * MIB, f'"{_REFERENCE}"'.encode(), whole + b'{"__value__":[', b"]}}}}}"),
        "deep": whole + b"[" * 90 + b"]" * 90 + b"}}}}",
        "a long text": whole + b'"' + b"x" * (size - len(whole) - 6) + b'"}}}}',
        "a workflow": _filled(min(size, 8_000_000), _NODE, extra + b'{"nodes":[', b"]}}}}"),
        "a large picture": extra + b'{"nodes":[],"x":"' + b"x" * (size - len(extra) - 40) + b'"}}}}',
    }


def _bodies(entry: Route | Interceptor) -> dict[str, tuple[bytes, dict[str, str]]]:
    """What an operation is sent, by what it is, with headers."""
    if entry.body.is_streamed:
        return _forms()
    size = entry.body.size(Config())
    plain = {**_shapes(size if IS_WHOLE else min(size, 2 * MIB)), "one text": _one_text(size)}
    if isinstance(entry, Route):
        schema = entry.operation.body.schema if entry.operation.body is not None else None
        plain |= _of_schema(schema, size if IS_WHOLE else min(size, 8 * MIB))
    if entry.path in ("/queue", "/history"):
        plain["many ids"] = _filled(size, b'"a"', b'{"delete":[', b"]}")
        plain["a thousand ids"] = _filled(4000, b'"a"', b'{"delete":[', b"]}")
    if entry.path.endswith("/prompt"):
        plain |= _prompts(size if IS_WHOLE or entry.path == "/api/prompt" else 4 * MIB)
    found = {name: (body, _JSON) for name, body in plain.items()}
    found["one byte too many"] = (b" " * (size + 1), _JSON)
    compressed = {**_JSON, "Content-Encoding": "gzip"}
    for name in ("lists", "one text"):
        found[f"{name}, compressed"] = (gzip.compress(plain[name], 1), compressed)
    found["a bomb"] = (_BOMB, compressed)
    return found


_BOMB = gzip.compress(b"[" + b"[]," * (12 * MIB) + b"[]]", 9)


def _forms() -> dict[str, tuple[bytes, dict[str, str]]]:
    kind = {"Content-Type": "multipart/form-data; boundary=B"}
    part = b'--B\r\nContent-Disposition: form-data; name="f%d"\r\n\r\nx\r\n'
    return {
        "many fields": (b"".join(part % n for n in range(20_000)) + b"--B--\r\n", kind),
        "a long field": _form("f", "", b"x" * (4 * MIB)),
        "a large file": _form("file", "a.bin", b"x" * (32 * MIB), tags='["input"]'),
        "a large picture": _form("image", "a.bin", b"x" * (32 * MIB)),
        "many tags": _form("file", "a.bin", b"x", tags=json.dumps(["a"] * 50_000)),
        "metadata": _form("file", "a.bin", b"x", user_metadata=_filled(250_000, b"[]").decode()),
        "headers": (b"--B\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", kind),
        "no end": (b"--B\r\n" + b"x" * (4 * MIB), kind),
        "parameters": (b"a=b&" * MIB, {"Content-Type": "application/x-www-form-urlencoded"}),
        "a bomb": (_BOMB, {**kind, "Content-Encoding": "gzip"}),
        "a compressed part": (
            b'--B\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
            b"Content-Encoding: gzip\r\n\r\n" + _BOMB + b"\r\n--B--\r\n",
            kind,
        ),
    }


def _check(server: MeteredServer, method: str, path: str, requests: dict[str, tuple[Any, ...]]) -> None:
    """Send each request; none may stall the loop, nor be answered with a fault of the server."""
    faults: dict[str, Any] = {}
    for name, request in requests.items():
        status, shortest = 0, 10.0
        for _ in range(TRIES):
            status, stall = server.stall(method, path + request[0], *request[1:])
            shortest = min(shortest, stall)
            if shortest <= MAX_STALL_S:
                break
        if shortest > MAX_STALL_S or status >= 500:
            faults[name] = status, f"{shortest * 1000:.0f} ms"
    assert faults == {}


def _name(entry: Route | Interceptor) -> str:
    return f"{entry.method} {entry.path}"


def _distinct_entries(wanted: Callable[[Route | Interceptor], bool]) -> list[Any]:
    entries: list[Route | Interceptor] = [*INTERCEPTORS, *ROUTES]
    found = {_name(entry): entry for entry in entries if wanted(entry)}
    return [pytest.param(entry, id=name) for name, entry in found.items()]


@pytest.mark.parametrize("entry", _distinct_entries(lambda entry: entry.method not in ("GET", "HEAD")))
def test_no_body_stalls_the_loop(server: MeteredServer, entry: Route | Interceptor) -> None:
    requests = {name: ("", *request) for name, request in _bodies(entry).items()}
    _check(server, entry.method, _path(server, entry), requests)


def _values(hint: Any) -> list[str]:
    """What a parameter is given, as large as a request line can be."""
    kinds = _kinds(hint)
    found = ["x" * _QUERY, "9" * _QUERY, "%22" * (_QUERY // 3), "%F0%9F%98%80" * (_QUERY // 12)]
    if tuple in kinds:
        found += ["a," * (_QUERY // 2), ",".join(f"{n:05}" for n in range(_QUERY // 6)), "," * _QUERY]
    return found


def _queries(server: MeteredServer, entry: Route | Interceptor) -> dict[str, tuple[Any, ...]]:
    found = {"many": "a&" * (_QUERY // 2), "many values": "limit=1&" * (_QUERY // 8), "escapes": "%26" * (_QUERY // 3)}
    hints = get_type_hints(query_of(entry), include_extras=True) if isinstance(entry, Route) else {}
    for name, hint in hints.items():
        found |= {f"{name} {number}": f"{name}={value}" for number, value in enumerate(_values(hint))}
    if "metadata_filter" in hints:
        wanted = {f"k{n}": [None, "a", 1] for n in range(32)}
        for number, text in enumerate((json.dumps(wanted), "[" * 2000, json.dumps({"a": ["x"] * 500}))):
            found[f"filter {number}"] = f"metadata_filter={quote(text)}"
    if "q" in hints:
        found["words"] = "q=" + "+".join(chr(ord("a") + n % 26) for n in range(_QUERY // 2))
    return {name: (f"?{query}",) for name, query in found.items()}


@pytest.mark.parametrize("entry", _distinct_entries(lambda entry: entry.method in ("GET", "HEAD")))
def test_no_query_stalls_the_loop(server: MeteredServer, entry: Route | Interceptor) -> None:
    _check(server, entry.method, _path(server, entry), _queries(server, entry))


def test_a_stall_is_noticed(server: MeteredServer) -> None:
    """The meter sees what holds the loop up, and what holds the interpreter up in another thread."""
    assert server._loop is not None
    server._settle()
    server.meter.longest = 0.0
    server._loop.call_soon_threadsafe(_work)
    server._settle()
    assert server.meter.longest > MAX_STALL_S
    server.meter.longest = 0.0
    holder = threading.Thread(target=_hold_interpreter)
    holder.start()
    holder.join()
    server._settle()
    assert server.meter.longest > MAX_STALL_S


def _work() -> None:
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass


def _hold_interpreter() -> None:
    """Call one C function for at least 0.2 s, on a machine of any speed: it does not release the interpreter lock."""
    count, taken = 1_000_000, 0.0
    while taken < 0.2:
        count *= 2
        before = time.process_time()
        sum(range(count))
        taken = time.process_time() - before
