"""A library of files as real tools write them, each with a word of its own in its texts and never in its name.

``real_files()`` tells of each file what a library must show: the words that find it, facts in lists, documents in the
detail, and its preview. Containers that PyAV and Pillow write are theirs, the others are written byte by byte.
"""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from . import media_files, model_files, picture_files

SIZE = (96, 64)
SHAPE = {"width": 96, "height": 64}
# What a file's preview is.
THUMBNAIL = "thumbnail"  # a JPEG made by the server
ITSELF = "itself"  # the file, as browsers show it
NONE = "none"  # nothing in the file is a picture
UNREADABLE = (
    "unreadable"  # the file was made without its pixels, or is damaged: no thumbnail is offered once that is known
)
_UNICODE = b"UNICODE\0"
_EXIF = {"make": 0x010F, "model": 0x0110, "orientation": 0x0112, "description": 0x010E}


@dataclass(frozen=True)
class RealFile:
    """A file of the library, by its path below the base directory.

    ``words`` each find it, and of all files only those that share the word. ``facts`` are among the asset's metadata,
    ``documents`` among those of its detail. ``problem`` is a part of the sentence in ``error``.
    """

    path: str
    data: bytes
    words: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    documents: tuple[str, ...] = ()
    preview: str = THUMBNAIL
    problem: str = ""


def word(case: str) -> str:
    """Return a word that no other case has: pronounceable, so that no reader takes it for noise."""
    number, letters = zlib.crc32(case.encode()), "zq"
    for _ in range(5):
        number, consonant = divmod(number, 16)
        number, vowel = divmod(number, 5)
        letters += "bcdfghjklmnprstv"[consonant] + "aeiou"[vowel]
    return letters


def graph(case: str) -> dict[str, Any]:
    """Return a prompt in the format of ComfyUI's API."""
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": f"{word(case + ' model')}.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": f"a {word(case)} on a hill", "clip": ["1", 1]}},
        "3": {"class_type": "KSampler", "inputs": {"seed": 4711, "steps": 20, "model": ["1", 0], "positive": ["2", 0]}},
    }


def workflow(case: str) -> dict[str, Any]:
    """Return a workflow as the page saves it."""
    node = {"id": 2, "type": "CLIPTextEncode", "pos": [0, 0], "widgets_values": [f"a {word(case)} on a hill"]}
    return {"last_node_id": 2, "last_link_id": 0, "nodes": [node], "links": [], "version": 0.4}


def settings(case: str) -> str:
    """Return the text of A1111 and its relatives."""
    return (
        f"a {word(case)}, café\nNegative prompt: dull, {word(case + ' negative')}\n"
        f"Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 815, Size: 96x64, Model: {word(case + ' model')}"
    )


def both(case: str) -> dict[str, str]:
    """Return prompt and workflow as texts."""
    return {"prompt": json.dumps(graph(case)), "workflow": json.dumps(workflow(case))}


def _vhs(case: str) -> dict[str, str]:
    return {"comment": json.dumps({"prompt": json.dumps(graph(case)), "workflow": workflow(case)})}


_made = iter(range(1, 100_000))


def _pixels(size: tuple[int, int] = SIZE, mode: str = "RGB") -> Image.Image:
    """Return a picture that differs from all others: equal files would be one content."""
    number = next(_made)
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.paste((number % 256, number // 256 * 40, 7), (0, 0, 16, 16))  # large enough to survive compression
    return image.convert(mode)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _png(texts: Mapping[str, str] = {}, image: Image.Image | None = None, add: str = "add_text", **more: Any) -> bytes:
    info = PngInfo()
    for key, text in texts.items():
        getattr(info, add)(key, text, **more)
    return _saved(image or _pixels(), "PNG", pnginfo=info)


def _chunk(kind: bytes, data: bytes, *, crc: int | None = None) -> bytes:
    check = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def _with_chunk(chunk: bytes, *, at_end: bool = False) -> bytes:
    """Return a PNG with a chunk behind its header, or behind its pixels."""
    data = _png()
    cut = len(data) - 12 if at_end else 33
    return data[:cut] + chunk + data[cut:]


def _exif(case: str) -> Image.Exif:
    """Return the EXIF data in which ComfyUI's savers put prompt and workflow."""
    exif = Image.Exif()
    exif[_EXIF["model"]] = f"prompt:{json.dumps(graph(case))}"
    exif[_EXIF["make"]] = f"workflow:{json.dumps(workflow(case))}"
    return exif


def _comfyui_tags(case: str) -> dict[int, bytes]:
    texts = both(case)
    return {
        _EXIF["make"]: f"workflow:{texts['workflow']}".encode() + b"\0",
        _EXIF["model"]: f"prompt:{texts['prompt']}".encode() + b"\0",
    }


def _commented(text: str) -> bytes:
    """Return EXIF data with a UserComment."""
    return b"Exif\0\0" + picture_files.exif_block({}, _UNICODE + text.encode("utf-16-be"))


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[_EXIF["orientation"]] = orientation
    return exif


def _graph_words(case: str) -> tuple[str, ...]:
    return word(case), word(f"{case} model")


_GRAPH = ("prompt", "workflow")


def pngs() -> Iterable[RealFile]:
    """PNG files of ComfyUI and its packs."""
    folder = "output/png"
    for name, add, more in (
        ("text", "add_text", {}),
        ("compressed", "add_text", {"zip": True}),
        ("unicode", "add_itxt", {}),
        ("unicode compressed", "add_itxt", {"zip": True}),
    ):
        case = f"png {name}"
        data = _png(both(case), None, add, **more)
        yield RealFile(f"{folder}/{add} {len(more)}.png", data, _graph_words(case), SHAPE, _GRAPH)
    for name, texts in (
        ("alone", {"prompt": json.dumps(graph("png alone"))}),
        ("capitals", {key.title(): text for key, text in both("png capitals").items()}),
        ("encoded twice", {key: json.dumps(text) for key, text in both("png encoded twice").items()}),
        ("marked", {"prompt": "\ufeff" + json.dumps(graph("png marked"))}),
    ):
        yield RealFile(f"{folder}/{name[:3]}.png", _png(texts, add="add_itxt"), _graph_words(f"png {name}"), SHAPE)
    odd = graph("png numbers")
    odd["3"]["inputs"] |= {"denoise": float("inf"), "cfg": float("nan")}
    yield RealFile(f"{folder}/odd numbers.png", _png({"prompt": json.dumps(odd)}), _graph_words("png numbers"), SHAPE)
    half = json.dumps(graph("png half")).replace("hill", "hill \\ud83d")
    yield RealFile(f"{folder}/half.png", _png({"prompt": half}), _graph_words("png half"), SHAPE, ("prompt",))
    large = graph("png large")
    large["9"] = {"class_type": "ETN_LoadImageBase64", "inputs": {"image": base64.b64encode(_noise(900_000)).decode()}}
    texts = {"prompt": json.dumps(large), "workflow": json.dumps(workflow("png large"))}
    yield RealFile(f"{folder}/large.png", _png(texts, zip=True), (word("png large"),), SHAPE)
    behind = _chunk(b"tEXt", b"prompt\0" + json.dumps(graph("png behind")).encode())
    data = _with_chunk(behind, at_end=True)
    yield RealFile(f"{folder}/behind.png", data, _graph_words("png behind"), SHAPE, ("prompt",))
    frames = [_pixels() for _ in range(3)]
    info = PngInfo()
    for key, text in both("apng").items():
        info.add(b"comf", f"{key}\0{text}".encode("latin-1"), after_idat=True)
    data = _saved(frames[0], "PNG", pnginfo=info, save_all=True, append_images=frames[1:], duration=100)
    facts = {**SHAPE, "frame_count": 3}
    yield RealFile(f"{folder}/animated.png", data, _graph_words("apng"), facts, _GRAPH)
    wrong = _chunk(b"tEXt", b"prompt\0" + json.dumps(graph("png crc")).encode(), crc=5)
    yield RealFile(f"{folder}/wrong check.png", _with_chunk(wrong), _graph_words("png crc"), SHAPE)
    tags = ",".join(["1girl", "long_hair", word("png commas"), *(f"tag_{n}_of_many" for n in range(60))])
    encoder = {"class_type": "CLIPTextEncode", "inputs": {"text": tags}}
    yield RealFile(f"{folder}/commas.png", _png({"prompt": json.dumps({"1": encoder})}), (word("png commas"),), SHAPE)
    titled = {"1": {"class_type": "Zq" + word("node").title(), "inputs": {}, "_meta": {"title": word("node title")}}}
    data = _png({"prompt": json.dumps(titled)})
    yield RealFile(f"{folder}/node.png", data, (f"zq{word('node')}", word("node title")), SHAPE)


def _noise(count: int) -> bytes:
    """Return bytes that no compression shortens."""
    from hashlib import shake_128

    return shake_128(b"noise").digest(count)


def other_pictures() -> Iterable[RealFile]:
    """Pictures of ComfyUI in formats other than PNG."""
    folder = "output/pictures"

    def row(name: str, data: bytes, case: str, **more: Any) -> RealFile:
        values: dict[str, Any] = {"words": _graph_words(case), "facts": SHAPE, "documents": _GRAPH, **more}
        return RealFile(f"{folder}/{name}", data, **values)

    frames = [_pixels() for _ in range(3)]
    moving = {"save_all": True, "append_images": frames[1:], "duration": 100}
    yield row("still.webp", _saved(_pixels(), "WEBP", exif=_exif("webp")), "webp")
    yield row("moving.webp", _saved(frames[0], "WEBP", exif=_exif("webp anim"), **moving), "webp anim")
    yield row("a.jpg", _saved(_pixels(), "JPEG", exif=_exif("jpeg")), "jpeg")
    yield row("a.avif", _saved(_pixels(), "AVIF", exif=_exif("avif")), "avif")
    yield row("a.tif", _saved(_pixels(), "TIFF", exif=_exif("tiff")), "tiff")
    bare = {"facts": {"width": 30, "height": 20}, "preview": UNREADABLE}
    heic = picture_files.heif(b"heic", exif=picture_files.exif_block(_comfyui_tags("heic")))
    yield row("IMG_0001.HEIC", heic, "heic", **bare)
    jxl = picture_files.jpeg_xl(
        picture_files.jpeg_xl_codestream((64, 64), ratio=1),
        picture_files.jpeg_xl_exif(picture_files.exif_block(_comfyui_tags("jxl"))),
    )
    yield row("a.jxl", jxl, "jxl", facts={"width": 64, "height": 64}, preview=UNREADABLE)
    exr = picture_files.exr({key: text.encode() for key, text in both("exr").items()})
    yield row("a.exr", exr, "exr", **bare)
    drawing = picture_files.svg(json.dumps({"prompt": graph("svg"), "workflow": workflow("svg")}))
    yield row("a.svg", drawing, "svg", facts={"width": 30, "height": 20}, preview=ITSELF)
    comment = {"prompt": graph("user comment"), "workflow": workflow("user comment")}
    data = _saved(_pixels(), "WEBP", exif=_commented(json.dumps(comment)))
    yield row("comment.webp", data, "user comment")
    data = _saved(_pixels(), "JPEG", exif=_commented(json.dumps(both("user comment texts"))))
    yield row("comment.jpg", data, "user comment texts")
    data = _saved(_pixels(), "JPEG", comment=json.dumps({"prompt": graph("jpeg comment")}).encode())
    yield row("marker.jpg", data, "jpeg comment", documents=("prompt",))
    data = _saved(frames[0], "GIF", comment=json.dumps(graph("gif")).encode(), **moving)
    yield row("moving.gif", data, "gif", documents=("prompt",))


def of_other_tools() -> Iterable[RealFile]:
    """Pictures that other programs have made."""
    folder = "output/tools"

    def row(name: str, data: bytes, *words: str, documents: tuple[str, ...]) -> RealFile:
        return RealFile(f"{folder}/{name}", data, words, SHAPE, documents)

    for name, make in (
        ("png", lambda case: _png({"parameters": settings(case)})),
        ("jpg", lambda case: _saved(_pixels(), "JPEG", exif=_commented(settings(case)))),
        ("webp", lambda case: _saved(_pixels(), "WEBP", exif=_commented(settings(case)))),
        ("avif", lambda case: _saved(_pixels(), "AVIF", exif=_commented(settings(case)))),
    ):
        case = f"a1111 {name}"
        words = (word(case), word(f"{case} negative"), word(f"{case} model"))
        yield row(f"0000{len(name)}.{name}", make(case), *words, documents=("parameters",))
    shift_jis = f"{word('shift jis')} ".encode() + "猫".encode("shift_jis") + b"\nSteps: 20, Seed: 7"
    data = _with_chunk(_chunk(b"tEXt", b"parameters\0" + shift_jis))
    yield row("japanese.png", data, word("shift jis"), documents=("parameters",))
    swarm = {
        "sui_image_params": {
            "prompt": f"a {word('swarm')} head", "negativeprompt": word("swarm negative"),
            "model": f"Flux/{word('swarm model')}", "seed": 9, "steps": 4,
        }
    }  # fmt: skip
    words = (word("swarm"), word("swarm negative"), word("swarm model"))
    yield row("swarm.png", _png({"parameters": json.dumps(swarm)}, add="add_itxt"), *words, documents=("parameters",))
    swarm["sui_image_params"] = {"prompt": f"a {word('swarm jpeg')} head"}
    data = _saved(_pixels(), "JPEG", exif=_commented(json.dumps(swarm)))
    yield row("swarm.jpg", data, word("swarm jpeg"), documents=("parameters",))
    fooocus = {"metadata_scheme": "fooocus", "prompt": f"a {word('fooocus')}", "base_model": word("fooocus model")}
    data = _png({"parameters": json.dumps(fooocus), "fooocus_scheme": "fooocus"})
    yield row("fooocus.png", data, word("fooocus"), word("fooocus model"), documents=("parameters",))
    invoke = {
        "app_version": "3.1.1", "positive_prompt": f"a {word('invoke')}", "negative_prompt": word("invoke negative"),
        "model": {"model_name": word("invoke model")}, "seed": 1,
    }  # fmt: skip
    data = _png({"invokeai_metadata": json.dumps(invoke)})
    words = (word("invoke"), word("invoke negative"), word("invoke model"))
    yield row("invoke.png", data, *words, documents=("generation",))
    old = {"image": {"prompt": [{"prompt": f"a {word('invoke old')}", "weight": 1}]}}
    data = _png({"Dream": f'"a {word("invoke old")}" -s 50', "sd-metadata": json.dumps(old)})
    yield row("invoke old.png", data, word("invoke old"), documents=("generation",))
    novel = {"prompt": f"1girl, {word('novelai')}", "steps": 28, "uc": word("novelai negative")}
    texts = {"Software": "NovelAI", "Description": f"1girl, {word('novelai')}", "Comment": json.dumps(novel)}
    both_words = (word("novelai"), word("novelai negative"))
    yield row("novelai.png", _png(texts), *both_words, documents=("generation",))
    data = _png({"Description": f"a {word('midjourney')} --v 6 Job ID: 1", "Author": "somebody"})
    yield row("midjourney.png", data, word("midjourney"), documents=("description",))
    packet = picture_files.xmp_packet(dc_description=f"a {word('xmp')}").decode()
    data = _png({"XML:com.adobe.xmp": packet}, add="add_itxt")
    yield row("draw things.png", data, word("xmp"), documents=("description",))


def videos() -> Iterable[RealFile]:
    """Videos as ComfyUI and VideoHelperSuite save them, and others."""
    keep = media_files.KEEP_TAGS
    facts = {**SHAPE, "kind": "video", "frame_count": 5, "fps": 8, "duration": 0.625, "has_audio": False}
    for name, container, codec, tags, options in (
        ("SaveVideo.mp4", "mp4", "libx264", both, keep),
        ("SaveVideo.mov", "mov", "libx264", both, keep),
        ("SaveVideo.mkv", "matroska", "libx264", both, {}),
        ("SaveWEBM.webm", "webm", "libvpx-vp9", both, {}),
        ("AnimateDiff.mp4", "mp4", "libx264", _vhs, {}),
        ("AnimateDiff.webm", "webm", "libvpx-vp9", _vhs, {}),
    ):
        data = media_files.video(container, codec, tags(name), options=options)
        # Matroska files state no number of frames.
        shown = facts if container in ("mp4", "mov") else {k: v for k, v in facts.items() if k != "frame_count"}
        yield RealFile(f"output/video/{name}", data, _graph_words(name), shown, _GRAPH)
    for suffix, container, codec in (("avi", "avi", "mpeg4"), ("ts", "mpegts", "libx264"), ("flv", "flv", "flv")):
        data = media_files.video(container, codec, frames=7)
        yield RealFile(f"output/video/clip.{suffix}", data, facts={"kind": "video"})
    theora = media_files.theora(both("theora"))
    facts = {"kind": "video", **SHAPE}
    yield RealFile("output/video/clip.ogv", theora, _graph_words("theora"), facts, _GRAPH, preview=UNREADABLE)
    talking = media_files.video("mp4", "libx264", sound="aac")
    yield RealFile("output/video/talking.mp4", talking, facts={"has_audio": True, "audio_codec": "aac"})
    turned = media_files.mp4(media_files.video_track(turned=90))
    facts = {"width": 64, "height": 96, "kind": "video"}
    yield RealFile("output/video/phone.mp4", turned, facts=facts, preview=UNREADABLE)


def sounds() -> Iterable[RealFile]:
    """Sounds as ComfyUI saves them, and others."""
    facts = {"kind": "audio", "sample_rate": 48000, "channels": 2}
    for name, container, codec in (
        ("a.flac", "flac", "flac"), ("b.mp3", "mp3", "libmp3lame"), ("c.opus", "opus", "libopus"),
        ("d.ogg", "ogg", "libopus"),
    ):  # fmt: skip
        data = media_files.sound(container, codec, both(name))
        yield RealFile(f"output/audio/{name}", data, _graph_words(name), facts, _GRAPH)
    yield RealFile("output/audio/e.wav", media_files.sound("wav", "pcm_s16le"), facts=facts)
    tagged = media_files.sound("ipod", "aac", {"comment": json.dumps({"prompt": graph("m4a")}), "title": "A song"})
    yield RealFile("output/audio/f.m4a", tagged, _graph_words("m4a"), {**facts, "title": "A song"}, ("prompt",))


def scenes_and_texts() -> Iterable[RealFile]:
    """3D files, workflows, notes."""
    scene = {"asset": {"version": "2.0", "extras": both("glb")}, "scenes": [{"nodes": []}], "scene": 0}
    yield RealFile(
        "output/3d/scene.glb", media_files.glb(scene), _graph_words("glb"), {"kind": "3d"}, _GRAPH, preview=NONE
    )
    triangle = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
    yield RealFile("output/3d/mesh.obj", triangle, facts={"kind": "3d", "vertices": 3, "faces": 1}, preview=NONE)
    ply = (
        b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
        b"end_header\n0 0 0\n"
    )
    yield RealFile("output/3d/mesh.ply", ply, facts={"kind": "3d", "vertices": 1}, preview=NONE)
    saved = json.dumps(workflow("workflow file")).encode()
    yield RealFile("output/texts/saved.json", saved, (word("workflow file"),), {}, ("workflow",), preview=NONE)


def odd_pictures() -> Iterable[RealFile]:
    """Pictures in unusual modes, turned, named wrongly, or damaged."""
    folder = "output/odd"
    for mode in ("L", "1", "P", "LA", "RGBA", "I;16"):
        image = _pixels().quantize(16) if mode == "P" else _pixels(mode="L" if mode == "I;16" else mode)
        data = _saved(image.convert("I;16") if mode == "I;16" else image, "PNG")
        yield RealFile(f"{folder}/mode {mode.replace(';', '')}.png", data, facts=SHAPE)
    for kind, mode, suffix in (
        ("JPEG", "CMYK", "jpg"), ("TIFF", "CMYK", "tif"), ("TIFF", "LAB", "tiff"), ("BMP", "RGB", "bmp"),
        ("TGA", "RGB", "tga"), ("PPM", "RGB", "ppm"), ("JPEG2000", "RGB", "jp2"),
    ):  # fmt: skip
        yield RealFile(f"{folder}/{kind} {mode}.{suffix}", _saved(_pixels(mode=mode), kind), facts=SHAPE)
    for kind, suffix, orientation in (("JPEG", "jpg", 6), ("JPEG", "jpg", 8), ("PNG", "png", 6), ("WEBP", "webp", 6)):
        data = _saved(_pixels((120, 60)), kind, exif=_turned(orientation))
        yield RealFile(f"{folder}/turned {orientation}.{suffix}", data, facts={"width": 60, "height": 120})
    upside = _saved(_pixels((120, 60)), "JPEG", exif=_turned(3))
    yield RealFile(f"{folder}/turned 3.jpg", upside, facts={"width": 120, "height": 60})
    for name, data, format_ in (
        ("jpeg.png", _saved(_pixels(), "JPEG"), "jpeg"),
        ("webp.jpg", _saved(_pixels(), "WEBP"), "webp"),
        ("a.jfif", _saved(_pixels(), "JPEG"), "jpeg"),
    ):
        yield RealFile(f"{folder}/{name}", data, facts={**SHAPE, "format": format_})
    for name in ("noextension", "UPPER.PNG", "png.webp"):
        facts = {**SHAPE, "format": "png"}
        yield RealFile(f"{folder}/{name}", _png(both(name)), _graph_words(name), facts, _GRAPH)
    video = media_files.video("mp4", "libx264", both("video as png"), options=media_files.KEEP_TAGS, frames=6)
    facts = {"kind": "video", **SHAPE}
    yield RealFile(f"{folder}/video.png", video, _graph_words("video as png"), facts, _GRAPH)
    yield RealFile(f"{folder}/wide.png", _png(image=Image.new("RGB", (70_000, 20))), facts={"width": 70_000})
    for name, data in (("cut.png", _png(image=_pixels((300, 300)))), ("cut.jpg", _saved(_pixels((300, 300)), "JPEG"))):
        yield RealFile(f"{folder}/{name}", data[: len(data) // 2], preview=UNREADABLE)


def names() -> Iterable[RealFile]:
    """Pictures whose names are hard on programs."""
    hard = [
        "emoji 🐉🔥", "e\u0301cole", "école", "trailing dot.", "a#b", "a%20b", "a?b&c=d+e", "50% + more", "it's \"q\"",
        "semi;colon,comma", "[brackets](1) {x}", "x [output]", "back\\slash", "new\nline", "tab\there", "con", "AUX",
        "nul.txt", "c:drive", " leading",
        "日本語", "عربى", "👩‍👩‍👧", "~tilde", "-dash", "L" * 240, "漢" * 83, "Cat", "cat",
        "<tag>", "pipe|star*", "con ", "lpt1.foo", "%", "%zz", "bell\x07", "del\x7f", "rtl\u202egnp.exe",
        "zero\u200bwidth",
    ]  # fmt: skip
    for number, name in enumerate(hard):
        case = f"name {number}"
        yield RealFile(f"output/names/{name}.png", _png(both(case)), _graph_words(case), SHAPE, _GRAPH)


def models() -> Iterable[RealFile]:
    """Models as trainers and converters write them."""
    salt = iter(range(1, 10_000))

    def tensors(metadata: Mapping[str, Any] | None) -> bytes:
        return model_files.safetensors(metadata, salt=next(salt))

    def row(name: str, data: bytes, *words: str, **more: Any) -> RealFile:
        return RealFile(f"models/{name}", data, tuple(map(word, words)), **{"preview": NONE, **more})

    kohya = {
        "ss_sd_model_name": f"{word('kohya base')}.safetensors",
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_output_name": word("kohya name"),
        "ss_training_comment": word("kohya comment"),
        "ss_tag_frequency": json.dumps({f"10_{word('kohya folder')}": {word("kohya tag"): 40, "1girl": 38}}),
    }
    words: tuple[str, ...] = ("kohya base", "kohya name", "kohya comment", "kohya folder", "kohya tag")
    yield row("loras/kohya.safetensors", tensors(kohya), *words, documents=("header",))
    picture = "data:image/jpeg;base64," + base64.b64encode(_saved(_pixels((256, 256)), "JPEG")).decode()
    spec = {
        f"modelspec.{name}": word(f"spec {name}")
        for name in ("title", "author", "trigger_phrase", "usage_hint", "description", "base_model")
    }
    data = tensors({**spec, "modelspec.architecture": "flux-1-dev/lora", "modelspec.thumbnail": picture})
    words = tuple(name.replace("modelspec.", "spec ") for name in spec)
    facts: dict[str, Any] = {"name": word("spec title"), "author": word("spec author")}
    yield row("loras/spec.safetensors", data, *words, facts=facts, documents=("header",), preview=THUMBNAIL)
    large = {
        "modelspec.title": word("large title"),
        "modelspec.trigger_phrase": f"{word('large trigger')} {'x' * 300}",
        "modelspec.thumbnail": "data:image/png;base64," + base64.b64encode(_noise(1_100_000)).decode(),
        "ss_tag_frequency": json.dumps({"10_x": {word("large tag"): 40}}),
    }
    words = ("large title", "large trigger", "large tag")
    yield row("loras/large.safetensors", tensors(large), *words, preview=UNREADABLE)
    many = {word("many tag"): 400, **{f"tag number {n}": 1 for n in range(40_000)}}
    data = tensors({"ss_output_name": word("many name"), "ss_tag_frequency": json.dumps({"10_q": many})})
    yield row("loras/many.safetensors", data, "many name", "many tag")
    trained = {
        "trained_words": json.dumps([word("trained 1"), word("trained 2")]),
        "base_model": word("trained base"),
        "name": word("trained name"),
        "description": word("trained description"),
        "activation text": word("trained activation"),
    }
    words = ("trained 1", "trained 2", "trained base", "trained name", "trained description", "trained activation")
    facts = {
        "trained_words": [word("trained 1"), word("trained 2"), word("trained activation")],
        "name": word("trained name"),
    }
    yield row("loras/trained.safetensors", tensors(trained), *words, facts=facts)
    toolkit = {"name": word("toolkit name"), "software": json.dumps({"name": "ai-toolkit"}), "format": "pt"}
    yield row("loras/toolkit.safetensors", tensors(toolkit), "toolkit name", facts={"name": word("toolkit name")})
    nested = {"ss_tag_frequency": {"a": {word("nested tag"): 3}}, "ss_output_name": word("nested name"), "x": None}
    yield row("loras/nested.safetensors", tensors(nested), "nested name")
    yield row("vae/title.sft", tensors({"modelspec.title": word("sft")}), "sft", facts={"name": word("sft")})
    yield row("loras/misnamed.bin", tensors({"modelspec.title": word("bin")}), "bin", facts={"name": word("bin")})
    bare = model_files.safetensors(None, {"lora_unet_down_blocks_0.lora_down.weight": [4, 8]})
    yield row("loras/bare.safetensors", bare, facts={"tensor_count": 1})
    weights = {"double_blocks.0.img_attn.qkv.weight": ((256, 4), 12)}
    values = {
        "general.architecture": "flux", "general.name": word("gguf name"), "general.author": word("gguf author"),
        "general.file_type": 14,
    }  # fmt: skip
    facts = {"format": "gguf", "architecture": "flux", "name": word("gguf name"), "author": word("gguf author")}
    data = model_files.gguf(values, weights) + bytes(2048)
    yield row("diffusion_models/flux.gguf", data, "gguf name", "gguf author", facts=facts)
    archive = model_files.torch_archive({"name": word("embedding"), "step": 500})
    yield row("embeddings/easy.pt", archive, "embedding")
    page = b"<!DOCTYPE html><html><title>Log in</title></html>"
    yield row("checkpoints/page.safetensors", page, problem="web page")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 4265146304\n"
    yield row("checkpoints/pointer.safetensors", pointer, problem="Git LFS pointer")
    cut = tensors({"ss_output_name": word("cut")})[:-1]
    yield row("loras/cut.safetensors", cut, problem="truncated")


GROUPS: tuple[Callable[[], Iterable[RealFile]], ...] = (
    pngs,
    other_pictures,
    of_other_tools,
    videos,
    sounds,
    scenes_and_texts,
    odd_pictures,
    names,
    models,
)


def real_files() -> list[RealFile]:
    """Make all files."""
    return [each for group in GROUPS for each in group()]


# Descriptions beside models and pictures: path, text, and the words that find the file they belong to.
MODEL_WITH_SIDECARS, PICTURE_WITH_TEXT = "models/loras/Style/ink.safetensors", "output/a1111/00005.jpg"


def sidecars() -> dict[str, tuple[bytes, tuple[str, ...], str]]:
    """Return by path of a sidecar: its bytes, words in it, and the path of the file that it belongs to."""
    stem = MODEL_WITH_SIDECARS.removesuffix(".safetensors")
    civitai = {
        "id": 1, "modelId": 2, "trainedWords": [word("side trained")], "baseModel": "Pony",
        "model": {"name": word("side name"), "type": "LORA"},
    }  # fmt: skip
    user = {"activation text": word("side activation"), "sd version": "SDXL", "notes": word("side notes")}
    manager = {"model_name": word("side manager"), "base_model": "Illustrious", "tags": [word("side tag")]}
    return {
        f"{stem}.civitai.info": (
            json.dumps(civitai).encode(), (word("side trained"), word("side name")), MODEL_WITH_SIDECARS,
        ),
        f"{stem}.json": (
            json.dumps(user).encode(), (word("side activation"), word("side notes")), MODEL_WITH_SIDECARS,
        ),
        f"{stem}.metadata.json": (
            json.dumps(manager).encode(), (word("side manager"), word("side tag")), MODEL_WITH_SIDECARS,
        ),
        f"{stem}.txt": (word("side text").encode(), (word("side text"),), MODEL_WITH_SIDECARS),
        f"{stem}.preview.png": (_saved(_pixels((300, 450)), "JPEG"), (), MODEL_WITH_SIDECARS),
        "output/a1111/00005.txt": (settings("a1111 text").encode(), (word("a1111 text"),), PICTURE_WITH_TEXT),
    }  # fmt: skip


def owners_of_sidecars() -> dict[str, bytes]:
    """Return the files that the sidecars belong to, by path."""
    return {
        MODEL_WITH_SIDECARS: model_files.safetensors({"ss_output_name": "ink"}, salt=9),
        PICTURE_WITH_TEXT: _saved(_pixels(), "JPEG"),
    }
