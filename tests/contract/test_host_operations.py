"""Operations that a host may lack, and what becomes of its failures."""

from __future__ import annotations

import errno
import io
from typing import Any

import pytest
from aiohttp import FormData, web
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.errors import ImageTooLargeError
from comfy_assets_node.comfy_assets.host.base import HostFolders
from comfy_assets_node.comfy_assets.host.testing import MemoryHost
from comfy_assets_node.comfy_assets.image_limits import check_upload
from comfy_assets_node.comfy_assets.plugin import attach
from PIL import Image


async def test_blueprints_where_the_host_has_none(library: Any, api: Any) -> None:
    assert await api.get("/api/global_subgraphs") == {} == await api.get("/api/node_replacements")
    library.write("custom_nodes/pack/subgraphs/Blur.json", b'{"x": 1}')
    library.write("custom_nodes/pack/subgraphs/Odd.json", b"\xff")
    library.write("custom_nodes/pack/other/Not.json")
    found = await api.get("/api/global_subgraphs")
    assert {each["name"] for each in found.values()} == {"Blur", "Odd"}
    for subgraph_id, entry in found.items():
        assert entry["info"] == {"node_pack": "custom_nodes.pack"}
        if entry["name"] == "Blur":
            assert await api.get(f"/api/global_subgraphs/{subgraph_id}") == {**entry, "data": '{"x": 1}'}
        else:
            assert (await api.error(f"/api/global_subgraphs/{subgraph_id}", 404))["code"] == "SUBGRAPH_NOT_FOUND"
    assert (await api.error("/api/global_subgraphs/none", 404))["details"] == {"id": "none"}


FAILURES = [
    (FileNotFoundError(errno.ENOENT, "x"), 404, 400),
    (NotADirectoryError(errno.ENOTDIR, "x"), 404, 400),
    (IsADirectoryError(errno.EISDIR, "x"), 404, 400),
    (FileExistsError(errno.EEXIST, "x"), 400, 400),
    (PermissionError(errno.EACCES, "x"), 400, 400),
    (OSError(errno.ENAMETOOLONG, "x"), 400, 400),
    (OSError("no picture, says Pillow"), 400, 400),
    (ValueError("embedded null byte"), 400, 400),
    (SyntaxError("broken PNG file"), 400, 400),
    (Image.DecompressionBombError("too many pixels"), 400, 400),
    (OSError(errno.ENOSPC, "the disk is full"), 500, 500),
    (OSError(errno.EIO, "the disk is broken"), 500, 500),
    (ConnectionResetError(), 500, 500),
    (RuntimeError("a mistake of the host"), 500, 500),
    (web.HTTPNotFound(), 404, 404),
    (web.HTTPForbidden(), 403, 403),
]


@pytest.mark.parametrize(("failure", "read", "written"), FAILURES, ids=lambda value: repr(value)[:40])
async def test_what_a_host_stumbles_over(
    tmp_path: Any, aiohttp_client: Any, failure: Exception, read: int, written: int
) -> None:
    """Names that a client gave are the client's; the state of the disk, and mistakes, are the server's."""

    async def fail(_: web.Request) -> web.Response:
        raise failure

    host = MemoryHost(tmp_path / "data", HostFolders(()))
    attach(host, Config(scan_on_start=False))
    assert host.plugin is not None
    app = web.Application(middlewares=[host.plugin.middleware])
    app.router.add_route("*", "/{anything:.*}", fail)
    client = await aiohttp_client(app)
    form = FormData()
    form.add_field("image", b"x", filename="x.bin")
    requests: list[tuple[str, str, int, str, Any]] = [
        ("GET", "/api/settings/x", read, "application/json", None),
        ("POST", "/api/settings/x", written, "application/json", "5"),
        ("POST", "/api/upload/image", written, "application/json", form),
        ("GET", "/api/userdata/x", read, "text/plain", None),
        ("DELETE", "/api/userdata/x", read, "text/plain", None),
        ("POST", "/api/userdata/x", written, "text/plain", "x"),
    ]
    for method, path, status, kind, data in requests:
        async with client.request(method, path, data=data) as response:
            assert response.status == status, (method, path)
            if status < 500:
                assert response.content_type == kind, (method, path)
                assert kind == "text/plain" or (await response.json()).keys() == {"code", "message"}


BARE_ERRORS = [
    ({"status": 404}, "Not Found", "There is no such file."),
    ({"status": 403}, "Forbidden", "The server does not allow this."),
    ({"status": 400, "reason": "Invalid filename."}, "Invalid filename.", "Invalid filename."),
    ({"status": 409, "text": "File already exists"}, "Conflict", "File already exists"),
]


@pytest.mark.parametrize(("answer", "reason", "text"), BARE_ERRORS, ids=lambda value: str(value)[:40])
async def test_what_a_host_says_nothing_about(
    tmp_path: Any, aiohttp_client: Any, answer: Any, reason: str, text: str
) -> None:
    """Files of users: an error without a text gets one, and the host's own reason stays, which the page shows."""

    async def fail(_: web.Request) -> web.Response:
        return web.Response(**answer)

    host = MemoryHost(tmp_path / "data", HostFolders(()))
    attach(host, Config(scan_on_start=False))
    assert host.plugin is not None
    app = web.Application(middlewares=[host.plugin.middleware])
    app.router.add_route("*", "/{anything:.*}", fail)
    client = await aiohttp_client(app)
    for method in ("GET", "POST", "DELETE"):
        async with client.request(method, "/api/userdata/x") as response:
            assert (response.status, response.reason) == (answer["status"], reason)
            assert (response.content_type, await response.text()) == ("text/plain", text)


def picture(width: int, height: int) -> io.BytesIO:
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return buffer


def test_limits_of_pictures() -> None:
    table: list[tuple[io.BytesIO, Config, str | None]] = [
        (picture(20, 10), Config(), None),
        (picture(20, 10), Config(max_image_edge=20, max_image_pixels=200), None),
        (picture(20, 10), Config(max_image_edge=19), "max_edge"),
        (picture(10, 20), Config(max_image_edge=19), "max_edge"),
        (picture(20, 10), Config(max_image_pixels=199), "max_pixels"),
        (io.BytesIO(b"12345"), Config(max_image_size=5, max_image_edge=1, max_image_pixels=1), None),
        (io.BytesIO(b"12345"), Config(max_image_size=4), "max_bytes"),
    ]
    for file, config, limit in table:
        if limit is None:
            check_upload(file, config, "image")
            assert file.tell() == 0
            continue
        with pytest.raises(ImageTooLargeError) as refused:
            check_upload(file, config, "image")
        assert refused.value.details is not None and refused.value.details.keys() == {"field", limit}
        assert refused.value.status == 400
