"""Metadata of sounds: facts and tags of every container, as tools write them and as they are damaged."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.media.metadata import extract
from support.extraction import found, texts
from support.media_files import (
    PROMPT,
    TAGS,
    WORKFLOW,
    chunk,
    comments,
    id3,
    id3_frame,
    mp3_frames,
    ogg_packet,
    ogg_page,
    sound,
    wav,
)

BOTH = {"prompt": PROMPT, "workflow": WORKFLOW}
HEARD = {"kind": "audio", "duration": 0.5, "sample_rate": 48000, "channels": 2}


# Container and encoder of FFmpeg, format and codec as found, mime type, and the documents that the container keeps.
WRITTEN: list[tuple[str, str, str, str, str, dict[str, Any]]] = [
    ("flac", "flac", "flac", "flac", "audio/flac", BOTH),
    ("mp3", "libmp3lame", "mp3", "mp3", "audio/mpeg", BOTH),
    ("opus", "libopus", "ogg", "opus", "audio/ogg", BOTH),
    ("ogg", "libopus", "ogg", "opus", "audio/ogg", BOTH),
    ("matroska", "libopus", "mka", "opus", "audio/x-matroska", BOTH),
    ("webm", "libopus", "webm", "opus", "audio/webm", BOTH),
    ("ipod", "aac", "mp4", "aac", "audio/mp4", {}),
    ("ipod", "alac", "mp4", "alac", "audio/mp4", {}),
    ("wav", "pcm_s16le", "wav", "pcm_s16le", "audio/wav", {}),
    ("wav", "pcm_f32le", "wav", "pcm_f32le", "audio/wav", {}),
    ("wav", "pcm_s24le", "wav", "pcm_s24le", "audio/wav", {}),
    ("aiff", "pcm_s16be", "aiff", "pcm_s16be", "audio/aiff", {}),
    ("adts", "aac", "aac", "aac", "audio/aac", {}),
    ("asf", "wmav2", "asf", "wmav2", "audio/x-ms-wma", BOTH),
    ("mp2", "mp2", "mp2", "mp2", "audio/mpeg", {}),
]


@pytest.mark.parametrize(
    ("container", "codec", "name", "codec_found", "mime", "documents"),
    WRITTEN,
    ids=[f"{row[0]}-{row[1]}" for row in WRITTEN],
)
def test_facts_and_texts_of_what_ffmpeg_writes(
    container: str, codec: str, name: str, codec_found: str, mime: str, documents: dict[str, Any], tmp_path: Path
) -> None:
    contents = found(sound(container, codec, TAGS), tmp_path)
    expected = {"format": name, "audio_codec": codec_found} | HEARD
    if codec in ("aac", "wmav2", "mp2", "libmp3lame", "libopus"):  # the first and last frames are filled up
        expected["duration"] = pytest.approx(0.5, abs=0.07)
    if documents:
        expected["embedded"] = ["prompt", "workflow"]
    assert contents.facts == expected
    assert texts(contents) == documents
    assert contents.mime_type == mime


def test_titles_artists_and_comments(tmp_path: Path) -> None:
    tags = {"title": "the sea", "artist": "someone", "comment": "a note"}
    for container, codec in (("flac", "flac"), ("mp3", "libmp3lame"), ("ipod", "aac"), ("wav", "pcm_s16le")):
        contents = found(sound(container, codec, tags), tmp_path)
        assert (contents.facts["title"], contents.facts["artist"]) == ("the sea", "someone"), container
        assert set(texts(contents)["description"].split("\n")) == {"the sea", "a note"}, container


def encoded(encoding: int, text: str) -> bytes:
    return text.encode({0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}[encoding])


def pair(encoding: int, keyword: str, text: str, language: bytes = b"") -> bytes:
    zero = b"\0\0" if encoding in (1, 2) else b"\0"
    return bytes([encoding]) + language + encoded(encoding, keyword) + zero + encoded(encoding, text)


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("encoding", [0, 1, 2, 3])
def test_tags_of_every_version_of_id3(version: int, encoding: int, tmp_path: Path) -> None:
    names = (b"TXX", b"TT2", b"COM") if version == 2 else (b"TXXX", b"TIT2", b"COMM")
    prompt, workflow = json.dumps(PROMPT), json.dumps(WORKFLOW)
    tag = id3(
        version,
        id3_frame(version, b"PIC" if version == 2 else b"APIC", bytes(300)),
        id3_frame(version, names[0], pair(encoding, "prompt", prompt)),
        id3_frame(version, names[0], pair(encoding, "Workflow", workflow)),
        id3_frame(version, names[1], bytes([encoding]) + encoded(encoding, "café")),
        id3_frame(version, names[2], pair(encoding, "", "a note", b"eng")),
    )
    contents = found(tag + mp3_frames(), tmp_path)
    assert texts(contents) == BOTH | {"description": "café\na note"}
    assert contents.facts == {
        "format": "mp3",
        "kind": "audio",
        "title": "café",
        "duration": 0.261,  # ten frames at 128 kbit/s
        "audio_codec": "mp3",
        "sample_rate": 44100,
        "channels": 2,
        "embedded": ["description", "prompt", "workflow"],
    }


def test_unsynchronised_and_extended_tags(tmp_path: Path) -> None:
    prompt = pair(3, "prompt", json.dumps(PROMPT))
    escaped = id3_frame(4, b"TXXX", struct.pack(">I", len(prompt)) + prompt.replace(b"\xff", b"\xff\0"), 0x0003)
    extended = b"\0\0\0\6\1\0"
    for tag in (
        id3(4, escaped),
        id3(4, extended, id3_frame(4, b"TXXX", prompt), flags=0x40),
        id3(3, b"\0\0\0\6\0\0\0\0\0\0", id3_frame(3, b"TXXX", prompt), flags=0x40),
        id3(3, id3_frame(3, b"TXXX", prompt), flags=0x80),
    ):
        assert texts(found(tag + mp3_frames(), tmp_path)) == {"prompt": PROMPT}


def test_plain_lengths_in_the_newest_version(tmp_path: Path) -> None:
    body = pair(3, "prompt", json.dumps(PROMPT | {"x": {"class_type": "x" * 300, "inputs": {}}}))
    plain = b"TXXX" + struct.pack(">IH", len(body), 0) + body
    assert len(body) & 0x80 == 0 or len(body) > 0x80
    contents = found(id3(4, plain, id3_frame(4, b"TIT2", b"\3the sea")) + mp3_frames(), tmp_path)
    assert contents.facts["title"] == "the sea"
    assert "prompt" in contents.documents


def test_a_keyword_that_is_no_utf_8_is_passed_over(tmp_path: Path) -> None:
    tag = id3(4, id3_frame(4, b"TXXX", b"\3promp\xff\0text"), id3_frame(4, b"TIT2", b"\3the sea"))
    assert found(tag + mp3_frames(), tmp_path).facts["title"] == "the sea"


def test_tags_of_the_first_version(tmp_path: Path) -> None:
    tag = b"TAG" + b"the sea".ljust(30, b"\0") + b"someone".ljust(30) + bytes(34) + b"a note".ljust(30, b"\0") + b"\xff"
    contents = found(mp3_frames() + tag, tmp_path)
    assert (contents.facts["title"], contents.facts["artist"]) == ("the sea", "someone")
    assert contents.facts["duration"] == 0.261


@pytest.mark.parametrize(
    ("first", "seconds"),
    [
        (b"Xing" + struct.pack(">II", 1, 1000), 1000 * 1152 / 44100),
        (b"Info" + struct.pack(">II", 1, 1000), 1000 * 1152 / 44100),
        (b"Xing" + struct.pack(">II", 0, 1000), 11 * 417 * 8 / 128_000),
        (
            b"Info" + struct.pack(">III", 3, 1000, 1) + b"LAME3.100" + bytes(12) + (576 << 12 | 576).to_bytes(3, "big"),
            (1000 * 1152 - 1152) / 44100,
        ),
        (b"VBRI" + struct.pack(">HHHII", 1, 0, 75, 1, 1000), 1000 * 1152 / 44100),
    ],
)
def test_the_length_of_sounds_of_variable_bit_rate(first: bytes, seconds: float, tmp_path: Path) -> None:
    frame = (b"\xff\xfb\x90\0" + bytes(32) + first).ljust(417, b"\0")
    facts = found(frame + mp3_frames(), tmp_path).facts
    assert facts["duration"] == pytest.approx(seconds, abs=0.001)


def opus(packet: bytes, position: int = 24312, rate: int = 44100) -> bytes:
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 2, 312, rate, 0, 0)
    return ogg_page(head, flags=2) + ogg_packet(packet) + ogg_page(b"sound", position=position, flags=4, number=9)


def test_comments_over_many_pages(tmp_path: Path) -> None:
    prompt = {"1": {"class_type": "A", "inputs": {"image": "x" * 300_000}}}
    contents = found(opus(b"OpusTags" + comments({"other": "1", "prompt": json.dumps(prompt)})), tmp_path)
    assert texts(contents) == {"prompt": prompt}
    assert contents.facts == {
        "format": "ogg",
        "kind": "audio",
        "duration": 0.5,
        "audio_codec": "opus",
        "sample_rate": 44100,
        "channels": 2,
        "embedded": ["prompt"],
    }


def test_a_vorbis_stream(tmp_path: Path) -> None:
    head = b"\x01vorbis" + struct.pack("<IBI", 0, 1, 22050) + bytes(14)
    data = ogg_page(head, flags=2) + ogg_packet(b"\x03vorbis" + comments(TAGS)) + ogg_page(b"", position=11025, flags=4)
    contents = found(data, tmp_path)
    assert texts(contents) == BOTH
    assert (contents.facts["duration"], contents.facts["audio_codec"]) == (0.5, "vorbis")


def test_a_flac_stream_in_ogg(tmp_path: Path) -> None:
    information = b"\0\0\0\x22" + bytes(10) + (48000 << 44 | 1 << 41 | 15 << 36 | 24000).to_bytes(8, "big") + bytes(16)
    head = ogg_page(b"\x7fFLAC\1\0\0\1fLaC" + information, flags=2)
    for kind in (b"\x04", b"\x84"):
        packet = ogg_packet(kind + b"\0\0\0" + comments(TAGS))
        contents = found(head + packet + ogg_page(b"sound", position=24000, flags=4), tmp_path)
        assert texts(contents) == BOTH
        assert {key: contents.facts[key] for key in HEARD} == HEARD


def test_texts_of_wav_files(tmp_path: Path) -> None:
    info = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"the sea\0") + chunk(b"ICMT", json.dumps(TAGS).encode()))
    contents = found(wav(info), tmp_path)
    assert texts(contents) == BOTH | {"description": "the sea"}
    assert contents.facts["title"] == "the sea"
    tag = id3(4, id3_frame(4, b"TXXX", pair(3, "prompt", json.dumps(PROMPT))))
    assert texts(found(wav(chunk(b"id3 ", tag)), tmp_path)) == {"prompt": PROMPT}
    broadcast = chunk(b"bext", b"a lighthouse".ljust(256, b"\0") + bytes(346))
    assert texts(found(wav(broadcast), tmp_path)) == {"description": "a lighthouse"}


def test_large_wav_files_have_64_bits(tmp_path: Path) -> None:
    form = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 2, 8000, 32000, 4, 16))
    sizes = chunk(b"ds64", struct.pack("<QQQI", 9000, 8000, 2000, 0))
    samples = struct.pack("<4sI", b"data", 0xFFFFFFFF) + bytes(8000)
    after = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"the sea\0"))
    data = struct.pack("<4sI4s", b"RF64", 0xFFFFFFFF, b"WAVE") + sizes + form + samples + after
    facts = found(data, tmp_path).facts
    assert (facts["duration"], facts["title"]) == (0.25, "the sea")
    streamed = struct.pack("<4sI4s", b"RIFF", 0xFFFFFFFF, b"WAVE") + form + samples
    facts = found(streamed, tmp_path).facts
    assert (facts["duration"], "error" in facts) == (0.25, False)


def test_texts_of_aiff_files(tmp_path: Path) -> None:
    common = chunk(b"COMM", struct.pack(">hIhHQ", 2, 4000, 16, 16383 + 12, 8000 << 51), ">")
    body = b"AIFF" + common + chunk(b"NAME", b"the sea", ">") + chunk(b"ANNO", b"a note", ">")
    contents = found(chunk(b"FORM", body + chunk(b"SSND", bytes(16), ">"), ">"), tmp_path)
    assert texts(contents) == {"description": "the sea\na note"}
    assert contents.facts == {
        "format": "aiff",
        "kind": "audio",
        "title": "the sea",
        "duration": 0.5,
        "audio_codec": "pcm_s16be",
        "sample_rate": 8000,
        "channels": 2,
        "embedded": ["description"],
    }


def test_a_flac_file_after_an_id3_tag(tmp_path: Path) -> None:
    tag = id3(4, id3_frame(4, b"TIT2", b"\3the sea"))
    for padding in (0, 6000):
        data = sound("flac", "flac", TAGS)
        padded = id3(4, id3_frame(4, b"TIT2", b"\3the sea"), bytes(padding)) if padding else tag
        contents = found(padded + data, tmp_path)
        assert contents.facts["format"] == "flac"
        assert contents.facts["title"] == "the sea"
        assert contents.mime_type == "audio/flac"
        assert contents.documents.keys() >= {"prompt", "workflow"}


def test_lyrics_are_words(tmp_path: Path) -> None:
    tag = id3(3, id3_frame(3, b"USLT", pair(3, "", "walking by the lighthouse", b"eng")))
    assert texts(found(tag + mp3_frames(), tmp_path)) == {"description": "walking by the lighthouse"}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (id3(4, id3_frame(4, b"TIT2", b"\3x")) + bytes(4000), "The file has no sound."),
        (b"fLaC\0\0\0\x22" + bytes(8), "The file is truncated."),
        (wav()[:-100], "The file is truncated."),
        (ogg_page(b"unknown", flags=2), "The file has no video and no sound of a known kind."),
        (b"OggS", "The file is truncated."),
        (b"FORM\0\0\0\x10AIFFCOMM\0\0\0\x12", "The file is truncated."),
    ],
)
def test_damaged_files_say_so(data: bytes, problem: str, tmp_path: Path) -> None:
    contents = found(data, tmp_path)
    assert contents.facts["error"] == problem
    assert contents.facts["kind"] == "audio"


@pytest.mark.parametrize("data", [b"\xff\xfe" + "text".encode("utf-16-le"), b"\xff" * 100, bytes(4096), b"ID3"])
def test_what_is_no_sound(data: bytes) -> None:
    assert extract("file", data).facts == {}


def test_text_of_tags_too_large_is_named(tmp_path: Path) -> None:
    tags: Mapping[str, str] = {"prompt": json.dumps({"1": {"class_type": "A", "inputs": {"x": "x" * (17 << 20)}}})}
    block = comments(tags)
    flac = b"fLaC\0\0\0\x22" + bytes(34)
    contents = found(flac + b"\x84\xff\xff\xff" + block, tmp_path)
    assert "prompt" not in contents.documents
    assert found(opus(b"OpusTags" + block), tmp_path).facts["omitted"] == ["prompt", "workflow"]
