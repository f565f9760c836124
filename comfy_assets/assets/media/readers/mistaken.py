"""Files that are no models although they are named as such: pointers of Git LFS, and pages of web sites."""

from __future__ import annotations

import html
import re

from .base import ByteSource, Contents, Format, starts_with

_POINTER = b"version https://git-lfs.github.com/spec/"
_SIZE = re.compile(rb"^size (\d{1,18})$", re.MULTILINE)
_PAGE = re.compile(rb"\s*(?:<!--.{0,1000}?-->\s*)*<(?:!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(rb"<title[^>]{0,200}>([^<]{1,300})", re.IGNORECASE)
_ERROR_BODY = re.compile(rb'\s*\{\s*"(?:error|message|detail|code|status)"\s*:')
_MAX_TITLE = 80
_BOM = b"\xef\xbb\xbf"


def explain(head: bytes) -> str | None:
    """Return a sentence for users about a file that is no model, by its first bytes; None if they say nothing."""
    head = head.removeprefix(_BOM)
    if head.startswith(_POINTER):
        return pointer_text(head)
    if _PAGE.match(head):
        title = _TITLE.search(head)
        named = f' ("{_plain(title[1])}")' if title else ""
        return f"This is a web page{named}, not a model: the site has sent a page instead of the file."
    if _ERROR_BODY.match(head):
        return "This is the error message of a web site, not a model."
    return None


def pointer_text(head: bytes) -> str:
    """Return the sentence about a pointer of Git LFS."""
    size = _SIZE.search(head)
    of = f" of {int(size[1]):,} bytes" if size else ""
    return f"This is a Git LFS pointer, not the model itself: the file{of} was not downloaded (git lfs pull)."


def _plain(text: bytes) -> str:
    return " ".join(html.unescape(text.decode(errors="replace")).split())[:_MAX_TITLE].replace('"', "'")


def _read_pointer(contents: Contents, source: ByteSource) -> None:
    contents.problems.append(pointer_text(source.read(0, 1024)))


FORMATS = (Format("git-lfs", None, "other", starts_with(_POINTER), _read_pointer),)
