"""MP3 and AAC streams: ISO/IEC 11172-3 and 13818-3 with the headers of Xing, LAME and Fraunhofer, and ISO/IEC 13818-7.

The length of a file with frames of different sizes is in a header in its first frame. Where there is none, the first
frames speak for all.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from . import id3
from .base import ByteSource, Contents, Format
from .media_facts import MediaFacts, bounded
from .xiph import read_flac_at

_HEAD = 4096  # enough for two frames, the longest of which has 2,881 bytes
_SEARCHED = 64 << 10  # bytes after a tag in which the first frame is looked for
_MAX_AAC = 128 << 10
_MAX_TAGS = 4  # tags one after another at the beginning

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version: 1, 2 and 2.5
_KBITS = {
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),  # version 1, layer I
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


class _Frame(NamedTuple):
    """A frame of MPEG audio. ``samples`` and ``length`` (bytes) are those of one frame."""

    layer: int
    sample_rate: int
    kbits: int
    channels: int
    samples: int
    length: int
    side_information: int


def _frame(head: bytes) -> _Frame | None:
    """Return the frame whose four bytes of header these are, or None."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, rate, kbits = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or layer == 0 or rate == 3 or kbits in (0, 15):
        return None
    sample_rate, bit_rate = _RATES[version][rate], _KBITS[3 if version == 3 else 2, layer][kbits - 1]
    padding, is_mono = head[2] >> 1 & 1, head[3] >> 6 == 3
    samples = 384 if layer == 3 else 1152 if layer == 2 or version == 3 else 576
    unit = 4 if layer == 3 else 1
    length = (samples // 8 * bit_rate * 1000 // (sample_rate * unit) + padding) * unit
    side = (17 if is_mono else 32) if version == 3 else (9 if is_mono else 17)
    return _Frame(4 - layer, sample_rate, bit_rate, 1 if is_mono else 2, samples, length, side)


def _aac_length(head: bytes) -> int:
    """Return the length of an ADTS frame with this header, or 0."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 >= len(_AAC_RATES):
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length >= 7 else 0


def _is_mp3(head: bytes) -> bool:
    """Return whether two frames follow each other here, or an ID3 tag begins whose sound is not seen yet."""
    if id3.length_of(head):
        return _kind_after_tag(head) == "mp3"
    frame = _frame(head[:4])
    return frame is not None and (
        _frame(head[frame.length : frame.length + 4]) is not None or len(head) == frame.length
    )


def _is_aac(head: bytes) -> bool:
    if id3.length_of(head):
        return _kind_after_tag(head) == "aac"
    length = _aac_length(head[:7])
    return bool(length) and (bool(_aac_length(head[length : length + 7])) or len(head) == length)


def _kind_after_tag(head: bytes) -> str:
    """Return the format after an ID3 tag: mp3 if the tag ends beyond the first bytes, as it nearly always does."""
    rest = head[id3.length_of(head) :]
    if rest.startswith((b"fLaC", b"OggS", b"RIFF", b"FORM", b"\xff\xd8\xff")):
        return ""
    return "aac" if _aac_length(rest[:7]) else "mp3"


@bounded
def read_mpeg_audio(contents: Contents, source: ByteSource) -> None:
    """Read facts and tags of an MP3 file, or of an AAC stream after a long tag."""
    start = _read_tags(contents, source)
    facts = MediaFacts()
    try:
        head = source.read(start, _SEARCHED)
        if head.startswith(b"fLaC"):
            read_flac_at(contents, source, start)
            return
        if _aac_length(head[:7]) and _aac_length(head[_aac_length(head[:7]) :][:7]):
            contents.facts["format"], contents.mime_type = "aac", "audio/aac"
            _read_aac_frames(facts, source, start)
            return
        offset = _first_frame(head)
        frame = _frame(head[offset : offset + 4]) if offset >= 0 else None
        if frame is None:
            contents.problems.append("The file has no sound.")
            return
        end = source.size - id3.read_version_1(contents, source.read, source.size)
        _add_frame_facts(facts, frame, head[offset : offset + frame.length], end - start - offset)
        if frame.layer != 3:
            contents.facts["format"] = facts.audio_codec
    finally:
        if "audio_codec" not in contents.facts:
            facts.add_to(contents, is_video=False)


def _read_tags(contents: Contents, source: ByteSource) -> int:
    """Read the tags at the beginning; return where they end."""
    start = 0
    for _ in range(_MAX_TAGS):
        length = id3.length_of(source.read(start, id3.HEADER))
        if not length:
            break
        id3.read_tag_block(contents, source.read, start, source.size)
        start += length
    return start


def _first_frame(head: bytes) -> int:
    """Return the offset of the first of two frames that follow each other; -1 if there is none."""
    offset = head.find(b"\xff")
    for _ in range(1_000):
        if offset < 0:
            break
        frame = _frame(head[offset : offset + 4])
        if frame is not None:
            following = head[offset + frame.length : offset + frame.length + 4]
            if _frame(following) is not None or len(following) < 4:
                return offset
        offset = head.find(b"\xff", offset + 1)
    return -1


def _add_frame_facts(facts: MediaFacts, frame: _Frame, body: bytes, length: int) -> None:
    """Add the facts of a stream of ``length`` bytes by its first frame."""
    facts.audio_codec = f"mp{frame.layer}"
    facts.sample_rate, facts.channels = frame.sample_rate, frame.channels
    samples = _stated_samples(frame, body)
    facts.duration = samples / frame.sample_rate if samples else max(length, 0) * 8 / (frame.kbits * 1000)


def _stated_samples(frame: _Frame, body: bytes) -> int:
    """Return the number of samples that the first frame states, without those that its encoder added; or 0."""
    start = 4 + frame.side_information
    if body[start : start + 4] in (b"Xing", b"Info") and len(body) >= start + 12:
        flags, frames = struct.unpack_from(">II", body, start + 4)
        if not flags & 1:
            return 0
        # Each of the four flags announces a field; LAME's part follows, with delay and padding of 12 bits.
        lame = start + 12 + 4 * bool(flags & 2) + 100 * bool(flags & 4) + 4 * bool(flags & 8)
        is_lame = body[lame : lame + 4] in (b"LAME", b"Lavc", b"Lavf")
        gaps = int.from_bytes(body[lame + 21 : lame + 24], "big") if is_lame else 0
        samples: int = frames * frame.samples - (gaps >> 12) - (gaps & 0xFFF)
        return max(samples, 0)
    if body[36:40] == b"VBRI" and len(body) >= 54:
        return int(struct.unpack_from(">I", body, 50)[0]) * frame.samples
    return 0


@bounded
def read_aac(contents: Contents, source: ByteSource) -> None:
    """Read facts and tags of an AAC stream in ADTS frames."""
    facts = MediaFacts()
    try:
        _read_aac_frames(facts, source, _read_tags(contents, source))
    finally:
        facts.add_to(contents, is_video=False)


def _read_aac_frames(facts: MediaFacts, source: ByteSource, start: int) -> None:
    """Count the frames in the first part of a stream; the length of a longer one is in proportion."""
    body = source.read(start, _MAX_AAC)
    if len(body) < 7:
        return
    facts.audio_codec, facts.sample_rate = "aac", _AAC_RATES[min(body[2] >> 2 & 15, len(_AAC_RATES) - 1)]
    configuration = (body[2] & 1) << 2 | body[3] >> 6
    facts.channels = 8 if configuration == 7 else configuration
    offset = frames = 0
    while length := _aac_length(body[offset : offset + 7]):
        offset, frames = offset + length, frames + 1
    if offset:
        ratio = 1.0 if start + len(body) >= source.size else (source.size - start) / offset
        facts.duration = frames * 1024 / facts.sample_rate * ratio


FORMATS: tuple[Format, ...] = (
    Format("mp3", "audio/mpeg", "audio", _is_mp3, read_mpeg_audio),
    Format("aac", "audio/aac", "audio", _is_aac, read_aac),
)
