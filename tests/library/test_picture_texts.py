"""The text that A1111 writes beside a picture belongs to the picture, whichever of the two comes first."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.files import picture

SETTINGS = "a zqdragon\nNegative prompt: zqfog\nSteps: 20, Sampler: Euler a, Seed: 77"


async def found(library: Any, q: str) -> list[str]:
    return sorted(asset["name"] for asset in await library.assets(q=q))


async def documents(library: Any, name: str) -> dict[str, Any]:
    asset = await library.asset(name)
    async with library.client.get(f"/api/assets/{asset['id']}") as response:
        body = await response.json()
    return {key: body["metadata"][key] for key in ("prompt", "parameters") if key in body["metadata"]}


@pytest.mark.parametrize("first", ["a.png", "a.txt", "both"])
async def test_words_of_the_text(library: Any, first: str) -> None:
    files = {"a.png": picture(1), "a.txt": SETTINGS.encode()}
    for name in sorted(files, key=lambda name: name != first):
        library.write(f"output/{name}", files[name])
        if first != "both":
            await library.scan()
            await found(library, "zqdragon")  # the index has the first file without the other one
    await library.scan()
    assert await found(library, "zqdragon") == ["a.png", "a.txt"]
    assert await found(library, "negative:zqfog type:image") == ["a.png"]
    assert (await documents(library, "a.png")).keys() == {"parameters"}


@pytest.mark.parametrize("name", ["a.preview.png", "b.png", "a.json", "sub/a.png", "a"])
async def test_other_files_have_none_of_its_words(library: Any, name: str) -> None:
    library.write(f"output/{name}", picture(1) if name.endswith("png") else b"{}")
    library.write("output/a.txt", SETTINGS.encode())
    await library.scan()
    assert await found(library, "zqdragon") == ["a.txt"]


async def test_a_picture_with_a_graph_keeps_its_own(library: Any) -> None:
    graph = {"1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a knight"}}}
    library.write("output/a.png", picture(1, prompt=json.dumps(graph)))
    library.write("output/a.txt", SETTINGS.encode())
    await library.scan()
    assert await found(library, "zqdragon") == ["a.txt"]
    assert await documents(library, "a.png") == {"prompt": graph}


async def test_what_becomes_of_the_words(library: Any) -> None:
    for name, data in {"a.png": picture(1), "b.png": picture(2), "a.txt": SETTINGS.encode()}.items():
        library.write(f"output/{name}", data)
    await library.scan()
    assert await found(library, "zqdragon") == ["a.png", "a.txt"]
    # The text changes.
    library.write("output/a.txt", SETTINGS.replace("zqdragon", "zqknight and his horse").encode())
    await library.scan()
    assert (await found(library, "zqdragon"), await found(library, "zqknight")) == ([], ["a.png", "a.txt"])
    # The picture changes, and gets a graph of its own.
    library.write("output/a.png", picture(3, size=(9, 9)))
    await library.scan()
    assert await found(library, "zqknight") == ["a.png", "a.txt"]
    library.write(
        "output/a.png", picture(4, size=(7, 7), prompt='{"1": {"class_type": "x", "inputs": {"text": "own"}}}')
    )
    await library.scan()
    assert (await found(library, "zqknight"), await found(library, "own")) == (["a.txt"], ["a.png"])


async def test_a_moved_pair_stays_one(library: Any) -> None:
    library.write("output/a.png", picture(1))
    library.write("output/a.txt", SETTINGS.encode())
    await library.scan()
    assert await found(library, "zqdragon") == ["a.png", "a.txt"]
    (library.base / "output" / "sub").mkdir()
    for name in ("a.png", "a.txt"):
        (library.base / "output" / name).replace(library.base / "output" / "sub" / name)
        await library.scan()
        assert await found(library, "zqdragon") == ["a.png", "a.txt"]


async def test_a_deleted_text_takes_its_words_along(library: Any) -> None:
    library.write("output/a.png", picture(1))
    library.write("output/a.txt", SETTINGS.encode())
    await library.scan()
    assert await found(library, "zqdragon") == ["a.png", "a.txt"]
    text = await library.asset("a.txt")
    async with library.client.delete(f"/api/assets/{text['id']}") as response:
        assert response.status == 204
    assert await found(library, "zqdragon") == []
    assert await documents(library, "a.png") == {}
    async with library.client.post(f"/api/assets/{text['id']}/restore") as response:
        assert response.status == 200
    await library.scan()
    assert await found(library, "zqdragon") == ["a.png", "a.txt"]


async def test_a_deleted_picture_leaves_the_text(library: Any) -> None:
    library.write("output/a.png", picture(1))
    library.write("output/a.txt", SETTINGS.encode())
    await library.scan()
    assert await found(library, "zqdragon") == ["a.png", "a.txt"]
    picture_ = await library.asset("a.png")
    async with library.client.delete(f"/api/assets/{picture_['id']}") as response:
        assert response.status == 204
    assert await found(library, "zqdragon") == ["a.txt"]
