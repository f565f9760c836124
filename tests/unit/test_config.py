"""Settings from environment variables."""

from __future__ import annotations

import pytest
from comfy_assets_node.comfy_assets.config import Config

MIB = 1 << 20


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Config()),
        ({"COMFY_ASSETS_SCAN": "", "COMFY_ASSETS_THUMBNAIL_CACHE_MB": " "}, Config()),
        ({"COMFY_ASSETS_SCAN": "0"}, Config(scan_on_start=False)),
        ({"COMFY_ASSETS_HASH": " Off "}, Config(hash_files=False)),
        ({"COMFY_ASSETS_FOLLOW": "0"}, Config(follow=False)),
        ({"COMFY_ASSETS_SHARED_OUTPUTS": "1"}, Config(shared_outputs=True)),
        ({"COMFY_ASSETS_MAX_UPLOAD_MB": "7"}, Config(max_upload_size=7 * MIB)),
        ({"COMFY_ASSETS_MAX_WORKFLOW_MB": "7"}, Config(max_workflow_size=7 * MIB)),
        ({"COMFY_ASSETS_MAX_IMAGE_MB": "50"}, Config(max_image_size=50 * MIB)),
        ({"COMFY_ASSETS_MAX_IMAGE_EDGE": "16384"}, Config(max_image_edge=16384)),
        ({"COMFY_ASSETS_MAX_IMAGE_MEGAPIXELS": "64"}, Config(max_image_pixels=67108864)),
        ({"COMFY_ASSETS_THUMBNAIL_CACHE_MB": "64"}, Config(thumbnail_cache_size=64 * MIB)),
        ({"COMFY_ASSETS_THUMBNAIL_CACHE_MB": "0"}, Config(thumbnail_cache_size=0)),
    ],
)
def test_what_is_set(environment: dict[str, str], expected: Config) -> None:
    assert Config.from_environment(environment) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COMFY_ASSETS_SCAN", "maybe"),
        ("COMFY_ASSETS_MAX_UPLOAD_MB", "0"),
        ("COMFY_ASSETS_MAX_WORKFLOW_MB", "0"),
        ("COMFY_ASSETS_MAX_IMAGE_EDGE", "0"),
        ("COMFY_ASSETS_THUMBNAIL_CACHE_MB", "-1"),
        ("COMFY_ASSETS_THUMBNAIL_CACHE_MB", "1.5"),
        ("COMFY_ASSETS_THUMBNAIL_CACHE_MB", "lots"),
        ("COMFY_ASSETS_THUMBNAIL_CACHE_MB", "٣"),
        ("COMFY_ASSETS_THUMBNAIL_CACHE_MB", "9" * 20),
    ],
)
def test_what_is_malformed_is_named(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        Config.from_environment({name: value})
