"""checkAssetByHash."""

from __future__ import annotations

from typing import Any

from blake3 import blake3
from yarl import URL

DIGEST = blake3(b"content").hexdigest()
KNOWN = f"blake3:{DIGEST}"


async def status(api: Any, text: str) -> int:
    answer = await api.send("HEAD", URL(f"/api/assets/hash/{text}", encoded=True), None)
    assert answer.body == b""
    return int(answer.status)


async def test_content_that_is_there(library: Any, api: Any) -> None:
    assert await status(api, KNOWN) == 404
    library.write("output/a.png")
    library.write("input/copy.png")
    await library.scan()
    assert await status(api, KNOWN) == 200
    assert await status(api, KNOWN.replace(":", "%3A")) == 200
    assert await status(api, DIGEST) == 200
    assert await status(api, "0" * 64) == 404
    assert await status(api, "blake3:" + "0" * 64) == 404


async def test_content_whose_files_are_gone(library: Any, api: Any) -> None:
    files = [library.write("output/a.png"), library.write("input/copy.png")]
    await library.scan()
    for file, expected in zip(files, (200, 404), strict=True):
        file.unlink()
        await library.scan()
        assert await status(api, KNOWN) == expected
    library.write("output/a.png")
    await library.scan()
    assert await status(api, KNOWN) == 200


async def test_content_that_has_changed(library: Any, api: Any) -> None:
    library.write("output/a.png")
    await library.scan()
    library.write("output/a.png", b"other content")
    await library.scan()
    assert await status(api, KNOWN) == 404


MALFORMED = [
    DIGEST.upper(),
    f"blake3:{DIGEST.upper()}",
    f"BLAKE3:{DIGEST}",
    f"sha256:{DIGEST}",
    f"blake3:{DIGEST[:-1]}",
    f"blake3:{DIGEST}0",
    f"blake3:{DIGEST[:-1]}g",
    f"blake3:%20{DIGEST}",
    f"blake3:{DIGEST}%0A",
    f"blake3:{DIGEST}%00",
    f"blake3:{DIGEST}%2F",
    "blake3:" + "%D9%A0" * 64,
    "blake3:",
    "x",
    "%FF",
    "%ED%A0%80",
    "content",
]


async def test_a_malformed_hash(library: Any, api: Any) -> None:
    library.write("output/a.png")
    await library.scan()
    for text in MALFORMED:
        assert await status(api, text) == 400, text


async def test_what_only_others_have_is_not_told(make_library: Any, api_of: Any, hand_of: Any) -> None:
    library = await make_library(users=frozenset({"default", "bob"}))
    library.write("output/a.png")
    await library.scan()
    await hand_of(library).belongs("a.png", "bob", "output")
    api = api_of(library)
    assert await status(api, KNOWN) == 404
    assert await status(api.as_user("bob"), KNOWN) == 200
    assert await status(api.as_user("nobody"), KNOWN) == 401
