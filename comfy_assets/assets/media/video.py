"""The first frame and the figures of videos, and the waveforms of sounds, read by PyAV where it is installed.

A waveform shows the peaks of a sound over time, as bars.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image, ImageDraw

from ...background.interruption import CancelToken
from ...errors import ImageUnreadableError, NoThumbnailError, VideoUnreadableError
from ...fs.paths import extended_path
from ...image_limits import check_size
from .ffmpeg import HEAD, container_of, map_ffmpeg_errors, open_container, pyav
from .image import ImageStream, fit_size

_MAX_PACKETS = 512  # a video whose first frame needs more is taken as damaged
_MAX_COUNTED = 256 << 20  # larger files are not read from end to end

# Waveforms. Their colours are seen on dark and on light pages alike.
_BACKGROUND, _BAR = (64, 72, 88), (168, 196, 236)
_MAX_BARS = 64
_MIN_BAR_PX = 4  # width of a bar with the gap after it
_OVERSAMPLING = 2
_QUIETEST = 0.03  # height of the bar of silence, as a part of the picture's

_MAX_DECODED_S = 60.0  # a longer sound is heard at one moment a bar
_MAX_WORK_S = 4.0  # of a thread; what has been heard until then is drawn
_MAX_FRAMES = 20_000
_MOMENT_FRAMES = 3  # after a jump: the first frame of some codecs is silent
_CHUNK = 64  # samples that have one peak
_Peak = tuple[float, float]  # time in seconds, and the peak from 0 to 1


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
    duration = _duration(av, video, track)
    frames = int(track.frames) or (_count(video, track) if may_count else round(duration * fps))
    duration = duration or (frames / fps if fps else 0.0)
    return VideoFacts(track.codec_context.width, track.codec_context.height, fps, frames, duration)


def _duration(av: ModuleType, source: Any, track: Any) -> float:
    """Return the length in seconds as the file states it, or 0."""
    if track.duration and track.time_base:
        return float(track.duration * track.time_base)
    return source.duration / av.time_base if source.duration else 0.0


def _count(video: Any, track: Any) -> int:
    """Count the frames of a file that does not state their number. Each is one packet; none is decoded."""
    return sum(1 for packet in video.demux(track) if packet.size)


def draw_waveform(av: ModuleType, source: Any, res: int) -> Image.Image:
    """Return the waveform of an open sound file in RGB, ``res`` wide and half as high. Raises ImageUnreadableError."""
    track = next(iter(source.streams.audio), None)
    if track is None:
        raise ImageUnreadableError("The file has neither a picture nor sound.")
    track.codec_context.thread_count = 1
    bars = min(_MAX_BARS, res // _MIN_BAR_PX)
    return _drawn(_bars(av, source, track, bars), res)


def _bars(av: ModuleType, source: Any, track: Any, count: int) -> list[float]:
    """Return the highest peak of each of ``count`` parts of the sound."""
    duration = _duration(av, source, track)
    if duration > _MAX_DECODED_S:
        found = _at_moments(av, source, track, duration, count)
        if any(found):
            return found
        source.seek(0)  # a format without an index, or a very long silence
    peaks = list(_all_peaks(source, track))
    if not peaks:
        raise ImageUnreadableError("The sound cannot be read. No samples were found in it.")
    end = peaks[-1][0] or 1.0
    bars: list[float | None] = [None] * count
    for moment, peak in peaks:
        place = min(count - 1, int(count * moment / end))
        bars[place] = max(bars[place] or 0.0, peak)
    return _without_gaps(bars)


def _all_peaks(source: Any, track: Any) -> Iterator[_Peak]:
    """Yield the peaks from the start on, for at most a minute of sound."""
    deadline, moment = time.monotonic() + _MAX_WORK_S, 0.0
    for number, frame in enumerate(source.decode(track)):
        peaks = _peaks(frame)
        length = frame.samples / (frame.sample_rate or 1)
        for index, peak in enumerate(peaks):
            yield moment + length * (index + 1) / len(peaks), peak
        moment += length
        if moment > _MAX_DECODED_S or number > _MAX_FRAMES or time.monotonic() > deadline:
            return


def _at_moments(av: ModuleType, source: Any, track: Any, duration: float, count: int) -> list[float]:
    """Return the peak at ``count`` moments, 0 where none could be decoded."""
    deadline = time.monotonic() + _MAX_WORK_S
    found = [0.0] * count
    for bar in range(count):
        if time.monotonic() > deadline:
            break
        try:
            source.seek(int((bar + 0.5) / count * duration * av.time_base))
            found[bar] = max(_some_peaks(source, track), default=0.0)
        except (av.FFmpegError, OSError, ValueError, EOFError):
            continue  # damaged here; the others show the sound
    return found


def _some_peaks(source: Any, track: Any) -> Iterator[float]:
    for number, frame in enumerate(source.decode(track)):
        yield max(_peaks(frame), default=0.0)
        if number + 1 >= _MOMENT_FRAMES:
            return


def _peaks(frame: Any) -> list[float]:
    """Return the peaks of a decoded frame, one for each ``_CHUNK`` samples, in any sample format."""
    import numpy as np

    samples = frame.to_ndarray()
    if samples.dtype.kind in "iu":
        half = float(2 ** (8 * samples.dtype.itemsize - 1))
        samples = samples.astype(np.float32) / half - (1.0 if samples.dtype.kind == "u" else 0.0)
    if not frame.format.is_planar:  # all channels are in one row
        samples = samples.reshape(-1, max(1, frame.layout.nb_channels)).T
    loud = np.abs(np.nan_to_num(samples.astype(np.float32), nan=0.0, posinf=1.0, neginf=1.0)).max(axis=0)
    whole = loud[: len(loud) // _CHUNK * _CHUNK].reshape(-1, _CHUNK).max(axis=1)
    rest = loud[len(whole) * _CHUNK :]
    peaks: list[float] = whole.tolist()
    return [*peaks, float(rest.max())] if len(rest) else peaks


def _without_gaps(bars: Sequence[float | None]) -> list[float]:
    """Fill the bars of sounds that have fewer peaks than bars with the one before."""
    filled, last = [], 0.0
    for bar in bars:
        last = last if bar is None else bar
        filled.append(last)
    return filled


def _drawn(bars: Sequence[float], res: int) -> Image.Image:
    width, height = res * _OVERSAMPLING, res // 2 * _OVERSAMPLING
    picture = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    loudest = max(bars) or 1.0
    step = width / (len(bars) + 1)
    for number, bar in enumerate(bars):
        # The square root shows quiet parts beside loud ones.
        half = max(_QUIETEST, 0.86 * (bar / loudest) ** 0.5) * height / 2
        left = step * (number + 0.7)
        box = (left, height / 2 - half, left + step * 0.6, height / 2 + half)
        draw.rounded_rectangle(box, radius=step * 0.3, fill=_BAR)
    return picture.resize((res, res // 2), Image.Resampling.LANCZOS)
