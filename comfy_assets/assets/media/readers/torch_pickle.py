"""Models that torch.save wrote: a zip file with a pickle and the tensors' data, or in older versions pickles in a row.

Nothing is unpickled. ``pickle_values`` knows the opcodes of pickles and makes plain values of them; whatever would run
code becomes an empty mapping. The parts of the zip file are found by the module zipfile.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from . import architectures, model_facts
from .base import ByteSource, Contents, Format
from .mistaken import explain
from .pickle_values import PickleError, Tensor, pickles

# torch.save writes a zip file whose first entry is data.pkl; its older format begins with a pickled magic number.
_ZIP = re.compile(rb"PK\x03\x04.{26}[^/\x00-\x1f]{1,128}/data\.pkl", re.DOTALL)
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_MAX_DIRECTORY = 1 << 20  # bytes of the list of entries: some thousands
_MAX_PICKLE = 2 << 20  # bytes: that of a checkpoint has some hundred kilobytes
_NESTED = ("state_dict", "model", "params_ema", "params", "module", "weights", "network")
_MAX_DTYPES = 24
_SHOWN_VALUES = 32
_SHOWN_LENGTH = 256
_SHOWN_BYTES = 1024
_ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError, KeyError)


def _matches(head: bytes) -> bool:
    return _ZIP.match(head) is not None or head.startswith(_LEGACY)


def _read(contents: Contents, source: ByteSource) -> None:
    head = source.read(0, 256)
    if not _matches(head):
        contents.facts.clear()
        contents.problems += [explanation] if (explanation := explain(head)) is not None else []
        return
    try:
        data = _archived(source) if head.startswith(b"PK") else source.read(0, _MAX_PICKLE)
        # In the older format the magic number, the version and the system come before the model.
        found = [*pickles(data, 1 if head.startswith(b"PK") else 4)]
    except PickleError as error:
        contents.problems.append(str(error))
    except _ARCHIVE_ERRORS:
        contents.problems.append("The archive is damaged or cut off.")
    else:
        _add_facts(contents, found[-1])


def _archived(source: ByteSource) -> bytes:
    """Return the pickle of an archive. Raises the errors of zipfile."""
    with zipfile.ZipFile(_ArchiveStream(source)) as archive:
        entry = next((each for each in archive.infolist() if each.filename.endswith("/data.pkl")), None)
        # torch stores its entries as they are; other compressions raise what the module of each raises, even OSError.
        if entry is None or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise zipfile.BadZipFile
        with archive.open(entry) as stream:
            return stream.read(_MAX_PICKLE)


class _ArchiveStream(io.RawIOBase):
    """A source as the file that zipfile wants, which reads no more than a list of entries may have."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._at = 0

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position. Raises ValueError for one before the beginning."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the beginning")
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes. Raises ValueError for more than a list of entries may have."""
        size = max(0, self._source.size - self._at) if size is None or size < 0 else size
        if size > _MAX_DIRECTORY:
            raise ValueError("a part that is too large")
        data = self._source.read(self._at, size)
        self._at += len(data)
        return data


def _add_facts(contents: Contents, value: Any) -> None:
    if not isinstance(value, Mapping):
        return
    tensors = dict(_tensors(value))
    if tensors:
        contents.facts |= {
            "tensor_count": len(tensors),
            "parameter_count": sum(tensor.parameters for tensor in tensors.values()),
            "dtypes": _dtypes(tensors),
        }
    inferred = architectures.infer({name: tensor.shape for name, tensor in tensors.items()})
    header = {key: item for key, item in value.items() if isinstance(key, str) and model_facts.plain_text(item)}
    facts = model_facts.model_facts(_with_base_model(header), inferred)
    contents.facts |= facts
    shown = dict(_shown(header))
    if shown:
        contents.facts["header"] = shown


def _with_base_model(header: dict[str, Any]) -> dict[str, Any]:
    """Return the values of an embedding with the checkpoint that it was trained on among the plain names."""
    trained_on = header.get("sd_checkpoint_name")
    return header if trained_on is None else {"description": f"trained on {trained_on}", **header}


def _tensors(value: Mapping[Any, Any]) -> Iterator[tuple[str, Tensor]]:
    """Return the tensors of a model: those at the top, and those one or two levels below."""
    for key, item in value.items():
        if isinstance(item, Tensor):
            yield str(key), item
        elif isinstance(item, Mapping) and isinstance(key, str) and (key in _NESTED or key == "string_to_param"):
            prefix = "string_to_param." if key == "string_to_param" else ""
            yield from ((f"{prefix}{name}", tensor) for name, tensor in item.items() if isinstance(tensor, Tensor))


def _dtypes(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for tensor in tensors.values():
        if len(counts) < _MAX_DTYPES or tensor.dtype in counts:
            counts[tensor.dtype] = counts.get(tensor.dtype, 0) + 1
    return counts


def _shown(header: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    room = _SHOWN_BYTES
    for _, (key, value) in zip(range(_SHOWN_VALUES), header.items(), strict=False):
        text = model_facts.plain_text(value) or ""
        room -= len(key.encode("utf-8", "replace")) + 2 * len(text.encode())
        if len(text) <= _SHOWN_LENGTH and room >= 0:
            yield key, text


FORMATS = (Format("pickle", None, "model", _matches, _read, suffixes=(".ckpt", ".pt", ".pth")),)
