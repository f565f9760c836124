"""Facts and tags of Windows Media files (Microsoft's Advanced Systems Format) and of Flash videos (Adobe's FLV).

Both state everything in a header at the beginning.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

from .base import TRUNCATED, ByteSource, Contents, Format, Read, starts_with
from .media_facts import MAX_TAGS, MediaFacts, add_tag, audio_codec, bounded, frames_of, video_codec
from .mpeg import PyAVError, read_with_pyav

_MAX_OBJECTS = 500
_MAX_OBJECT = 1 << 20


def _guid(text: str) -> bytes:
    return UUID(text).bytes_le


_HEADER = _guid("75B22630-668E-11CF-A6D9-00AA0062CE6C")
_FILE_PROPERTIES = _guid("8CABDCA1-A947-11CF-8EE4-00C00C205365")
_STREAM_PROPERTIES = _guid("B7DC0791-A9B7-11CF-8EE6-00C00C205365")
_CONTENT_DESCRIPTION = _guid("75B22633-668E-11CF-A6D9-00AA0062CE6C")
_EXTENDED_DESCRIPTION = _guid("D2D0A440-E307-11D2-97F0-00A0C95EA850")
_HEADER_EXTENSION = _guid("5FBF03B5-A92E-11CF-8EE3-00C00C205365")
_EXTENDED_STREAM = _guid("14E6A5CB-C672-4332-8399-A96952065B5A")
_VIDEO = _guid("BC19EFC0-5B4D-11CF-A8FD-00805F5C442B")
_AUDIO = _guid("F8699E40-5B4D-11CF-A8FD-00805F5C442B")
_DESCRIPTIONS = ("title", "artist", "", "description", "")  # the texts of the content description, in its order
_UTF16 = 0  # the type of a value

_FLV_VIDEO = {2: "flv1", 3: "flashsv", 4: "vp6f", 5: "vp6a", 6: "flashsv2", 7: "h264", 12: "hevc", 13: "av1"}
_FLV_AUDIO = {
    0: "pcm",
    1: "adpcm_swf",
    2: "mp3",
    3: "pcm_u8",
    4: "nellymoser",
    5: "nellymoser",
    6: "nellymoser",
    7: "pcm_alaw",
    8: "pcm_mulaw",
    10: "aac",
    11: "speex",
    14: "mp3",
}
_MAX_DEPTH = 4
_MAX_VALUES = 2_000


class _Object(NamedTuple):
    kind: bytes
    start: int
    end: int


def _objects(read: Read, start: int, end: int) -> Iterator[_Object]:
    for _ in range(_MAX_OBJECTS):
        head = read(start, 24) if start + 24 <= end else b""
        if len(head) < 24:
            return
        (length,) = struct.unpack_from("<Q", head, 16)
        if length < 24 or start + length > end:
            return
        yield _Object(head[:16], start + 24, start + length)
        start += length


@bounded
def read_asf(contents: Contents, source: ByteSource) -> None:
    """Read facts and tags of a Windows Media file."""
    facts = MediaFacts()
    (length,) = struct.unpack("<Q", source.read(16, 8))
    if length > source.size:
        contents.problems.append(TRUNCATED)
    try:
        for part in _objects(source.read, 30, min(length, source.size)):
            _read_object(contents, source.read, facts, part)
    finally:
        is_video = facts.codec is not None or facts.audio_codec is None
        contents.mime_type = "video/x-ms-wmv" if is_video else "audio/x-ms-wma"
        if facts.codec is not None and not facts.fps:
            facts.fps = _measured_rate(source)
        facts.frame_count = frames_of(facts.duration, facts.fps)
        facts.add_to(contents, is_video=is_video)


def _measured_rate(source: ByteSource) -> float | None:
    """Return the frame rate by the time stamps of the first frames, where PyAV is installed: few headers state it."""
    try:
        measured = read_with_pyav("asf", source)
    except PyAVError:
        return None
    return measured.fps if measured is not None else None


def _read_object(contents: Contents, read: Read, facts: MediaFacts, part: _Object) -> None:
    if part.kind == _HEADER_EXTENSION:
        for inner in _objects(read, part.start + 22, part.end):
            if inner.kind == _EXTENDED_STREAM:
                (frame_100ns,) = struct.unpack_from("<Q", read(inner.start, 64), 52)
                facts.fps = facts.fps or (1e7 / frame_100ns if frame_100ns else None)
        return
    if part.kind == _FILE_PROPERTIES:
        body = read(part.start, 64)
        length_100ns, _sent, preroll_ms = struct.unpack_from("<QQQ", body, 40)
        facts.duration = length_100ns / 1e7 - preroll_ms / 1e3
    elif part.kind == _STREAM_PROPERTIES:
        _read_stream(facts, read(part.start, 256))
    elif part.kind == _CONTENT_DESCRIPTION:
        _read_description(contents, read(part.start, min(part.end - part.start, _MAX_OBJECT)))
    elif part.kind == _EXTENDED_DESCRIPTION:
        _read_extended(contents, read(part.start, min(part.end - part.start, _MAX_OBJECT)))


def _read_stream(facts: MediaFacts, body: bytes) -> None:
    kind = body[:16]
    if kind == _VIDEO and facts.codec is None:
        facts.width, facts.height = struct.unpack_from("<II", body, 54)
        facts.codec = video_codec(body[81:85])  # after the size, flags and its own length: a BITMAPINFOHEADER
    elif kind == _AUDIO and facts.audio_codec is None:
        code, facts.channels, rate, _bytes, _align, bits = struct.unpack_from("<HHIIHH", body, 54)
        facts.audio_codec, facts.sample_rate = audio_codec(code, bits), rate


def _read_description(contents: Contents, body: bytes) -> None:
    lengths, start = struct.unpack_from("<5H", body), 10
    for keyword, length in zip(_DESCRIPTIONS, lengths, strict=True):
        if keyword:
            add_tag(contents, keyword, _utf16(body[start : start + length]))
        start += length


def _read_extended(contents: Contents, body: bytes) -> None:
    (count,), start = struct.unpack_from("<H", body), 2
    for _ in range(min(count, MAX_TAGS)):
        (length,) = struct.unpack_from("<H", body, start)
        name, start = _utf16(body[start + 2 : start + 2 + length]).decode(), start + 2 + length
        kind, length = struct.unpack_from("<HH", body, start)
        if kind == _UTF16:
            add_tag(contents, name.removeprefix("WM/"), _utf16(body[start + 4 : start + 4 + length]))
        start += 4 + length


def _utf16(body: bytes) -> bytes:
    return body.decode("utf-16-le", "replace").rstrip("\0").encode("utf-8", "replace")


@bounded
def read_flv(contents: Contents, source: ByteSource) -> None:
    """Read facts and tags of a Flash video from its first tag, ``onMetaData``."""
    facts = MediaFacts()
    start = int.from_bytes(source.read(5, 4), "big") + 4  # the length of the tag before, which is 0
    head = source.read(start, 11)
    try:
        if head[:1] == b"\x12":
            body = source.read(start + 11, min(int.from_bytes(head[1:4], "big"), _MAX_OBJECT))
            _add_metadata(contents, facts, _Amf(body).metadata())
    finally:
        facts.add_to(contents, is_video=True)


def _add_metadata(contents: Contents, facts: MediaFacts, values: dict[str, Any]) -> None:
    numbers = {key: value for key, value in values.items() if isinstance(value, float) and 0 < value < 1e12}
    if "width" in numbers and "height" in numbers:
        facts.width, facts.height = int(numbers["width"]), int(numbers["height"])
    facts.duration, facts.fps = numbers.get("duration"), numbers.get("framerate")
    if "videocodecid" in numbers:
        facts.codec = _FLV_VIDEO.get(int(numbers["videocodecid"]), "unknown")
    if isinstance(code := values.get("audiocodecid"), float):
        facts.audio_codec = _FLV_AUDIO.get(int(code) if 0 <= code < 16 else -1, "unknown")
        facts.sample_rate = numbers.get("audiosamplerate")
        facts.channels = 2 if values.get("stereo") is True else 1
    facts.frame_count = frames_of(facts.duration, facts.fps)
    for key, value in values.items():
        if isinstance(value, str):
            add_tag(contents, key, value.encode())


class _Amf:
    """Reads values of Adobe's Action Message Format 0. Raises struct.error at the end of the bytes."""

    def __init__(self, body: bytes) -> None:
        self._body, self._start, self._values = body, 0, 0

    def metadata(self) -> dict[str, Any]:
        """Return the values of onMetaData; empty for other data."""
        if self._value(0) != "onMetaData":
            return {}
        value = self._value(0)
        return value if isinstance(value, dict) else {}

    def _take(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self._body, self._start)
        self._start += struct.calcsize(form)
        return value

    def _text(self, form: str) -> str:
        length = self._take(form)
        text = self._body[self._start : self._start + length]
        self._start += length
        return text.decode("utf-8", "replace")

    def _value(self, depth: int) -> Any:
        self._values += 1
        if depth > _MAX_DEPTH or self._values > _MAX_VALUES:
            raise struct.error("too many values")
        kind = self._take("B")
        if kind == 0:
            return self._take(">d")
        if kind == 1:
            return bool(self._take("B"))
        if kind in (2, 12):
            return self._text(">H" if kind == 2 else ">I")
        if kind in (3, 8):
            if kind == 8:
                self._take(">I")  # the number of members, of which no one relies
            return self._members(depth)
        if kind == 10:
            return [self._value(depth + 1) for _ in range(min(self._take(">I"), _MAX_VALUES))]
        if kind == 11:
            self._start += 10  # a date
        return None

    def _members(self, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        while self._body[self._start : self._start + 3] != b"\0\0\x09":
            if depth == 0 and self._start >= len(self._body):
                break  # some programs leave out the end
            key = self._text(">H")
            members[key] = self._value(depth + 1)
        self._start += 3
        return members


FORMATS: tuple[Format, ...] = (
    Format("asf", "video/x-ms-wmv", "video", starts_with(_HEADER), read_asf),
    Format("flv", "video/x-flv", "video", starts_with(b"FLV\x01"), read_flv),
)
