"""Links to files: pages and addresses of Hugging Face and Civitai, and any other address. No I/O."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

from ..errors import InvalidLinkError, SourceNotFoundError

HUGGING_FACE, CIVITAI = "huggingface", "civitai"
# Civitai has several host names. Keys go to the configured address alone, whichever name the link has.
_HOSTS = {
    HUGGING_FACE: frozenset({"huggingface.co", "www.huggingface.co", "hf.co"}),
    CIVITAI: frozenset({"civitai.com", "www.civitai.com", "civitai.red", "www.civitai.red", "civitai.green"}),
}
_REPOSITORY_TYPES = frozenset({"datasets", "spaces"})
_FILE_VIEWS = frozenset({"blob", "resolve", "raw", "blame"})
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


class ProviderUrls(msgspec.Struct, frozen=True):
    """The addresses of the providers, without a slash at the end: the real ones, or those of mirrors."""

    huggingface: str = "https://huggingface.co"
    civitai: str = "https://civitai.com"

    def of(self, provider: str) -> str:
        """Return the address of a provider."""
        return self.civitai if provider == CIVITAI else self.huggingface


class HuggingFaceFile(msgspec.Struct, frozen=True):
    """A file in a repository of Hugging Face. ``kind`` is "datasets", "spaces", or "" for models."""

    kind: str
    repository: str
    revision: str
    path: str

    @property
    def page(self) -> str:
        """The path of the repository's page below the provider's address."""
        return "/".join(quote(part, safe="") for part in (*filter(None, [self.kind]), *self.repository.split("/")))

    def address(self, base: str, revision: str | None = None) -> str:
        """Return the address of the content, of another revision if one is given."""
        path = "/".join(quote(part, safe="") for part in self.path.split("/"))
        return f"{base}/{self.page}/resolve/{quote(revision or self.revision, safe='')}/{path}"


class CivitaiLink(msgspec.Struct, frozen=True):
    """A version of a Civitai model, or the latest one of a model.

    ``wanted`` are criteria for one of its files: ``type``, ``format``, ``size``, ``fp`` and ``fileId``.
    """

    model: str | None = None
    version: str | None = None
    wanted: tuple[tuple[str, str], ...] = ()


class PlainLink(msgspec.Struct, frozen=True):
    """Any other address of a file."""

    url: str


Link = HuggingFaceFile | CivitaiLink | PlainLink


def parse_link(text: str, providers: ProviderUrls, field: str = "url") -> Link:
    """Return the target of a link.

    Raises InvalidLinkError for a text that is no link, SourceNotFoundError for a page of a provider that has no file.
    """
    url = text.strip()
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").lower(), parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https"):
        raise InvalidLinkError("This is not a link to a file.", details={"field": field})
    segments = [unquote(part) for part in parts.path.split("/") if part]
    if _is_of(HUGGING_FACE, host, parts.netloc, providers):
        return _hugging_face(segments)
    if _is_of(CIVITAI, host, parts.netloc, providers):
        return _civitai(segments, dict(parse_qsl(parts.query)[:50]))
    return PlainLink(url)


def without_query(url: str) -> str:
    """Return a URL as it may be stored and shown: queries can hold keys and signatures."""
    return url.partition("?")[0].partition("#")[0]


def _is_of(provider: str, host: str, netloc: str, providers: ProviderUrls) -> bool:
    return host in _HOSTS[provider] or netloc.lower() == urlsplit(providers.of(provider)).netloc.lower()


def _hugging_face(segments: list[str]) -> HuggingFaceFile:
    kind = segments.pop(0) if segments and segments[0] in _REPOSITORY_TYPES else ""
    views = [index for index, part in enumerate(segments[:3]) if part in _FILE_VIEWS and index > 0]
    # The first part is an owner, or a repository of the early days, which has none.
    if not views or len(segments) < views[0] + 3:
        raise SourceNotFoundError("Give the link of a file of this repository: open it on its page first.")
    view = views[0]
    repository, revision, path = segments[:view], segments[view + 1], segments[view + 2 :]
    if revision == "refs" and len(path) > 2:  # refs/convert/parquet, refs/pr/1: slashes that pages do not encode
        revision, path = "/".join([revision, *path[:2]]), path[2:]
    parts = "/".join(path).split("/")  # a slash may be encoded
    if any(part in ("", ".", "..") for part in parts) or not all(map(_REPOSITORY.fullmatch, repository)):
        raise SourceNotFoundError("Hugging Face has no such file.")
    return HuggingFaceFile(kind, "/".join(repository), revision, "/".join(parts))


def _civitai(segments: list[str], query: dict[str, str]) -> CivitaiLink:
    lowered = {key.lower(): value for key, value in query.items()}
    wanted = tuple((key, lowered[key]) for key in ("type", "format", "size", "fp", "fileid") if key in lowered)
    match segments:
        case ["models", model, *_] if _NUMBER.fullmatch(model):
            version = lowered.get("modelversionid", "")
            return CivitaiLink(model, version if _NUMBER.fullmatch(version) else None, wanted)
        case ["api", "download", "models", version] if _NUMBER.fullmatch(version):
            return CivitaiLink(None, version, wanted)
        case ["api", "v1", "model-versions", version] | ["model-versions", version] if _NUMBER.fullmatch(version):
            return CivitaiLink(None, version, wanted)
        case ["api", "v1", "models", model] if _NUMBER.fullmatch(model):
            return CivitaiLink(model, None, wanted)
    raise SourceNotFoundError("Give the link of a model or of one of its versions: open it on its page first.")
