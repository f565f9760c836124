"""getAssetContent: bytes, dispositions, ranges, conditions, missing files and files outside the library."""

from __future__ import annotations

import asyncio
import gzip
import os
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web
from comfy_assets_node.comfy_assets.host import shared_file_response
from comfy_assets_node.comfy_assets.host.base import HostFolders
from support.sharing import SharingViolation
from support.windows import symbolic_links

BYTES = bytes(range(200)) * 2
SIZE = len(BYTES)


@pytest.fixture
async def put(library: Any) -> Any:
    """Put a file into the library; return the path of its content."""

    async def put(relative: str = "output/a.png", content: bytes = BYTES) -> str:
        library.write(relative, content)
        await library.scan()
        asset = await library.asset(relative.rpartition("/")[2])
        return f"/api/assets/{asset['id']}/content"

    return put


async def test_a_download(api: Any, put: Any) -> None:
    answer = await api.send("GET", await put())
    assert answer.body == BYTES
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == "attachment; filename=\"a.png\"; filename*=UTF-8''a.png"
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert "private" in answer.headers["Cache-Control"]
    assert answer.headers["ETag"] and answer.headers["Last-Modified"]


async def test_harmless_types_are_shown(api: Any, put: Any) -> None:
    for name in ("a.png", "a.jpg", "a.webp", "a.mp4", "a.wav", "a.txt", "a.json"):
        answer = await api.send("GET", await put(f"output/{name}"), params={"disposition": "inline"})
        assert answer.headers["Content-Disposition"].startswith(f'inline; filename="{name}"')
        assert answer.headers["Content-Type"] != "application/octet-stream", name
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.body == BYTES


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_file_that_another_program_locks(
    api: Any, put: Any, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """On Windows, while it is copied or scanned for viruses."""
    url = await put()

    def refuse(path: Any) -> Any:
        raise SharingViolation

    with monkeypatch.context() as patch:
        patch.setattr(shared_file_response, "open_patiently", refuse)
        patch.setattr(shared_file_response, "read_with_stat", refuse)  # of small files on Windows
        answer = await api.send(method, url, 409, headers={"Range": "bytes=0-9"})
    assert answer.headers["Content-Type"] == "application/json"
    assert "Content-Disposition" not in answer.headers and "ETag" not in answer.headers
    if method == "GET":
        assert answer.json["code"] == "FILE_IN_USE"
    assert (await api.send("GET", url)).body == BYTES


async def test_a_small_file_on_windows(api: Any, put: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read before it is sent, with the same headers, parts and conditions."""
    url = await put()
    plain = await api.send("GET", url)
    monkeypatch.setattr(shared_file_response, "WINDOWS", True)
    monkeypatch.setattr(shared_file_response, "open_patiently", None)  # it is not opened otherwise
    read = await api.send("GET", url)
    assert read.body == BYTES
    for name in ("ETag", "Last-Modified", "Content-Type", "Content-Length", "Content-Disposition"):
        assert read.headers[name] == plain.headers[name]
    part = await api.send("GET", url, 206, headers={"Range": "bytes=10-19"})
    assert part.body == BYTES[10:20]
    await api.send("GET", url, 304, headers={"If-None-Match": plain.headers["ETag"]})
    head = await api.send("HEAD", url)
    assert (head.headers["Content-Length"], head.body) == (str(SIZE), b"")


UNSAFE = [
    "a.svg", "a.html", "a.htm", "a.xhtml", "a.xml", "a.js", "a.mjs", "a.css", "a.swf", "b.SVG", "b.HtMl",
    "a.safetensors", "a", "a.shtml", "a.mht", "a.xsl", "a.png.svg", "a.svgz", "a.htc",
]  # fmt: skip


async def test_a_type_that_can_run_code_is_never_shown(library: Any, api: Any) -> None:
    for name in UNSAFE:
        library.write(f"output/{name}", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    await library.scan()
    assets = await library.assets()
    assert {asset["name"] for asset in assets} == set(UNSAFE)
    for asset in assets:
        answer = await api.send("GET", f"/api/assets/{asset['id']}/content", params={"disposition": "inline"})
        assert answer.headers["Content-Disposition"].startswith("attachment;"), asset["name"]
        assert answer.headers["Content-Type"] == "application/octet-stream", asset["name"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_another_disposition_is_an_error(api: Any, put: Any) -> None:
    url = await put()
    for value in ("", "INLINE", "download", "inline; filename=x", "\0"):
        body = await api.error(url, 400, {"disposition": value})
        assert (body["code"], body["details"]) == ("INVALID_QUERY", {"field": "disposition"}), value


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Größe 猫.png", "Gr__e _.png"),
        ('say "hi".png', "say _hi_.png"),
        ("back\\slash.png", "back_slash.png"),
        ("100%25.png", "100_25.png"),
        ("semi;colon=1, x.png", "semi;colon=1, x.png"),
        ("new\r\nSet-Cookie: a=b.png", "new__Set-Cookie: a=b.png"),
        ("tab\tdel\x7f.png", "tab_del_.png"),
        ("it's.png", "it's.png"),
        ("🦊.png", "_.png"),
    ],
)
async def test_names_in_the_disposition(api: Any, put: Any, name: str, plain: str) -> None:
    if os.name == "nt" and "\\" in name:
        pytest.skip("a backslash separates folders on Windows")
    try:
        url = await put(f"output/{name}")
    except OSError:
        pytest.skip("the file system does not take this name")
    answer = await api.send("GET", url)
    start, _, encoded = answer.headers["Content-Disposition"].rpartition("filename*=UTF-8''")
    assert start == f'attachment; filename="{plain}"; '
    assert encoded.isascii() and not set(encoded) & set(" ;,\"'\\()<>@:/[]?={}\r\n")
    assert unquote(encoded) == name
    assert "Set-Cookie" not in answer.headers


RANGES = [
    ("bytes=0-0", 0, 1),
    ("bytes=0-", 0, SIZE),
    ("bytes=10-19", 10, 20),
    ("bytes=390-", 390, SIZE),
    ("bytes=390-9999", 390, SIZE),
    ("bytes=-10", SIZE - 10, SIZE),
    ("bytes=-9999", 0, SIZE),
    ("bytes=399-399", 399, 400),
]


async def test_one_range(api: Any, put: Any) -> None:
    url = await put()
    for text, start, stop in RANGES:
        answer = await api.send("GET", url, 206, headers={"Range": text})
        assert answer.body == BYTES[start:stop], text
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
        assert answer.headers["Content-Length"] == str(stop - start)
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_range_behind_the_end(api: Any, put: Any) -> None:
    url = await put()
    for text in ("bytes=400-", "bytes=400-500", "bytes=99999999999999-"):
        answer = await api.send("GET", url, 416, headers={"Range": text})
        assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


NOT_ONE_RANGE = [
    "bytes=0-1,5-6", "bytes=0-1, -5", "bytes=5-2", "bytes=", "bytes=-", "bytes=-0", "bytes=a-b", "items=0-1",
    "0-1", "", "bytes=0-1-2", "bytes=--5", "bytes=+1-2", "bytes=٠-١", "bytes=" + "9" * 5000 + "-",
]  # fmt: skip


async def test_any_other_range_is_ignored(api: Any, put: Any) -> None:
    url = await put()
    for text in NOT_ONE_RANGE:
        answer = await api.send("GET", url, 200, headers={"Range": text})
        assert answer.body == BYTES, text
        assert "Content-Range" not in answer.headers


async def test_an_empty_file(api: Any, put: Any) -> None:
    url = await put(content=b"")
    assert (await api.send("GET", url)).body == b""
    assert (await api.send("GET", url, 416, headers={"Range": "bytes=0-"})).headers["Content-Range"] == "bytes */0"


async def test_a_head_tells_of_the_whole(api: Any, put: Any) -> None:
    url = await put()
    whole = await api.send("GET", url)
    for headers in ({}, {"Range": "bytes=0-9"}):
        head = await api.send("HEAD", url, headers=headers)
        assert head.body == b""
        for name in ("Content-Length", "Content-Type", "Content-Disposition", "ETag", "Accept-Ranges"):
            assert head.headers[name] == whole.headers[name]


async def test_what_the_client_has_is_not_sent_again(library: Any, api: Any, put: Any) -> None:
    url = await put()
    whole = await api.send("GET", url)
    etag, modified = whole.headers["ETag"], whole.headers["Last-Modified"]
    for condition in (
        {"If-None-Match": etag},
        {"If-None-Match": f'"x", {etag}'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": modified},
    ):
        for method in ("GET", "HEAD"):
            answer = await api.send(method, url, 304, headers=condition)
            assert answer.body == b""
            assert answer.headers["ETag"] == etag
    for condition in (
        {"If-None-Match": '"x"'},
        {"If-None-Match": '"x"', "If-Modified-Since": modified},
        {"If-Modified-Since": formatdate(1, usegmt=True)},
        {"If-Modified-Since": "yesterday"},
    ):
        assert (await api.send("GET", url, headers=condition)).body == BYTES
    library.write("output/a.png", BYTES + b"more")
    assert (await api.send("GET", url, headers={"If-None-Match": etag})).body == BYTES + b"more"


async def test_a_part_is_of_the_same_file_or_the_whole_is_sent(library: Any, api: Any, put: Any) -> None:
    url = await put()
    os.utime(library.base / "output/a.png", (1000, 1000))
    whole = await api.send("GET", url)
    etag, modified = whole.headers["ETag"], whole.headers["Last-Modified"]
    for condition in (etag, modified):
        headers = {"Range": "bytes=5-9", "If-Range": condition}
        assert (await api.send("GET", url, 206, headers=headers)).body == BYTES[5:10]
    library.write("output/a.png", BYTES[::-1])
    for condition in (etag, modified, '"x"', f"W/{etag}", f"W/{whole.headers['ETag']}"):
        headers = {"Range": "bytes=5-9", "If-Range": condition}
        assert (await api.send("GET", url, 200, headers=headers)).body == BYTES[::-1]


async def test_a_compressed_neighbour_is_another_file(library: Any, api: Any, put: Any) -> None:
    library.write("output/a.json.gz", gzip.compress(b"another"))
    library.write("output/a.json.br", b"another")
    url = await put("output/a.json", b"{}")
    answer = await api.send("GET", url, headers={"Accept-Encoding": "gzip, deflate, br"})
    assert answer.body == b"{}"
    assert "Content-Encoding" not in answer.headers


async def test_headers_of_any_bytes(library: Any, api: Any, put: Any) -> None:
    url = await put()
    reader, writer = await asyncio.open_connection("127.0.0.1", library.client.port)
    writer.write(b"GET %b HTTP/1.1\r\nHost: x\r\nX-Any: \xff\xfe\r\nConnection: close\r\n\r\n" % url.encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(BYTES)


async def test_a_large_file(api: Any, put: Any) -> None:
    content = os.urandom(5_000_000)
    url = await put(content=content)
    assert (await api.send("GET", url)).body == content
    part = await api.send("GET", url, 206, headers={"Range": "bytes=1000000-3999999"})
    assert part.body == content[1_000_000:4_000_000]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("instead", ["nothing", "a folder", pytest.param("a dangling link", marks=symbolic_links)])
async def test_a_file_that_is_away(library: Any, api: Any, put: Any, method: str, instead: str) -> None:
    url = await put("output/sub/a.png")
    file = library.base / "output/sub/a.png"
    file.unlink()
    if instead == "a folder":
        file.mkdir()
    elif instead == "a dangling link":
        file.symlink_to(library.base / "nowhere")
    answer = await api.send(method, url, 404)
    if method == "GET":
        assert answer.json["code"] == "ASSET_CONTENT_MISSING"
        assert answer.json["details"]["id"] in url
    await library.scan()
    await api.send(method, url, 404)


async def test_a_file_that_comes_back_is_served(library: Any, api: Any, put: Any) -> None:
    url = await put()
    file = library.base / "output/a.png"
    file.rename(library.base / "away.png")
    await api.send("GET", url, 404)
    (library.base / "away.png").rename(file)
    assert (await api.send("GET", url)).body == BYTES


async def test_a_file_outside_the_folders_as_they_are_configured_now(library: Any, api: Any, put: Any) -> None:
    url = await put()
    folders = library.host.current_folders
    library.host.current_folders = HostFolders(
        tuple(f for f in folders.folders if f.kind != "output"), folders.excluded
    )
    assert (await api.error(url, 404))["code"] == "ASSET_CONTENT_MISSING"
    library.host.current_folders = folders
    await api.send("GET", url)


@pytest.mark.parametrize("folder", ["", "user", "elsewhere"])
async def test_a_row_that_names_another_place_is_not_served(
    library: Any, api: Any, hand: Any, put: Any, folder: str
) -> None:
    url = await put()
    library.write("user/a.png", b"secret")
    library.write("a.png", b"secret")
    await hand.execute("UPDATE folders SET path = ? WHERE kind = 'output'", str(library.base) + "/" + folder)
    assert (await api.error(url, 404))["code"] == "ASSET_CONTENT_MISSING"


async def test_reading_is_remembered(library: Any, api: Any, put: Any) -> None:
    url = await put()
    await put("output/b.png")
    assert "last_access_time" not in await library.asset("a.png")
    await api.send("GET", url)
    await library.services.assets.close()  # writes what it would write two seconds later
    accessed = await library.asset("a.png")
    assert accessed["last_access_time"] > accessed["created_at"]
    assert "last_access_time" not in await library.asset("b.png")
    assert await api.names(sort="last_access_time") == ["a.png", "b.png"]
    assert await api.names(sort="last_access_time", order="asc") == ["b.png", "a.png"]


async def test_looking_is_not_reading(library: Any, api: Any, put: Any) -> None:
    url = await put()
    await api.get(url.removesuffix("/content"))
    await library.services.assets.close()
    assert "last_access_time" not in await library.asset("a.png")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_time_that_windows_cannot_convert(
    api: Any, library: Any, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Windows refuses times before 1970 and after 3000: such a file is sent without Last-Modified."""

    def refuse(self: web.StreamResponse, value: Any) -> None:
        raise OSError(22, "Invalid argument")

    library.write("output/a.png", b"content")
    await library.scan()
    (asset,) = await library.assets()
    refused = property(lambda self: None, refuse)
    monkeypatch.setattr(web.FileResponse, "last_modified", refused, raising=False)
    answer = await api.send(method, f"/api/assets/{asset['id']}/content")
    assert "Last-Modified" not in answer.headers
    assert answer.body == (b"content" if method == "GET" else b"")
