"""MIME types by suffix, and types that browsers may show."""

from __future__ import annotations

import json
import mimetypes
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.media import decoders
from comfy_assets_node.comfy_assets.assets.media.decoders import can_show, has_thumbnail
from comfy_assets_node.comfy_assets.assets.media.mime import (
    guess_mime,
    is_own_preview,
    is_picture,
    is_previewable,
    is_safe_inline,
)
from comfy_assets_node.comfy_assets.assets.media.readers.base import OWN_PICTURE


@pytest.mark.parametrize(
    ("name", "mime"),
    [
        ("model.safetensors", "application/safetensors"),
        ("model.sft", "application/safetensors"),
        ("model.ckpt", "application/pickle"),
        ("model.pt", "application/pytorch"),
        ("model.pth", "application/pytorch"),
        ("model.gguf", "application/gguf"),
        ("model.bin", "application/octet-stream"),
        ("x.latent", "application/octet-stream"),
        ("a.PNG", "image/png"),
        ("a.jpg", "image/jpeg"),
        ("a.jpeg", "image/jpeg"),
        ("a.webp", "image/webp"),
        ("a.svg", "image/svg+xml"),
        ("a.mp4", "video/mp4"),
        ("a.mkv", "video/x-matroska"),
        ("a.mp3", "audio/mpeg"),
        ("a.glb", "model/gltf-binary"),
        ("a.vrm", "model/gltf-binary"),
        ("a.fbx", "model/fbx"),
        ("a.ply", "model/ply"),
        ("a.spz", "model/spz"),
        ("a.splat", "model/splat"),
        ("a.ksplat", "model/ksplat"),
        ("a.usdz", "model/vnd.usdz+zip"),
        ("a.ogv", "video/ogg"),
        ("a.mpg", "video/mpeg"),
        ("a.MPEG", "video/mpeg"),
        ("a.ts", "video/mp2t"),
        ("a.m2ts", "video/mp2t"),
        ("a.wmv", "video/x-ms-wmv"),
        ("a.flv", "video/x-flv"),
        ("a.3gp", "video/3gpp"),
        ("a.aiff", "audio/aiff"),
        ("a.wma", "audio/x-ms-wma"),
        ("a.jxl", "image/jxl"),
        ("IMG_0001.HEIC", "image/heic"),
        ("a.heif", "image/heif"),
        ("a.jp2", "image/jp2"),
        ("a.tga", "image/x-tga"),
        ("a.ppm", "image/x-portable-pixmap"),
        ("a.psd", "image/vnd.adobe.photoshop"),
        ("a.json", "application/json"),
        ("a.txt", "text/plain"),
        ("a.yml", "application/yaml"),
        ("archive.png.unknown", "application/octet-stream"),
        ("png", "application/octet-stream"),
        ("a.", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_guess_mime(name: str, mime: str) -> None:
    assert guess_mime(name) == mime


def test_the_platform_has_no_say() -> None:
    mimetypes.add_type("text/x-surprise", ".png")
    try:
        assert guess_mime("a.png") == "image/png"
    finally:
        mimetypes.init()


@pytest.mark.parametrize(
    ("mime", "previewable", "inline"),
    [
        ("image/png", True, True),
        ("IMAGE/PNG; charset=utf-8", True, True),
        ("image/svg+xml", False, False),  # shown as a thumbnail alone, which nothing runs in
        ("image/jxl", False, True),
        ("video/mp2t", False, True),
        ("audio/webm", True, True),
        ("model/gltf-binary", False, False),
        ("image/tiff", False, True),
        ("video/mp4", True, True),
        ("video/x-matroska", False, True),
        ("audio/mpeg", True, True),
        ("text/plain; charset=utf-8", False, True),
        ("application/json", False, True),
        ("text/html", False, False),
        ("application/xhtml+xml", False, False),
        ("application/xml", False, False),
        ("text/javascript", False, False),
        ("application/pdf", False, False),
        ("application/octet-stream", False, False),
        ("image/unheard-of+xml", False, False),
        ("", False, False),
    ],
)
def test_what_browsers_may_do(mime: str, previewable: bool, inline: bool) -> None:
    assert (is_previewable(mime), is_safe_inline(mime)) == (previewable, inline)


BY_PILLOW, BY_PYAV = frozenset({"PIL"}), frozenset({"PIL", "av", "numpy"})
EVERYTHING = BY_PYAV | {"PIL._avif", "pillow_heif", "pillow_jxl"}
NEVER = None


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have these modules installed, as far as the choice of thumbnails can tell."""

    def install(modules: frozenset[str]) -> None:
        decoders._is_drawable.cache_clear()
        monkeypatch.setattr(decoders, "_is_installed", lambda name: name in modules)

    yield install
    decoders._is_drawable.cache_clear()


@pytest.mark.parametrize(
    ("mime", "picture", "needs"),
    [
        ("image/png", True, BY_PILLOW),
        ("Image/JPEG; q=1", True, BY_PILLOW),
        ("image/tiff", True, BY_PILLOW),
        ("image/x-icon", True, BY_PILLOW),
        ("image/x-tga", True, BY_PILLOW),
        ("image/vnd.adobe.photoshop", True, BY_PILLOW),
        ("image/svg+xml", False, BY_PILLOW),
        ("image/avif", True, BY_PYAV),
        ("image/avif", True, BY_PILLOW | {"PIL._avif"}),
        ("image/heic", True, BY_PILLOW | {"pillow_heif"}),
        ("image/jxl", True, BY_PILLOW | {"pillow_jxl"}),
        ("image/x-exr", True, BY_PYAV),
        ("video/mp4", False, BY_PYAV),
        ("video/x-matroska", False, BY_PYAV),
        ("application/mxf", False, BY_PYAV),
        ("audio/flac", False, BY_PYAV),
        ("audio/midi", False, NEVER),
        ("model/gltf-binary", False, NEVER),
        ("text/plain", False, NEVER),
        ("", False, NEVER),
    ],
)
def test_a_thumbnail_is_promised_only_if_it_can_be_made(
    installed: Any, mime: str, picture: bool, needs: frozenset[str] | None
) -> None:
    assert is_picture(mime) is picture
    if needs is NEVER:
        installed(EVERYTHING)
        assert not has_thumbnail(mime)
        return
    installed(needs)
    assert has_thumbnail(mime)
    if needs != BY_PILLOW:
        installed(BY_PILLOW)
        assert not has_thumbnail(mime)


def test_a_scene_with_a_picture_of_itself() -> None:
    facts = json.dumps({"format": "gltf", OWN_PICTURE: True}, separators=(",", ":"))
    assert can_show("model/gltf-binary", facts)
    assert not can_show("model/gltf-binary", facts.replace("true", "false"))
    assert not can_show("model/gltf-binary", None)


def test_pictures_of_high_range_are_no_previews_of_themselves() -> None:
    """ComfyUI's page would load the content of such a preview into an image."""
    assert [is_own_preview(mime) for mime in ("image/x-exr", "image/vnd.radiance", "image/png", "video/mp4")] == [
        False,
        False,
        True,
        True,
    ]


def test_another_set_of_decoders_has_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"pillow": "11.0"}
    monkeypatch.setattr(decoders, "_version", versions.get)
    seen = set()
    for change in ({}, {"av": "14.0"}, {"av": "15.0"}, {"pillow-heif": "1.0"}):
        versions.update(change)
        decoders.decoders_version.cache_clear()
        seen.add(decoders.decoders_version())
    decoders.decoders_version.cache_clear()
    assert len(seen) == 4
