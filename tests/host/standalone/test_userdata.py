"""A user's own files: listed, read, written, moved and removed, and never a file of anybody else."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp.test_utils import TestClient, TestServer
from comfy_assets_node.comfy_assets.fs import atomic
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from support.windows import symbolic_links
from yarl import URL


async def call(server: Any, method: str, path: str, body: bytes | None = None, **more: Any) -> tuple[int, Any, Any]:
    """Status, headers and body; the path goes out as it is written here."""
    async with server.client.request(method, URL(path, encoded=True), data=body, **more) as response:
        raw = await response.read()
        is_json = response.content_type == "application/json" and raw
        return response.status, response.headers, await response.json() if is_json else raw


def files_below(base: Path) -> dict[str, bytes]:
    return {path.relative_to(base).as_posix(): path.read_bytes() for path in base.rglob("*") if path.is_file()}


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_the_life_of_a_file(server: Any, prefix: str) -> None:
    root = server.base / "user" / "default"
    status, _, body = await call(server, "POST", f"{prefix}/userdata/workflows%2Fa%20b.json", b'{"x": 1}')
    assert (status, body) == (200, "workflows/a b.json")
    assert files_below(root) == {"workflows/a b.json": b'{"x": 1}'}
    status, headers, body = await call(server, "GET", f"{prefix}/userdata/workflows%2Fa%20b.json")
    assert (status, body) == (200, {"x": 1})
    assert (headers["Content-Disposition"], headers["X-Content-Type-Options"]) == ("attachment", "nosniff")
    status, _, body = await call(server, "POST", f"{prefix}/userdata/workflows%2Fa%20b.json?full_info=true", b"2")
    assert status == 200 and body.keys() == {"path", "size", "modified", "created"}
    assert (body["path"], body["size"]) == ("workflows/a b.json", 1)
    assert abs(body["modified"] - (root / "workflows/a b.json").stat().st_mtime * 1000) < 2
    status, _, body = await call(server, "POST", f"{prefix}/userdata/workflows%2Fa%20b.json/move/deep%2Fer%2Fb.json")
    assert (status, body) == (200, "deep/er/b.json")
    assert files_below(root) == {"deep/er/b.json": b"2"}
    assert (await call(server, "DELETE", f"{prefix}/userdata/deep%2Fer%2Fb.json"))[0] == 204
    assert (await call(server, "GET", f"{prefix}/userdata/deep%2Fer%2Fb.json"))[0] == 404
    assert files_below(root) == {}


async def test_lists(server: Any) -> None:
    root = server.base / "user" / "default"
    for name in ("workflows/b.json", "workflows/a.json", "workflows/sub/c.json", "workflows/.hidden", "x.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"12")
    table: list[tuple[str, int, Any]] = [
        ("dir=workflows", 200, ["a.json", "b.json"]),
        ("dir=workflows%2F", 200, ["a.json", "b.json"]),
        ("dir=workflows&recurse=true", 200, ["a.json", "b.json", "sub/c.json"]),
        (
            "dir=workflows&recurse=TRUE&split=true",
            200,
            [["a.json"] * 2, ["b.json"] * 2, ["sub/c.json", "sub", "c.json"]],
        ),
        ("dir=workflows%2Fsub", 200, ["c.json"]),
        ("dir=workflows%252Fsub", 200, ["c.json"]),
        ("dir=.", 200, ["x.txt"]),
        ("dir=nothing", 404, None),
        ("dir=x.txt", 404, None),
        ("dir=", 400, None),
        ("", 400, None),
        ("dir=..", 403, None),
        ("dir=%252e%252e", 403, None),
        ("dir=%2Fetc", 403, None),
    ]
    for query, expected, names in table:
        status, headers, body = await call(server, "GET", f"/userdata?{query}")
        assert status == expected, query
        assert body == names if status == 200 else headers["Content-Type"].startswith("text/plain"), query
    _, _, body = await call(server, "GET", "/api/userdata?dir=workflows&recurse=true&split=true&full_info=true")
    assert [(each["path"], each["size"]) for each in body] == [("a.json", 2), ("b.json", 2), ("sub/c.json", 2)]


async def test_the_second_list(server: Any) -> None:
    assert (await call(server, "GET", "/v2/userdata"))[2] == []
    root = server.base / "user" / "default"
    (root / "workflows").mkdir(parents=True)
    (root / "workflows" / "a.json").write_bytes(b"12")
    (root / "z").mkdir()
    _, _, body = await call(server, "GET", "/api/v2/userdata")
    shown = [(each["type"], each["path"], each.get("size")) for each in body]
    assert shown == [("directory", "workflows", None), ("directory", "z", None), ("file", "workflows/a.json", 2)]
    for query, expected in (("path=z", 200), ("path=none", 404), ("path=workflows%2Fa.json", 400), ("path=..", 403)):
        assert (await call(server, "GET", f"/v2/userdata?{query}"))[0] == expected, query


HOSTILE = [
    ("../x.json", 403),
    ("../../input/x.json", 403),
    ("../__comfy_assets/library.db", 403),
    ("../other/x.json", 403),
    ("a/../../x.json", 403),
    ("/etc/passwd", 403),
    ("C:/x.json", 403),
    ("C:\\x.json", 403),
    ("c:x.json", 403),
    ("..\\x.json", 403),
    ("\\\\host\\share\\x", 403),
    ("..", 403),
    (".. /x.json", 403),
    ("a\\b.json", 400),
    ("a//b.json", 400),
    ("nul", 400),
    ("workflows/CON.json", 400),
    ("com1", 400),
    ("x\0.json", 400),
    ("x\n.json", 400),
    ("x" * 300, 400),
    ("a/ /b", 400),
]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(("name", "expected"), HOSTILE)
async def test_no_name_leads_away(server: Any, name: str, expected: int, times: int) -> None:
    (server.base / "user" / "default").mkdir(parents=True, exist_ok=True)
    (server.base / "user" / "default" / "own.json").write_bytes(b"own")
    (server.base / "user" / "x.json").write_bytes(b"secret")
    before = files_below(server.base)
    for _ in range(times):
        name = quote(name, safe="")
    name = name.replace(".", "%2E")  # else clients and servers resolve the dots
    for method, path in (
        ("GET", f"/userdata/{name}"),
        ("POST", f"/api/userdata/{name}"),
        ("DELETE", f"/userdata/{name}"),
        ("POST", f"/userdata/{name}/move/new.json"),
        ("POST", f"/userdata/own.json/move/{name}"),
    ):
        status, headers, body = await call(server, method, path, b"x")
        assert status == expected and headers["Content-Type"].startswith("text/plain"), (method, path)
        assert b"secret" not in body
    assert files_below(server.base) == before


@symbolic_links
async def test_links_do_not_lead_away(server: Any) -> None:
    root = server.base / "user" / "default"
    root.mkdir(parents=True)
    (server.base / "input" / "secret.json").write_bytes(b"secret")
    (root / "out").symlink_to(server.base / "input", target_is_directory=True)
    (root / "file.json").symlink_to(server.base / "input" / "secret.json")
    (root / "own.json").write_bytes(b"0")
    (root / "alias.json").symlink_to(root / "own.json")
    for method, path, expected in (
        ("GET", "/userdata/out%2Fsecret.json", 403),
        ("GET", "/userdata/file.json", 403),
        ("POST", "/userdata/out%2Fnew.json", 403),
        ("POST", "/userdata/own.json/move/out%2Fnew.json", 403),
        ("DELETE", "/userdata/out%2Fsecret.json", 403),
        ("GET", "/userdata?dir=out", 403),
        ("GET", "/v2/userdata?path=out", 403),
        ("GET", "/userdata/alias.json", 200),
    ):
        assert (await call(server, method, path, b"x"))[0] == expected, (method, path)
    assert files_below(server.base / "input") == {"secret.json": b"secret"}
    assert (await call(server, "GET", "/userdata?dir=.&recurse=true"))[2] == ["alias.json", "own.json"]
    assert {each["path"] for each in (await call(server, "GET", "/v2/userdata"))[2]} == {"alias.json", "own.json"}


async def test_what_is_there_is_replaced_only_when_that_is_meant(server: Any) -> None:
    root = server.base / "user" / "default"
    (root / "folder").mkdir(parents=True)
    (root / "a.json").write_bytes(b"a")
    (root / "b.json").write_bytes(b"b")
    table = [
        ("POST", "/userdata/a.json?overwrite=false", 409),
        ("POST", "/userdata/a.json/move/b.json?overwrite=false", 409),
        ("POST", "/userdata/folder", 400),
        ("POST", "/userdata/folder?overwrite=false", 409),
        ("POST", "/userdata/a.json%2Fx.json", 400),
        ("POST", "/userdata/a.json/move/folder", 400),
        ("POST", "/userdata/a.json/move/b.json%2Fx.json", 400),
        ("POST", "/userdata/none.json/move/c.json", 404),
        ("GET", "/userdata/folder", 404),
        ("GET", "/userdata/none.json", 404),
        ("DELETE", "/userdata/folder", 404),
        ("DELETE", "/userdata/none.json", 404),
    ]
    for method, path, expected in table:
        assert (await call(server, method, path, b"new"))[0] == expected, (method, path)
        assert files_below(root) == {"a.json": b"a", "b.json": b"b"}, (method, path)
    assert (await call(server, "POST", "/userdata/a.json/move/b.json"))[0] == 200
    assert files_below(root) == {"b.json": b"a"}


async def test_of_writers_that_replace_nothing_one_wins(server: Any) -> None:
    writers = [call(server, "POST", "/userdata/a.json?overwrite=false", b"%d" % each) for each in range(20)]
    statuses = sorted(status for status, _, _ in await asyncio.gather(*writers))
    assert statuses == [200] + [409] * 19
    assert list(files_below(server.base / "user" / "default")) == ["a.json"]


async def test_large_files(server: Any) -> None:
    server.client.app._client_max_size = 3_000_000
    body = os.urandom(2_500_000)
    assert (await call(server, "POST", "/userdata/big.bin", body))[0] == 200
    assert (await call(server, "POST", "/userdata/big.bin", body * 2))[0] == 413
    status, headers, read = await call(server, "GET", "/userdata/big.bin")
    assert (status, headers["Content-Type"]) == (200, "application/octet-stream") and read == body
    assert files_below(server.base / "user" / "default") == {"big.bin": body}


async def test_types_that_run_are_not_named(server: Any) -> None:
    table = [
        ("x.html", "application/octet-stream", "attachment"),
        ("x.js", "application/octet-stream", "attachment"),
        ("x.svg", "application/octet-stream", "attachment"),
        ("sub%2Fuser.css", "application/octet-stream", "attachment"),
        ("x.json", "application/json", "attachment"),
        ("x.png", "image/png", "attachment"),
        ("user.css", "text/css", "inline"),
    ]
    for name, content_type, kind in table:
        await call(server, "POST", f"/userdata/{name}", b"1")
        _, headers, _ = await call(server, "GET", f"/userdata/{name}")
        assert (headers["Content-Type"], headers["Content-Disposition"]) == (content_type, kind), name


@pytest.mark.parametrize(
    ("save", "read"),
    [
        ("/api/settings/Comfy.H", "/api/settings"),
        ("/api/userdata/workflows%2Fa.json", "/api/userdata/workflows%2Fa.json"),
    ],
)
async def test_everything_is_saved_while_others_read_it(server: Any, save: str, read: str) -> None:
    """As a page at its start does, or two tabs. On Windows a file that is being read cannot be replaced."""
    statuses: Counter[int] = Counter()

    async def request(method: str, path: str, count: int) -> None:
        for number in range(count):
            async with server.client.request(method, path, json=number if method == "POST" else None) as response:
                await response.read()
                statuses[response.status] += 1

    await request("POST", save, 1)
    await asyncio.gather(request("POST", save, 90), *(request("GET", read, 60) for _ in range(3)))
    assert statuses == {200: 271}


async def test_a_full_disk_is_not_blamed_on_the_client(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, content: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for path, body in (("workflows%2Fa.json", b"{}"), ("other.txt", b"2")):
        assert (await call(server, "POST", f"/userdata/{path}", body))[0] == 200
    assert (await call(server, "POST", "/settings/a", b"1"))[0] == 200
    before = files_below(server.base / "user")
    monkeypatch.setattr(Path, "write_bytes", write)
    monkeypatch.setattr(atomic, "write_new", write)
    for method, path, body in (
        ("POST", "/userdata/workflows%2Fa.json", b'{"x": 1}'),
        ("POST", "/userdata/new.txt", b"3"),
        ("POST", "/settings/a", b"2"),
        ("POST", "/settings", b'{"a": 2}'),
    ):
        status, _, text = await call(server, method, path, body, headers={"Content-Type": "application/json"})
        assert status == 500 and "No space left on device" in str(text), path
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: write(Path(), b""))
    status, _, text = await call(server, "POST", "/userdata/new%2Ffolder.txt", b"4")
    assert status == 500 and "No space left on device" in str(text)
    monkeypatch.undo()
    assert files_below(server.base / "user") == before


async def test_what_a_killed_server_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "user" / "default"
    (folder / "other" / "deep").mkdir(parents=True)
    leftovers = [folder.parent / ".comfy-assets-0.part", folder / ".comfy-assets-1.part"]
    leftovers.append(folder / "other" / "deep" / ".comfy-assets-2.part")
    young, other = folder / ".comfy-assets-3.part", folder / "other" / "mine.part"
    for path in (*leftovers, young, other):
        path.write_bytes(b"half")
    for path in (*leftovers, other):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    async with TestClient(TestServer(StandaloneHost(tmp_path).application())):
        assert not any(path.exists() for path in leftovers)
        assert young.exists() and other.exists()
