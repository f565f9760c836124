"""Metadata of videos: facts and texts of every container, as tools write them and as they are damaged."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.media import metadata
from comfy_assets_node.comfy_assets.assets.media.metadata import FileMetadata, extract
from comfy_assets_node.comfy_assets.assets.media.readers.base import ByteSource
from support.extraction import found, texts
from support.media_files import (
    COMMENT,
    KEEP_TAGS,
    PROMPT,
    TAGS,
    WORKFLOW,
    box,
    chunk,
    element,
    full_box,
    item_list,
    matroska,
    movie,
    mp4,
    simple_tags,
    theora,
    video,
    video_track,
)

BOTH = {"prompt": PROMPT, "workflow": WORKFLOW}
SHAPE = {"kind": "video", "width": 96, "height": 64, "duration": 0.625, "fps": 8, "frame_count": 5}
SILENT = SHAPE | {"has_audio": False}
QUIET = {"has_audio": True, "sample_rate": 48000, "channels": 1}
# A program stream states a time for each pack, and so small a file has only two of them.
STAMPED = {"duration": pytest.approx(2.3, abs=1), "frame_count": pytest.approx(18, abs=8)}
UNKNOWN = "The file has no tracks."


def without_embedded(contents: FileMetadata) -> dict[str, Any]:
    return {key: value for key, value in contents.facts.items() if key != "embedded"}


# Container, codec, tags, options; then mime type, format, codec as found, and whether the tags are kept.
WRITTEN: list[tuple[str, str, Mapping[str, str], Mapping[str, str], str, str, str]] = [
    ("mp4", "libx264", TAGS, KEEP_TAGS, "video/mp4", "mp4", "h264"),
    ("mp4", "libx265", TAGS, KEEP_TAGS, "video/mp4", "mp4", "hevc"),
    ("mp4", "libsvtav1", TAGS, KEEP_TAGS, "video/mp4", "mp4", "av1"),
    ("mp4", "mpeg4", COMMENT, {}, "video/mp4", "mp4", "mpeg4"),
    ("mp4", "libx264", COMMENT, {}, "video/mp4", "mp4", "h264"),
    ("mp4", "libx264", TAGS, {"movflags": "use_metadata_tags+frag_keyframe+empty_moov"}, "video/mp4", "mp4", "h264"),
    ("mov", "libx264", TAGS, KEEP_TAGS, "video/quicktime", "mov", "h264"),
    ("mov", "mjpeg", COMMENT, {}, "video/quicktime", "mov", "mjpeg"),
    ("matroska", "libx264", TAGS, {}, "video/x-matroska", "mkv", "h264"),
    ("matroska", "ffv1", TAGS, {}, "video/x-matroska", "mkv", "ffv1"),
    ("matroska", "mpeg4", TAGS, {}, "video/x-matroska", "mkv", "mpeg4"),
    ("webm", "libvpx-vp9", TAGS, {}, "video/webm", "webm", "vp9"),
    ("webm", "libsvtav1", TAGS, {}, "video/webm", "webm", "av1"),
    ("webm", "libvpx-vp9", COMMENT, {}, "video/webm", "webm", "vp9"),
    ("avi", "mpeg4", COMMENT, {}, "video/x-msvideo", "avi", "mpeg4"),
]


@pytest.mark.parametrize(
    ("container", "codec", "tags", "options", "mime", "name", "codec_found"),
    WRITTEN,
    ids=[f"{row[0]}-{row[1]}-{number}" for number, row in enumerate(WRITTEN)],
)
def test_facts_and_texts_of_what_ffmpeg_writes(
    container: str,
    codec: str,
    tags: Mapping[str, str],
    options: Mapping[str, str],
    mime: str,
    name: str,
    codec_found: str,
    tmp_path: Path,
) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    contents = found(video(container, codec, tags, pixels=pixels, options=options), tmp_path)
    assert without_embedded(contents) == {"format": name, "codec": codec_found} | SILENT
    assert texts(contents) == BOTH
    assert contents.mime_type == mime


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="the system has no scheduling policies")
def test_an_encoder_leaves_the_priority_of_the_process() -> None:
    """Else browsers and servers that later tests start would take turns in minutes."""
    before = os.sched_getscheduler(0)
    video("mp4", "libsvtav1")
    assert os.sched_getscheduler(0) == before


WITH_SOUND = [
    ("mp4", "libx264", "aac", "aac"),
    ("mov", "libx264", "pcm_s16le", "pcm_s16le"),
    ("mp4", "libx264", "libmp3lame", "mp3"),
    ("matroska", "libx264", "ac3", "ac3"),
    ("webm", "libvpx-vp9", "libopus", "opus"),
    ("avi", "mjpeg", "pcm_s16le", "pcm_s16le"),
    ("avi", "mpeg4", "libmp3lame", "mp3"),
    ("asf", "wmv2", "wmav2", "wmav2"),
    ("flv", "flv", "aac", "aac"),
    ("mpegts", "libx264", "libmp3lame", "mp3"),
    ("vob", "mpeg2video", "mp2", "mp2"),
]


@pytest.mark.parametrize(("container", "codec", "sound", "sound_found"), WITH_SOUND)
def test_sound_of_videos(container: str, codec: str, sound: str, sound_found: str, tmp_path: Path) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    facts = found(video(container, codec, pixels=pixels, sound=sound, frames=24), tmp_path).facts
    assert facts["kind"] == "video"
    assert (facts["width"], facts["height"]) == (96, 64)
    assert facts["audio_codec"] == sound_found
    assert {key: facts[key] for key in QUIET} == QUIET
    assert facts["fps"] == pytest.approx(8, abs=0.1)
    if container == "vob":
        assert {key: facts[key] for key in STAMPED} == STAMPED
    else:
        assert facts["duration"] == pytest.approx(3, abs=0.15)
        assert facts["frame_count"] == pytest.approx(24, abs=1)


@pytest.mark.parametrize(
    ("make", "name", "codec", "mime"),
    [
        (lambda: video("asf", "wmv2"), "asf", "wmv2", "video/x-ms-wmv"),
        (lambda: video("flv", "flv"), "flv", "flv1", "video/x-flv"),
        (lambda: video("mpegts", "libx264"), "mpegts", "h264", "video/mp2t"),
        (lambda: video("mpegts", "mpeg2video"), "mpegts", "mpeg2video", "video/mp2t"),
        # Joined recordings are read up to the change.
        (lambda: video("mpegts", "mpeg2video") + video("mpegts", "libx264"), "mpegts", "mpeg2video", "video/mp2t"),
        (lambda: video("mpegts", "libx264") + video("mpegts", "mpeg2video"), "mpegts", "h264", "video/mp2t"),
        (lambda: video("vob", "mpeg2video", frames=24), "mpeg", "mpeg2video", "video/mpeg"),
        (lambda: video("3gp", "h263", size=(176, 144)), "3gp", "h263", "video/3gpp"),
        (lambda: theora({}), "ogg", "theora", "video/ogg"),
    ],
)
def test_other_containers(make: Callable[[], bytes], name: str, codec: str, mime: str, tmp_path: Path) -> None:
    contents = found(make(), tmp_path)
    expected = SILENT | ({"width": 176, "height": 144} if name == "3gp" else {})
    if name == "flv":
        expected |= {"frame_count": pytest.approx(5, abs=1), "duration": pytest.approx(0.6, abs=0.1)}
    if name == "mpeg":
        expected |= STAMPED
    if name in ("mpegts", "asf"):
        expected |= {"duration": pytest.approx(0.625, abs=0.13), "frame_count": pytest.approx(5, abs=1)}
    assert contents.facts == {"format": name, "codec": codec} | expected
    assert contents.mime_type == mime


def test_a_stream_of_mpeg_without_pyav_has_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    data = video("mpegts", "libx264")
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    contents = extract("clip.ts", data)
    assert (contents.facts, contents.mime_type) == ({"format": "mpegts", "kind": "video"}, "video/mp2t")


def test_texts_of_theora(tmp_path: Path) -> None:
    contents = found(theora({**{key.upper(): value for key, value in TAGS.items()}, "TITLE": "a lighthouse"}), tmp_path)
    assert texts(contents) == BOTH | {"description": "a lighthouse"}
    assert contents.facts["title"] == "a lighthouse"


@pytest.mark.parametrize(("turned", "size"), [(0, (96, 64)), (90, (64, 96)), (180, (96, 64)), (270, (64, 96))])
def test_the_size_is_that_of_the_turned_picture(turned: int, size: tuple[int, int], tmp_path: Path) -> None:
    facts = found(mp4(video_track(turned=turned)), tmp_path).facts
    assert facts == {"format": "mp4", "codec": "h264"} | SILENT | {"width": size[0], "height": size[1]}


def test_the_size_is_that_in_square_pixels(tmp_path: Path) -> None:
    facts = found(mp4(video_track((720, 576), shown=(1024, 576))), tmp_path).facts
    assert (facts["width"], facts["height"]) == (1024, 576)
    facts = found(mp4(video_track((720, 576), shown=(0, 0))), tmp_path).facts
    assert (facts["width"], facts["height"]) == (720, 576)


@pytest.mark.parametrize(
    ("display", "size"),
    [
        (b"", (96, 64)),
        (element(0x54B0, b"\x80") + element(0x54BA, b"\x40"), (128, 64)),
        (element(0x54B0, b"\x03") + element(0x54BA, b"\x02") + element(0x54B2, b"\x03"), (96, 64)),  # an aspect ratio
        (element(0x54AA, b"\x04") + element(0x54BB, b"\x04") + element(0x54CC, b"\x10"), (80, 56)),  # cropped
        (element(0x7670, element(0x7675, struct.pack(">f", -90))), (64, 96)),
    ],
)
def test_the_size_of_a_picture_in_matroska(display: bytes, size: tuple[int, int], tmp_path: Path) -> None:
    facts = found(matroska(display=display), tmp_path).facts
    assert (facts["width"], facts["height"]) == size


def test_keywords_of_quicktime_and_itunes(tmp_path: Path) -> None:
    apple = item_list({"com.apple.quicktime.title": "the sea", "com.apple.quicktime.artist": "me", **TAGS})
    contents = found(mp4(video_track(), apple), tmp_path)
    assert texts(contents) == BOTH | {"description": "the sea"}
    assert (contents.facts["title"], contents.facts["artist"]) == ("the sea", "me")

    def data(text: str) -> bytes:
        return box(b"data", struct.pack(">II", 1, 0), text.encode())

    free = box(b"----", full_box(b"mean", b"com.apple.iTunes"), full_box(b"name", b"Prompt"), data(TAGS["prompt"]))
    items = box(b"ilst", box(b"\xa9nam", data("the sea")), box(b"\xa9cmt", data("a note")), free)
    itunes = box(b"udta", full_box(b"meta", full_box(b"hdlr", bytes(4), b"mdir", bytes(13)), items))
    contents = found(mp4(video_track(), itunes), tmp_path)
    assert texts(contents) == {"prompt": PROMPT, "description": "the sea\na note"}

    quicktime = box(b"udta", box(b"\xa9cmt", struct.pack(">HH", 6, 0), b"a note"), bytes(4))
    assert texts(found(mp4(video_track(), quicktime), tmp_path)) == {"description": "a note"}


def test_the_header_at_the_end_of_a_huge_file_is_reached_by_the_sizes_of_boxes() -> None:
    start = box(b"ftyp", b"isom", bytes(4))
    huge = struct.pack(">I4sQ", 1, b"mdat", 50 << 30)
    end = movie(video_track(), item_list(TAGS))
    parts = {0: start + huge, len(start) + (50 << 30): end}
    reads: list[int] = []

    def read(offset: int, length: int) -> bytes:
        reads.append(length)
        for position, part in parts.items():
            if position <= offset < position + len(part):
                return part[offset - position : offset - position + length]
        return bytes(length)

    contents = metadata.read_contents("clip.mp4", ByteSource(read, len(start) + (50 << 30) + len(end), in_memory=False))
    assert not contents.problems
    assert contents.facts["frame_count"] == 5
    assert json.loads(contents.texts["prompt"]) == PROMPT
    assert sum(reads) < 1 << 20


@pytest.mark.parametrize("has_index", [True, False])
def test_tags_after_the_clusters_of_matroska(has_index: bool, tmp_path: Path) -> None:
    clusters = element(0x1F43B675, element(0xE7, b"\0"), element(0xA3, bytes(100))) * 20
    tags = simple_tags(TAGS)
    if has_index:
        position = len(matroska(tags=b"")) - len(element(0x1A45DFA3, element(0x4282, b"webm"))) - 12
        length = len(element(0x114D9B74, element(0x4DBB, element(0x53AB, bytes(4)), element(0x53AC, bytes(8)))))
        target = struct.pack(">Q", position + length + len(clusters))
        seek = element(0x4DBB, element(0x53AB, b"\x12\x54\xc3\x67"), element(0x53AC, target))
        clusters = element(0x114D9B74, seek) + clusters
    contents = found(matroska(clusters, tags=tags), tmp_path)
    assert without_embedded(contents) == {"format": "webm", "codec": "vp9"} | SILENT
    assert texts(contents) == BOTH


def test_a_recording_of_a_browser_has_no_sizes(tmp_path: Path) -> None:
    live = matroska(element(0x1F43B675, element(0xA3, bytes(100)), unknown=True))
    start = live.index(b"\x18\x53\x80\x67")
    live = live[: start + 4] + b"\x01" + b"\xff" * 7 + live[start + 12 :]
    assert found(live, tmp_path).facts == {"format": "webm", "codec": "vp9"} | SILENT


def test_a_matroska_file_says_how_many_frames_a_track_has(tmp_path: Path) -> None:
    uid = element(0x63C0, element(0x63C5, b"\7"))
    statistics = element(0x67C8, element(0x45A3, b"NUMBER_OF_FRAMES"), element(0x4487, b"17"))
    data = matroska(tags=element(0x1254C367, element(0x7373, uid, statistics)))
    start = data.index(b"\x83\x01")  # the type of the track, which gets a number
    assert found(data, tmp_path).facts["frame_count"] == 5
    entry = data.index(b"\xae\x01")
    track = data[entry + 9 : data.index(b"\x12\x54\xc3\x67")]
    assert start > entry
    numbered = element(0x1654AE6B, element(0xAE, element(0x73C5, b"\7"), track))
    tracks = data.index(b"\x16\x54\xae\x6b")
    whole = data[:tracks] + numbered + data[data.index(b"\x12\x54\xc3\x67") :]
    segment = whole.index(b"\x18\x53\x80\x67")
    whole = whole[: segment + 4] + struct.pack(">Q", 1 << 56 | len(whole) - segment - 12) + whole[segment + 12 :]
    assert found(whole, tmp_path).facts["frame_count"] == 17


def test_a_file_of_the_wrong_suffix_is_read_by_its_content() -> None:
    assert extract("clip.png", mp4(video_track())).facts["format"] == "mp4"
    assert extract("model.safetensors", matroska()).facts["format"] == "webm"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (box(b"ftyp", b"isom", bytes(4)), UNKNOWN),
        (mp4(video_track())[:60] + struct.pack(">I", 1 << 31) + b"mdat", "The file is truncated."),
        (mp4(video_track())[:-30], "The file is truncated."),
        (box(b"ftyp", b"isom", bytes(4)) + struct.pack(">I4s", 3, b"moov"), "The boxes of the file are damaged."),
        (matroska()[:60], "The file is truncated. The file has no tracks."),
        (chunk(b"RIFF", b"AVI " + chunk(b"LIST", b"hdrl" + chunk(b"avih", bytes(8)))), "The file is truncated."),
    ],
)
def test_damaged_files_say_so(data: bytes, problem: str, tmp_path: Path) -> None:
    contents = found(data, tmp_path)
    assert contents.facts["error"] == problem
    assert contents.facts["kind"] == "video"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e308, -1.0])
def test_impossible_numbers_are_left_out(number: float, tmp_path: Path) -> None:
    length = struct.pack(">d", 625)
    data = matroska(display=element(0x7670, element(0x7675, struct.pack(">f", float("nan")))))
    facts = found(data.replace(length, struct.pack(">d", number)), tmp_path).facts
    assert facts == {"format": "webm", "kind": "video", "width": 96, "height": 64, "fps": 8, "codec": "vp9"} | {
        "has_audio": False
    }


def test_a_text_that_is_too_large_is_named(tmp_path: Path) -> None:
    tags = {
        "prompt": json.dumps({"1": {"class_type": "A", "inputs": {"image": "x" * (17 << 20)}}}),
        "workflow": TAGS["workflow"],
    }
    for data in (mp4(video_track(), item_list(tags)), matroska(tags=simple_tags(tags))):
        contents = found(data, tmp_path)
        assert contents.facts["omitted"] == ["prompt"]
        assert texts(contents) == {"workflow": WORKFLOW}


def test_a_text_over_one_mebibyte_is_read(tmp_path: Path) -> None:
    prompt = {"1": {"class_type": "A", "inputs": {"image": "x" * (3 << 20)}}}
    for data in (
        mp4(video_track(), item_list({"prompt": json.dumps(prompt)})),
        matroska(tags=simple_tags({"PROMPT": json.dumps(prompt)})),
        theora({"PROMPT": json.dumps(prompt)}),
    ):
        assert texts(found(data, tmp_path)) == {"prompt": prompt}
