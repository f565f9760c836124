"""Links, and the file behind one: its address, name, size and hash, asked from the server that has it."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

from ..errors import InvalidLinkError, SourceMetadataError, SourceNotFoundError
from ..host.remote_client import RemoteClient, RemoteKey, RemoteRequest, RemoteResponse, check_status, parse_size
from ..names import UnsafeName, safe_file_name

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
_FALLBACK_NAME = "file"
_MAX_PREVIEW = 1 << 20
_PREVIEW_TYPES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))
_MAX_PREVIEW_LEVEL = 2  # Civitai's levels 1 and 2 may be shown to everybody
_PREVIEW_WIDTH = re.compile(r"/(?:original=true|width=\d+)[^/]*/")
_INLINE_SIZE = 64 << 10  # larger responses are decoded in a thread
_SHA256 = re.compile(r'(?:W/)?"?([0-9a-f]{64})"?', re.IGNORECASE)
_DISPOSITION_ENCODED = re.compile(r"filename\*\s*=\s*([A-Za-z0-9-]+)'[^']*'([^;\s]+)", re.IGNORECASE)
_DISPOSITION = re.compile(r'filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))', re.IGNORECASE)
# The folders of models by Civitai's types. Types without an entry have no folder of their own.
_CIVITAI_FOLDERS = {
    "Checkpoint": "checkpoints",
    "LORA": "loras",
    "LoCon": "loras",
    "DoRA": "loras",
    "TextualInversion": "embeddings",
    "Hypernetwork": "hypernetworks",
    "Controlnet": "controlnet",
    "VAE": "vae",
    "Upscaler": "upscale_models",
    "UNet": "diffusion_models",
    "Diffusion Model": "diffusion_models",
    "Text Encoder": "text_encoders",
    "CLIPVision": "clip_vision",
}
_MAX_WORDS, _MAX_WORD_LENGTH = 100, 500


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


class SourceProblem(msgspec.Struct, frozen=True):
    """A reason why a file should not be downloaded. ``is_fatal`` is False for a warning."""

    code: str
    message: str
    field: str = "url"
    is_fatal: bool = True


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of another server.

    ``url`` is requested, ``page`` shown: it has no query. ``size`` is in bytes, and may be rounded unless ``is_exact``;
    ``sha256`` and ``blake3`` are digests. ``folders`` are words of its path or type that may be names of model
    categories. ``facts`` become user metadata.
    """

    url: str
    page: str
    provider: str = ""
    name: str
    size: int | None = None
    is_exact: bool = True
    sha256: bytes | None = None
    blake3: bytes | None = None
    content_type: str | None = None
    folders: tuple[str, ...] = ()
    preview_url: str | None = None
    facts: dict[str, Any] = {}
    problems: tuple[SourceProblem, ...] = ()

    @property
    def host(self) -> str:
        """The host that has the file."""
        return urlsplit(self.url).netloc.lower()


class Sources:
    """Asks servers about the files behind links."""

    def __init__(self, client: RemoteClient, providers: ProviderUrls) -> None:
        self._client = client
        self.providers = providers

    def provider_of(self, url: str, field: str = "url") -> str:
        """Return the id of the provider whose key a link may need, or "".

        Raises InvalidLinkError, AddressNotAllowedError, SourceNotFoundError.
        """
        link = parse_link(url, self.providers, field)
        if isinstance(link, PlainLink):
            self._client.check_url(link.url, field)
            return ""
        return HUGGING_FACE if isinstance(link, HuggingFaceFile) else CIVITAI

    async def find(self, url: str, key: RemoteKey | None, field: str = "url") -> RemoteFile:
        """Return the file behind a link.

        Raises InvalidLinkError, AddressNotAllowedError, SourceError.
        """
        link = parse_link(url, self.providers, field)
        if isinstance(link, HuggingFaceFile):
            return await self._hugging_face(link, key)
        if isinstance(link, CivitaiLink):
            return await self._civitai(link, key)
        self._client.check_url(link.url, field)
        return await self._plain(link.url)

    async def preview(self, source: RemoteFile) -> str | None:
        """Return the provider's picture of a model as a data URL; None if it has none that can be shown."""
        if source.preview_url is None:
            return None
        content = await self._client.read(RemoteRequest(source.preview_url), limit=_MAX_PREVIEW)
        mime = next((mime for start, mime in _PREVIEW_TYPES if content.startswith(start)), None)
        return None if mime is None else f"data:{mime};base64,{base64.b64encode(content).decode()}"

    async def _hugging_face(self, link: HuggingFaceFile, key: RemoteKey | None) -> RemoteFile:
        base = self.providers.huggingface
        # The redirect to the storage has the facts; Git LFS names files by their SHA-256.
        request = RemoteRequest(link.address(base), method="HEAD", key=key, provider=HUGGING_FACE, stays=True)
        response = await self._client.probe(request)
        if not 300 <= response.status < 400:
            check_status(response, request)
        headers = response.headers
        digest = _SHA256.fullmatch(headers.get("X-Linked-Etag", ""))
        commit = headers.get("X-Repo-Commit")
        size = parse_size(headers.get("X-Linked-Size"))
        if size is None and "Location" not in headers:
            size = parse_size(headers.get("Content-Length"))
        page = f"{base}/{link.page}"
        return RemoteFile(
            # Of this commit, so that a download continued tomorrow is of the same file.
            url=link.address(base, commit if commit and commit.isalnum() else None),
            page=f"{page}/blob/{link.revision}/{link.path}",
            provider=HUGGING_FACE,
            name=_safe_name(link.path.rpartition("/")[2]),
            size=size,
            sha256=bytes.fromhex(digest[1]) if digest else None,
            folders=tuple(part for part in link.path.split("/")[:-1] if part),
            facts={"repo_url": page},
        )

    async def _civitai(self, link: CivitaiLink, key: RemoteKey | None) -> RemoteFile:
        base = self.providers.civitai
        if link.version is not None:
            version = await self._json(f"{base}/api/v1/model-versions/{link.version}", key)
            model = _member(version, "model", dict)
            model_id = version.get("modelId")
        else:
            model = await self._json(f"{base}/api/v1/models/{link.model}", key)
            versions = [each for each in _member(model, "modelVersions", list) if isinstance(each, dict)]
            if not versions:
                raise SourceNotFoundError("This model has no published version.")
            version, model_id = versions[0], model.get("id")
        file = _choose_file(version, link.wanted)
        return _civitai_file(base, version, model, model_id, file)

    async def _json(self, url: str, key: RemoteKey | None) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        body = await self._client.read(RemoteRequest(url, headers=headers, key=key, provider=CIVITAI))
        try:
            if len(body) <= _INLINE_SIZE:
                return msgspec.json.decode(body, type=dict[str, Any])
            return await asyncio.to_thread(msgspec.json.decode, body, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise SourceMetadataError("The other server sent an unexpected response.") from None

    async def _plain(self, url: str) -> RemoteFile:
        """Request the first byte: many file servers refuse HEAD, and the response has the total size."""
        request = RemoteRequest(url, headers={"Range": "bytes=0-0"})

        response = await self._client.probe(request)
        if response.status != 416:  # which is what an empty file gives
            check_status(response, request)
        headers = response.headers
        mime = headers.get("Content-Type", "").partition(";")[0].strip().lower() or None
        return RemoteFile(
            url=url,
            page=without_query(url),
            name=_safe_name(_disposition_name(headers.get("Content-Disposition", "")) or _url_name(url)),
            size=_whole_size(response),
            content_type=mime,
            folders=tuple(unquote(part) for part in urlsplit(url).path.split("/")[:-1] if part),
        )


def _whole_size(response: RemoteResponse) -> int | None:
    if response.status == 416:
        return 0
    if response.status == 206:
        return parse_size(response.headers.get("Content-Range", "").rpartition("/")[2].strip())
    return response.length


def _member(value: Mapping[str, Any], name: str, kind: type) -> Any:
    """Return a member of a response, or an empty value of the type if it is absent or of another type."""
    found = value.get(name)
    return found if isinstance(found, kind) else kind()


def _choose_file(version: Mapping[str, Any], wanted: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Return the file that the criteria select, else the version's primary one. Raises SourceNotFoundError."""
    files = [each for each in _member(version, "files", list) if isinstance(each, dict)]
    named = [each for each in files if _matches(each, wanted)]
    if not named:
        names = [str(each.get("name", ""))[:255] for each in files][:100]
        raise SourceNotFoundError("This version has no such file.", details={"files": names})
    models = [each for each in named if each.get("type") in ("Model", "Pruned Model")]
    return next((each for each in named if each.get("primary") is True), (models or named)[0])


def _matches(file: Mapping[str, Any], wanted: tuple[tuple[str, str], ...]) -> bool:
    facts = {**_member(file, "metadata", dict), "type": file.get("type"), "fileid": file.get("id")}
    return all(str(facts.get(key, "")).lower() == value.lower() for key, value in wanted)


def _civitai_file(
    base: str, version: Mapping[str, Any], model: Mapping[str, Any], model_id: object, file: Mapping[str, Any]
) -> RemoteFile:
    name, url = file.get("name"), file.get("downloadUrl") or version.get("downloadUrl")
    if not isinstance(name, str) or not isinstance(url, str):
        raise SourceMetadataError("The other server sent an unexpected response.")
    kind = model.get("type") if file.get("type") in ("Model", "Pruned Model") else file.get("type")
    hashes = _member(file, "hashes", dict)
    size = file.get("sizeKB")
    page = f"{base}/models/{model_id}?modelVersionId={version.get('id')}"
    facts = {
        "name": model.get("name"),
        "base_model": [version.get("baseModel")] if isinstance(version.get("baseModel"), str) else None,
        "trained_words": _words(_member(version, "trainedWords", list)) or None,
        "source_arn": f"civitai:model:{model_id}:version:{version.get('id')}",
        "repo_url": page,
    }
    return RemoteFile(
        url=url,
        page=page,
        provider=CIVITAI,
        name=_safe_name(name),
        size=round(size * 1024) if isinstance(size, int | float) and 0 <= size < 1 << 50 else None,
        is_exact=False,  # kilobytes with two decimals
        sha256=_digest(hashes.get("SHA256")),
        blake3=_digest(hashes.get("BLAKE3")),
        folders=(_CIVITAI_FOLDERS.get(str(kind), ""),),
        preview_url=_preview_of(_member(version, "images", list)),
        facts={key: value for key, value in facts.items() if isinstance(value, list | str)},
        problems=tuple(_scan_problems(file)),
    )


def _digest(text: object) -> bytes | None:
    return bytes.fromhex(text) if isinstance(text, str) and re.fullmatch(r"[0-9A-Fa-f]{64}", text) else None


def _words(values: Iterable[object]) -> list[str]:
    return [value[:_MAX_WORD_LENGTH] for value in values if isinstance(value, str)][:_MAX_WORDS]


def _preview_of(images: Iterable[object]) -> str | None:
    for image in images:
        if not isinstance(image, dict) or image.get("type", "image") != "image":
            continue
        url, level = image.get("url"), image.get("nsfwLevel")
        if isinstance(url, str) and isinstance(level, int) and level <= _MAX_PREVIEW_LEVEL:
            return _PREVIEW_WIDTH.sub("/width=450/", url)
    return None


def _scan_problems(file: Mapping[str, Any]) -> Iterable[SourceProblem]:
    for member, code, text in (
        ("pickleScanResult", "UNSAFE_PICKLE_SCAN", "The provider's scan found code that could do harm."),
        ("virusScanResult", "UNSAFE_VIRUS_SCAN", "The provider's scan found a virus."),
    ):
        result = file.get(member)
        if result == "Danger":
            yield SourceProblem(code, text)
        elif isinstance(result, str) and result != "Success":
            yield SourceProblem(code, "The provider has not scanned this file successfully.", is_fatal=False)


def _safe_name(name: str) -> str:
    """Return a file name without folders that every system can store: servers name files as they like."""
    last = re.split(r"[/\\]", name.replace("\0", "").replace(":", "_"))[-1]  # a colon would be a drive
    try:
        return safe_file_name(last, fallback=_FALLBACK_NAME)
    except UnsafeName:  # "..", a drive, or text that is not Unicode
        return _FALLBACK_NAME


def _disposition_name(header: str) -> str:
    """Return the name of a Content-Disposition header (RFC 6266), or ""."""
    if match := _DISPOSITION_ENCODED.search(header):
        encoding = "latin-1" if match[1].lower() == "iso-8859-1" else "utf-8"
        return unquote(match[2], encoding=encoding, errors="replace")
    if match := _DISPOSITION.search(header):
        return re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else match[2]
    return ""


def _url_name(url: str) -> str:
    return unquote(urlsplit(url).path.rpartition("/")[2])
