"""MIME types by suffix, and types that browsers may show."""

from __future__ import annotations

import mimetypes

import pytest
from comfy_assets_node.comfy_assets.assets.media.mime import (
    guess_mime,
    has_thumbnail,
    is_picture,
    is_previewable,
    is_safe_inline,
)


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
        ("image/svg+xml", True, False),
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


@pytest.mark.parametrize(
    ("mime", "picture", "thumbnail"),
    [
        ("image/png", True, True),
        ("Image/JPEG; q=1", True, True),
        ("image/tiff", True, True),
        ("image/avif", True, False),
        ("image/x-icon", True, False),
        ("image/svg+xml", False, False),
        ("image/x-exr", False, False),
        ("video/mp4", False, False),
        ("text/plain", False, False),
        ("", False, False),
    ],
)
def test_what_is_a_picture(mime: str, picture: bool, thumbnail: bool) -> None:
    assert (is_picture(mime), has_thumbnail(mime)) == (picture, thumbnail)
