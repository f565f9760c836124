"""A word in any picture finds the picture, whatever its format and the tool that wrote it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from PIL import Image
from support.files import picture
from support.picture_files import (
    box,
    exif_block,
    exr,
    heif,
    jpeg_2000,
    jpeg_xl,
    jpeg_xl_codestream,
    jpeg_xl_exif,
    svg,
    tiff,
    user_comment,
    xmp_packet,
)

SIZE = (30, 20)


def graph(word: str) -> str:
    nodes = {
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": f"a {word} in the garden"}},
        "3": {"class_type": "KSampler", "inputs": {"seed": 7, "positive": ["6", 0]}},
    }
    return json.dumps(nodes)


def comfyui(word: str) -> bytes:
    return exif_block({0x0110: b"prompt:" + graph(word).encode()})


def settings_of(word: str) -> str:
    return f"a {word}\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, Seed: 7"


def saved(image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", SIZE).save(buffer, image_format, **options)
    return buffer.getvalue()


def png(**found: str) -> bytes:
    return picture(7, SIZE, **{key.replace("_0_", "-").replace("__", " "): text for key, text in found.items()})


def files() -> Mapping[str, bytes]:
    """Pictures by the word that each holds and its suffix."""
    return {
        "zqavif.avif": heif(exif=comfyui("zqavif"), size=SIZE),
        "zqheic.heic": heif(b"heic", SIZE, exif_block({}, user_comment(settings_of("zqheic")))),
        "zqheix.heic": heif(b"heic", SIZE, xmp=xmp_packet(dc_description="a zqheix")),
        "zqjxl.jxl": jpeg_xl(jpeg_xl_codestream(SIZE), jpeg_xl_exif(comfyui("zqjxl"))),
        "zqtiff.tif": tiff(SIZE, {0x010E: b"a zqtiff"}),
        "zqbigtiff.tif": tiff(SIZE, {0x0110: b"prompt:" + graph("zqbigtiff").encode()}, big=True, order=">"),
        "zqexr.exr": exr({"prompt": graph("zqexr").encode()}),
        "zqsvg.svg": svg(json.dumps({"prompt": json.loads(graph("zqsvg"))})),
        "zqjp.jp2": jpeg_2000(SIZE, box(b"uuid", b"JpgTiffExif->JP2", comfyui("zqjp"))),
        "zqcomment.gif": saved("GIF", comment=graph("zqcomment").encode()),
        "zqwindows.jpg": saved("JPEG", exif=b"Exif\0\0" + exif_block({0x9C9C: "a zqwindows".encode("utf-16-le")})),
        "zqboth.webp": saved(
            "WEBP",
            exif=b"Exif\0\0"
            + exif_block({}, user_comment(f'{{"workflow": {{"nodes": []}}, "prompt": {graph("zqboth")}}}')),
        ),
        "zqinvoke.png": png(invokeai_metadata='{"positive_prompt": "a zqinvoke", "seed": 7}'),
        "zqdream.png": png(Dream='"a zqdream [dog]" -s 50 -S 7'),
        "zqold.png": png(sd_0_metadata='{"image": {"prompt": [{"prompt": "a zqold", "weight": 1}]}}'),
        "zqnovel.png": png(Software="NovelAI", Comment='{"prompt": "1girl, zqnovel", "uc": "lowres", "seed": 7}'),
        "zqmidjourney.png": png(Description="a zqmidjourney --v 6 Job ID: 1"),
        "zqdrawthings.png": png(
            **{"XML:com.adobe.xmp": xmp_packet(exif_UserComment='{"c": "a zqdrawthings"}').decode()}
        ),
        "zqeasy.png": png(Prompt="a zqeasy", Negative__Prompt="dog", Seed="7"),
        "zqplain.png": png(prompt="a zqplain"),
        "zqswarm.png": png(parameters='{"sui_image_params": {"prompt": "a zqswarm", "seed": 7}}'),
        "zqfooocus.png": png(parameters='{"metadata_scheme": "fooocus", "prompt": "a zqfooocus"}'),
    }


async def test_every_word_is_found(library: Any) -> None:
    names = {}
    for number, (word_and_suffix, data) in enumerate(files().items()):
        word, _, suffix = word_and_suffix.partition(".")
        names[word] = f"{number}.{suffix}"
        library.write(f"output/{names[word]}", data)
    await library.scan()
    found = {word: [asset["name"] for asset in await library.assets(q=word)] for word in names}
    assert found == {word: [name] for word, name in names.items()}
    for asset in await library.assets(limit="100"):
        facts = asset["metadata"]
        assert (facts.get("width"), facts.get("height"), facts.get("error")) == (*SIZE, None), asset["name"]
        assert asset["mime_type"].startswith("image/")
    for key in ("class_type", "sui_image_params", "widgets_values", "invokeai_metadata"):  # keys are no words
        assert await library.assets(q=key) == []
    # Negative prompts, of A1111, the first InvokeAI and Easy Diffusion.
    of_dogs = {asset["name"] for asset in await library.assets(q="negative:dog")}
    assert of_dogs == {names["zqheic"], names["zqdream"], names["zqeasy"]}
    assert await library.assets(q="prompt:dog") == []
