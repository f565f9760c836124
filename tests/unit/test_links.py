"""Links: what those of providers lead to, in every form that their pages give out."""

from __future__ import annotations

from typing import Any

import pytest
from comfy_assets_node.comfy_assets.downloads.sources import (
    CivitaiLink,
    HuggingFaceFile,
    PlainLink,
    ProviderUrls,
    _disposition_name,
    _safe_name,
    parse_link,
    without_query,
)
from comfy_assets_node.comfy_assets.errors import InvalidLinkError, SourceNotFoundError

HF, C = "https://huggingface.co", "https://civitai.com"
FILE = HuggingFaceFile("", "owner/repo", "main", "sub/model.safetensors")
LINKS: list[tuple[str, Any]] = [
    (f"{HF}/owner/repo/blob/main/sub/model.safetensors", FILE),
    (f" {HF}/owner/repo/resolve/main/sub/model.safetensors?download=true ", FILE),
    (f"{HF}/owner/repo/raw/main/sub/model.safetensors", FILE),
    (f"{HF}/owner/repo/blob/main/sub%2Fmodel.safetensors", FILE),
    (f"{HF}/owner/repo/blob/main/sub%2F%2Fmodel.safetensors", SourceNotFoundError),
    ("https://hf.co/owner/repo/blob/main/sub/model.safetensors", FILE),
    ("http://www.huggingface.co/owner/repo/blob/main/sub/model.safetensors", FILE),
    (f"{HF}/gpt2/resolve/main/model.safetensors", HuggingFaceFile("", "gpt2", "main", "model.safetensors")),
    (f"{HF}/datasets/o/r/blob/v1.0/x.png", HuggingFaceFile("datasets", "o/r", "v1.0", "x.png")),
    (f"{HF}/o/r/blob/refs%2Fpr%2F1/x.bin", HuggingFaceFile("", "o/r", "refs/pr/1", "x.bin")),
    (f"{HF}/o/r/blob/refs/pr/1/x.bin", HuggingFaceFile("", "o/r", "refs/pr/1", "x.bin")),
    (f"{HF}/o/r/blob/main/%E5%A2%A8%20x.bin", HuggingFaceFile("", "o/r", "main", "墨 x.bin")),
    (f"{HF}/owner/repo", SourceNotFoundError),
    (f"{HF}/owner/repo/tree/main/sub", SourceNotFoundError),
    (f"{HF}/owner/repo/blob/main", SourceNotFoundError),
    (f"{HF}/o/r/blob/main/../../x", SourceNotFoundError),
    (f"{HF}/o/r/blob/main/%2E%2E/x", SourceNotFoundError),
    (f"{HF}/", SourceNotFoundError),
    (f"{C}/models/1/ink?modelVersionId=2", CivitaiLink("1", "2")),
    (f"{C}/models/1?modelVersionId=x", CivitaiLink("1", None)),
    (f"{C}/models/1/ink", CivitaiLink("1", None)),
    ("https://civitai.red/models/1", CivitaiLink("1", None)),
    (f"{C}/api/download/models/2?type=Model&format=SafeTensor&token=secret", CivitaiLink(
        None, "2", (("type", "Model"), ("format", "SafeTensor")))),
    (f"{C}/api/download/models/2?fileId=7", CivitaiLink(None, "2", (("fileid", "7"),))),
    (f"{C}/api/v1/model-versions/2", CivitaiLink(None, "2")),
    (f"{C}/model-versions/2", CivitaiLink(None, "2")),
    (f"{C}/api/v1/models/1", CivitaiLink("1", None)),
    (f"{C}/images/1", SourceNotFoundError),
    (f"{C}/models/x", SourceNotFoundError),
    ("https://a.example/x.safetensors?sig=1", PlainLink("https://a.example/x.safetensors?sig=1")),
    ("https://huggingface.co.example/o/r/blob/main/x", PlainLink("https://huggingface.co.example/o/r/blob/main/x")),
    ("ftp://a.example/x", InvalidLinkError),
    ("x.safetensors", InvalidLinkError),
    ("https://[::1/x", InvalidLinkError),
    ("", InvalidLinkError),
]  # fmt: skip


@pytest.mark.parametrize(("link", "expected"), LINKS)
def test_what_a_link_leads_to(link: str, expected: Any) -> None:
    if isinstance(expected, type):
        with pytest.raises(expected):
            parse_link(link, ProviderUrls())
    else:
        assert parse_link(link, ProviderUrls()) == expected


def test_a_mirror_has_the_links_too() -> None:
    providers = ProviderUrls(huggingface="https://mirror.example:8443")
    for host in ("https://mirror.example:8443", HF):
        assert parse_link(f"{host}/owner/repo/blob/main/sub/model.safetensors", providers) == FILE
    assert FILE.address(providers.huggingface) == (
        "https://mirror.example:8443/owner/repo/resolve/main/sub/model.safetensors"
    )


def test_addresses_are_encoded() -> None:
    file = HuggingFaceFile("datasets", "o/r", "refs/pr/1", "a b/#?.bin")
    assert file.address(HF) == f"{HF}/datasets/o/r/resolve/refs%2Fpr%2F1/a%20b/%23%3F.bin"
    assert file.address(HF, "abc") == f"{HF}/datasets/o/r/resolve/abc/a%20b/%23%3F.bin"


def test_what_is_shown_has_no_query() -> None:
    assert without_query("https://a.example/x?token=secret#y") == "https://a.example/x"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("", ""),
        ("attachment", ""),
        ("attachment; filename=a.bin", "a.bin"),
        ('attachment; filename="a b.bin"', "a b.bin"),
        ('attachment; filename="a \\"b\\".bin"', 'a "b".bin'),
        ("attachment; filename=a.bin; filename*=UTF-8''%E5%A2%A8.bin", "墨.bin"),
        ("attachment; filename*=iso-8859-1''%E4.bin", "ä.bin"),
    ],
)
def test_names_that_servers_give(header: str, name: str) -> None:
    assert _disposition_name(header) == name


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("model.safetensors", "model.safetensors"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\x.bin", "x.bin"),
        ("C:\\x.bin", "x.bin"),
        ("C:x.bin", "C_x.bin"),
        ("..", "file"),
        ("", "file"),
        (".hidden", "hidden"),
        ("con.bin", "_con.bin"),
        ("a\0b.bin", "ab.bin"),
        ("x:y|z.bin", "x_y_z.bin"),
        ("e" * 300 + ".bin", "e" * 251 + ".bin"),
    ],
)
def test_names_are_made_safe(given: str, name: str) -> None:
    assert _safe_name(given) == name
