"""Settings, read from environment variables. Every setting has a default."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .host.access import USER_HEADER, parse_allowed_host, parse_network
from .ignored_files import parse_patterns
from .login.store import Role

BASE_DIRECTORY = "COMFY_ASSETS_BASE_DIRECTORY"
_FALSE = frozenset({"0", "false", "no", "off"})
# A source of Content-Security-Policy. Nothing else may get into the header: a semicolon would begin another rule.
_SOURCE = re.compile(r"\*|(?:https?://)?[A-Za-z0-9.*-]+(?::(?:[0-9]{1,5}|\*))?", re.ASCII)
_ADDRESS = re.compile(r"(https?://)?[A-Za-z0-9.-]+(:[0-9]{1,5})?/?", re.ASCII)
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}", re.ASCII)
# Headers that mean something else to the server, or that every client sends.
_OWN_HEADERS = frozenset({"authorization", "comfy-user", "cookie", "host", "origin", "user-agent", "x-api-key"})
_TRUE = frozenset({"1", "true", "yes", "on"})
_AUTO = "auto"


@dataclass(frozen=True)
class Config:
    """All settings; sizes are bytes, and None means no limit of ours.

    ``scan_on_start`` indexes the library at the start, ``hash_files`` hashes the indexed files, and ``follow`` keeps
    the index up to date afterwards. ``max_upload_size``, ``max_prompt_size`` and ``max_workflow_size`` limit uploads,
    submitted prompts and saved workflows. ``max_image_size``, ``max_image_edge`` (pixels) and ``max_image_pixels``
    limit images and masks uploaded by pages. ``thumbnail_cache_size`` is the size of the thumbnails on disk,
    and ``idle_thumbnails`` makes those of the newest assets while the server is idle.
    ``restore_queue`` puts jobs that waited when the server stopped back into the queue. ``query_timeout`` limits each
    query of a request that only reads, in seconds. ``shared_outputs`` shows the outputs of jobs to all users; otherwise
    they belong to the owners of the jobs in multi-user mode.

    ``api_v2`` serves Comfy API v2: True always, False never, None unless the server or another pack has it already.
    ``max_queued_jobs`` is the number of waiting jobs from which on clients of Comfy API v2 cannot submit more.

    ``feature_flags`` tells ComfyUI's page that its own panels can show this library.
    ``check_origin`` refuses requests from pages of other origins. ``allowed_hosts`` are additional names of the server;
    ``frame_ancestors`` are origins that may show its pages in a frame.

    ``user_max_jobs`` and ``user_max_size`` are the quotas of a user: jobs that wait, and bytes of their files.
    ``trusted_proxies`` are addresses and networks of reverse proxies that sign users in and name them in the header
    ``proxy_user_header``. Users who are not known yet get the role ``proxy_new_users``, or are refused without one.

    ``downloads`` allows downloads from links, ``download_private`` those from addresses that are not public.
    ``download_idle`` is the time without a byte, in seconds, after which a download is tried again. ``huggingface_url``
    and ``civitai_url`` are the addresses of mirrors of these providers, "" for the providers themselves.

    ``exclude`` are the patterns of files and folders that are left out of the library: see ``ExcludePatterns``.
    ``base_directory`` is the folder of ComfyUI that commands work on, "" for the one around the current folder.
    """

    scan_on_start: bool = True
    hash_files: bool = True
    follow: bool = True
    max_upload_size: int | None = None
    thumbnail_cache_size: int = 512 << 20
    idle_thumbnails: bool = True
    restore_queue: bool = True
    max_prompt_size: int = 20 << 20
    max_workflow_size: int = 20 << 20
    max_image_size: int | None = None
    max_image_edge: int | None = None
    max_image_pixels: int | None = None
    shared_outputs: bool = False
    query_timeout: int = 10
    api_v2: bool | None = None
    max_queued_jobs: int = 2000
    feature_flags: bool = True
    check_origin: bool = True
    allowed_hosts: tuple[str, ...] = ()
    frame_ancestors: tuple[str, ...] = ()
    user_max_jobs: int | None = None
    user_max_size: int | None = None
    trusted_proxies: tuple[str, ...] = ()
    proxy_user_header: str = USER_HEADER
    proxy_new_users: Role | None = None
    downloads: bool = True
    download_private: bool = False
    download_idle: int = 60
    huggingface_url: str = ""
    civitai_url: str = ""
    exclude: tuple[str, ...] = ()
    base_directory: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Config:
        """Read the variables ``COMFY_ASSETS_…``. Raises ValueError, which names the malformed variable."""
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
            max_queued_jobs=_number(environment, "COMFY_ASSETS_MAX_QUEUED_JOBS", "jobs") or cls.max_queued_jobs,
            max_image_edge=_number(environment, "COMFY_ASSETS_MAX_IMAGE_EDGE", "pixels"),
            max_image_pixels=_mebibytes(environment, "COMFY_ASSETS_MAX_IMAGE_MEGAPIXELS", unit="megapixels"),
            api_v2=_optional_flag(environment, "COMFY_ASSETS_SDK_API"),
            feature_flags=_flag(environment, "COMFY_ASSETS_FEATURE_FLAGS", cls.feature_flags),
            check_origin=_flag(environment, "COMFY_ASSETS_CHECK_ORIGIN", cls.check_origin),
            allowed_hosts=_hosts(environment, "COMFY_ASSETS_ALLOWED_HOSTS"),
            frame_ancestors=_sources(environment, "COMFY_ASSETS_FRAME_ANCESTORS"),
            user_max_jobs=_number(environment, "COMFY_ASSETS_USER_MAX_JOBS", "jobs"),
            user_max_size=_mebibytes(environment, "COMFY_ASSETS_USER_MAX_MB"),
            trusted_proxies=_networks(environment, "COMFY_ASSETS_TRUSTED_PROXIES"),
            proxy_user_header=_header(environment, "COMFY_ASSETS_PROXY_USER_HEADER") or cls.proxy_user_header,
            proxy_new_users=_new_users(environment, "COMFY_ASSETS_PROXY_NEW_USERS"),
            downloads=_flag(environment, "COMFY_ASSETS_DOWNLOADS", cls.downloads),
            download_private=_flag(environment, "COMFY_ASSETS_DOWNLOAD_PRIVATE", cls.download_private),
            download_idle=_number(environment, "COMFY_ASSETS_DOWNLOAD_IDLE_SECONDS", "seconds") or cls.download_idle,
            huggingface_url=_address(environment, "COMFY_ASSETS_HUGGINGFACE_URL"),
            civitai_url=_address(environment, "COMFY_ASSETS_CIVITAI_URL"),
            exclude=exclude_patterns(environment),
            idle_thumbnails=_flag(environment, "COMFY_ASSETS_IDLE_THUMBNAILS", cls.idle_thumbnails),
            base_directory=base_directory_setting(environment),
            thumbnail_cache_size=cls.thumbnail_cache_size if cache_size is None else cache_size,
        )


def exclude_patterns(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the patterns of what is left out of the library. Raises ValueError, which quotes the malformed one."""
    name = "COMFY_ASSETS_EXCLUDE"
    try:
        return parse_patterns(environment.get(name, ""))
    except ValueError as error:
        raise ValueError(f"{name} must list patterns of names such as *.bak, or of paths: {error}") from error


def base_directory_setting(environment: Mapping[str, str] = os.environ) -> str:
    """Return the folder that commands work on if no option names one; "" if it is not set."""
    return environment.get(BASE_DIRECTORY, "").strip()


def _flag(environment: Mapping[str, str], name: str, default: bool) -> bool:
    value = environment.get(name, "").strip().lower()
    if not value:
        return default
    if value in _TRUE | _FALSE:
        return value in _TRUE
    raise ValueError(f"{name} must be 1 or 0, not {value!r}")


def _optional_flag(environment: Mapping[str, str], name: str) -> bool | None:
    if environment.get(name, "").strip().lower() in ("", _AUTO):
        return None
    try:
        return _flag(environment, name, False)
    except ValueError as error:
        raise ValueError(f"{name} must be {_AUTO}, 1 or 0, not {environment[name]!r}") from error


def _words(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(environment.get(name, "").replace(",", " ").split())


def _checked_words(
    environment: Mapping[str, str], name: str, parse: Callable[[str], object], kind: str
) -> tuple[str, ...]:
    """Return the words, if ``parse`` accepts each. Raises ValueError, with ``kind`` as the expected form."""
    words = _words(environment, name)
    for word in words:
        try:
            parse(word)
        except ValueError as error:
            raise ValueError(f"{name} must list {kind}: {error}") from error
    return words


def _hosts(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    return _checked_words(environment, name, parse_allowed_host, "host names, without http://")


def _networks(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    return _checked_words(environment, name, parse_network, "addresses and networks such as 172.16.0.0/12")


def _header(environment: Mapping[str, str], name: str) -> str:
    header = environment.get(name, "").strip()
    if header and (not _HEADER.fullmatch(header) or header.lower() in _OWN_HEADERS):
        raise ValueError(f"{name} must be the name of a header such as Remote-User, not {header!r}")
    return header


def _new_users(environment: Mapping[str, str], name: str) -> Role | None:
    value = environment.get(name, "").strip().lower()
    if value not in ("", "none", "guest", "member"):
        raise ValueError(f"{name} must be guest, member or none, not {value!r}")
    return "guest" if value == "guest" else "member" if value == "member" else None


def _sources(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    sources = _words(environment, name)
    if bad := [source for source in sources if not _SOURCE.fullmatch(source)]:
        raise ValueError(f"{name} must list origins such as https://example.com, not {bad[0]!r}")
    return sources


def _address(environment: Mapping[str, str], name: str) -> str:
    """Return the address of a server without a slash at the end, by default with https; "" if it is not set."""
    text = environment.get(name, "").strip()
    if not text:
        return ""
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"{name} must be an address such as https://mirror.example, not {text!r}")
    return (text if "://" in text else f"https://{text}").rstrip("/")


def _mebibytes(environment: Mapping[str, str], name: str, least: int = 1, unit: str = "MiB") -> int | None:
    number = _number(environment, name, unit, least)
    return None if number is None else number << 20


def _number(environment: Mapping[str, str], name: str, unit: str, least: int = 1) -> int | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    # Other decimal digits than ASCII's pass ``isdecimal``; the bound keeps the number of bytes within 64 bits.
    if not (text.isascii() and text.isdecimal() and least <= int(text) < 1 << 32):
        raise ValueError(f"{name} must be a number of {unit}, not {text!r}")
    return int(text)
