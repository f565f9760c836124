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
        ({"COMFY_ASSETS_MAX_PROMPT_MB": "7"}, Config(max_prompt_size=7 * MIB)),
        ({"COMFY_ASSETS_QUERY_SECONDS": "3"}, Config(query_timeout=3)),
        ({"COMFY_ASSETS_MAX_IMAGE_MB": "50"}, Config(max_image_size=50 * MIB)),
        ({"COMFY_ASSETS_MAX_IMAGE_EDGE": "16384"}, Config(max_image_edge=16384)),
        ({"COMFY_ASSETS_MAX_IMAGE_MEGAPIXELS": "64"}, Config(max_image_pixels=67108864)),
        ({"COMFY_ASSETS_CHECK_ORIGIN": "0"}, Config(check_origin=False)),
        ({"COMFY_ASSETS_FEATURE_FLAGS": "0"}, Config(feature_flags=False)),
        ({"COMFY_ASSETS_SDK_API": "0"}, Config(api_v2=False)),
        ({"COMFY_ASSETS_SDK_API": "on"}, Config(api_v2=True)),
        (
            {"COMFY_ASSETS_ALLOWED_HOSTS": "a.example, *.b.example:8443 *"},
            Config(allowed_hosts=("a.example", "*.b.example:8443", "*")),
        ),
        (
            {"COMFY_ASSETS_FRAME_ANCESTORS": "https://*.a.example http://b:* c.example *"},
            Config(frame_ancestors=("https://*.a.example", "http://b:*", "c.example", "*")),
        ),
        ({"COMFY_ASSETS_DOWNLOADS": "0"}, Config(downloads=False)),
        ({"COMFY_ASSETS_DOWNLOAD_PRIVATE": "1"}, Config(download_private=True)),
        ({"COMFY_ASSETS_DOWNLOAD_IDLE_SECONDS": "5"}, Config(download_idle=5)),
        ({"COMFY_ASSETS_HUGGINGFACE_URL": "https://a.example/"}, Config(huggingface_url="https://a.example")),
        ({"COMFY_ASSETS_CIVITAI_URL": "a.example:8443"}, Config(civitai_url="https://a.example:8443")),
        ({"COMFY_ASSETS_EXCLUDE": " , \n"}, Config()),
        (
            {"COMFY_ASSETS_EXCLUDE": "*.bak, my drafts/ ,output/**/old\nSystem Volume*"},
            Config(exclude=("*.bak", "my drafts/", "output/**/old", "System Volume*")),
        ),
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
        ("COMFY_ASSETS_CHECK_ORIGIN", "maybe"),
        ("COMFY_ASSETS_SDK_API", "maybe"),
        ("COMFY_ASSETS_ALLOWED_HOSTS", "http://a.example"),
        ("COMFY_ASSETS_ALLOWED_HOSTS", "a.example/path"),
        ("COMFY_ASSETS_FRAME_ANCESTORS", "https://a.example; script-src *"),
        ("COMFY_ASSETS_FRAME_ANCESTORS", "'none'"),
        ("COMFY_ASSETS_DOWNLOADS", "maybe"),
        ("COMFY_ASSETS_DOWNLOAD_IDLE_SECONDS", "0"),
        ("COMFY_ASSETS_HUGGINGFACE_URL", "https://u:p@a.example"),
        ("COMFY_ASSETS_CIVITAI_URL", "https://a.example/path"),
        ("COMFY_ASSETS_CIVITAI_URL", "ftp://a.example"),
        ("COMFY_ASSETS_EXCLUDE", "*.bak, output\\old"),
        ("COMFY_ASSETS_EXCLUDE", "/mnt/old"),
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


def test_a_malformed_switch_with_three_values_is_told_all_of_them() -> None:
    with pytest.raises(ValueError, match="must be auto, 1 or 0, not 'maybe'"):
        Config.from_environment({"COMFY_ASSETS_SDK_API": "maybe"})
