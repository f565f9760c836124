"""Videos and sounds in Matroska and WebM files (RFC 8794 EBML, RFC 9559 Matroska).

Tags may be at the end of a huge file: the index at the beginning, ``SeekHead``, says where. Without one the clusters
are passed over by their sizes. No block of a cluster is read.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .base import TRUNCATED, ByteSource, Contents, Format, Read
from .media_facts import MAX_TAGS, MediaFacts, add_tag, bounded, frames_of, read_tag, video_codec

_MAGIC = b"\x1aE\xdf\xa3"
_EBML, _SEGMENT, _SEEK_HEAD, _INFO, _TRACKS = 0x1A45DFA3, 0x18538067, 0x114D9B74, 0x1549A966, 0x1654AE6B
_TAGS, _CLUSTER, _CUES, _CHAPTERS, _ATTACHMENTS = 0x1254C367, 0x1F43B675, 0x1C53BB6B, 0x1043A770, 0x1941A469
_VOID, _DOC_TYPE = 0xEC, 0x4282
_SEEK, _SEEK_ID, _SEEK_POSITION = 0x4DBB, 0x53AB, 0x53AC
_TIMESTAMP_SCALE, _DURATION, _TITLE = 0x2AD7B1, 0x4489, 0x7BA9
_TRACK, _TRACK_UID, _TRACK_TYPE, _CODEC_ID, _CODEC_PRIVATE, _DEFAULT_DURATION = (
    0xAE,
    0x73C5,
    0x83,
    0x86,
    0x63A2,
    0x23E383,
)
_VIDEO, _PIXEL_WIDTH, _PIXEL_HEIGHT, _DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = (
    0xE0,
    0xB0,
    0xBA,
    0x54B0,
    0x54BA,
    0x54B2,
)
_CROPS = {0x54AA: 1, 0x54BB: 1, 0x54CC: 0, 0x54DD: 0}  # bottom and top, of the height; left and right, of the width
_PROJECTION, _POSE_ROLL = 0x7670, 0x7675
_AUDIO, _SAMPLING_FREQUENCY, _OUTPUT_FREQUENCY, _CHANNELS = 0xE1, 0xB5, 0x78B5, 0x9F
_TAG, _TARGETS, _TAG_TRACK_UID, _SIMPLE_TAG, _TAG_NAME, _TAG_STRING = 0x7373, 0x63C0, 0x63C5, 0x67C8, 0x45A3, 0x4487

# The length of a number by its first byte: the zeros before the first bit that is set, and 1. 0 is impossible.
_LENGTHS = bytes(9 - byte.bit_length() if byte else 0 for byte in range(256))

_TOP = frozenset((_SEEK_HEAD, _INFO, _TRACKS, _TAGS, _CLUSTER, _CUES, _CHAPTERS, _ATTACHMENTS, _VOID, 0xBF))
_IS_VIDEO, _IS_AUDIO = 1, 2
_MAX_TRACKS = 32
_MAX_ELEMENTS = 4_000
_SMALL = 1 << 16  # the content of elements that are read whole, other than texts
_STATISTICS_TIME = re.compile(rb"(\d{1,4}):(\d\d):(\d\d(?:\.\d{1,9})?)")

_CODECS = {
    "V_VP8": "vp8",
    "V_VP9": "vp9",
    "V_AV1": "av1",
    "V_MPEG4/ISO/AVC": "h264",
    "V_MPEGH/ISO/HEVC": "hevc",
    "V_MPEGI/ISO/VVC": "vvc",
    "V_MPEG1": "mpeg1video",
    "V_MPEG2": "mpeg2video",
    "V_THEORA": "theora",
    "V_PRORES": "prores",
    "V_FFV1": "ffv1",
    "V_MJPEG": "mjpeg",
    "V_UNCOMPRESSED": "rawvideo",
    "A_OPUS": "opus",
    "A_VORBIS": "vorbis",
    "A_FLAC": "flac",
    "A_MPEG/L3": "mp3",
    "A_MPEG/L2": "mp2",
    "A_MPEG/L1": "mp1",
    "A_AC3": "ac3",
    "A_EAC3": "eac3",
    "A_DTS": "dts",
    "A_ALAC": "alac",
    "A_TRUEHD": "truehd",
    "A_WAVPACK4": "wavpack",
    "A_PCM/FLOAT/IEEE": "pcm_f32le",
    "A_PCM/INT/LIT": "pcm_s16le",
    "A_PCM/INT/BIG": "pcm_s16be",
}


class _Element(NamedTuple):
    """An EBML element: its id, and where its content starts and ends. ``end`` is None for an unknown size."""

    id: int
    start: int
    end: int | None


@dataclass
class _MatroskaTrack:
    type: int = 0
    uid: int = 0
    codec_id: str = ""
    private: bytes = b""
    frame_ns: int = 0
    pixels: list[int] = field(default_factory=lambda: [0, 0])
    display: list[int] = field(default_factory=lambda: [0, 0])
    display_unit: int = 0
    crops: list[int] = field(default_factory=lambda: [0, 0])
    roll: float = 0
    sample_rate: float = 8000  # the defaults of the specification
    channels: int = 1
    seconds: float = 0
    frames: int = 0

    @property
    def codec(self) -> str:
        if self.codec_id == "V_MS/VFW/FOURCC":
            return video_codec(self.private[16:20])
        if self.codec_id.startswith("A_AAC"):
            return "aac"
        if self.codec_id.startswith("V_MPEG4/ISO/") and self.codec_id not in _CODECS:
            return "mpeg4"
        return _CODECS.get(self.codec_id, self.codec_id.partition("_")[2].lower())


@dataclass
class _Segment:
    start: int = 0
    timestamp_scale: int = 1_000_000
    duration: float = 0
    tracks: list[_MatroskaTrack] = field(default_factory=list)
    positions: dict[int, int] = field(default_factory=dict)  # of elements that SeekHead names, by id

    @property
    def seconds(self) -> float:
        return self.duration * self.timestamp_scale / 1e9

    def first(self, track_type: int) -> _MatroskaTrack | None:
        return next((track for track in self.tracks if track.type == track_type), None)


def _matches(head: bytes) -> bool:
    return head.startswith(_MAGIC)


@bounded
def read_matroska(contents: Contents, source: ByteSource) -> None:
    """Read facts and tags of a Matroska or WebM file."""
    read, size = source.read, source.size
    segment, doc_type = _Segment(), b""
    try:
        for element in _elements(read, 0, size):
            if element.id == _EBML and element.end is not None:
                doc_type = _string(read, _child(read, element.start, element.end, _DOC_TYPE))
            elif element.id == _SEGMENT:
                if element.end is not None and element.end > size:
                    contents.problems.append(TRUNCATED)
                segment.start = element.start
                _read_segment(contents, read, segment, min(element.end or size, size))
                break
    finally:
        _add_facts(contents, segment, doc_type)


def _elements(read: Read, start: int, end: int) -> Iterator[_Element]:
    """Yield the elements between two offsets, at most ``_MAX_ELEMENTS``, up to the first of unknown size."""
    for _ in range(_MAX_ELEMENTS):
        head = read(start, 12) if start < end else b""
        id_length = _LENGTHS[head[0]] if head else 0
        if not 0 < id_length <= 4 or len(head) <= id_length:
            return
        header = id_length + _LENGTHS[head[id_length]]
        if len(head) < header or header == id_length:
            return
        unknown = (1 << 7 * (header - id_length)) - 1  # all bits of the number
        size = int.from_bytes(head[id_length:header], "big") & unknown
        number, start = int.from_bytes(head[:id_length], "big"), start + header
        if size == unknown:
            yield _Element(number, start, None)
            return
        yield _Element(number, start, start + size)
        start += size


def _child(read: Read, start: int, end: int, wanted: int) -> _Element | None:
    return next((element for element in _elements(read, start, end) if element.id == wanted), None)


def _bytes(read: Read, element: _Element | None) -> bytes:
    if element is None or element.end is None:
        return b""
    return read(element.start, min(element.end - element.start, _SMALL))


def _string(read: Read, element: _Element | None) -> bytes:
    return _bytes(read, element).partition(b"\0")[0]


def _unsigned(read: Read, element: _Element) -> int:
    return int.from_bytes(_bytes(read, element)[:8], "big")


def _float(read: Read, element: _Element) -> float:
    body = _bytes(read, element)
    if len(body) not in (4, 8):
        return 0
    value: float = struct.unpack(">f" if len(body) == 4 else ">d", body)[0]
    return value if math.isfinite(value) else 0


def _read_segment(contents: Contents, read: Read, segment: _Segment, end: int) -> None:
    """Read the parts at the beginning, and then those elsewhere that the index names."""
    found: set[int] = set()
    for element in _elements(read, segment.start, end):
        if element.id not in _TOP:
            break
        if element.id == _CLUSTER and (element.end is None or {_TRACKS, _TAGS} <= found | segment.positions.keys()):
            break
        found.add(element.id)
        _read_part(contents, read, segment, element)
    for part in (_INFO, _TRACKS, _TAGS):
        position = segment.positions.get(part)
        if part in found or position is None or segment.start + position >= end:
            continue
        named = next(_elements(read, segment.start + position, end), None)
        if named is not None and named.id == part:
            _read_part(contents, read, segment, named)


def _read_part(contents: Contents, read: Read, segment: _Segment, part: _Element) -> None:
    if part.end is None:
        return
    if part.id == _SEEK_HEAD:
        for seek in _elements(read, part.start, part.end):
            _read_seek(read, segment, seek)
    elif part.id == _INFO:
        _read_info(contents, read, segment, part)
    elif part.id == _TRACKS:
        for entry in _elements(read, part.start, part.end):
            if entry.id == _TRACK and len(segment.tracks) < _MAX_TRACKS:
                track = _MatroskaTrack()
                segment.tracks.append(track)
                _read_track(read, track, entry)
    elif part.id == _TAGS:
        for tag in _elements(read, part.start, part.end):
            if tag.id == _TAG:
                _read_tag(contents, read, segment, tag)


def _read_seek(read: Read, segment: _Segment, seek: _Element) -> None:
    if seek.id != _SEEK or seek.end is None:
        return
    named = position = None
    for element in _elements(read, seek.start, seek.end):
        if element.id == _SEEK_ID:
            named = _unsigned(read, element)
        elif element.id == _SEEK_POSITION:
            position = _unsigned(read, element)
    if named is not None and position is not None:
        segment.positions.setdefault(named, position)


def _read_info(contents: Contents, read: Read, segment: _Segment, info: _Element) -> None:
    for element in _elements(read, info.start, info.end or info.start):
        if element.id == _TIMESTAMP_SCALE:
            segment.timestamp_scale = _unsigned(read, element)
        elif element.id == _DURATION:
            segment.duration = _float(read, element)
        elif element.id == _TITLE:
            add_tag(contents, "title", _string(read, element))


def _read_track(read: Read, track: _MatroskaTrack, entry: _Element) -> None:
    for element in _elements(read, entry.start, entry.end or entry.start):
        if element.id == _TRACK_TYPE:
            track.type = _unsigned(read, element)
        elif element.id == _TRACK_UID:
            track.uid = _unsigned(read, element)
        elif element.id == _CODEC_ID:
            track.codec_id = _string(read, element).decode("ascii", "replace")
        elif element.id == _CODEC_PRIVATE:
            track.private = _bytes(read, element)
        elif element.id == _DEFAULT_DURATION:
            track.frame_ns = _unsigned(read, element)
        elif element.id in (_VIDEO, _AUDIO):
            for setting in _elements(read, element.start, element.end or element.start):
                _read_setting(read, track, setting)


def _read_setting(read: Read, track: _MatroskaTrack, setting: _Element) -> None:
    if setting.id in (_PIXEL_WIDTH, _PIXEL_HEIGHT):
        track.pixels[setting.id == _PIXEL_HEIGHT] = _unsigned(read, setting)
    elif setting.id in (_DISPLAY_WIDTH, _DISPLAY_HEIGHT):
        track.display[setting.id == _DISPLAY_HEIGHT] = _unsigned(read, setting)
    elif setting.id == _DISPLAY_UNIT:
        track.display_unit = _unsigned(read, setting)
    elif setting.id in _CROPS:
        track.crops[_CROPS[setting.id]] += _unsigned(read, setting)
    elif setting.id == _PROJECTION:
        pose = _child(read, setting.start, setting.end or setting.start, _POSE_ROLL)
        track.roll = _float(read, pose) if pose is not None else 0
    elif setting.id == _CHANNELS:
        track.channels = _unsigned(read, setting)
    elif setting.id == _SAMPLING_FREQUENCY:
        track.sample_rate = _float(read, setting)


def _read_tag(contents: Contents, read: Read, segment: _Segment, tag: _Element) -> None:
    """Read the tags of the file or of one track; those of a track hold its length and number of frames."""
    uids: list[int] = []
    simple_tags: list[_Element] = []
    for element in _elements(read, tag.start, tag.end or tag.start):
        if element.id == _TARGETS:
            targets = _elements(read, element.start, element.end or element.start)
            uids += [_unsigned(read, target) for target in targets if target.id == _TAG_TRACK_UID]
        elif element.id == _SIMPLE_TAG and len(simple_tags) < MAX_TAGS:
            simple_tags.append(element)
    track = next((track for track in segment.tracks if track.uid in uids), None) if any(uids) else None
    for element in simple_tags:
        _read_simple_tag(contents, read, track, element)


def _read_simple_tag(contents: Contents, read: Read, track: _MatroskaTrack | None, simple: _Element) -> None:
    name, value = "", None
    for element in _elements(read, simple.start, simple.end or simple.start):
        if element.id == _TAG_NAME:
            name = _string(read, element).decode("utf-8", "replace")
        elif element.id == _TAG_STRING:
            value = element
    if value is None or value.end is None or not name:
        return
    if track is None:
        read_tag(contents, read, name, value.start, value.end - value.start)
    elif name == "DURATION":
        track.seconds = _seconds(_bytes(read, value))
    elif name == "NUMBER_OF_FRAMES":
        digits = _string(read, value)
        track.frames = int(digits) if digits.isdigit() and len(digits) < 12 else 0


def _seconds(text: bytes) -> float:
    """Return the seconds of a time such as 00:01:02.500000000, which may end with zero bytes."""
    match = _STATISTICS_TIME.match(text)
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else 0


def _add_facts(contents: Contents, segment: _Segment, doc_type: bytes) -> None:
    video, sound = segment.first(_IS_VIDEO), segment.first(_IS_AUDIO)
    is_video = video is not None or sound is None
    contents.facts["format"] = "webm" if doc_type == b"webm" else "mkv" if is_video else "mka"
    subtype = "webm" if doc_type == b"webm" else "x-matroska"
    contents.mime_type = f"{'video' if is_video else 'audio'}/{subtype}"
    if not segment.tracks:
        contents.problems.append("The file has no tracks.")
        return
    facts = MediaFacts(duration=segment.seconds or max(track.seconds for track in segment.tracks))
    if sound is not None:
        facts.audio_codec = sound.codec or "unknown"
        facts.sample_rate, facts.channels = sound.sample_rate, sound.channels
    if video is not None:
        _add_video(facts, video)
    facts.add_to(contents, is_video=is_video)


def _add_video(facts: MediaFacts, video: _MatroskaTrack) -> None:
    """Add the facts of a video track. The container has no number of frames: it follows from length and rate."""
    facts.codec = video.codec
    facts.width, facts.height = _size(video)
    seconds = video.seconds or facts.duration or 0
    if video.frame_ns:
        facts.fps = 1e9 / video.frame_ns
        facts.frame_count = video.frames or frames_of(seconds, facts.fps)
    elif video.frames and seconds:
        facts.fps, facts.frame_count = video.frames / seconds, video.frames


def _size(video: _MatroskaTrack) -> tuple[int, int]:
    """Return the size as shown: in square pixels, without cropped edges, turned by a quarter if the track states it."""
    shown = [pixels - crop for pixels, crop in zip(video.pixels, video.crops, strict=True)]
    if video.display_unit == 0 and all(video.display):
        shown = video.display
    is_turned = round(abs(video.roll)) in (90, 270)
    return (shown[1], shown[0]) if is_turned else (shown[0], shown[1])


FORMATS: tuple[Format, ...] = (Format("matroska", "video/x-matroska", "video", _matches, read_matroska),)
