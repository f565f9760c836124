"""Videos, sounds and 3D files: as FFmpeg writes them, where PyAV is installed, and by hand, byte by byte."""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import pytest

WORD = "zqlighthouse"
PROMPT = {"3": {"class_type": "KSampler", "inputs": {"seed": 6, "text": f"a {WORD} größe 🎨"}}}
WORKFLOW = {"nodes": [{"id": 1, "type": "KSampler", "widgets_values": [WORD]}], "links": [], "last_node_id": 1}
TAGS = {"prompt": json.dumps(PROMPT), "workflow": json.dumps(WORKFLOW)}
# As VideoHelperSuite writes it: the prompt is a string in the JSON, the workflow is not.
COMMENT = {"comment": json.dumps({"prompt": json.dumps(PROMPT), "workflow": WORKFLOW})}
KEEP_TAGS = {"movflags": "use_metadata_tags"}
MEDIA_FRAMES = 5
MEDIA_FPS = 8


@contextmanager
def _same_priority() -> Iterator[None]:
    """Restore the priority of this thread afterwards.

    SVT-AV1 gives the calling thread of a process of root the highest real-time priority. Processes that are started
    later inherit it and leave no processor time for others.
    """
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


@_same_priority()
def video(
    container: str,
    codec: str,
    tags: Mapping[str, str] = {},
    *,
    pixels: str = "yuv420p",
    sound: str | None = None,
    size: tuple[int, int] = (96, 64),
    frames: int = MEDIA_FRAMES,
    options: Mapping[str, str] = {},
) -> bytes:
    """Return a video of five frames, eight a second, and a quarter of a second of mono sound at 48 kHz if named."""
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, options=dict(options)) as output:
        for key, value in tags.items():
            output.metadata[key] = value
        stream = output.add_stream(codec, rate=MEDIA_FPS)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        if codec == "libsvtav1":
            stream.options = {"preset": "13"}
        heard = output.add_stream(sound, rate=48000, layout="mono", bit_rate=64000) if sound else None
        for number in range(frames):
            frame = av.VideoFrame(*size, pixels)
            for plane in frame.planes:
                plane.update(bytes([(16 + 8 * number) % 256]) * plane.buffer_size)
            frame.pts, frame.time_base = number, Fraction(1, MEDIA_FPS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if heard is not None:
            _write_sound(av, output, heard)
    return buffer.getvalue()


def sound(
    container: str, codec: str, tags: Mapping[str, str] = {}, *, layout: str = "stereo", rate: int = 48000
) -> bytes:
    """Return half a second of silence."""
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        for key, value in tags.items():
            output.metadata[key] = value
        _write_sound(av, output, output.add_stream(codec, rate=rate, layout=layout, bit_rate=64000), seconds=0.5)
    return buffer.getvalue()


def _write_sound(av: Any, output: Any, stream: Any, seconds: float = 0.25) -> None:
    rate, context = stream.rate, stream.codec_context
    frame = av.AudioFrame(format=context.format.name, layout=context.layout.name, samples=int(rate * seconds))
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.sample_rate, frame.pts = rate, 0
    # Encoders with frames of a fixed size get them from a queue.
    queue = av.AudioFifo()
    queue.write(frame)
    for part in queue.read_many(context.frame_size) if context.frame_size else [queue.read()]:
        output.mux(stream.encode(part))
    rest = queue.read()
    if rest is not None:
        output.mux(stream.encode(rest))
    output.mux(stream.encode(None))


def box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box of an ISO base media file."""
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    """Return a box with version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def item_list(tags: Mapping[str, str]) -> bytes:
    """Return udta/meta with QuickTime's table of keywords, as ffmpeg's ``use_metadata_tags`` writes it."""
    keys = [struct.pack(">I4s", 8 + len(key.encode()), b"mdta") + key.encode() for key in tags]
    handler = full_box(b"hdlr", bytes(4), b"mdta", bytes(13))
    items = [
        box(struct.pack(">I", number), box(b"data", struct.pack(">II", 1, 0), text.encode()))
        for number, text in enumerate(tags.values(), 1)
    ]
    table = full_box(b"keys", struct.pack(">I", len(keys)), *keys)
    return box(b"udta", full_box(b"meta", handler, table, box(b"ilst", *items)))


_MATRICES = {
    0: (65536, 0, 0, 0, 65536),
    90: (0, 65536, 0, -65536, 0),
    180: (-65536, 0, 0, 0, -65536),
    270: (0, -65536, 0, 65536, 0),
}


def video_track(
    size: tuple[int, int] = (96, 64),
    *,
    turned: int = 0,
    shown: tuple[int, int] | None = None,
    codec: bytes = b"avc1",
    samples: int = 5,
    number: int = 1,
) -> bytes:
    """Return a track of ``samples`` frames, eight a second."""
    width, height = shown or size
    matrix = struct.pack(">9i", *_MATRICES[turned], 0, 0, 0, 1 << 30)
    header = full_box(
        b"tkhd",
        struct.pack(">5I", 0, 0, number, 0, 625),
        bytes(16),
        matrix,
        struct.pack(">II", width << 16, height << 16),
    )
    entry = box(codec, bytes(6), b"\0\1", bytes(16), struct.pack(">HH", *size), bytes(50))
    table = box(
        b"stbl",
        full_box(b"stsd", struct.pack(">I", 1), entry),
        full_box(b"stts", struct.pack(">III", 1, samples, 1000) if samples else bytes(4)),
    )
    media = box(
        b"mdia",
        full_box(b"mdhd", struct.pack(">6I", 0, 0, 8000, 1000 * samples, 0, 0)[:20]),
        full_box(b"hdlr", bytes(4), b"vide", bytes(13)),
        box(b"minf", table),
    )
    return box(b"trak", header, media)


def movie(*parts: bytes, seconds: float = 0.625) -> bytes:
    """Return the box ``moov`` with these parts."""
    return box(b"moov", full_box(b"mvhd", struct.pack(">4I", 0, 0, 1000, int(seconds * 1000)), bytes(80)), *parts)


def mp4(*parts: bytes, brand: bytes = b"isom") -> bytes:
    """Return a file with a movie of these parts, after its pixels."""
    return box(b"ftyp", brand, bytes(4)) + box(b"mdat", bytes(64)) + movie(*parts)


def element(number: int, *parts: bytes, unknown: bool = False) -> bytes:
    """Return an element of a Matroska file, with a size of eight bytes."""
    body = b"".join(parts)
    size = b"\x01" + b"\xff" * 7 if unknown else struct.pack(">Q", 1 << 56 | len(body))
    return number.to_bytes((number.bit_length() + 7) // 8, "big") + size + body


def simple_tags(tags: Mapping[str, str]) -> bytes:
    """Return the part of a Matroska file with these tags."""
    simple = [
        element(0x67C8, element(0x45A3, key.encode()), element(0x4487, text.encode())) for key, text in tags.items()
    ]
    return element(0x1254C367, element(0x7373, element(0x63C0), *simple))


def matroska(*parts: bytes, tags: bytes = b"", display: bytes = b"", doc_type: bytes = b"webm") -> bytes:
    """Return a file with one VP9 track of 96 x 64, eight frames a second, then ``parts``, then ``tags``."""
    head = element(0x1A45DFA3, element(0x4282, doc_type))
    info = element(0x1549A966, element(0x2AD7B1, struct.pack(">I", 1_000_000)), element(0x4489, struct.pack(">d", 625)))
    picture = element(0xE0, element(0xB0, b"\x60"), element(0xBA, b"\x40"), display)
    track = element(
        0xAE, element(0x83, b"\1"), element(0x86, b"V_VP9"), element(0x23E383, (125_000_000).to_bytes(4, "big"))
    )
    track = element(0xAE, track[9:], picture)
    return head + element(0x18538067, info, element(0x1654AE6B, track), *parts, tags)


def ogg_page(
    body: bytes, serial: int = 1, position: int = 0, *, flags: int = 0, number: int = 0, is_open: bool = False
) -> bytes:
    """Return a page with one packet; ``is_open`` if the packet continues on the next one. Checksums are left out."""
    full, rest = divmod(len(body), 255)
    segments = b"\xff" * full + (b"" if is_open else bytes([rest]))
    return struct.pack("<4sBBQIIIB", b"OggS", 0, flags, position, serial, number, 0, len(segments)) + segments + body


def comments(tags: Mapping[str, str]) -> bytes:
    """Return a block of Vorbis comments."""
    texts = [f"{key}={text}".encode() for key, text in tags.items()]
    return struct.pack("<I4sI", 4, b"test", len(texts)) + b"".join(
        struct.pack("<I", len(text)) + text for text in texts
    )


def ogg_packet(body: bytes, serial: int = 1) -> bytes:
    """Return the pages of a packet of any length."""
    step = 255 * 255
    parts = [body[start : start + step] for start in range(0, len(body), step)] or [b""]
    pages = [ogg_page(part, serial, number=number + 1, is_open=True) for number, part in enumerate(parts[:-1])]
    return b"".join([*pages, ogg_page(parts[-1], serial, number=len(parts))])


def theora(tags: Mapping[str, str], frames: int = 5) -> bytes:
    """Return an Ogg file with the header and comments of a Theora stream of 96 x 64, eight frames a second."""
    header = b"\x80theora\3\2\1" + struct.pack(">HH", 6, 4) + b"\0\0\x60\0\0\x40\0\0" + struct.pack(">II", 8, 1)
    header += b"\0\0\1\0\0\1\0\0\0\0" + struct.pack(">H", 6 << 5)
    last = ogg_page(b"frame", 1, (frames - 2) << 6 | 2, number=9, flags=4)
    return ogg_page(header, flags=2) + ogg_packet(b"\x81theora" + comments(tags)) + last


def id3(version: int, *frames: bytes, flags: int = 0) -> bytes:
    """Return an ID3 tag of version 2.``version``."""
    body = b"".join(frames) + bytes(16)
    return b"ID3" + bytes([version, 0, flags]) + syncsafe(len(body)) + body


def id3_frame(version: int, kind: bytes, body: bytes, flags: int = 0) -> bytes:
    """Return a frame of an ID3 tag."""
    if version == 2:
        return kind + len(body).to_bytes(3, "big") + body
    length = syncsafe(len(body)) if version == 4 else struct.pack(">I", len(body))
    return kind + length + struct.pack(">H", flags) + body


def syncsafe(number: int) -> bytes:
    """Return a number in four bytes of seven bits."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def mp3_frames(count: int = 10) -> bytes:
    """Return frames of 128 kbit/s, 44.1 kHz, stereo; each has 417 bytes and 1,152 samples."""
    return (b"\xff\xfb\x90\0" + bytes(413)) * count


def chunk(kind: bytes, body: bytes, order: str = "<") -> bytes:
    """Return a chunk of a RIFF or IFF file."""
    return kind + struct.pack(order + "I", len(body)) + body + bytes(len(body) % 2)


def wav(*chunks: bytes) -> bytes:
    """Return a quarter of a second of 16-bit stereo at 8 kHz, with more chunks after the samples."""
    form = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 2, 8000, 32000, 4, 16))
    body = b"WAVE" + form + chunk(b"data", bytes(8000)) + b"".join(chunks)
    return chunk(b"RIFF", body)


def glb(scene: Mapping[str, Any], buffer: bytes = b"") -> bytes:
    """Return a binary glTF file."""
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    parts = struct.pack("<I4s", len(text), b"JSON") + text
    if buffer:
        parts += struct.pack("<I4s", len(buffer), b"BIN\0") + buffer
    return struct.pack("<4sII", b"glTF", 2, 12 + len(parts)) + parts


OPUS_HEADER = b"OpusHead" + struct.pack("<BBHIhB", 1, 2, 312, 48000, 0, 0)
_FRAGMENTED = {"movflags": "use_metadata_tags+frag_keyframe+empty_moov"}
_INFO = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"the sea\0"))
_LANGUAGE = id3_frame(3, b"COMM", b"\1eng" + "x\0a note".encode("utf-16"))
_SCENE = {"asset": {"version": "2.0", "extras": TAGS}, "accessors": [{"count": 3}], "meshes": [{}]}

# Valid small files of videos, sounds, 3D and texts, with the suffix where the content does not tell the format.
SAMPLES: dict[str, Callable[[], bytes]] = {
    "mp4": lambda: mp4(video_track(turned=90), item_list(TAGS)),
    "fragmented": lambda: video("mp4", "mpeg4", TAGS, options=_FRAGMENTED),
    "mov": lambda: video("mov", "mjpeg", {"comment": "a note"}, pixels="yuvj420p", sound="pcm_s16le"),
    "m4a": lambda: sound("ipod", "aac", {"title": "the sea"}),
    "matroska": lambda: matroska(element(0x1F43B675, bytes(50)), tags=simple_tags(TAGS)),
    "mkv": lambda: video("matroska", "mpeg4", TAGS, sound="ac3"),
    "avi": lambda: video("avi", "mpeg4", {"comment": "a note"}, sound="pcm_s16le"),
    "asf": lambda: video("asf", "wmv2", TAGS, sound="wmav2"),
    "flv": lambda: video("flv", "flv", TAGS),
    "theora": lambda: theora(TAGS),
    "opus": lambda: (
        ogg_page(OPUS_HEADER, flags=2) + ogg_packet(b"OpusTags" + comments(TAGS)) + ogg_page(b"x", position=999)
    ),
    "flac": lambda: sound("flac", "flac", TAGS),
    "mp3": lambda: id3(4, id3_frame(4, b"TXXX", b"\3prompt\0" + TAGS["prompt"].encode())) + mp3_frames(),
    "mp3-utf16": lambda: id3(3, _LANGUAGE, flags=0x80) + mp3_frames(),
    "aac": lambda: sound("adts", "aac"),
    "wav": lambda: wav(_INFO, chunk(b"id3 ", id3(3, id3_frame(3, b"TIT2", b"\0the sea"))), chunk(b"bext", bytes(602))),
    "aiff": lambda: sound("aiff", "pcm_s16be", {"title": "the sea"}),
    "glb": lambda: glb(_SCENE, bytes(8)),
    "gltf": lambda: json.dumps({"asset": {"version": "2.0", "extras": TAGS}}).encode(),
    "ply": lambda: b"ply\nformat ascii 1.0\ncomment a\nelement vertex 8\nelement face 2\nend_header\n1 2 3\n",
    ".obj": lambda: b"v 0 0 0\nf 1 2 3\n" * 20,
    ".stl": lambda: bytes(80) + struct.pack("<I", 2) + bytes(100),
    "stl": lambda: b"solid a\n facet normal 0 0 1\nendsolid\n",
    "fbx": lambda: b"Kaydara FBX Binary  \0\x1a\0" + struct.pack("<IIIIB", 7400, 60, 1, 4, 7) + b"Objects" + bytes(60),
    "workflow": lambda: json.dumps(WORKFLOW).encode(),
    "prompt": lambda: json.dumps(PROMPT).encode(),
    ".txt": lambda: "größe a lighthouse\nSteps: 20".encode(),
}  # fmt: skip
