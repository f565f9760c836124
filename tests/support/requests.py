"""Bodies of requests, as bytes and headers, for clients that know nothing of forms."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

Part = str | bytes | tuple[str, bytes]


def multipart(parts: Iterable[tuple[str, Part]]) -> tuple[bytes, dict[str, str]]:
    """Return a multipart body and its headers; a part is text, bytes, or a file's name and content."""
    boundary = uuid.uuid4().hex
    body = bytearray()
    for name, value in parts:
        file_name, content = value if isinstance(value, tuple) else (None, value)
        content = content.encode() if isinstance(content, str) else content
        named = f'; filename="{file_name}"' if file_name is not None else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode()
        body += content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return bytes(body), {"Content-Type": f"multipart/form-data; boundary={boundary}"}
