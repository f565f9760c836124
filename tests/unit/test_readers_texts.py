"""Texts of other tools in pictures: each becomes the document that search and the panel know, with values, not keys."""

from __future__ import annotations

import io
import json
import struct
import zlib
from contextlib import suppress
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.media.metadata import extract
from comfy_assets_node.comfy_assets.assets.media.readers import texts
from comfy_assets_node.comfy_assets.assets.media.readers.base import Contents
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from support.picture_files import exif_block, user_comment, xmp_packet

PROMPT = {"3": {"class_type": "KSampler", "inputs": {"seed": 6, "text": "größe 🎨"}}}
WORKFLOW = {"nodes": [{"id": 1, "widgets_values": ['a "quoted" {text}', 0.5]}]}
BOTH = {"prompt": PROMPT, "workflow": WORKFLOW}
A1111 = "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a"


def read(**found: str) -> dict[str, Any]:
    """The documents of texts by their keywords; ``__`` stands for a space and ``_0_`` for a minus in a keyword."""
    return read_texts([(keyword.replace("__", " ").replace("_0_", "-"), text) for keyword, text in found.items()])


def read_texts(found: list[tuple[str, str]]) -> dict[str, Any]:
    """The documents of a PNG with these texts, the same as those of the texts without a file."""
    info = PngImagePlugin.PngInfo()
    contents = Contents()
    for keyword, text in found:
        info.add_itxt(keyword, text)
        texts.add(contents, keyword, text.encode())
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2)).save(buffer, "PNG", pnginfo=info)
    documents = extract("a.png", buffer.getvalue()).documents
    assert documents == texts.documents(contents)
    return {key: json.loads(text) for key, text in documents.items()}


# --- InvokeAI


def test_invokeai_3() -> None:
    settings_ = {"positive_prompt": "a cat", "negative_prompt": "dog", "seed": 7, "model": {"name": "sdxl"}}
    found = read(
        invokeai_metadata=json.dumps(settings_), invokeai_graph='{"nodes": {}}', invokeai_workflow='{"nodes": []}'
    )
    assert found == {"generation": settings_}


def test_invokeai_2() -> None:
    settings_ = {"model_weights": "sd-1.5", "image": {"prompt": [{"prompt": "a cat", "weight": 1}], "seed": 7}}
    found = read_texts([("Dream", '"a cat" -s 50 -S 7'), ("sd-metadata", json.dumps(settings_))])
    assert found == {"generation": settings_}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            '"a \\"big\\" cat [dog, [bird]] -W 9" -s 50 -S 123 -W512 -H 768 -C 7.5 -A k_lms',
            {"positive_prompt": 'a \\"big\\" cat [dog, ] -W 9', "negative_prompt": "bird", "steps": 50, "seed": 123}
            | {"width": 512, "height": 768, "cfg_scale": 7.5, "scheduler": "k_lms"},
        ),
        ('"a cat [ugly]" -S 1', {"positive_prompt": "a cat", "negative_prompt": "ugly", "seed": 1}),
        ("a cat -S 1", {"positive_prompt": "a cat -S 1"}),
    ],
)
def test_invokeai_1(line: str, expected: dict[str, Any]) -> None:
    assert read(Dream=line) == {"generation": expected}


# --- NovelAI, Midjourney, Draw Things, Easy Diffusion, Fooocus, SwarmUI, Civitai, TensorArt

NOVELAI = {"prompt": "1girl", "steps": 28, "uc": "lowres", "v4_prompt": {"caption": {"base_caption": "1girl"}}}


def test_novelai() -> None:
    found = read(
        Title="NovelAI generated image",
        Description="1girl",
        Software="NovelAI",
        Source="Stable Diffusion XL 9CC2F394",
        Comment=json.dumps(NOVELAI),
    )
    assert found == {"description": "NovelAI generated image\n1girl", "generation": NOVELAI}


@pytest.mark.parametrize("comment", [json.dumps(NOVELAI), NOVELAI])
def test_novelai_in_one_comment(comment: Any) -> None:
    whole = {"Software": "NovelAI", "Description": "1girl", "Comment": comment}
    assert read(UserComment=json.dumps(whole)) == {"description": "1girl", "generation": NOVELAI}


def test_midjourney() -> None:
    found = read(Description="a cat --ar 2:1 --v 6 Job ID: a7421d2f", Author="someone", Creation__Time="now")
    assert found == {"description": "a cat --ar 2:1 --v 6 Job ID: a7421d2f"}


def test_draw_things() -> None:
    settings_ = {"c": "a cat", "uc": "dog", "model": "sdxl.ckpt", "sampler": "DPM++ 2M Karras", "scale": 4.5, "seed": 7}
    packet = xmp_packet(exif_UserComment=json.dumps(settings_), dc_description="a cat\n-dog\nSteps: 20, Seed: 7")
    found = read_texts([(texts.XMP, packet.decode())])
    assert found == {"generation": settings_, "parameters": "a cat\n-dog\nSteps: 20, Seed: 7"}


EASY = {"prompt": "a cat", "negative_prompt": "dog", "seed": 7, "use_stable_diffusion_model": "sd-1.5"}
EASY |= {"num_inference_steps": 25, "guidance_scale": 7.5, "sampler_name": "euler_a"}


def test_easy_diffusion() -> None:
    assert read(**{name: str(value) for name, value in EASY.items()}, use_lora_model="None") == {"generation": EASY}
    named = read(
        Prompt="a cat",
        Negative__Prompt="dog",
        Seed="7",
        Stable__Diffusion__model="sd-1.5",
        Steps="25",
        Guidance__Scale="7.5",
        Sampler="euler_a",
    )
    assert named == {"generation": EASY}
    assert read(UserComment=json.dumps(EASY)) == {"generation": EASY}


def test_a_plain_prompt() -> None:
    assert read(prompt="a cat, 猫") == {"generation": {"prompt": "a cat, 猫"}}
    assert read(prompt="null", workflow=json.dumps(WORKFLOW)) == {"workflow": WORKFLOW}


@pytest.mark.parametrize(
    "settings_",
    [
        {"metadata_scheme": "fooocus", "prompt": "a cat", "full_prompt": ["a cat"], "base_model": "juggernaut"},
        {"sui_image_params": {"prompt": "a cat", "negativeprompt": "dog", "model": "Flux/dev"}},
    ],
)
@pytest.mark.parametrize("keyword", ["parameters", "UserComment", "Comment"])
def test_settings_in_json(settings_: dict[str, Any], keyword: str) -> None:
    """The JSON of SwarmUI and Fooocus stays the text that it is."""
    found = read(**{keyword: json.dumps(settings_, indent=1)})
    assert found.keys() == {"parameters"}
    assert json.loads(found["parameters"]) == settings_


def test_old_swarmui() -> None:
    text = json.dumps({"sui_image_params": {"prompt": "a cat"}})
    contents = Contents()
    texts.add(contents, "Model", text.encode())
    assert contents.texts == {"parameters": text.encode()}


def test_old_fooocus() -> None:
    assert read(Comment='{"Prompt": "a cat", "Seed": 7}') == {"generation": {"Prompt": "a cat", "Seed": 7}}


def test_civitai() -> None:
    whole = {
        "resource-stack": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "urn:air:sdxl"}},
        "6": {"class_type": "smZ CLIPTextEncode", "inputs": {"text": "a cat"}},
        "extra": {"airs": ["urn:air:sdxl"]},
        "extraMetadata": json.dumps({"prompt": "a cat", "steps": 25}),
    }
    found = read(UserComment=json.dumps(whole))
    assert found == {
        "prompt": {key: whole[key] for key in ("resource-stack", "6")},
        "generation": {"prompt": "a cat", "steps": 25},
    }


def test_tensorart() -> None:
    assert read(generation_data='{"prompt": "a cat", "models": []}\0') == {
        "generation": {"prompt": "a cat", "models": []}
    }


# --- ComfyUI's documents in every wrapping


@pytest.mark.parametrize("whole", [BOTH, {"workflow": WORKFLOW, "prompt": PROMPT}])
@pytest.mark.parametrize("is_nested", [False, True])
@pytest.mark.parametrize(
    "encode",
    [
        user_comment,
        lambda text: b"UNICODE\0" + text.encode("utf-16-le"),
        lambda text: b"UNICODE\0\xff\xfe" + text.encode("utf-16-le"),
        lambda text: b"UNICODE\0" + json.dumps(json.loads(text)).encode(),
        lambda text: b"ASCII\0\0\0" + text.encode(),
        lambda text: bytes(8) + text.encode(),
        lambda text: text.encode(),
        lambda text: json.dumps(text).encode(),
    ],
)
def test_user_comment_of_both_documents(whole: dict[str, Any], is_nested: bool, encode: Any) -> None:
    """The page's own form, and those of several packs: objects or JSON texts of them, in any encoding and order."""
    if is_nested:
        whole = {key: json.dumps(value) for key, value in whole.items()}
    block = exif_block({}, encode(json.dumps(whole, ensure_ascii=False)))
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2)).save(buffer, "WEBP", exif=b"Exif\0\0" + block)
    found = extract("a.webp", buffer.getvalue())
    assert {key: json.loads(text) for key, text in found.documents.items()} == BOTH
    assert "error" not in found.facts


def test_graphs_in_parameters() -> None:
    assert read(parameters=json.dumps(BOTH)) == BOTH
    assert read(parameters=A1111) == {"parameters": A1111}


def test_a_workflow_or_a_graph_alone() -> None:
    assert read(Comment=json.dumps(WORKFLOW)) == {"workflow": WORKFLOW}
    assert read(Comment=json.dumps(PROMPT)) == {"prompt": PROMPT}
    # The name of a type somewhere inside makes no graph.
    other = {"notes": {"about": {"class_type": "KSampler"}}}
    assert read(Comment=json.dumps(other)) == {"generation": other}


# --- descriptions


def test_windows_texts() -> None:
    """Windows writes UTF-16 to tags of its own."""
    tags = {0x9C9B: "a title", 0x9C9C: "größe 🎨", 0x9C9E: "one;two", 0x010E: "größe 🎨"}
    block = exif_block({tag: text.encode("utf-8" if tag == 0x010E else "utf-16-le") for tag, text in tags.items()})
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2)).save(buffer, "JPEG", exif=b"Exif\0\0" + block)
    found = extract("a.jpg", buffer.getvalue())
    assert json.loads(found.documents["description"]).splitlines() == ["größe 🎨", "a title", "one;two"]
    assert found.facts["title"] == "a title"


def test_short_xmp() -> None:
    """Programs write short properties as attributes, and several with one prefix or another."""
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="rdf"><r:Description d:title="a title" xmp:Rating="5">'
        "<d:subject><r:Bag><r:li>one</r:li><r:li>two</r:li></r:Bag></d:subject></r:Description></r:RDF></x:xmpmeta>"
    )
    assert read_texts([(texts.XMP, packet)]) == {"description": "a title\none, two"}


@pytest.mark.parametrize(
    "packet",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x><title>&b;</title></x>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
        "<x>" * 100,
        '<?xml version="1.0" encoding="nonsense"?><x/>',
        "<x><title>a</title>",
        "no XML",
    ],
)
def test_damaged_xmp(packet: str) -> None:
    contents = Contents()
    texts.add(contents, texts.XMP, packet.encode())
    assert contents.problems == ["The XMP packet is damaged."]
    assert contents.texts in ({}, {"description": b"a"})


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 800), st.integers(0, 200))
def test_any_xmp(noise: bytes, at: int, length: int) -> None:
    packet = xmp_packet(dc_description="a cat", exif_UserComment='{"c": "a"}')
    found: dict[str, bytes] = {}
    with suppress(texts._DamagedPacketError):
        texts._read_packet(packet[:at] + noise + packet[at + length :], found)
    texts.add(Contents(), texts.XMP, packet[:at] + noise + packet[at + length :])


KEYWORDS = (
    "prompt",
    "workflow",
    "parameters",
    "UserComment",
    "Comment",
    "sd-metadata",
    "Dream",
    "Seed",
    "Title",
    "",
    "XMP",
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(KEYWORDS),
            st.binary(max_size=60)
            | st.recursive(
                st.text(max_size=9) | st.floats() | st.none(),
                lambda inner: st.dictionaries(
                    st.sampled_from(["prompt", "workflow", "nodes", "class_type", "inputs", "Comment", "Software"])
                    | st.text(max_size=5),
                    inner | st.lists(inner, max_size=3),
                    max_size=4,
                ),
            ).map(lambda value: json.dumps(value).encode()),
        ),
        max_size=6,
    )
)
def test_any_texts(found: list[tuple[str, bytes]]) -> None:
    contents = Contents()
    for keyword, text in found:
        texts.add(contents, texts.XMP if keyword == "XMP" else keyword, text)
    for key, document in texts.documents(contents).items():
        value = json.loads(document.decode(), parse_constant=pytest.fail)
        assert isinstance(value, str if key in ("parameters", "description") else dict)


def test_texts_that_wrap_one_another() -> None:
    """No depth of texts in texts ends the reader."""
    node = {"a": {"class_type": "b", "inputs": {}}}
    for member, others in (("extraMetadata", node), ("Comment", {"Software": "NovelAI"})):
        text = '{"x": 1}'
        for _ in range(2000):
            text = json.dumps(others)[:-1] + f', "{member}": {text}}}'
        contents = Contents()
        texts.add(contents, "UserComment", text.encode())
        texts.documents(contents)


# --- animations, and files that are cut off


def test_animated_png() -> None:
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "green", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:], duration=[100, 250, 1000])
    facts = extract("a.png", buffer.getvalue()).facts
    assert (facts["frame_count"], facts["duration"]) == (3, 1.35)


def test_a_delay_without_a_unit_is_in_hundredths() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 2, 8, 2, 0, 0, 0)) + chunk(b"acTL", struct.pack(">II", 2, 0))
    frames = b"".join(chunk(b"fcTL", bytes(20) + struct.pack(">HHBB", 50, 0, 0, 0)) for _ in range(2))
    facts = extract("a.png", b"\x89PNG\r\n\x1a\n" + head + frames + chunk(b"IEND", b"")).facts
    assert (facts["frame_count"], facts["duration"]) == (2, 1.0)


@pytest.mark.parametrize("image_format", ["JPEG", "GIF", "PNG", "BMP", "WEBP"])
@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_cut_files_say_so(image_format: str, kept: float) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((90, 70), 50).convert("RGB").save(buffer, image_format)
    data = buffer.getvalue()
    assert "error" not in extract("a", data).facts
    facts = extract("a", data[: int(len(data) * kept)]).facts
    assert (facts["width"], facts["height"], facts["error"]) == (90, 70, "The file is truncated.")


def test_a_video_behind_a_jpeg() -> None:
    """Phones append the video of a moving picture: the end of the pixels is before it."""
    buffer = io.BytesIO()
    Image.effect_noise((90, 70), 50).save(buffer, "JPEG")
    assert "error" not in extract("a.jpg", buffer.getvalue() + bytes(5 << 20)).facts
