"""Model files in the bytes that trainers and converters write."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

_STRING, _ARRAY, _UINT32, _FLOAT, _BOOL = 8, 9, 4, 6, 7
_LEGACY_PARTS = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})


def safetensors(
    metadata: Mapping[str, Any] | None = None, shapes: Mapping[str, Sequence[int]] | None = None, salt: int = 0
) -> bytes:
    """A safetensors file with empty tensors' data: those of the shapes, or one of ``salt`` bytes."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    for name, shape in (shapes or {}).items():
        header[name] = {"dtype": "UNKNOWN", "shape": [*shape], "data_offsets": [0, 0]}
    if not shapes:
        header["w"] = {"dtype": "U8", "shape": [salt], "data_offsets": [0, salt]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(salt if not shapes else 0)


def gguf(
    values: Mapping[str, Any], tensors: Mapping[str, tuple[Sequence[int], int]], version: int = 3, order: str = "<"
) -> bytes:
    """A GGUF file: its values, and tensors by name with their dimensions (the fastest first) and type."""
    length = "I" if version == 1 else "Q"
    parts = [b"GGUF", struct.pack(f"{order}I2{length}", version, len(tensors), len(values))]

    def text(value: str) -> bytes:
        data = value.encode()
        return struct.pack(order + length, len(data)) + data

    def tagged(value: Any) -> bytes:
        kind, data = plain(value)
        return struct.pack(f"{order}I", kind) + data

    def plain(value: Any) -> tuple[int, bytes]:
        if isinstance(value, bool):
            return _BOOL, struct.pack("?", value)
        if isinstance(value, str):
            return _STRING, text(value)
        if isinstance(value, float):
            return _FLOAT, struct.pack(f"{order}f", value)
        if isinstance(value, int):
            return _UINT32, struct.pack(f"{order}I", value)
        items = [plain(item) for item in value]
        kind = items[0][0] if items else _STRING
        return _ARRAY, struct.pack(f"{order}I{length}", kind, len(items)) + b"".join(data for _, data in items)

    for key, value in values.items():
        parts += [text(key), tagged(value)]
    for name, (sizes, kind) in tensors.items():
        parts += [text(name), struct.pack(f"{order}I{len(sizes)}{length}IQ", len(sizes), *sizes, kind, 0)]
    return b"".join(parts)


class _Storage:
    """Stands for the data of a tensor, which torch keeps outside the pickle."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class TensorStub:
    """Is pickled as torch pickles a tensor."""

    def __init__(self, shape: tuple[int, ...], kind: str = "FloatStorage") -> None:
        self._shape = shape
        self._storage = _Storage(kind)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Function("torch._utils", "_rebuild_tensor_v2"), (self._storage, 0, self._shape, (1,), False, {})


class _Function:
    """A function of another package, which need not be installed."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None:
        raise AssertionError("called")


class _Pickler(pickle._Pickler):  # the one in Python, which can be told how to name a function
    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, _Storage):
            return "storage", _Function("torch", value.kind), "0", "cpu", 0
        return None

    def save(self, value: Any, *rest: Any, **more: Any) -> None:
        if isinstance(value, _Function):
            self.write(f"c{value.module}\n{value.name}\n".encode())  # type: ignore[attr-defined]
        else:
            super().save(value, *rest, **more)


def pickled(value: Any, protocol: int = 2) -> bytes:
    """The pickle of a value in which tensors are stubs."""
    stream = io.BytesIO()
    _Pickler(stream, protocol).dump(value)
    return stream.getvalue()


def torch_archive(
    value: Any, protocol: int = 2, folder: str = "archive", compression: int = zipfile.ZIP_STORED
) -> bytes:
    """A file as torch.save writes it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr(f"{folder}/data.pkl", pickled(value, protocol))
        archive.writestr(f"{folder}/data/0", bytes(64))
        archive.writestr(f"{folder}/version", "3\n")
    return stream.getvalue()


def torch_legacy(value: Any) -> bytes:
    """A file as torch.save wrote it before version 1.6."""
    return b"".join(pickle.dumps(part, 2) for part in _LEGACY_PARTS) + pickled(value)
