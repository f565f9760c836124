"""Videos and sounds in ISO base media files: MP4, M4V, M4A, 3GP and QuickTime (ISO/IEC 14496-12, Apple's format).

The header, ``moov``, may be at the end of a huge file: it is found by the sizes of the boxes before it. Of the tables
of samples only the one of their durations is read, for the number of frames.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass, field
from operator import mul
from sys import byteorder

from .base import ByteSource, Contents, Format, Read
from .isobmff import Box, boxes
from .media_facts import MAX_TAGS, MediaFacts, add_tag, bounded, is_tag_known, read_tag
from .recoding import to_utf8
from .texts import XMP

_TOP = frozenset((b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"moof", b"styp", b"sidx"))
# Brands of pictures in the same container.
_PICTURES = frozenset(
    brand.ljust(4)
    for brand in b"avif avis heic heix heim heis hevc hevx mif1 msf1 mif2 miaf jxl jp2 jpx jpm crx".split()
)
_MAX_TRACKS = 32
_MAX_FRAGMENTS = 400  # ten minutes or more of a live recording; the length of longer ones is in their index
_MAX_TABLE = 1 << 20
_MAX_USER_DATA = 1 << 17  # a text of QuickTime has at most 64 KiB
_MAX_UTF16 = 4 << 20

_CODECS = {
    b"avc1": "h264",
    b"avc2": "h264",
    b"avc3": "h264",
    b"avc4": "h264",
    b"hvc1": "hevc",
    b"hev1": "hevc",
    b"dvh1": "hevc",
    b"dvhe": "hevc",
    b"vvc1": "vvc",
    b"vvi1": "vvc",
    b"av01": "av1",
    b"vp08": "vp8",
    b"vp09": "vp9",
    b"mp4v": "mpeg4",
    b"s263": "h263",
    b"h263": "h263",
    b"jpeg": "mjpeg",
    b"mjpa": "mjpeg",
    b"mjpb": "mjpeg",
    b"png ": "png",
    b"FFV1": "ffv1",
    b"AVdn": "dnxhd",
    b"AVdh": "dnxhd",
    b"CFHD": "cfhd",
    b"rle ": "qtrle",
    b"raw ": "rawvideo",
    b"2vuy": "rawvideo",
    b"v210": "v210",
    b"apco": "prores",
    b"apcs": "prores",
    b"apcn": "prores",
    b"apch": "prores",
    b"ap4h": "prores",
    b"ap4x": "prores",
}
_AUDIO_CODECS = {
    b"mp4a": "aac",
    b"Opus": "opus",
    b"fLaC": "flac",
    b"alac": "alac",
    b"ac-3": "ac3",
    b"ec-3": "eac3",
    b"ac-4": "ac4",
    b"samr": "amr_nb",
    b"sawb": "amr_wb",
    b".mp3": "mp3",
    b"dtsc": "dts",
    b"ulaw": "pcm_mulaw",
    b"alaw": "pcm_alaw",
    b"twos": "pcm_s16be",
    b"sowt": "pcm_s16le",
    b"in24": "pcm_s24be",
    b"in32": "pcm_s32be",
    b"fl32": "pcm_f32be",
    b"fl64": "pcm_f64be",
    b"lpcm": "pcm",
    b"ipcm": "pcm",
    b"fpcm": "pcm",
    b"raw ": "pcm_u8",
}
# Object types of MPEG-4 (ISO/IEC 14496-1, and the registration authority's list) in entries mp4v and mp4a.
_OBJECT_TYPES = {
    0x20: "mpeg4",
    0x21: "h264",
    0x23: "hevc",
    **dict.fromkeys(range(0x60, 0x66), "mpeg2video"),
    0x69: "mp3",
    0x6A: "mpeg1video",
    0x6B: "mp3",
    0x6C: "mjpeg",
    0xA5: "ac3",
    0xA6: "eac3",
    0xA9: "dts",
    0xAD: "opus",
    0xB1: "vp9",
    0xDD: "vorbis",
}
# Names of iTunes, of QuickTime and of 3GPP for the tags that other containers spell out.
_TAGS = {
    b"\xa9nam": "title",
    b"\xa9ART": "artist",
    b"\xa9aut": "artist",
    b"\xa9cmt": "comment",
    b"\xa9des": "description",
    b"\xa9inf": "comment",
    b"\xa9lyr": "lyrics",
    b"desc": "description",
    b"ldes": "description",
    b"titl": "title",
    b"auth": "artist",
    b"perf": "artist",
    b"dscp": "description",
}
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # as Adobe's programs mark it
_APPLE = "com.apple.quicktime."


@dataclass
class _MovieTrack:
    id: int = 0
    handler: bytes = b""
    shown: tuple[float, float] = (0, 0)
    coded: tuple[int, int] = (0, 0)
    is_turned: bool = False
    timescale: int = 0
    duration: int = 0
    samples: int = 0
    sampled: int = 0  # the duration of the samples
    codec: str = ""
    sample_rate: float = 0
    channels: int = 0
    default_duration: int = 0

    @property
    def seconds(self) -> float:
        return self.duration / self.timescale if self.timescale else 0


@dataclass
class _Movie:
    timescale: int = 0
    duration: int = 0
    tracks: list[_MovieTrack] = field(default_factory=list)
    is_fragmented: bool = False
    fragments: int = 0

    @property
    def seconds(self) -> float:
        stated = self.duration / self.timescale if self.timescale else 0
        return stated or max((track.seconds for track in self.tracks), default=0)

    def first(self, handler: bytes) -> _MovieTrack | None:
        return next((track for track in self.tracks if track.handler == handler), None)


def matches(head: bytes) -> bool:
    """Return whether a file begins like a video or sound in this container, and not like a picture in it."""
    if len(head) < 8:
        return False
    if head[4:8] == b"ftyp":
        return head[8:12] not in _PICTURES
    return head[4:8] in _TOP and (head[:4] < b"\x10" or head[:4] == b"\0\0\0\1")


@bounded
def read_mp4(contents: Contents, source: ByteSource) -> None:
    """Read facts and tags of a video or sound."""
    movie = _Movie()
    brand = b"qt  "
    try:
        for box in boxes(contents, source.read, 0, source.size):
            if box.kind == b"ftyp":
                brand = source.read(box.start, 4)
            elif box.kind == b"moov":
                _read_movie(contents, source.read, movie, box)
                if not movie.is_fragmented:
                    break
            elif box.kind == b"uuid" and source.read(box.start, 16) == _XMP:
                read_tag(contents, source.read, XMP, box.start + 16, box.length - 16)
            elif box.kind == b"moof" and movie.fragments < _MAX_FRAGMENTS:
                _read_fragment(contents, source.read, movie, box)
            elif box.kind == b"moof":
                break
    finally:
        _add_facts(contents, movie, brand)


def _add_facts(contents: Contents, movie: _Movie, brand: bytes) -> None:
    video, sound = movie.first(b"vide"), movie.first(b"soun")
    _name_type(contents, brand, is_video=video is not None or sound is None)
    if not movie.tracks and not contents.problems:
        contents.problems.append("The file has no tracks.")
    is_whole = movie.fragments < _MAX_FRAGMENTS
    facts = MediaFacts(duration=movie.seconds if is_whole or movie.duration else None)
    if sound is not None:
        facts.audio_codec = sound.codec or "unknown"
        facts.sample_rate, facts.channels = sound.sample_rate or sound.timescale, sound.channels
    if video is not None:
        facts.width, facts.height = _size(video)
        facts.codec = video.codec
        if is_whole:
            facts.frame_count = video.samples
            length = video.sampled or video.duration  # the latter includes the delay of reordered frames
            facts.fps = video.samples * video.timescale / length if length else None
    if movie.tracks:
        facts.add_to(contents, is_video=video is not None or sound is None)


def _name_type(contents: Contents, brand: bytes, *, is_video: bool) -> None:
    if brand == b"qt  ":
        contents.facts["format"] = "mov"
        contents.mime_type = "video/quicktime" if is_video else "audio/mp4"
    elif brand[:2] in (b"3g", b"3G"):
        contents.facts["format"] = "3gp"
        contents.mime_type = "video/3gpp" if is_video else "audio/3gpp"
    else:
        contents.facts["format"] = "mp4"
        contents.mime_type = "video/mp4" if is_video else "audio/mp4"


def _size(track: _MovieTrack) -> tuple[int, int]:
    """Return the size of the picture as players show it: scaled to square pixels, and turned."""
    width, height = round(track.shown[0]), round(track.shown[1])
    if not (width and height):
        width, height = track.coded
    return (height, width) if track.is_turned else (width, height)


def _read_movie(contents: Contents, read: Read, movie: _Movie, moov: Box) -> None:
    for box in boxes(contents, read, moov.start, moov.end):
        if box.kind == b"mvhd":
            movie.timescale, movie.duration = _times(read(box.start, 32))
        elif box.kind == b"trak" and len(movie.tracks) < _MAX_TRACKS:
            track = _MovieTrack()
            movie.tracks.append(track)
            _read_track(contents, read, track, box)
        elif box.kind == b"mvex":
            movie.is_fragmented = True
            _read_extends(contents, read, movie, box)
        elif box.kind == b"udta":
            _read_user_data(contents, read, box)
        elif box.kind == b"meta":
            _read_meta(contents, read, box)


def _times(body: bytes) -> tuple[int, int]:
    """Return time scale and duration of a movie or media header; 0 for the duration that stands for unknown."""
    if _version(body):  # version 1 has 64 bits
        timescale, duration = struct.unpack_from(">IQ", body, 20)
        return timescale, 0 if duration == (1 << 64) - 1 else duration
    timescale, duration = struct.unpack_from(">II", body, 12)
    return timescale, 0 if duration == (1 << 32) - 1 else duration


def _version(body: bytes) -> int:
    """Return the version of a box with one. Raises struct.error if it is cut off."""
    (version,) = struct.unpack_from("B", body)
    return int(version)


def _read_track(contents: Contents, read: Read, track: _MovieTrack, trak: Box) -> None:
    for box in boxes(contents, read, trak.start, trak.end):
        if box.kind == b"tkhd":
            _read_track_header(track, read(box.start, 96))
        elif box.kind == b"mdia":
            _read_media(contents, read, track, box)


def _read_track_header(track: _MovieTrack, body: bytes) -> None:
    is_wide = _version(body) > 0  # with times of 64 bits
    (track.id,) = struct.unpack_from(">I", body, 20 if is_wide else 12)
    a, b, _u, c, d = struct.unpack_from(">5i", body, 52 if is_wide else 40)
    width, height = struct.unpack_from(">II", body, 88 if is_wide else 76)
    track.shown = width / 65536, height / 65536
    track.is_turned = a == d == 0 and bool(b and c)  # by a quarter or three quarters


def _read_media(contents: Contents, read: Read, track: _MovieTrack, mdia: Box) -> None:
    for box in boxes(contents, read, mdia.start, mdia.end):
        if box.kind == b"mdhd":
            track.timescale, track.duration = _times(read(box.start, 32))
        elif box.kind == b"hdlr":
            track.handler = read(box.start + 8, 4)
        elif box.kind == b"minf" and track.handler in (b"vide", b"soun"):
            _read_samples(contents, read, track, box)


def _read_samples(contents: Contents, read: Read, track: _MovieTrack, minf: Box) -> None:
    for table in boxes(contents, read, minf.start, minf.end):
        if table.kind != b"stbl":
            continue
        for box in boxes(contents, read, table.start, table.end):
            if box.kind == b"stsd":
                _read_description(contents, read, track, box)
            elif box.kind == b"stts" and track.handler == b"vide":
                track.samples, track.sampled = _sample_totals(read, box)


def _sample_totals(read: Read, stts: Box) -> tuple[int, int]:
    """Add up a table of pairs, a number of samples and the duration of each; return the samples and their duration."""
    body = read(stts.start, min(stts.length, _MAX_TABLE))
    (entries,) = struct.unpack_from(">I", body, 4)
    pairs = array("I")  # of four bytes on every platform of CPython
    pairs.frombytes(body[8 : 8 + 8 * min(entries, (len(body) - 8) // 8)])
    if byteorder == "little":
        pairs.byteswap()
    return sum(pairs[::2]), sum(map(mul, pairs[::2], pairs[1::2]))


def _read_description(contents: Contents, read: Read, track: _MovieTrack, stsd: Box) -> None:
    """Read codec, size, sample rate and channels from the first entry of a sample description."""
    entry = next(boxes(contents, read, stsd.start + 8, stsd.end), None)
    if entry is None:
        return
    body = read(entry.start, min(entry.length, 4096))
    kind, nested = entry.kind, entry.start + (78 if track.handler == b"vide" else 28)
    if track.handler == b"vide":
        track.coded = struct.unpack_from(">HH", body, 24)
    else:
        nested = entry.start + _read_sound_entry(track, body)
    if kind in (b"encv", b"enca"):
        kind = _original_kind(contents, read, nested, entry.end) or kind
    names = _CODECS if track.handler == b"vide" else _AUDIO_CODECS
    track.codec = names.get(kind) or kind.decode("latin-1").strip("\0 ").lower()
    if kind in (b"mp4a", b"mp4v"):
        track.codec = _OBJECT_TYPES.get(_object_type(body), track.codec)


def _read_sound_entry(track: _MovieTrack, body: bytes) -> int:
    """Read sample rate and channels of a sound's sample entry; return where the boxes in it begin."""
    (version,) = struct.unpack_from(">H", body, 8)
    track.channels, _bits, _id, _packet, rate = struct.unpack_from(">HHHHI", body, 16)
    track.sample_rate = rate / 65536
    if version == 2:  # QuickTime's, with a sample rate in floating point
        track.sample_rate, track.channels = struct.unpack_from(">dI", body, 32)
        return 64
    return 44 if version == 1 else 28


def _original_kind(contents: Contents, read: Read, start: int, end: int) -> bytes | None:
    """Return the codec's kind of an encrypted track, from sinf/frma."""
    for box in boxes(contents, read, start, end):
        if box.kind == b"sinf":
            for inner in boxes(contents, read, box.start, box.end):
                if inner.kind == b"frma":
                    return read(inner.start, 4)
    return None


def _object_type(entry: bytes) -> int:
    """Return the object type in a sample entry's ``esds``, or 0."""
    start = entry.find(b"esds")
    if start < 0:
        return 0
    tag, start = entry[start + 8 : start + 9], start + 9
    start = _skip_length(entry, start) + 3  # ES_ID and flags
    flags = entry[start - 1] if tag == b"\x03" and start <= len(entry) else 0
    start += 2 * bool(flags & 0x80) + 2 * bool(flags & 0x20)
    if flags & 0x40 and start < len(entry):
        start += 1 + entry[start]
    if entry[start : start + 1] != b"\x04":
        return 0
    start = _skip_length(entry, start + 1)
    return entry[start] if start < len(entry) else 0


def _skip_length(body: bytes, start: int) -> int:
    """Return the offset after a descriptor's length, which has up to four bytes of seven bits."""
    for _ in range(4):
        if start >= len(body) or not body[start] & 0x80:
            break
        start += 1
    return start + 1


def _read_extends(contents: Contents, read: Read, movie: _Movie, mvex: Box) -> None:
    for box in boxes(contents, read, mvex.start, mvex.end):
        body = read(box.start, 24)
        if box.kind == b"mehd":
            (movie.duration,) = struct.unpack_from(">Q" if _version(body) else ">I", body, 4)
        elif box.kind == b"trex":
            track_id, _index, duration = struct.unpack_from(">3I", body, 4)
            for track in movie.tracks:
                if track.id == track_id:
                    track.default_duration = duration


def _read_fragment(contents: Contents, read: Read, movie: _Movie, moof: Box) -> None:
    movie.fragments += 1
    for box in boxes(contents, read, moof.start, moof.end):
        if box.kind == b"traf":
            _read_track_fragment(contents, read, movie, box)


def _read_track_fragment(contents: Contents, read: Read, movie: _Movie, traf: Box) -> None:
    """Add samples and durations of a fragment to its track."""
    track, duration = None, 0
    for box in boxes(contents, read, traf.start, traf.end):
        if box.kind == b"tfhd":
            track_id, duration = _fragment_header(read(box.start, 28))
            track = next((track for track in movie.tracks if track.id == track_id), None)
        elif box.kind == b"trun" and track is not None:
            samples, length = _run(read(box.start, min(box.length, 1 << 16)), duration or track.default_duration)
            track.samples += samples
            track.duration += length


def _fragment_header(body: bytes) -> tuple[int, int]:
    """Return track id and default duration of a sample."""
    flags, track_id = struct.unpack_from(">II", body)
    if not flags & 0x08:
        return track_id, 0
    offset = 8 + 8 * bool(flags & 0x01) + 4 * bool(flags & 0x02)
    return track_id, struct.unpack_from(">I", body, offset)[0]


def _run(body: bytes, default: int) -> tuple[int, int]:
    """Return the number of samples of a run, and the sum of their durations."""
    flags, samples = struct.unpack_from(">II", body)
    if not flags & 0x100:
        return samples, samples * default
    fields = 1 + sum(bool(flags & flag) for flag in (0x200, 0x400, 0x800))
    start = 8 + 4 * bool(flags & 0x01) + 4 * bool(flags & 0x04)
    values = body[start : start + 4 * fields * samples]
    values = values[: len(values) // (4 * fields) * 4 * fields]
    return samples, sum(row[0] for row in struct.iter_unpack(f">I{4 * (fields - 1)}x", values))


def _read_user_data(contents: Contents, read: Read, udta: Box) -> None:
    for box in boxes(contents, read, udta.start, udta.end):
        if box.kind == b"meta":
            _read_meta(contents, read, box)
        elif box.kind == b"XMP_":
            read_tag(contents, read, XMP, box.start, box.length)
        elif box.kind in _TAGS and box.length <= _MAX_USER_DATA:
            _read_user_text(contents, _TAGS[box.kind], read(box.start, box.length), is_3gpp=box.kind[0] != 0xA9)


def _read_user_text(contents: Contents, keyword: str, body: bytes, *, is_3gpp: bool) -> None:
    """Add a text of QuickTime, after its length and language, or of 3GPP, after its version, flags and language."""
    text = body[6:] if is_3gpp else body[4 : 4 + int.from_bytes(body[:2], "big")]
    if text.startswith((b"\xfe\xff", b"\xff\xfe")):
        text = text.decode("utf-16", "replace").encode()
    add_tag(contents, keyword, text.rstrip(b"\0"))


def _read_meta(contents: Contents, read: Read, meta: Box) -> None:
    """Read the tags of a ``meta`` box: iTunes' with kinds as keywords, or QuickTime's with a table of keywords."""
    is_full = read(meta.start, 8)[4:8] != b"hdlr"  # QuickTime's has no version and flags before its first box
    keywords: list[str] = []
    for box in boxes(contents, read, meta.start + 4 * is_full, meta.end):
        if box.kind == b"keys":
            keywords = _keywords(read(box.start, min(box.length, 1 << 16)))
        elif box.kind == b"ilst":
            for number, item in enumerate(boxes(contents, read, box.start, box.end)):
                if number >= MAX_TAGS:
                    break
                _read_item(contents, read, item, keywords)


def _keywords(body: bytes) -> list[str]:
    """Return the keywords of a ``keys`` box; numbers in ``ilst``, from 1, refer to them."""
    (count,) = struct.unpack_from(">I", body, 4)
    keywords, start = [], 8
    for _ in range(min(count, MAX_TAGS)):
        (length,) = struct.unpack_from(">I", body, start)
        if length < 8:
            break
        keywords.append(body[start + 8 : start + length].decode("utf-8", "replace").removeprefix(_APPLE))
        start += length
    return keywords


def _read_item(contents: Contents, read: Read, item: Box, keywords: list[str]) -> None:
    number = int.from_bytes(item.kind, "big")
    keyword = keywords[number - 1] if 0 < number <= len(keywords) else _TAGS.get(item.kind, "")
    if not keyword and item.kind != b"----":
        return
    for box in boxes(contents, read, item.start, item.end):
        if box.kind == b"name":
            keyword = read(box.start + 4, min(box.length - 4, 256)).decode("utf-8", "replace")
        elif box.kind == b"data" and keyword:
            _read_value(contents, read, box, keyword)
            return


def _read_value(contents: Contents, read: Read, data: Box, keyword: str) -> None:
    """Add the value of a tag if it is text: type 1 is UTF-8, 2 is UTF-16, 0 is not stated."""
    kind = int.from_bytes(read(data.start, 4), "big")
    if kind in (0, 1):
        read_tag(contents, read, keyword, data.start + 8, data.length - 8)
    elif kind == 2 and is_tag_known(keyword) and data.length <= _MAX_UTF16:
        add_tag(contents, keyword, to_utf8(read(data.start + 8, data.length - 8), "utf-16-be"))


FORMATS: tuple[Format, ...] = (Format("mp4", "video/mp4", "video", matches, read_mp4),)
