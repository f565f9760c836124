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
from ...pictures import check_size
from .image import ImageStream, fitted

# The reader is chosen by the first bytes: left to itself, FFmpeg would also follow playlists to other places.
_QUICKTIME = frozenset((b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"))
_MAX_PACKETS = 512
_HEAD = 16
_MAX_COUNTED = 256 << 20  # larger files are not read from end to end


@dataclass(frozen=True)
class VideoFacts:
    """``fps`` is the average number of frames a second, ``duration`` is in seconds."""

    width: int
    height: int
    fps: float
    frames: int
    duration: float


def container_of(head: bytes) -> str | None:
    """FFmpeg's name for the container that a file begins like."""
    if head[4:8] in _QUICKTIME:
        return "mov"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    return "ogg" if head.startswith(b"OggS") else None


def first_frame(stream: ImageStream, container: str, res: int) -> Image.Image:
    """The first frame in RGBA, inside ``res`` x ``res``.

    Raises NoThumbnailError where there is no PyAV or no video track, ImageUnreadableError, ImageTooLargeError.
    """
    av = _pyav()
    with broken_as_unreadable(av), av.open(stream, format=container) as video:
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
    """PyAV, where the server has it."""
    try:
        return importlib.import_module("av")
    except ImportError:
        return None


def _pyav() -> ModuleType:
    av = pyav()
    if av is None:
        raise NoThumbnailError("Thumbnails of videos need PyAV (pip install av), which is not there.")
    return av


@contextmanager
def broken_as_unreadable(av: ModuleType) -> Iterator[None]:
    """Raise ImageUnreadableError for whatever a broken video makes FFmpeg raise."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError, EOFError) as error:
        raise ImageUnreadableError("The video cannot be read. It is damaged, or of an unknown kind.") from error


def _picture(frame: Any, res: int) -> Image.Image:
    check_size(frame.width, frame.height)
    width, height = fitted((frame.width, frame.height), res)
    picture = Image.fromarray(frame.reformat(width=width, height=height, format="rgba").to_ndarray())
    turned = getattr(frame, "rotation", 0)
    return picture.rotate(turned, expand=True) if turned % 90 == 0 else picture


def video_facts(path: Path) -> VideoFacts:
    """The figures of a file. Blocks: for worker threads. Raises VideoUnreadableError, and OSError of the file."""
    av = pyav()
    if av is None:
        raise VideoUnreadableError("Figures of videos need PyAV (pip install av), which is not there.")
    with ImageStream(path, CancelToken()) as stream:
        container = container_of(stream.read(_HEAD))
        stream.seek(0)
        if container is None:
            raise VideoUnreadableError("The file is no video of a kind that is known here.")
        try:
            with broken_as_unreadable(av), av.open(stream, format=container) as video:
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
    """The frames of a file that does not tell their number: each is a packet, none is decoded."""
    return sum(1 for packet in video.demux(track) if packet.size)
