"""The first frame and the figures of videos, read by PyAV where it is installed."""

from __future__ import annotations

import errno
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from PIL import Image

from ...background.interruption import CancelToken
from ...errors import ImageUnreadableError, NoThumbnailError, VideoUnreadableError
from ...fs.paths import extended_path
from ...image_limits import check_size
from .image import ImageStream, fit_size
from .program_maps import before_changes

HEAD = 1024  # bytes that ``container_of`` needs

# Atoms that a QuickTime or MP4 file may begin with. FFmpeg gets the container's name, because it would otherwise also
# open playlists and follow them to other files and servers.
_QUICKTIME = frozenset((b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"))
_CONTAINERS = (
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"OggS", "ogg"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"FLV\x01", "flv"),
    (b"\0\0\x01\xba", "mpeg"),
    (b"\0\0\x01\xb3", "mpegvideo"),
    (b"\x06\x0e\x2b\x34", "mxf"),
    (b"fLaC", "flac"),
    (b"ID3", "mp3"),
    (b"#!AMR", "amr"),
    (b"caff", "caf"),
    (b".snd", "au"),
    (b"wvpk", "wv"),
    (b"\x0b\x77", "ac3"),
)
_RIFF = {b"AVI ": "avi", b"WAVE": "wav"}
_TS_PACKET, _M2TS_PACKET = 188, 192  # bytes; the second kind has a time stamp of 4 bytes in front
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


def container_of(head: bytes) -> str | None:
    """Return FFmpeg's name of the container format for the first bytes of a file of video or sound, or None."""
    if head[4:8] in _QUICKTIME:
        return "mov"
    for magic, name in _CONTAINERS:
        if head.startswith(magic):
            return name
    if head[:4] in (b"RIFF", b"RF64", b"BW64"):
        return _RIFF.get(head[8:12])
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    return "mpegts" if _is_transport_stream(head) else _frames_of_sound(head)


def _is_transport_stream(head: bytes) -> bool:
    for start, step in ((0, _TS_PACKET), (4, _M2TS_PACKET)):
        marks = head[start::step][:3]
        if len(marks) == 3 and set(marks) == {0x47}:
            return True
    return False


def _frames_of_sound(head: bytes) -> str | None:
    """Return the format of MPEG audio without a container, which begins with a frame (ISO 11172-3, 2.4.1.3)."""
    if len(head) < 2 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    return "aac" if head[1] & 0x06 == 0 else "mp3"


class _FFmpegInput:
    """A file for FFmpeg. A transport stream ends before the first track that changes.

    A seek to an impossible place returns an error number: PyAV prints exceptions to the log.
    """

    def __init__(self, stream: IO[bytes], container: str) -> None:
        self._stream = stream
        self._before_changes = before_changes(container)
        self.tell = stream.tell

    def read(self, size: int) -> bytes:
        position = self._stream.tell()
        return self._before_changes(position, self._stream.read(size))

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._stream.seek(offset, whence)
        except (OSError, ValueError):
            return -errno.EINVAL


def open_container(av: ModuleType, stream: IO[bytes], container: str) -> Any:
    """Open a file with FFmpeg, as this container alone. Tags that are not UTF-8 are no reason to fail."""
    return av.open(_FFmpegInput(stream, container), format=container, **tolerance_of(av))


def tolerance_of(av: ModuleType) -> dict[str, Any]:
    """Return the arguments with which ``av.open`` accepts tags that are not UTF-8."""
    # PyAV 19 and later accept them always, and have no such argument.
    return {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}


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


def pyav() -> ModuleType | None:
    """Import PyAV; return None if it is not installed."""
    try:
        return importlib.import_module("av")
    except ImportError:
        return None


def require_pyav() -> ModuleType:
    """Import PyAV. Raises NoThumbnailError if it is not installed."""
    av = pyav()
    if av is None:
        raise NoThumbnailError("Thumbnails of files of this type need PyAV, which is not installed (pip install av).")
    return av


@contextmanager
def map_ffmpeg_errors(av: ModuleType) -> Iterator[None]:
    """Turn the exceptions that FFmpeg raises for damaged files into ImageUnreadableError."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError, EOFError, LookupError) as error:
        raise ImageUnreadableError("The file cannot be read. It is damaged or of an unknown kind.") from error


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
