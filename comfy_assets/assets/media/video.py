"""The first frame and the figures of videos, read by PyAV where it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

from ...background.cancel import CancelToken
from ...errors import ImageUnreadableError, NoThumbnailError, VideoUnreadableError
from ...image_limits import check_size
from .image import ImageStream, fit_size

# Atoms that a QuickTime or MP4 file may begin with. FFmpeg gets the container's name, because it would otherwise also
# open playlists and follow them to other files and servers.
_QUICKTIME = frozenset((b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"))
_MAX_PACKETS = 512  # a video whose first frame needs more is taken as damaged
_HEAD = 16
_MAX_COUNTED = 256 << 20  # larger files are not read from end to end


@dataclass(frozen=True)
class VideoFacts:
    """Properties of a video. ``fps`` is the average number of frames per second, ``duration`` is in seconds."""

    width: int
    height: int
    fps: float
    frames: int
    duration: float


def container_of(head: bytes) -> str | None:
    """Return FFmpeg's name of the container format for the first bytes of a file, or None."""
    if head[4:8] in _QUICKTIME:
        return "mov"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    return "ogg" if head.startswith(b"OggS") else None


def first_frame(stream: ImageStream, container: str, res: int) -> Image.Image:
    """Return the first frame in RGBA, scaled to fit ``res`` x ``res``.

    Raises NoThumbnailError without PyAV or a video track, ImageUnreadableError, ImageTooLargeError.
    """
    av = _pyav()
    with map_ffmpeg_errors(av), av.open(stream, format=container) as video:
        track = next(iter(video.streams.video), None)
        if track is None:
            raise NoThumbnailError("The file has no video track.")
        check_size(track.codec_context.width, track.codec_context.height)
        track.codec_context.thread_count = 1
        for number, packet in enumerate(video.demux(track)):
            for frame in packet.decode():
                return _picture(frame, res)
            if number >= _MAX_PACKETS:
                break
    raise ImageUnreadableError("The video cannot be read. No frame was found in it.")


def pyav() -> ModuleType | None:
    """Import PyAV; return None if it is not installed."""
    try:
        return importlib.import_module("av")
    except ImportError:
        return None


def _pyav() -> ModuleType:
    av = pyav()
    if av is None:
        raise NoThumbnailError("Thumbnails of videos need PyAV, which is not installed (pip install av).")
    return av


@contextmanager
def map_ffmpeg_errors(av: ModuleType) -> Iterator[None]:
    """Turn the exceptions that FFmpeg raises for damaged videos into ImageUnreadableError."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError, EOFError) as error:
        raise ImageUnreadableError("The video cannot be read. It is damaged or of an unknown kind.") from error


def _picture(frame: Any, res: int) -> Image.Image:
    check_size(frame.width, frame.height)
    width, height = fit_size((frame.width, frame.height), res)
    picture = Image.fromarray(frame.reformat(width=width, height=height, format="rgba").to_ndarray())
    turned = getattr(frame, "rotation", 0)
    return picture.rotate(turned, expand=True) if turned % 90 == 0 else picture


def video_facts(path: Path) -> VideoFacts:
    """Return the properties of a video file. Blocks: for worker threads. Raises VideoUnreadableError, OSError."""
    av = pyav()
    if av is None:
        raise VideoUnreadableError("Properties of videos need PyAV, which is not installed (pip install av).")
    with ImageStream(path, CancelToken()) as stream:
        container = container_of(stream.read(_HEAD))
        stream.seek(0)
        if container is None:
            raise VideoUnreadableError("The file is not a video of a supported kind.")
        try:
            with map_ffmpeg_errors(av), av.open(stream, format=container) as video:
                return _facts(av, video, path.stat().st_size <= _MAX_COUNTED)
        except ImageUnreadableError as error:
            raise VideoUnreadableError(error.message) from error


def _facts(av: Any, video: Any, may_count: bool) -> VideoFacts:
    track = next(iter(video.streams.video), None)
    if track is None:
        raise VideoUnreadableError("The file has no video track.")
    fps = float(track.average_rate or track.guessed_rate or 0)
    duration = 0.0
    if track.duration and track.time_base:
        duration = float(track.duration * track.time_base)
    elif video.duration:
        duration = video.duration / av.time_base
    frames = int(track.frames) or (_count(video, track) if may_count else round(duration * fps))
    duration = duration or (frames / fps if fps else 0.0)
    return VideoFacts(track.codec_context.width, track.codec_context.height, fps, frames, duration)


def _count(video: Any, track: Any) -> int:
    """Count the frames of a file that does not state their number. Each is one packet; none is decoded."""
    return sum(1 for packet in video.demux(track) if packet.size)
