"""The first frame and the figures of videos, read by PyAV where it is installed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ...background.interruption import CancelToken
from ...errors import ImageUnreadableError, NoThumbnailError, VideoUnreadableError
from ...fs.paths import extended_path
from ...image_limits import check_size
from .ffmpeg import HEAD, container_of, map_ffmpeg_errors, open_container, pyav
from .image import ImageStream, fit_size

_MAX_PACKETS = 512  # a video whose first frame needs more is taken as damaged
_MAX_COUNTED = 256 << 20  # larger files are not read from end to end


@dataclass(frozen=True)
class VideoFacts:
    """Properties of a video. ``fps`` is the average number of frames per second, ``duration`` is in seconds."""

    width: int
    height: int
    fps: float
    frames: int
    duration: float


def video_track(source: Any) -> Any:
    """Return the first video track of an open file, or None. The cover of a sound file is not one."""
    return next((track for track in source.streams.video if not _is_cover(track)), None)


def _is_cover(track: Any) -> bool:
    return "attached_pic" in str(getattr(track, "disposition", ""))


def first_frame(source: Any, track: Any, res: int, whole: tuple[int, int] | None = None) -> Image.Image:
    """Return the first frame in RGBA, scaled to fit ``res`` x ``res``. Raises ImageUnreadableError, ImageTooLargeError.

    ``whole`` is the size that the file states. Raises NoThumbnailError if the frame has another one: large HEIC images
    are made of tiles, which are tracks of their own here.
    """
    check_size(track.codec_context.width, track.codec_context.height)
    track.codec_context.thread_count = 1
    for number, packet in enumerate(source.demux(track)):
        for frame in packet.decode():
            if whole is not None and {frame.width, frame.height} != set(whole):
                raise NoThumbnailError("Images of several tiles need pillow-heif (pip install pillow-heif).")
            return _picture(frame, res)
        if number >= _MAX_PACKETS:
            break
    raise ImageUnreadableError("The video cannot be read. No frame was found in it.")


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
        container = container_of(stream.read(HEAD))
        stream.seek(0)
        if container is None:
            raise VideoUnreadableError("The file is not a video of a supported kind.")
        try:
            with map_ffmpeg_errors(av), open_container(av, stream, container) as video:
                return _facts(av, video, extended_path(path).stat().st_size <= _MAX_COUNTED)
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
