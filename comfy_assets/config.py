"""What a user can set, read from environment variables; everything has a default that suits most."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .host.access import parse_allowed_host

_FALSE = frozenset({"0", "false", "no", "off"})
_SOURCE = re.compile(r"\*|(?:https?://)?[A-Za-z0-9.*-]+(?::(?:[0-9]{1,5}|\*))?", re.ASCII)
_TRUE = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True)
class Config:
    """``scan_on_start`` indexes the library when the server is up; ``hash_files`` reads what was indexed.

    ``follow`` keeps the index in step with the disk once the library has been indexed.

    ``max_upload_size`` is in bytes; None leaves it to the server around us. ``thumbnail_cache_size`` is how many
    bytes of thumbnails are kept on disk. ``restore_queue`` puts jobs that waited when the server stopped back into its
    queue; ``max_prompt_size`` is how many bytes a submitted prompt may have;
    ``max_workflow_size`` how many a saved workflow may. ``max_image_size`` (bytes), ``max_image_edge`` (pixels) and
    ``max_image_pixels`` limit the pictures and masks that pages upload; None is no limit. ``query_timeout`` is how
    many seconds a query of a request that only reads may take.
    ``shared_outputs`` lets every user see what jobs have made; else, in multi-user mode, it is their owners'.

    ``check_origin`` refuses requests that pages of other origins cause. ``allowed_hosts`` are further names of the
    server, ``frame_ancestors`` origins that may show its pages in a frame.
    """

    scan_on_start: bool = True
    hash_files: bool = True
    follow: bool = True
    max_upload_size: int | None = None
    thumbnail_cache_size: int = 512 << 20
    restore_queue: bool = True
    max_prompt_size: int = 20 << 20
    max_workflow_size: int = 20 << 20
    max_image_size: int | None = None
    max_image_edge: int | None = None
    max_image_pixels: int | None = None
    shared_outputs: bool = False
    query_timeout: int = 10
    check_origin: bool = True
    allowed_hosts: tuple[str, ...] = ()
    frame_ancestors: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Config:
        """Read the variables named ``COMFY_ASSETS_…``. Raises ValueError that names a malformed one."""
        cache_size = _mebibytes(environment, "COMFY_ASSETS_THUMBNAIL_CACHE_MB", least=0)
        workflow_size = _mebibytes(environment, "COMFY_ASSETS_MAX_WORKFLOW_MB")
        return cls(
            scan_on_start=_flag(environment, "COMFY_ASSETS_SCAN", cls.scan_on_start),
            hash_files=_flag(environment, "COMFY_ASSETS_HASH", cls.hash_files),
            follow=_flag(environment, "COMFY_ASSETS_FOLLOW", cls.follow),
            max_upload_size=_mebibytes(environment, "COMFY_ASSETS_MAX_UPLOAD_MB"),
            shared_outputs=_flag(environment, "COMFY_ASSETS_SHARED_OUTPUTS", cls.shared_outputs),
            restore_queue=_flag(environment, "COMFY_ASSETS_RESTORE_QUEUE", cls.restore_queue),
            max_prompt_size=_mebibytes(environment, "COMFY_ASSETS_MAX_PROMPT_MB") or cls.max_prompt_size,
            max_workflow_size=workflow_size or cls.max_workflow_size,
            max_image_size=_mebibytes(environment, "COMFY_ASSETS_MAX_IMAGE_MB"),
            query_timeout=_number(environment, "COMFY_ASSETS_QUERY_SECONDS", "seconds") or cls.query_timeout,
            max_image_edge=_number(environment, "COMFY_ASSETS_MAX_IMAGE_EDGE", "pixels"),
            max_image_pixels=_mebibytes(environment, "COMFY_ASSETS_MAX_IMAGE_MEGAPIXELS", unit="megapixels"),
            check_origin=_flag(environment, "COMFY_ASSETS_CHECK_ORIGIN", cls.check_origin),
            allowed_hosts=_hosts(environment, "COMFY_ASSETS_ALLOWED_HOSTS"),
            frame_ancestors=_sources(environment, "COMFY_ASSETS_FRAME_ANCESTORS"),
            thumbnail_cache_size=cls.thumbnail_cache_size if cache_size is None else cache_size,
        )


def _flag(environment: Mapping[str, str], name: str, default: bool) -> bool:
    value = environment.get(name, "").strip().lower()
    if not value:
        return default
    if value in _TRUE | _FALSE:
        return value in _TRUE
    raise ValueError(f"{name} must be 1 or 0, not {value!r}")


def _words(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(environment.get(name, "").replace(",", " ").split())


def _hosts(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    hosts = _words(environment, name)
    for host in hosts:
        try:
            parse_allowed_host(host)
        except ValueError as error:
            raise ValueError(f"{name} must list host names, without http://: {error}") from error
    return hosts


def _sources(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    sources = _words(environment, name)
    if bad := [source for source in sources if not _SOURCE.fullmatch(source)]:
        raise ValueError(f"{name} must list origins such as https://example.com, not {bad[0]!r}")
    return sources


def _mebibytes(environment: Mapping[str, str], name: str, least: int = 1, unit: str = "MiB") -> int | None:
    number = _number(environment, name, unit, least)
    return None if number is None else number << 20


def _number(environment: Mapping[str, str], name: str, unit: str, least: int = 1) -> int | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and least <= int(text) < 1 << 32):
        raise ValueError(f"{name} must be a number of {unit}, not {text!r}")
    return int(text)
