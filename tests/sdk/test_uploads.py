"""Assets uploaded, found by hash, read and deleted by the official Python SDK."""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from comfy_low import errors
from comfy_low.models import Asset as AssetModel
from comfy_sdk import Asset, ComfyError, HashMismatch, NotFound
from support.sdk import SdkServer, is_error, load_picture, low, picture, picture_file, word

pytestmark = pytest.mark.slow

MIB = 1 << 20
ODD_NAMES = [
    "with space.png",
    'quote".png',
    "semi;colon, comma.png",
    "Grüße 日本語 🙂.png",
    "percent%20and+plus.png",
    "back\\slash.png" if os.name == "posix" else "plain.png",
    "trailing dot..png",
    "-dash.png",
    'name="file".png',
    "CON.png",
    "x" * 200 + ".png",
]


def check_asset(server: SdkServer, asset_id: str) -> AssetModel:
    """The asset, parsed without converting anything."""
    answer = server.http.get(f"/api/v2/assets/{asset_id}")
    assert answer.status == 200, answer
    return AssetModel.model_validate_json(answer.body, strict=True)


def content_of(server: SdkServer, asset_id: str, status: int = 200, **headers: str) -> bytes:
    answer = server.http.get(f"/api/v2/assets/{asset_id}/content", **headers)
    assert answer.status == status, answer
    return answer.body


def fresh(name: str = "", size: int = 100) -> tuple[str, bytes]:
    """A name, and content that no other asset has."""
    return name or f"{word()}.bin", os.urandom(size)


@pytest.fixture
def upload(server: SdkServer) -> Any:
    """Uploads bytes under a name."""
    return lambda name, content, **options: server.client.assets.from_bytes(content, filename=name, **options)


@pytest.mark.parametrize("size", [0, 1, 1000, 3 * MIB + 7])
def test_what_is_uploaded_comes_back(server: SdkServer, upload: Any, size: int) -> None:
    name, content = fresh(size=size)
    if size == 0:
        content = b""
    asset = upload(name, content)
    asset.commit()
    assert content_of(server, asset.id) == content
    model = check_asset(server, asset.id)
    assert (model.size_bytes, model.hash) == (size, "blake3:" + blake3(content).hexdigest())
    assert model.job_id is None and abs(datetime.now(timezone.utc) - model.created_at) < timedelta(seconds=60)
    assert str(model.url).startswith(server.http.url)


def test_an_upload_is_new_once(server: SdkServer, upload: Any) -> None:
    name, content = fresh()
    first, second = upload(name, content), upload(name, content)
    first.commit()
    second.commit()
    assert (first.created_new, second.created_new) == (True, False)
    assert content_of(server, second.id) == content


def test_equal_content_under_two_names_lives_and_dies_apart(server: SdkServer, upload: Any) -> None:
    _, content = fresh()
    first, second = upload(f"{word()}.bin", content), upload(f"{word()}.bin", content)
    first.commit()
    second.commit()
    assert first.id != second.id
    gone = first.id
    first.delete()
    with pytest.raises(NotFound):
        server.client.assets.get(gone)
    assert content_of(server, second.id) == content
    with pytest.raises(NotFound):
        server.client.assets.delete(gone)
    second.delete()


def test_deleted_content_can_be_uploaded_again(server: SdkServer, upload: Any) -> None:
    name, content = fresh()
    asset = upload(name, content)
    asset.commit()
    asset.delete()
    again = upload(name, content)
    again.commit()
    assert content_of(server, again.id) == content


def test_a_wrong_hash_leaves_nothing(server: SdkServer, upload: Any) -> None:
    name, content = fresh()
    before = _files(server)
    asset = upload(name, content)
    asset._hash = "blake3:" + blake3(b"other").hexdigest()
    with pytest.raises(HashMismatch) as caught:
        asset.commit()
    assert caught.value.http_status == 409
    right = "blake3:" + blake3(content).hexdigest()
    assert not low(server.client).head_asset_by_hash(right)
    assert _files(server) == before
    assert server.http.get(f"/api/assets?name_contains={name}").json["assets"] == []


def _files(server: SdkServer) -> set[Path]:
    """Everything in the folders for files of users."""
    return {path for kind in ("input", "output", "models") for path in (server.http.base / kind).rglob("*")}


@pytest.mark.parametrize("hash_", ["blake3:zz", "blake3:", "sha256:" + "0" * 64, "0" * 64, "blake3:" + "0" * 63])
def test_a_malformed_hash_is_refused(server: SdkServer, upload: Any, hash_: str) -> None:
    name, content = fresh()
    client = low(server.client)
    with pytest.raises(errors.ApiError) as caught:
        client.asset_from_hash(hash_)
    assert caught.value.http_status in (400, 404, 422)
    answer = server.http.send("HEAD", f"/api/v2/assets/by-hash/{hash_}")
    assert answer.status in (400, 404, 422) and answer.body == b""
    (server.http.base / "sent.bin").write_bytes(content)
    with (server.http.base / "sent.bin").open("rb") as stream, pytest.raises(errors.ApiError) as caught:
        client.post_assets(stream, "application/octet-stream", name, expected_hash=hash_)
    assert caught.value.http_status in (400, 409, 422)


def test_known_content_needs_no_upload(server: SdkServer, upload: Any) -> None:
    name, content = fresh()
    first = upload(name, content)
    first.commit()
    client = low(server.client)
    assert client.head_asset_by_hash(first.hash)
    made = client.asset_from_hash(first.hash, file_path=f"{word()}.bin", tags=["input"])
    assert made.id != first.id and made.created_new is False
    again = client.asset_from_hash(first.hash, file_path=made.file_path)
    assert again.id == made.id
    with pytest.raises(errors.BlobNotFound):
        client.asset_from_hash("blake3:" + blake3(os.urandom(8)).hexdigest())
    assert not client.head_asset_by_hash("blake3:" + blake3(os.urandom(8)).hexdigest())


def test_the_hash_is_read_percent_encoded(server: SdkServer, upload: Any) -> None:
    """As the TypeScript SDK sends it."""
    asset = upload(*fresh())
    asset.commit()
    assert server.http.send("HEAD", f"/api/v2/assets/by-hash/{asset.hash.replace(':', '%3A')}").status == 200


def test_a_file_that_was_removed_is_uploaded_again(server: SdkServer, upload: Any) -> None:
    name, content = fresh()
    asset = upload(name, content)
    asset.commit()
    [path] = (server.http.base / "input").rglob(name)
    path.unlink()
    answer = server.http.get(f"/api/v2/assets/{asset.id}/content")
    is_error(answer, 404, "not_found")
    again = upload(name, content)
    again.commit()
    assert content_of(server, again.id) == content


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(server: SdkServer, upload: Any, name: str) -> None:
    """They are kept, or changed to what every system can store; the content is the same."""
    content = picture_file()
    asset = upload(name, content, content_type="image/png")
    asset.commit()
    assert content_of(server, asset.id) == content
    job = server.run(load_picture(asset))
    assert len(job.outputs) == 1


@pytest.mark.parametrize("name", ["", ".", "..", "../out.png", "/etc/passwd", "a/../../b.png", "a\0b.png", "C:\\x.png"])
def test_names_that_lead_elsewhere_are_refused_or_made_harmless(server: SdkServer, name: str) -> None:
    before = set(server.http.base.parent.rglob("*"))
    _, content = fresh()
    (server.http.base.parent / "sent.bin").write_bytes(content)
    before.add(server.http.base.parent / "sent.bin")
    with (server.http.base.parent / "sent.bin").open("rb") as stream:
        try:
            made = low(server.client).post_assets(stream, "application/octet-stream", name)
        except errors.ApiError as error:
            assert error.http_status in (400, 422), error
            made = None
    if made is not None:
        assert content_of(server, made.id) == content
    new = set(server.http.base.parent.rglob("*")) - before
    outside = {path for path in new if not path.is_relative_to(server.http.base)}
    assert outside == set()


def test_the_path_may_have_folders_and_the_parts_tags(server: SdkServer, tmp_path: Path) -> None:
    name, content = fresh()
    (tmp_path / "sent.bin").write_bytes(content)
    with (tmp_path / "sent.bin").open("rb") as stream:
        made = low(server.client).post_assets(
            stream, "application/octet-stream", f"sub/{name}", tags=["input", "blue", "with space"]
        )
    assert content_of(server, made.id) == content
    assert made.file_path is not None and made.file_path.endswith(name)
    assert {"blue", "with space"} <= set(server.http.get(f"/api/assets/{made.id}").json["tags"])


def test_a_model_is_placed_where_models_are(server: SdkServer, tmp_path: Path) -> None:
    name = f"{word()}.safetensors"
    content = (2).to_bytes(8, "little") + b"{}"
    (tmp_path / name).write_bytes(content + os.urandom(8))
    with (tmp_path / name).open("rb") as stream:
        made = low(server.client).post_assets(stream, "application/octet-stream", f"models/loras/{name}")
    assert content_of(server, made.id) == (tmp_path / name).read_bytes()
    assert (server.http.base / "models" / "loras" / name).is_file()


def _form(*parts: tuple[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """A form with these parts: (the rest of Content-Disposition, content)."""
    body = b"".join(
        b"--x\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (name.encode(), content) for name, content in parts
    )
    return body + b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


FILE = ('name="file"; filename="a.bin"', b"the content")
TYPE = ('name="content_type"', b"application/octet-stream")
PATH = ('name="file_path"', b"a.bin")


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (TYPE, PATH),
        (TYPE, FILE),
        (PATH, FILE),
        (TYPE, PATH, ('name="expires_in"', b"59"), FILE),
        (TYPE, PATH, ('name="expires_in"', b"604801"), FILE),
        (TYPE, PATH, ('name="expires_in"', b"soon"), FILE),
        (TYPE, PATH, ('name="expected_hash"', b"no hash"), FILE),
        (TYPE, PATH, ('name="file_path"', b"\xff.bin"), FILE),
    ],
)
def test_a_bad_form_is_refused(server: SdkServer, parts: Any) -> None:
    before = _files(server)
    body, headers = _form(*parts)
    answer = server.http.send("POST", "/api/v2/assets", body, headers)
    assert answer.status in (400, 422), answer
    is_error(answer, answer.status)
    assert _files(server) == before


def test_an_upload_that_breaks_off_leaves_nothing(server: SdkServer) -> None:
    before = _files(server)
    body, headers = _form(TYPE, PATH, FILE)
    head = "".join(f"{key}: {value}\r\n" for key, value in {**headers, "Content-Length": "100000"}.items())
    with closing(socket.create_connection(("127.0.0.1", server.http.port))) as connection:
        connection.sendall(f"POST /api/v2/assets HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + body[:-9])
        time.sleep(0.3)
    deadline = time.monotonic() + 20
    while _files(server) != before:
        assert time.monotonic() < deadline, _files(server) - before
        time.sleep(0.1)


def test_retention_is_told(server: SdkServer) -> None:
    body, headers = _form(TYPE, ('name="file_path"', word().encode()), ('name="expires_in"', b"3600"), FILE)
    answer = server.http.send("POST", "/api/v2/assets", body.replace(b"the content", os.urandom(11)), headers)
    assert answer.status == 201, answer
    model = check_asset(server, answer.json["id"])
    assert model.expires_at is not None
    assert abs(model.expires_at - datetime.now(timezone.utc) - timedelta(hours=1)) < timedelta(minutes=1)


@pytest.fixture
def large(server: SdkServer, upload: Any) -> Iterator[tuple[Asset, bytes]]:
    """An asset of some size, and its content."""
    name, content = fresh(size=100_000)
    asset = upload(name, content)
    asset.commit()
    yield asset, content


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=0-99", slice(0, 100)),
        ("bytes=50000-50999", slice(50_000, 51_000)),
        ("bytes=99999-", slice(99_999, None)),
        ("bytes=-10", slice(-10, None)),
        ("bytes=99990-200000", slice(99_990, None)),
    ],
)
def test_parts_of_content(server: SdkServer, large: tuple[Asset, bytes], asked: str, part: slice) -> None:
    asset, content = large
    answer = server.http.get(f"/api/v2/assets/{asset.id}/content", Range=asked)
    first, last, _ = part.indices(len(content))
    assert (answer.status, answer.body) == (206, content[part])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last - 1}/{len(content)}"


def test_the_sdk_asks_for_parts(server: SdkServer, large: tuple[Asset, bytes]) -> None:
    asset, content = large
    assert asset.id is not None
    with low(server.client).get_asset_content(asset.id, range=(10, 19)) as response:
        assert (response.status_code, response.read()) == (206, content[10:20])


def test_a_part_beyond_the_end_cannot_be_had(server: SdkServer, large: tuple[Asset, bytes]) -> None:
    asset, content = large
    answer = server.http.get(f"/api/v2/assets/{asset.id}/content", Range="bytes=100000-")
    assert answer.status == 416 and answer.headers["Content-Range"] == f"bytes */{len(content)}"
    with (
        pytest.raises(errors.ApiError) as caught,
        low(server.client).get_asset_content(str(asset.id), range=(200_000, 200_001)),
    ):
        pass
    assert caught.value.http_status == 416


def test_head_and_get_share_a_connection(server: SdkServer, large: tuple[Asset, bytes]) -> None:
    asset, content = large
    with closing(http.client.HTTPConnection("127.0.0.1", server.http.port, timeout=30)) as connection:
        for method, headers in (("HEAD", {}), ("HEAD", {"Range": "bytes=0-9"}), ("GET", {})):
            connection.request(method, f"/api/v2/assets/{asset.id}/content", headers=headers)
            kept = connection.sock
            response = connection.getresponse()
            body = response.read()
            # A range of HEAD may be heeded or not.
            assert response.status == 200 or (headers and response.status == 206)
            assert int(response.headers["Content-Length"]) == (10 if response.status == 206 else len(content))
            assert response.headers.get("X-Comfy-Request-Id")
            assert body == (content if method == "GET" else b"")
            assert connection.sock is kept, "the connection was closed"


def test_a_download_that_is_broken_off_leaves_no_trace_in_the_log(server: SdkServer, upload: Any) -> None:
    before = server.http.log.count("Traceback")
    asset = upload(*fresh(size=20 * MIB))
    for _ in range(3):
        asset.get_download_url()
    assert content_of(server, asset.id, 206, Range="bytes=0-0")
    assert server.http.log.count("Traceback") == before


def test_an_asset_of_a_job_is_an_asset(server: SdkServer) -> None:
    [output] = server.run(picture()).outputs
    asset = server.client.assets.get(output.id)
    assert asset.job_id == output.job_id
    assert asset.hash.startswith("blake3:") or asset.hash == ""
    assert asset.file_path.endswith(output.name)


def test_an_asset_that_a_waiting_job_needs_is_in_use(server: SdkServer, upload: Any) -> None:
    asset = upload(f"{word()}.png", picture_file())
    asset.commit()
    with server.held():
        job = server.submit(load_picture(asset))
        with pytest.raises(ComfyError) as caught:
            server.client.assets.delete(str(asset.id))
        assert (caught.value.http_status, caught.value.code) == (409, "asset_in_use")
    assert job.result().status == "succeeded"


def _peak(pid: int) -> int:
    """The greatest memory of a process since ``_forget_peak``, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


@pytest.mark.slow
def test_a_large_upload_takes_little_memory(server: SdkServer, tmp_path: Path) -> None:
    pid = server.http.process.pid
    if not Path(f"/proc/{pid}/clear_refs").exists():
        pytest.skip("this system does not tell the memory of a process")
    path = tmp_path / "large.bin"
    with path.open("wb") as stream:
        for _ in range(256):
            stream.write(os.urandom(MIB))
    server.client.assets.from_bytes(os.urandom(100)).commit()  # what the first upload loads
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    before = _peak(pid)
    asset = server.client.assets.from_file(path)
    asset.commit()
    assert asset.created_new and _peak(pid) - before < 32 * MIB
    with low(server.client).get_asset_content(str(asset.id)) as response:
        digest = blake3()
        for chunk in response.iter_bytes(MIB):
            digest.update(chunk)
    assert "blake3:" + digest.hexdigest() == asset.hash
