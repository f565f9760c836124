"""Figures of a video: its size, rate, length and number of frames, by way of PyAV where the server has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...background.cancel import CancelToken
from ...errors import ImageUnreadableError, VideoUnreadableError
from .image import PictureStream
from .video_frame import broken_as_unreadable, container_of, pyav

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


def video_facts(path: Path) -> VideoFacts:
    """The figures of a file. Blocks: for worker threads. Raises VideoUnreadableError, and OSError of the file."""
    av = pyav()
    if av is None:
        raise VideoUnreadableError("Figures of videos need PyAV (pip install av), which is not there.")
    with PictureStream(path, CancelToken()) as stream:
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
