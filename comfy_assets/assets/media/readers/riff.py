"""Files of chunks: WAV with its large forms RF64 and BW64, AVI (Microsoft's RIFF, EBU Tech 3285 and 3306, OpenDML),
AIFF (Apple's IFF), and WebP (RFC 9649).

A chunk has four characters, a length, and its content padded to an even length. Samples and pixels are passed over.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import NamedTuple

from . import id3, texts, tiff
from .base import MAX_PARTS, MAX_TEXT, TRUNCATED, ByteSource, Contents, Format, Read, show_size
from .media_facts import EXTENSIBLE, MAX_TAGS, MediaFacts, add_tag, audio_codec, bounded, read_tag, video_codec

_MAX_CHUNKS = 2_000
_UNKNOWN = 0xFFFFFFFF  # a length that the chunk ds64 states, or that a program did not write before it ended
_INFO = {
    b"INAM": "title",
    b"IART": "artist",
    b"ICMT": "comment",
    b"ISBJ": "description",
    b"IKEY": "description",
}
_AIFF_TEXTS = {b"NAME": "title", b"AUTH": "artist", b"ANNO": "comment"}
_AIFF_CODECS = {
    b"fl32": "pcm_f32be",
    b"FL32": "pcm_f32be",
    b"fl64": "pcm_f64be",
    b"FL64": "pcm_f64be",
    b"ulaw": "pcm_mulaw",
    b"alaw": "pcm_alaw",
    b"in24": "pcm_s24be",
    b"in32": "pcm_s32be",
    b"ima4": "adpcm_ima_qt",
}


class _Chunk(NamedTuple):
    kind: bytes
    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


def _chunks(contents: Contents, read: Read, start: int, end: int, order: str = "<") -> Iterator[_Chunk]:
    """Yield the chunks between two offsets. One that reaches beyond is cut, and is the last."""
    for _ in range(_MAX_CHUNKS):
        head = read(start, 8)
        if start + 8 > end or len(head) < 8:
            return
        kind, length = struct.unpack(f"{order}4sI", head)
        if start + 8 + length > end:
            if length != _UNKNOWN:
                contents.problems.append(TRUNCATED)
            yield _Chunk(kind, start + 8, end)
            return
        yield _Chunk(kind, start + 8, start + 8 + length)
        start += 8 + length + length % 2


def _is_riff(head: bytes, kind: bytes) -> bool:
    return head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == kind


def _is_wav(head: bytes) -> bool:
    return _is_riff(head, b"WAVE")


def _is_avi(head: bytes) -> bool:
    return _is_riff(head, b"AVI ")


def _is_aiff(head: bytes) -> bool:
    return head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC")


@bounded
def read_wav(contents: Contents, source: ByteSource) -> None:
    """Read facts and tags of a WAV file: INFO, ID3 and the description of broadcast files."""
    facts, per_second, samples, data_length = MediaFacts(), 0, 0, 0
    sizes: dict[bytes, int] = {}
    start = 12
    try:
        while start < source.size:
            for chunk in _chunks(contents, source.read, start, source.size):
                start = chunk.end + chunk.length % 2
                if chunk.kind == b"ds64":
                    _riff, sizes[b"data"], sizes[b"fact"] = struct.unpack("<3Q", source.read(chunk.start, 24))
                elif chunk.kind == b"fmt ":
                    per_second = _read_format(facts, source.read(chunk.start, min(chunk.length, 64)))
                elif chunk.kind == b"fact":
                    (samples,) = struct.unpack("<I", source.read(chunk.start, 4))
                    samples = sizes.get(b"fact", 0) if samples == _UNKNOWN else samples
                elif chunk.kind == b"data":
                    data_length = chunk.length
                    if chunk.end == source.size and sizes.get(b"data"):  # its length is in ds64
                        data_length = min(sizes[b"data"], source.size - chunk.start)
                        start = chunk.start + data_length + data_length % 2
                        break
                else:
                    _read_wav_texts(contents, source.read, chunk)
            else:
                break
    finally:
        is_pcm = (facts.audio_codec or "").startswith("pcm")
        if samples and facts.sample_rate and not is_pcm:
            facts.duration = samples / facts.sample_rate
        elif per_second:
            facts.duration = data_length / per_second
        facts.add_to(contents, is_video=False)


def _read_format(facts: MediaFacts, body: bytes) -> int:
    """Read a WAVEFORMATEX into the facts; return the bytes per second."""
    code, facts.channels, rate, per_second, _align, bits = struct.unpack_from("<HHIIHH", body)
    if code == EXTENSIBLE and len(body) >= 26:
        (code,) = struct.unpack_from("<H", body, 24)  # the first bytes of the GUID are the code
    facts.sample_rate, facts.audio_codec = rate, audio_codec(code, bits)
    return int(per_second)


def _read_wav_texts(contents: Contents, read: Read, chunk: _Chunk) -> None:
    if chunk.kind == b"LIST" and read(chunk.start, 4) == b"INFO":
        _read_info(contents, read, chunk)
    elif chunk.kind in (b"id3 ", b"ID3 "):
        id3.read_tag_block(contents, read, chunk.start, chunk.end)
    elif chunk.kind == b"bext":
        _add_text(contents, "description", read(chunk.start, min(chunk.length, 256)))


def _read_info(contents: Contents, read: Read, info: _Chunk) -> None:
    """Add the texts of a LIST chunk of the kind INFO."""
    for number, chunk in enumerate(_chunks(contents, read, info.start + 4, info.end)):
        if number >= MAX_TAGS:
            break
        if chunk.kind in _INFO:
            read_tag(contents, read, _INFO[chunk.kind], chunk.start, chunk.length)


def _add_text(contents: Contents, keyword: str, text: bytes) -> None:
    add_tag(contents, keyword, text.partition(b"\0")[0])


@bounded
def read_avi(contents: Contents, source: ByteSource) -> None:
    """Read facts and tags of an AVI file."""
    facts, seen = MediaFacts(), _AviStreams()
    try:
        for chunk in _chunks(contents, source.read, 12, source.size):
            if chunk.kind != b"LIST":
                continue
            kind = source.read(chunk.start, 4)
            if kind == b"hdrl":
                _read_avi_header(contents, source.read, facts, seen, chunk)
            elif kind == b"INFO":
                _read_info(contents, source.read, chunk)
    finally:
        if seen.frames and facts.fps:
            facts.frame_count, facts.duration = seen.frames, seen.frames / facts.fps
        facts.add_to(contents, is_video=True)


class _AviStreams:
    """State between the chunks of an AVI file's header: the kind of the current stream, and the number of frames."""

    def __init__(self) -> None:
        self.kind = b""
        self.has_video = False
        self.frames = 0


def _read_avi_header(
    contents: Contents, read: Read, facts: MediaFacts, seen: _AviStreams, header: _Chunk, depth: int = 0
) -> None:
    for chunk in _chunks(contents, read, header.start + 4, header.end):
        if chunk.kind == b"LIST" and depth < 2:  # strl with the chunks of a stream, odml with dmlh
            _read_avi_header(contents, read, facts, seen, chunk, depth + 1)
        elif chunk.kind == b"avih":
            body = read(chunk.start, 56)
            facts.width, facts.height = struct.unpack_from("<II", body, 32)
            (frame_us,), (seen.frames,) = struct.unpack_from("<I", body), struct.unpack_from("<I", body, 16)
            facts.fps = 1e6 / frame_us if frame_us else None
        elif chunk.kind == b"dmlh":  # the frames of all parts of a file over 1 GiB
            seen.frames = max(seen.frames, struct.unpack("<I", read(chunk.start, 4))[0])
        elif chunk.kind == b"strh":
            _read_stream_header(facts, seen, read(chunk.start, 56))
        elif chunk.kind == b"strf":
            _read_stream_format(facts, seen, read(chunk.start, min(chunk.length, 64)))


def _read_stream_header(facts: MediaFacts, seen: _AviStreams, body: bytes) -> None:
    seen.kind = body[:4]
    if seen.kind != b"vids" or seen.has_video:
        return
    scale, rate, _start, length = struct.unpack_from("<4I", body, 20)
    facts.codec = video_codec(body[4:8])
    seen.frames = max(seen.frames, length)
    if scale and rate:
        facts.fps = rate / scale


def _read_stream_format(facts: MediaFacts, seen: _AviStreams, body: bytes) -> None:
    if seen.kind == b"vids" and not seen.has_video:
        seen.has_video = True
        width, height = struct.unpack_from("<ii", body, 4)
        facts.width, facts.height = abs(width), abs(height)  # a negative height counts from the top
        facts.codec = video_codec(body[16:20])
    elif seen.kind == b"auds" and facts.audio_codec is None:
        _read_format(facts, body)


@bounded
def read_aiff(contents: Contents, source: ByteSource) -> None:
    """Read facts and tags of an AIFF or AIFC file."""
    facts = MediaFacts()
    try:
        for chunk in _chunks(contents, source.read, 12, source.size, ">"):
            if chunk.kind == b"COMM":
                _read_common(facts, source.read(chunk.start, min(chunk.length, 32)))
            elif chunk.kind in _AIFF_TEXTS:
                read_tag(contents, source.read, _AIFF_TEXTS[chunk.kind], chunk.start, chunk.length)
            elif chunk.kind == b"ID3 ":
                id3.read_tag_block(contents, source.read, chunk.start, chunk.end)
    finally:
        facts.add_to(contents, is_video=False)


def _read_common(facts: MediaFacts, body: bytes) -> None:
    facts.channels, frames, bits, exponent, mantissa = struct.unpack_from(">hIhHQ", body)
    facts.audio_codec = _aiff_codec(body[18:22] or b"NONE", bits)
    facts.sample_rate = _extended(exponent, mantissa)
    facts.duration = frames / facts.sample_rate if facts.sample_rate else None


def _aiff_codec(compression: bytes, bits: int) -> str:
    if compression not in (b"NONE", b"twos", b"sowt"):
        return _AIFF_CODECS.get(compression) or compression.decode("latin-1").strip("\0 ").lower()
    if bits <= 8:
        return "pcm_s8"
    return f"pcm_s{(bits + 7) // 8 * 8}{'le' if compression == b'sowt' else 'be'}"


def _extended(exponent: int, mantissa: int) -> float:
    """Return a positive number of 80 bits, as IEEE 754 has them; 0 for all others."""
    power = exponent - 16383 - 63
    return math.ldexp(mantissa, power) if -100 < power < 0 else 0


FORMATS: tuple[Format, ...] = (
    Format("wav", "audio/wav", "audio", _is_wav, read_wav),
    Format("avi", "video/x-msvideo", "video", _is_avi, read_avi),
    Format("aiff", "audio/aiff", "audio", _is_aiff, read_aiff),
)


def _read_webp(contents: Contents, source: ByteSource) -> None:
    declared = 8 + int(struct.unpack("<I", source.read(4, 4))[0])
    kind, head = source.read(12, 4), source.read(20, 10)
    width, height = _picture_size(contents, kind, head)
    orientation = 1
    # Only the extended format has further chunks. Bits of its header announce them, but not all writers set these.
    if kind == b"VP8X":
        orientation = _read_picture_chunks(contents, source, min(source.size, declared))
    if declared > source.size:
        contents.problems.append(TRUNCATED)
    show_size(contents, width, height, orientation)


def _picture_size(contents: Contents, kind: bytes, head: bytes) -> tuple[int, int]:
    if kind == b"VP8X":
        _, width, _, height, _ = struct.unpack("<IHBHB", head)
        return 1 + (width | head[6] << 16), 1 + (height | head[9] << 16)
    if kind == b"VP8L" and head[:1] == b"\x2f":
        bits = int(struct.unpack_from("<I", head, 1)[0])
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and head[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", head, 6)
        return width & 0x3FFF, height & 0x3FFF
    contents.problems.append("The WebP file does not state its size.")
    return 0, 0


def _read_picture_chunks(contents: Contents, source: ByteSource, end: int) -> int:
    """Read EXIF and XMP and count the frames; return the orientation."""
    orientation, frames, milliseconds, found = 1, 0, 0, set()
    for kind, start, length in _picture_chunks(source, end):
        if kind == b"ANMF":
            frames += 1
            milliseconds += int.from_bytes(source.read(start + 12, 3), "little")
        elif kind == b"EXIF" and kind not in found:
            orientation = tiff.add_exif(contents, source, [(start, length)])
        elif kind == b"XMP " and kind not in found and length <= MAX_TEXT:
            texts.add(contents, texts.XMP, source.read(start, length))
        found.add(kind)
    if frames > 1:
        contents.facts["frame_count"] = frames
        contents.facts["duration"] = milliseconds / 1000
    return orientation


def _picture_chunks(source: ByteSource, end: int) -> Iterator[tuple[bytes, int, int]]:
    start = 30
    for _ in range(MAX_PARTS):
        if start + 8 > end:
            return
        kind, length = struct.unpack("<4sI", source.read(start, 8))
        yield kind, start + 8, length
        start += 8 + length + (length & 1)


def _is_webp(head: bytes) -> bool:
    return head.startswith(b"RIFF") and head[8:12] == b"WEBP"


WEBP = Format("webp", "image/webp", "image", _is_webp, _read_webp)
