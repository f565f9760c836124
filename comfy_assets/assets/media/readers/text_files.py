"""Text files: workflows and prompts of ComfyUI as JSON, plain text, and texts that came in the place of models.

ComfyUI's page exports workflows, and prompts in the format of its API; other programs write both beside their pictures.
Pointers of Git LFS and pages of web sites are named as the models that were to be downloaded.
"""

from __future__ import annotations

import html
import re

import msgspec

from . import texts
from .base import MAX_TEXT, ByteSource, Contents, Format, starts_with
from .meshes import read_gltf
from .recoding import object_text

_MAX_TEXT = 64 << 10  # of a plain text: its words are searched, and notes are short
_MAX_NODES = 20_000
_JSON = re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:\{\s*["}]|\[\s*[\[{"\d\]tfn-])')
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_VERSION = re.compile(rb'\{[^{}]*"version"\s*:\s*"\d')
_CLASS = b'"class_type"'
_NONE = msgspec.Raw(b"null")

# Files that came in the place of models.
_POINTER = b"version https://git-lfs.github.com/spec/"
_SIZE = re.compile(rb"^size (\d{1,18})$", re.MULTILINE)
_PAGE = re.compile(rb"\s*(?:<!--.{0,1000}?-->\s*)*<(?:!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(rb"<title[^>]{0,200}>([^<]{1,300})", re.IGNORECASE)
_ERROR_BODY = re.compile(rb'\s*\{\s*"(?:error|message|detail|code|status)"\s*:')
_MAX_TITLE = 80


class _Members(msgspec.Struct):
    """Members that tell the kind of a JSON object. Others are passed over without being held."""

    asset: msgspec.Raw = _NONE
    scenes: msgspec.Raw = _NONE
    nodes: msgspec.Raw = _NONE
    links: msgspec.Raw = _NONE
    last_node_id: msgspec.Raw = _NONE
    prompt: msgspec.Raw = _NONE
    workflow: msgspec.Raw = _NONE
    extra_data: msgspec.Raw = _NONE
    sui_image_params: msgspec.Raw = _NONE


class _PngInfo(msgspec.Struct):
    workflow: msgspec.Raw = _NONE


class _ExtraData(msgspec.Struct):
    extra_pnginfo: _PngInfo


class _ApiNode(msgspec.Struct):
    class_type: str
    inputs: msgspec.Raw


_decode_members = msgspec.json.Decoder(_Members).decode
_decode_extra = msgspec.json.Decoder(_ExtraData).decode
_decode_prompt = msgspec.json.Decoder(dict[str, _ApiNode]).decode
_MALFORMED = (ValueError, msgspec.DecodeError, RecursionError)


def _is_json(head: bytes) -> bool:
    return _JSON.match(head) is not None


def read_json(contents: Contents, source: ByteSource) -> None:
    """Read a workflow or prompt, or a scene that is not known by its beginning; other JSON has no texts of interest."""
    text = object_text(source.read(0, source.size).removeprefix(_BOM)) if source.size <= MAX_TEXT else None
    if text is None:
        return
    if is_prompt(text):
        texts.add(contents, "prompt", text)
    elif (members := _members(text)) is not None:
        if _VERSION.match(members.asset) and _is_list(members.scenes):
            contents.facts |= {"format": "gltf", "kind": "3d"}
            contents.mime_type = "model/gltf+json"
            read_gltf(contents, source)
            return
        _add_members(contents, members, text)
    if contents.texts:
        contents.mime_type = "application/json"


def is_prompt(text: bytes) -> bool:
    """Return whether a JSON object is a prompt in the format of ComfyUI's API: nodes with a class and inputs, by id."""
    if not 0 < text.count(_CLASS) <= _MAX_NODES:
        return False
    try:
        return bool(_decode_prompt(text))
    except _MALFORMED:
        return False


def _members(text: bytes) -> _Members | None:
    try:
        return _decode_members(text)
    except _MALFORMED:
        return None


def _add_members(contents: Contents, members: _Members, text: bytes) -> None:
    """Add a workflow, or the prompt and workflow that an object has as members, such as the body of a request."""
    if _is_list(members.nodes) and (_is_list(members.links) or members.last_node_id != _NONE):
        texts.add(contents, "workflow", text)
    elif members.sui_image_params != _NONE:
        texts.add(contents, "parameters", text)
    else:
        for keyword in ("prompt", "workflow"):
            value = getattr(members, keyword)
            if _is_object(value):
                texts.add(contents, keyword, bytes(value))
        _add_extra(contents, members.extra_data)


def _add_extra(contents: Contents, extra: msgspec.Raw) -> None:
    try:
        workflow = _decode_extra(extra).extra_pnginfo.workflow
    except _MALFORMED:
        return
    if _is_object(workflow):
        texts.add(contents, "workflow", bytes(workflow))


def _is_list(value: msgspec.Raw) -> bool:
    return bytes(memoryview(value)[:1]) == b"["


def _is_object(value: msgspec.Raw) -> bool:
    return bytes(memoryview(value)[:1]) == b"{"


def _is_unknown(head: bytes) -> bool:
    """Return False: only the suffix identifies plain text."""
    return False


def read_text(contents: Contents, source: ByteSource) -> None:
    """Read the beginning of a plain text, such as a caption, or the settings that A1111 writes beside a picture."""
    text = source.read(0, min(source.size, _MAX_TEXT))
    if text.startswith(_UTF16):
        text = text[: len(text) // 2 * 2].decode("utf-16", "replace").encode("utf-8", "replace")
    elif b"\0" in text:
        return  # no text
    elif len(text) < source.size:
        text = text.decode("utf-8", "ignore").encode() if _is_cut_utf8(text) else text
    texts.add(contents, "description", text)


def _is_cut_utf8(text: bytes) -> bool:
    """Return whether a text is UTF-8 but for its last character."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(text) - 3
    return False


def explain_no_model(head: bytes) -> str | None:
    """Return a sentence for users about a file that is no model, by its first bytes; None if they say nothing."""
    head = head.removeprefix(_BOM)
    if head.startswith(_POINTER):
        return _pointer_text(head)
    if _PAGE.match(head):
        title = _TITLE.search(head)
        named = f' ("{_plain_title(title[1])}")' if title else ""
        return f"This is a web page{named}, not a model: the site has sent a page instead of the file."
    if _ERROR_BODY.match(head):
        return "This is the error message of a web site, not a model."
    return None


def _pointer_text(head: bytes) -> str:
    """Return the sentence about a pointer of Git LFS."""
    size = _SIZE.search(head)
    of = f" of {int(size[1]):,} bytes" if size else ""
    return f"This is a Git LFS pointer, not the model itself: the file{of} was not downloaded (git lfs pull)."


def _plain_title(text: bytes) -> str:
    return " ".join(html.unescape(text.decode(errors="replace")).split())[:_MAX_TITLE].replace('"', "'")


def _read_pointer(contents: Contents, source: ByteSource) -> None:
    contents.problems.append(_pointer_text(source.read(0, 1024)))


GIT_LFS = Format("git-lfs", None, "other", starts_with(_POINTER), _read_pointer)
FORMATS: tuple[Format, ...] = (
    Format("json", None, "text", _is_json, read_json, (".json",)),
    Format("text", None, "text", _is_unknown, read_text, (".txt", ".md", ".csv")),
)
