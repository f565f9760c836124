"""Recognition of file formats, from memory and from disk."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
from comfy_assets_node.comfy_assets.assets.media.metadata import FileMetadata, extract, extract_path


def zip_of(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"}.")
    return buffer.getvalue()


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("unpickled",)


GGUF = FileMetadata({"format": "gguf", "kind": "model"}, {}, "application/gguf")
PICKLE = FileMetadata({"format": "pickle", "kind": "model"}, {}, None)
NOTHING = FileMetadata({}, {}, None)
PICTURE = FileMetadata({"format": "png", "kind": "image", "width": 7, "height": 5}, {}, "image/png")
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x07\0\0\0\x05\x08\x02\0\0\0\0\0\0\0\0\0\0\0IEND\0\0\0\0"


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        (
            "a.gguf",
            b"GGUF\x03\0\0\0" + bytes(16),
            FileMetadata({"format": "gguf", "kind": "model"}, {}, "application/gguf"),
        ),
        ("a.ckpt", zip_of("archive/data.pkl", "archive/version"), PICKLE),
        ("a.pt", zip_of("model/data.pkl"), PICKLE),
        ("a.pth", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19." + b"N." * 3, PICKLE),
        ("a.pt", pickle.dumps(Trap(), 2), NOTHING),
        ("a.zip", zip_of("readme.txt", "a/data.pkl"), NOTHING),
        ("a.zip", b"PK\x03\x04", NOTHING),
        (
            "a.bin",
            b"\0\0\0\x20ftypisom" + bytes(100),
            FileMetadata({"format": "mp4", "kind": "video", "error": "The file has no tracks."}, {}, "video/mp4"),
        ),
        (
            "a.svg",
            b"<svg onload='x'/>",
            FileMetadata({"format": "svg", "kind": "image"}, {}, "image/svg+xml"),
        ),
        ("a.bin", b"text", NOTHING),
        ("a.png", b"", NOTHING),
        ("", b"", NOTHING),
        ("a.jpg", PNG, PICTURE),
        ("a.safetensors", PNG, PICTURE),
        ("a.png", b"<html>", NOTHING),
        ("a.SFT", struct.pack("<Q", 2) + b"{}", None),
        ("a.Safetensors", struct.pack("<Q", 2) + b"{}", None),
        ("a.bin", struct.pack("<Q", 2) + b"{}", None),
        ("0123456789abcdef", struct.pack("<Q", 2) + b"{}", None),
    ],
)
def test_recognised(tmp_path: Path, name: str, data: bytes, expected: FileMetadata | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    found = extract(name, data)
    assert extract_path(name, path) == found
    if expected is None:
        facts = {"format": "safetensors", "kind": "model", "tensor_count": 0, "parameter_count": 0, "dtypes": {}}
        expected = FileMetadata(facts, {}, "application/safetensors")
    assert found == expected


def test_file_system_errors_are_the_callers(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        extract_path("a.png", tmp_path / "a.png")
    with pytest.raises(OSError):
        extract_path("a.png", tmp_path)
