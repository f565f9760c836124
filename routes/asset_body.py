"""The contract's Asset. Unknown members are omitted, never null."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated
from urllib.parse import quote

import msgspec
from aiohttp import web
from msgspec import UNSET, Raw, UnsetType

from ..comfy_assets.assets.media.decoders import can_show, decoders_version
from ..comfy_assets.assets.media.mime import is_own_preview, is_picture, is_previewable
from ..comfy_assets.assets.references import CreatedAsset
from ..comfy_assets.ids import hash_text
from ..comfy_assets.models import MODEL_TYPE_PREFIX, Asset, Generation, Location, Preview
from ..comfy_assets.names import split_annotation
from .context import json_response, utc_time
from .params import ANY_OBJECT, HASH, HASH_PATTERN, doc

_EMPTY = Raw(b"{}")
_PREVIEW_RES = 512  # longer side in pixels
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class UsedLoraBody(msgspec.Struct, omit_defaults=True):
    """A LoRA that was used."""

    name: Annotated[str, doc("The name that loaders take, or that the prompt has, with forward slashes.")]
    weight: Annotated[float | UnsetType, doc("Its strength, if stated.")] = UNSET


class GenerationBody(msgspec.Struct, omit_defaults=True):
    """Prompts and settings that made a picture, as far as its file or its job says, of any program."""

    positive: Annotated[str | UnsetType, doc("The prompt.")] = UNSET
    negative: Annotated[str | UnsetType, doc("The negative prompt.")] = UNSET
    models: Annotated[list[str] | UnsetType, doc("Checkpoints and diffusion models.")] = UNSET
    loras: Annotated[list[UsedLoraBody] | UnsetType, doc("LoRAs.")] = UNSET
    seed: Annotated[str | UnsetType, doc("The seed, in digits: it may be larger than numbers of JavaScript.")] = UNSET
    steps: Annotated[int | UnsetType, doc("Number of steps.")] = UNSET
    sampler: Annotated[str | UnsetType, doc("The sampler.")] = UNSET
    scheduler: Annotated[str | UnsetType, doc("The scheduler.")] = UNSET
    cfg: Annotated[float | UnsetType, doc("The scale of the guidance.")] = UNSET
    width: Annotated[int | UnsetType, doc("Width of the first picture or latent in pixels.")] = UNSET
    height: Annotated[int | UnsetType, doc("Height of it.")] = UNSET
    tool: Annotated[str | UnsetType, doc("The program, such as `ComfyUI` or `A1111`.")] = UNSET


class StackBody(msgspec.Struct):
    """Assets of a list that one of them stands for."""

    job_id: Annotated[str, doc("The job that made them. As `job_id` of listAssets it lists them.")]
    count: Annotated[int, doc("Number of these assets among those that pass the filters, with this one.")]


class AssetBody(msgspec.Struct):
    """An entry of the library: a file, or a reference to content that is already there."""

    id: Annotated[str, doc("A UUID, which stays the same when the file moves.", format="uuid")]
    name: Annotated[str, doc("The displayed name: the file's own name unless it was changed.")]
    display_name: Annotated[str, doc("The same as `name`.")]
    size: Annotated[int, doc("Size of the content in bytes.", format="int64")]
    mime_type: Annotated[str, doc("Media type of the content, such as `image/png`.")]
    tags: Annotated[
        Raw,
        doc(
            "The tags: root, category, model type, the user's own in alphabetical order, and `missing`.",
            type="array",
            items={"type": "string"},
        ),
    ]
    user_metadata: Annotated[Raw, doc("Metadata that users have added.", **ANY_OBJECT)]
    created_at: Annotated[datetime, doc("Time at which it was added to the library.")]
    updated_at: Annotated[datetime, doc("Time of its last change.")]
    is_immutable: Annotated[bool, doc("Whether it cannot be changed or deleted; false for files of the user.")]
    hash: Annotated[str | UnsetType, doc(f"{HASH} Omitted until the file has been read.", pattern=HASH_PATTERN)] = UNSET
    metadata: Annotated[
        Raw | UnsetType,
        doc(
            "Metadata found in the file. Listings omit large texts; if they exceed 8 MiB together, `left_out` names "
            "those that do not fit.",
            **ANY_OBJECT,
        ),
    ] = UNSET
    file_path: Annotated[
        str | UnsetType,
        doc("Location of the file, relative to the kind of its folder: `models/loras/a.safetensors`, `output/b.png`."),
    ] = UNSET
    loader_path: Annotated[
        str | UnsetType,
        doc(
            "The name that loader nodes use: of a model the path inside its category, of any other file the path "
            "inside its root."
        ),
    ] = UNSET
    loader_paths: Annotated[
        dict[str, str] | UnsetType,
        doc(
            "The names that loader nodes use, by category, where they differ: the folders of categories may overlap. "
            "`loader_path` is that of the innermost folder then, or of the category that the list was asked for by "
            "its `model_type` tag."
        ),
    ] = UNSET
    preview_id: Annotated[str | UnsetType, doc("The asset used as its preview: often itself.", format="uuid")] = UNSET
    preview_url: Annotated[
        str | UnsetType,
        doc(
            "URL of a thumbnail, relative to the server's root; players get the file from the same URL. Without "
            "`res` it is that of a file that browsers show, but this server cannot.",
            format="uri-reference",
        ),
    ] = UNSET
    job_id: Annotated[str | UnsetType, doc("The job that created it.", format="uuid")] = UNSET
    stack: Annotated[StackBody | UnsetType, doc("The stack that it stands for, in lists with `stack`.")] = UNSET
    copies: Annotated[
        int | UnsetType,
        doc(
            "In lists and getAssetById: number of files with the same content, this one included, at most 100. Omitted "
            "unless there are several."
        ),
    ] = UNSET
    last_access_time: Annotated[datetime | UnsetType, doc("Time at which its content was last requested.")] = UNSET
    generation: Annotated[
        GenerationBody | UnsetType, doc("What made it, if the file or the job says so. Not in lists.")
    ] = UNSET


class AssetCreated(AssetBody, kw_only=True):
    """An asset, and whether it was created by this request."""

    created_new: Annotated[bool, doc("False if the user already had this content: the response is the existing asset.")]


def created_response(created: CreatedAsset) -> web.Response:
    """Make the response of an operation that creates an asset: 201, or 200 if it existed already."""
    members = msgspec.structs.asdict(asset_body(created.asset))
    return json_response(AssetCreated(**members, created_new=created.is_new), 201 if created.is_new else 200)


def asset_body(
    asset: Asset, documents: Mapping[str, bytes | None] | None = None, category: str | None = None
) -> AssetBody:
    """Make the body of an asset. With ``documents`` its metadata includes the large texts found in the file.

    A document that is None is only named, in ``left_out``. ``category`` is the one whose loaders the name is for.
    """
    body = AssetBody(
        id=asset.id,
        name=asset.name,
        display_name=asset.name,
        size=asset.size,
        mime_type=asset.mime_type,
        tags=Raw(asset.tags.encode()),
        user_metadata=Raw(asset.user_metadata.encode()) if asset.user_metadata else _EMPTY,
        created_at=utc_time(asset.created_at),
        updated_at=utc_time(asset.updated_at),
        is_immutable=False,
    )
    if asset.hash is not None:
        body.hash = hash_text(asset.hash)
        body.metadata = _metadata(asset.metadata or "{}", documents)
    if asset.copies is not None:
        body.copies = asset.copies
    if asset.last_access_at is not None:
        body.last_access_time = utc_time(asset.last_access_at)
    # The contract's job ids are UUIDs, but older servers let clients choose any id.
    if asset.job_id is not None and _UUID.fullmatch(asset.job_id):
        body.job_id = asset.job_id
    if asset.job_id is not None and asset.stack_count is not None:
        body.stack = StackBody(asset.job_id, asset.stack_count)
    if asset.location is not None:
        _put_location(body, asset, asset.location, category)
    _put_preview(body, asset)
    return body


def generation_body(made: Generation) -> GenerationBody | UnsetType:
    """Make the body of what made an asset; unset if nothing is known."""
    if made in (Generation(), Generation(tool=made.tool)):
        return UNSET
    return GenerationBody(
        positive=made.positive or UNSET,
        negative=made.negative or UNSET,
        models=list(made.models) or UNSET,
        loras=[UsedLoraBody(each.name, UNSET if each.weight is None else each.weight) for each in made.loras] or UNSET,
        seed=UNSET if made.seed is None else str(made.seed),
        steps=UNSET if made.steps is None else made.steps,
        sampler=made.sampler or UNSET,
        scheduler=made.scheduler or UNSET,
        cfg=UNSET if made.cfg is None else made.cfg,
        width=UNSET if made.width is None else made.width,
        height=UNSET if made.height is None else made.height,
        tool=made.tool or UNSET,
    )


def _metadata(facts: str, documents: Mapping[str, bytes | None] | None) -> Raw:
    if not documents:
        return Raw(facts.encode())
    # Only the top level is decoded: documents may have megabytes.
    members: dict[str, Raw] = msgspec.json.decode(facts, type=dict[str, Raw])
    # Already JSON: they are copied into the response as they are.
    members.update({key: Raw(text) for key, text in documents.items() if text is not None})
    left_out = [key for key, text in documents.items() if text is None]
    if left_out:
        members["left_out"] = Raw(msgspec.json.encode(left_out))
    return Raw(msgspec.json.encode(members))


def _put_location(body: AssetBody, asset: Asset, location: Location, category: str | None) -> None:
    body.file_path = f"{location.logical}/{location.name}"
    prefix = _loader_prefix(asset.tags, location)
    if prefix is None:
        return
    if location.loader_prefixes is None:
        body.loader_path = _within(prefix, location.name)
        return
    found = {each: location.prefix_in(each) or "" for each in asset.categories}
    # The shortest is that of the innermost folder.
    body.loader_path = _within(found.get(category or "", min(found.values(), key=len, default=prefix)), location.name)
    if len(set(found.values())) > 1:
        body.loader_paths = {name: _within(each, location.name) for name, each in found.items()}


def _within(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _loader_prefix(tags: str, location: Location) -> str | None:
    """Return the folder in the name that loader nodes use, "" at the top; None if none of them takes the file."""
    if f'"{location.kind}"' not in tags:  # a reference may say that the content is something else than that file
        return None
    if location.kind == "models":
        return location.loader_prefix if MODEL_TYPE_PREFIX in tags else None
    return location.logical.partition("/")[2]


def _put_preview(body: AssetBody, asset: Asset) -> None:
    """Set the preview: the asset that a user chose, or else the asset itself if it can be shown."""
    if asset.preview_id is not None:
        body.preview_id = asset.preview_id
    elif is_own_preview(asset.mime_type) and (is_picture(asset.mime_type) or _has_thumbnail(asset)):
        body.preview_id = asset.id
    url = None
    if asset.preview is not None:
        url = _preview_url(asset.preview.location, asset.preview)
    if url is None and asset.location is not None:
        url = _preview_url(asset.location, asset)
    if url is not None:
        body.preview_url = url


def _preview_url(location: Location, shown: Asset | Preview) -> str | None:
    """Return the URL of a thumbnail, or of a video or sound to play; None if there is neither.

    viewFile has no type for files of models, and takes an annotation such as ``[input]`` at the end of a name for one,
    so these files are named by their hash.
    """
    if location.missing:
        return None
    is_drawn = _has_thumbnail(shown)
    if location.kind == "models" or split_annotation(location.name)[1] is not None:
        if shown.hash is None or not is_drawn:
            return None
        return f"/api/view?filename=blake3%3A{shown.hash.hex()}&res={_PREVIEW_RES}"
    if is_drawn:
        return f"{_view_url(location)}&res={_PREVIEW_RES}"
    has_failed = shown.thumbnail_failure is not None and is_picture(shown.mime_type)
    return _view_url(location) if is_previewable(shown.mime_type) and not has_failed else None


def _has_thumbnail(shown: Asset | Preview) -> bool:
    """Return whether this server makes a thumbnail, as far as it knows: none that has failed is promised again."""
    return shown.thumbnail_failure != decoders_version() and can_show(shown.mime_type, shown.metadata)


def _view_url(location: Location) -> str:
    url = f"/api/view?type={location.kind}&filename={quote(location.name, safe='')}"
    subfolder = location.logical.partition("/")[2]
    return f"{url}&subfolder={quote(subfolder, safe='')}" if subfolder else url
