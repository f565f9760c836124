"""Codecs by the codes that AVI, WAV, ASF and Matroska share: four characters for video, a number for sound.

The names are those of FFmpeg, as in the other readers.
"""

from __future__ import annotations

_VIDEO = {
    "H264": "h264",
    "X264": "h264",
    "AVC1": "h264",
    "DAVC": "h264",
    "HEVC": "hevc",
    "HVC1": "hevc",
    "H265": "hevc",
    "FMP4": "mpeg4",
    "XVID": "mpeg4",
    "DIVX": "mpeg4",
    "DX50": "mpeg4",
    "MP4V": "mpeg4",
    "MP43": "msmpeg4v3",
    "DIV3": "msmpeg4v3",
    "MP42": "msmpeg4v2",
    "MJPG": "mjpeg",
    "MPG1": "mpeg1video",
    "MPG2": "mpeg2video",
    "MPEG": "mpeg2video",
    "VP80": "vp8",
    "VP90": "vp9",
    "AV01": "av1",
    "FFV1": "ffv1",
    "HFYU": "huffyuv",
    "FFVH": "ffvhuff",
    "ULRG": "utvideo",
    "WMV1": "wmv1",
    "WMV2": "wmv2",
    "WMV3": "wmv3",
    "WVC1": "vc1",
    "H263": "h263",
    "FLV1": "flv1",
    "CRAM": "msvideo1",
    "DIB ": "rawvideo",
    "RGB ": "rawvideo",
    "\0\0\0\0": "rawvideo",
    "I420": "rawvideo",
    "IYUV": "rawvideo",
    "YUY2": "rawvideo",
    "UYVY": "rawvideo",
    "MPNG": "png",
    "PNG1": "png",
    "APCN": "prores",
    "APCH": "prores",
}
_AUDIO = {
    0x0001: "pcm",
    0x0002: "adpcm_ms",
    0x0003: "pcm_f32le",
    0x0006: "pcm_alaw",
    0x0007: "pcm_mulaw",
    0x0011: "adpcm_ima_wav",
    0x0031: "gsm_ms",
    0x0050: "mp2",
    0x0055: "mp3",
    0x00FF: "aac",
    0x0160: "wmav1",
    0x0161: "wmav2",
    0x0162: "wmapro",
    0x0163: "wmalossless",
    0x1600: "aac",
    0x1610: "aac",
    0x2000: "ac3",
    0x2001: "dts",
    0x566F: "vorbis",
    0x704F: "opus",
    0xA106: "aac",
    0xF1AC: "flac",
}
EXTENSIBLE = 0xFFFE


def video_codec(code: bytes) -> str:
    """Return the name of a video codec; its code in lower case if it is unknown."""
    text = code.decode("latin-1")
    return _VIDEO.get(text.upper()) or text.strip("\0 ").lower()


def audio_codec(code: int, bits: int) -> str:
    """Return the name of a sound's codec; ``bits`` is the size of a sample, which PCM is named by."""
    if code == 0x0001:
        return "pcm_u8" if bits <= 8 else f"pcm_s{(bits + 7) // 8 * 8}le"
    if code == 0x0003 and bits == 64:
        return "pcm_f64le"
    return _AUDIO.get(code, f"0x{code:04x}")
