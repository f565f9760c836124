"""Sounds and videos in the formats of Xiph.org: FLAC (RFC 9639), and Ogg (RFC 3533) with Opus (RFC 7845), Vorbis, FLAC,
Speex and Theora. Their comments are alike (Vorbis I, section 5).

Each stream in an Ogg file begins with a page for its header; packets with the comments follow, over as many pages as
they need. The position of the last page tells the length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from . import id3
from .base import MAX_PARTS, TRUNCATED, ByteSource, Contents, Format, Read
from .media_facts import MAX_TAGS, MediaFacts, bounded, read_tag
from .texts import omit

_FLAC_MAGIC = b"fLaC"
_STREAM_INFO, _COMMENTS = 0, 4
_LONGEST_KEYWORD = 256
_OGG_MAGIC = b"OggS"
_HEADER = 27
_MAX_STREAMS = 16
_MAX_PAGES = 2_000  # a text of 7 MiB takes 120
_TAIL = 64 << 10  # a page has at most 65,307 bytes
_MAX_COMMENTS = 7 << 20  # held twice while its tags are read
_BEGINS = 2
_NO_POSITION = (1 << 64) - 1
_OPUS_RATE = 48000  # of positions, whatever the rate of the sound

# What packets with comments begin with, by the codec. FLAC's is the header of a block, in Speex's comments come first.
_COMMENT_PACKETS = {"opus": b"OpusTags", "vorbis": b"\x03vorbis", "theora": b"\x81theora", "flac": b"", "speex": b""}


def _is_flac(head: bytes) -> bool:
    return head.startswith(_FLAC_MAGIC) or head[id3.length_of(head) :].startswith(_FLAC_MAGIC)


@bounded
def read_flac(contents: Contents, source: ByteSource) -> None:
    """Read facts and tags of a FLAC file, which other programs begin with an ID3 tag."""
    start = id3.length_of(source.read(0, id3.HEADER))
    if start:
        id3.read_tag_block(contents, source.read, 0, start)
    read_flac_at(contents, source, start)


def read_flac_at(contents: Contents, source: ByteSource, start: int) -> None:
    """Read a FLAC stream that begins at an offset of a file."""
    contents.facts["format"], contents.mime_type = "flac", "audio/flac"
    facts = MediaFacts(audio_codec="flac")
    start += len(_FLAC_MAGIC)
    try:
        for _ in range(MAX_PARTS):
            head = source.read(start, 4)
            if len(head) < 4:
                contents.problems.append(TRUNCATED)
                break
            kind, length = head[0] & 0x7F, int.from_bytes(head[1:], "big")
            if kind == _STREAM_INFO:
                read_stream_info(facts, source.read(start + 4, length))
            elif kind == _COMMENTS:
                read_comments(contents, source.read, start + 4, min(start + 4 + length, source.size))
            start += 4 + length
            if head[0] & 0x80:  # the last block before the sound
                break
    finally:
        facts.add_to(contents, is_video=False)


def read_stream_info(facts: MediaFacts, body: bytes) -> None:
    """Add the facts of a STREAMINFO block: rate, channels and length are bits of one number of 64."""
    (bits,) = struct.unpack_from(">Q", body, 10)
    facts.sample_rate, facts.channels = bits >> 44, (bits >> 41 & 7) + 1
    samples = bits & (1 << 36) - 1
    if facts.sample_rate and samples:
        facts.duration = samples / facts.sample_rate


def read_comments(contents: Contents, read: Read, start: int, end: int) -> None:
    """Add the tags of a comment block: texts of the form KEYWORD=value, each after its length."""
    start += 4 + int.from_bytes(read(start, 4), "little")  # the name of the program
    count = int.from_bytes(read(start, 4), "little")
    start += 4
    for _ in range(min(count, MAX_TAGS)):
        head = read(start, 4 + _LONGEST_KEYWORD) if start + 4 <= end else b""
        length = int.from_bytes(head[:4], "little")
        if len(head) < 4 or length > end - start - 4:
            break
        keyword, sign, _ = head[4 : 4 + length].partition(b"=")
        if sign:
            skipped = 4 + len(keyword) + 1
            read_tag(contents, read, keyword.decode("ascii", "replace"), start + skipped, length + 4 - skipped)
        start += 4 + length


class _Page(NamedTuple):
    """A page: the kind of its start, the position and number of its stream, its segments, and where they begin."""

    flags: int
    position: int
    serial: int
    segments: bytes
    start: int

    @property
    def end(self) -> int:
        return self.start + sum(self.segments)


@dataclass
class _Stream:
    codec: str
    pre_skip: int = 0
    rate: float = 0  # positions a second
    keyframe_shift: int = 0
    packet: bytearray = field(default_factory=bytearray)
    has_comments: bool = False


def _is_ogg(head: bytes) -> bool:
    return head.startswith(_OGG_MAGIC)


@bounded
def read_ogg(contents: Contents, source: ByteSource) -> None:
    """Read facts and tags of an Ogg file."""
    facts, streams = MediaFacts(), dict[int, _Stream]()
    try:
        for page in _pages(source.read, source.size):
            if page.flags & _BEGINS and len(streams) < _MAX_STREAMS:
                streams[page.serial] = _stream(facts, source.read(page.start, min(page.end - page.start, 512)))
            elif (stream := streams.get(page.serial)) is not None and not stream.has_comments:
                _add_page(contents, source.read, stream, page)
            if streams and not page.flags & _BEGINS and all(stream.has_comments for stream in streams.values()):
                break
        _add_duration(facts, source, streams)
    finally:
        is_video = facts.codec is not None
        contents.mime_type = "video/ogg" if is_video else "audio/ogg"
        if not streams:
            contents.problems.append(TRUNCATED)
        elif not (facts.codec or facts.audio_codec):
            contents.problems.append("The file has no video and no sound of a known kind.")
        facts.add_to(contents, is_video=is_video)


def _pages(read: Read, size: int) -> Iterator[_Page]:
    start = 0
    for _ in range(_MAX_PAGES):
        page = _page(read(start, _HEADER + 255), start)
        if page is None or page.end > size:
            return
        yield page
        start = page.end


def _page(head: bytes, start: int) -> _Page | None:
    """Return the page whose header these bytes begin with."""
    if len(head) < _HEADER or not head.startswith(_OGG_MAGIC):
        return None
    flags, position, serial, count = struct.unpack_from("<xBQI8xB", head, 4)
    segments = head[_HEADER : _HEADER + count]
    return _Page(flags, position, serial, segments, start + _HEADER + count) if len(segments) == count else None


def _stream(facts: MediaFacts, head: bytes) -> _Stream:
    """Return the stream with this header, and add its facts if it is the first of its kind."""
    if head.startswith(b"OpusHead"):
        channels, pre_skip, rate = struct.unpack_from("<xBHI", head, 8)
        _add_sound(facts, "opus", rate if 8000 <= rate <= 192_000 else _OPUS_RATE, channels)
        return _Stream("opus", pre_skip, _OPUS_RATE)
    if head.startswith(b"\x01vorbis"):
        channels, rate = struct.unpack_from("<BI", head, 11)
        _add_sound(facts, "vorbis", rate, channels)
        return _Stream("vorbis", 0, rate)
    if head.startswith(b"\x7fFLAC"):
        sound = MediaFacts()
        read_stream_info(sound, head[17:])  # after the mapping's header, the magic and the header of the block
        _add_sound(facts, "flac", sound.sample_rate or 0, sound.channels or 0)
        return _Stream("flac", 0, sound.sample_rate or 0)
    if head.startswith(b"Speex   "):
        rate, _mode, _version, channels = struct.unpack_from("<4I", head, 36)
        _add_sound(facts, "speex", rate, channels)
        return _Stream("speex", 0, rate)
    if head.startswith(b"\x80theora"):
        return _theora(facts, head)
    return _Stream("", has_comments=True)  # such as a skeleton or subtitles


def _add_sound(facts: MediaFacts, codec: str, rate: float, channels: int) -> None:
    if facts.audio_codec is None:
        facts.audio_codec, facts.sample_rate, facts.channels = codec, rate, channels


def _theora(facts: MediaFacts, head: bytes) -> _Stream:
    """Return a Theora stream (specification, section 6.2): the size shown, frame rate and shape of its pixels."""
    width, height = int.from_bytes(head[14:17], "big"), int.from_bytes(head[17:20], "big")
    numerator, denominator = struct.unpack_from(">II", head, 22)
    across, down = int.from_bytes(head[30:33], "big"), int.from_bytes(head[33:36], "big")
    (bits,) = struct.unpack_from(">H", head, 40)
    rate = numerator / denominator if denominator else 0
    if facts.codec is None:
        wide = round(width * across / down) if across and down else width
        facts.codec, facts.width, facts.height, facts.fps = "theora", wide, height, rate
    return _Stream("theora", 0, rate, bits >> 5 & 31)


def _add_page(contents: Contents, read: Read, stream: _Stream, page: _Page) -> None:
    """Collect the packet with the comments, which may continue over pages; read them when it is complete."""
    length = 0
    for segment in page.segments:
        length += segment
        if segment < 255:
            break
    if len(stream.packet) + length > _MAX_COMMENTS:
        for keyword in ("prompt", "workflow"):
            omit(contents, keyword)
        stream.packet, stream.has_comments = bytearray(), True
        return
    stream.packet += read(page.start, length)
    if any(segment < 255 for segment in page.segments):
        packet, stream.packet, stream.has_comments = stream.packet, bytearray(), True
        _read_packet(contents, packet, stream.codec)


def _read_packet(contents: Contents, packet: bytearray, codec: str) -> None:
    magic = _COMMENT_PACKETS[codec]
    if packet.startswith(magic):
        skipped, view = 4 if codec == "flac" else len(magic), memoryview(packet)
        read_comments(contents, lambda start, length: bytes(view[start : start + length]), skipped, len(packet))


def _add_duration(facts: MediaFacts, source: ByteSource, streams: dict[int, _Stream]) -> None:
    """Add the length of the longest stream by the positions of the last pages."""
    start = max(0, source.size - _TAIL)
    tail = source.read(start, _TAIL)
    found: set[int] = set()
    offset = tail.rfind(_OGG_MAGIC)
    for _ in range(1_000):
        if offset < 0 or len(found) == len(streams):
            break
        page = _page(tail[offset : offset + _HEADER + 255], start + offset)
        stream = streams.get(page.serial) if page is not None else None
        if page is not None and stream is not None and page.serial not in found and page.position != _NO_POSITION:
            found.add(page.serial)
            _add_last_page(facts, stream, page.position)
        offset = tail.rfind(_OGG_MAGIC, 0, offset)


def _add_last_page(facts: MediaFacts, stream: _Stream, position: int) -> None:
    if stream.codec == "theora":  # the number of the last key frame, and of the frames since
        position = (position >> stream.keyframe_shift) + (position & (1 << stream.keyframe_shift) - 1)
        facts.frame_count = position
    seconds = max(position - stream.pre_skip, 0) / stream.rate if stream.rate else 0
    facts.duration = max(facts.duration or 0, seconds)


FORMATS: tuple[Format, ...] = (
    Format("flac", "audio/flac", "audio", _is_flac, read_flac),
    Format("ogg", "audio/ogg", "audio", _is_ogg, read_ogg),
)
