"""SVG: the size, and the texts in its metadata, where ComfyUI's SaveSVGNode keeps prompt and workflow.

The file is searched as text. No XML parser is used, so that no entity is expanded and nothing outside the file is read;
that it need not be well-formed is a gain, because browsers show what comes before a fault.
"""

from __future__ import annotations

import io
import re
from html import unescape

from . import texts
from .base import ByteSource, Contents, Format

_MAX_SEARCHED = 8 << 20
_MAX_TAG = 16 << 10
_MAX_DESCRIBED = 64 << 10  # bytes on each side of the metadata in which title and description are searched
_ROOT = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,64}:)?svg(?=[\s>/])")
_SPACE = re.compile(rb"\s*")
# A document type may have declarations in brackets.
_DECLARATION = re.compile(rb"""<![^>\[]*(?:\[[^\]]*\]\s*)?>""")
_MAX_PROLOG = 1000  # comments, instructions and declarations before the root
_ATTRIBUTE = re.compile(rb"""[\s"'](width|height|viewBox)\s{0,8}=\s{0,8}(?:"([^"]{0,200})"|'([^']{0,200})')""")
_LENGTH = re.compile(r"\s*\+?([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\s*(px|pt|pc|mm|cm|in|q)?\s*", re.IGNORECASE)
_PIXELS = {"px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0, "q": 96 / 101.6}
_MAX_SECTIONS = 1000
_MAX_PLAIN = 2 << 20  # bytes of metadata that are not in CDATA, which are unescaped as a str
_COMMENT = rb"<!--", rb"-->"
_INSTRUCTION = rb"<?", rb"?>"
_CDATA = rb"<![CDATA[", rb"]]>"
# Where readers of a screen and browsers have the name and the description of the picture.
_TEXTS = ((b"title", "title"), (b"desc", "description"))


def _is_svg(head: bytes) -> bool:
    return _root(head) is not None


def _root(head: bytes) -> int | None:
    """Return where the tag of the first element ends its name if that is ``svg``, after comments and declarations."""
    start = 3 if head.startswith(b"\xef\xbb\xbf") else 0
    for _ in range(_MAX_PROLOG):
        start = _end_of(_SPACE.match(head, start))
        opening = head[start : start + 4]
        if opening == _COMMENT[0]:
            end = head.find(_COMMENT[1], start) + len(_COMMENT[1])
        elif opening.startswith(_INSTRUCTION[0]):
            end = head.find(_INSTRUCTION[1], start) + len(_INSTRUCTION[1])
        elif opening.startswith(b"<!"):
            end = _end_of(_DECLARATION.match(head, start))
        else:
            return _end_of(_ROOT.match(head, start)) or None
        if end <= start:
            return None
        start = end
    return None


def _end_of(found: re.Match[bytes] | None) -> int:
    return found.end() if found else 0


def _read(contents: Contents, source: ByteSource) -> None:
    data = source.read(0, _MAX_SEARCHED)
    root = _root(data)
    if root is None:
        contents.problems.append("This is not an SVG file.")
        return
    contents.mime_type = "image/svg+xml"
    tag_end = data.find(b">", root, root + _MAX_TAG)
    _add_size(contents, data[root : tag_end if tag_end >= 0 else root + _MAX_TAG])
    start, end = _element(data, b"metadata", root) or (root, root)
    _add_metadata(contents, data, start, end)
    # Not inside the metadata, whose texts may mention the same elements.
    around = data[root:start][:_MAX_DESCRIBED] + data[end : end + _MAX_DESCRIBED]
    for element, keyword in _TEXTS:
        span = _element(around, element, 0)
        if span is not None:
            texts.add(contents, keyword, _plain(around[slice(*span)]))
    if source.size > len(data):
        contents.problems.append("Only the first 8 MiB of the file are searched for metadata.")


def _add_size(contents: Contents, tag: bytes) -> None:
    """Add the size of the root: its width and height in pixels of CSS, else those of its view box."""
    found = {name.decode(): (double or single).decode("latin-1") for name, double, single in _ATTRIBUTE.findall(tag)}
    box = re.split(r"[\s,]+", found.get("viewBox", "").strip())
    inner = [_pixels(value) for value in box[2:4]] if len(box) == 4 else [0, 0]
    width, height = _pixels(found.get("width", "")), _pixels(found.get("height", ""))
    if not (width and height) and all(inner):
        if width or height:  # one side is given; the other keeps the ratio of the view box
            width, height = width or round(height * inner[0] / inner[1]), height or round(width * inner[1] / inner[0])
        else:
            width, height = inner
    if width and height:  # without, the picture takes the size that a page gives it
        contents.facts |= {"width": width, "height": height}


def _pixels(length: str) -> int:
    """Return a length in pixels of CSS, rounded; 0 if it is relative or malformed."""
    found = _LENGTH.fullmatch(length)
    return round(float(found[1]) * _PIXELS[(found[2] or "px").lower()]) if found else 0


def _add_metadata(contents: Contents, data: bytes, start: int, end: int) -> None:
    if data.find(_CDATA[0], start, end) >= 0:
        texts.add(contents, "comment", _cdata(data, start, end))
    elif end - start > _MAX_PLAIN:
        texts.omit(contents, "comment")
    elif data.find(b"RDF", start, min(end, start + 4096)) >= 0:
        texts.add(contents, texts.XMP, data[start:end])
    else:
        texts.add(contents, "comment", _plain(data[start:end]))


def _plain(text: bytes) -> bytes:
    """Return a text without the escapes of XML."""
    return unescape(text.decode("utf-8", "replace")).encode("utf-8", "replace")


def _element(data: bytes, name: bytes, start: int) -> tuple[int, int] | None:
    """Return where the content of the first element with this name is; None if there is none or it does not end."""
    at = data.find(b"<" + name, start)
    if at < 0 or data[at + 1 + len(name) : at + 2 + len(name)] not in (b">", b" ", b"\t", b"\r", b"\n"):
        return None
    content = data.find(b">", at, at + _MAX_TAG) + 1
    if content == 0 or data[content - 2 : content - 1] == b"/":
        return None
    # A text in CDATA may have anything in it, even the end tag.
    is_cdata = data[content : content + 64].lstrip().startswith(_CDATA[0])
    end = data.find(b"</" + name, data.find(_CDATA[1], content) if is_cdata else content)
    return (content, end) if end >= 0 else None


def _cdata(data: bytes, start: int, end: int) -> bytes:
    """Return the joined CDATA sections of a part: a text that holds ``]]>`` must be written as two."""
    text = io.BytesIO()
    for _ in range(_MAX_SECTIONS):
        at = data.find(_CDATA[0], start, end)
        if at < 0:
            break
        at += len(_CDATA[0])
        start = data.find(_CDATA[1], at, end)
        if text.tell() == 0:  # SaveSVGNode has lines of its own around the text
            at = _end_of(_SPACE.match(data, at, end))
        text.write(memoryview(data)[at : start if start >= 0 else end])
        if start < 0:
            break
    return text.getvalue()


FORMATS = (Format("svg", None, "image", _is_svg, _read, (".svg",)),)
