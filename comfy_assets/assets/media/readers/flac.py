"""FLAC files (RFC 9639), and the comments that they share with Ogg (Vorbis I, section 5)."""

from __future__ import annotations

import struct

from . import id3
from .base import MAX_PARTS, TRUNCATED, ByteSource, Contents, Format, Read
from .media_facts import MAX_TAGS, MediaFacts, bounded, read_tag

MAGIC = b"fLaC"
_STREAM_INFO, _COMMENTS = 0, 4
_LONGEST_KEYWORD = 256


def _is_flac(head: bytes) -> bool:
    return head.startswith(MAGIC) or head[id3.length_of(head) :].startswith(MAGIC)


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
    start += len(MAGIC)
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


FORMATS: tuple[Format, ...] = (Format("flac", "audio/flac", "audio", _is_flac, read_flac),)
