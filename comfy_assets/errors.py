"""Errors that cross layers. Each carries what a client needs: a status, a code, a message, details."""

from __future__ import annotations

import sqlite3
from typing import Any


class ApiError(Exception):
    """A request that cannot be answered as asked; becomes ``{code, message, details?}``.

    ``code`` is a stable UPPER_SNAKE word for programs, ``message`` a sentence for people.
    """

    status = 400
    code = "INVALID_REQUEST"

    def __init__(self, message: str, *, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class InvalidQueryError(ApiError):
    """A query parameter is malformed; ``details.field`` names it."""

    code = "INVALID_QUERY"


class InvalidBodyError(ApiError):
    """The request body is malformed; ``details.field`` names the offending member where there is one."""

    code = "INVALID_BODY"


class BodyTooLargeError(InvalidBodyError):
    """The request body is larger than the server takes; ``details`` has the limit: ``max_bytes`` or ``max_values``."""

    status = 413
    code = "BODY_TOO_LARGE"


class InvalidCursorError(ApiError):
    """``after`` is no cursor of this listing."""

    code = "INVALID_CURSOR"


class InvalidHashError(ApiError):
    """Not a ``blake3:`` hash."""

    code = "INVALID_HASH"


class InvalidNameError(ApiError):
    """A name that leads to another folder or cannot be shown; ``details.field`` tells where it was given."""

    code = "INVALID_NAME"


class InvalidTagsError(ApiError):
    """Tags that no asset can have, or that name no place, or several."""

    code = "INVALID_TAGS"


class ReservedTagError(ApiError):
    """A tag that follows from where a file lies, so that no user can add or remove it; ``details.tags`` names it."""

    status = 422
    code = "RESERVED_TAG"


class InvalidIdError(ApiError):
    """An id that cannot be given to a new asset."""

    code = "INVALID_ID"


class InvalidPreviewError(ApiError):
    """An asset that cannot be a preview."""

    code = "INVALID_PREVIEW_ID"


class HashMismatchError(ApiError):
    """The content received is not what its declared hash says."""

    code = "HASH_MISMATCH"


class FileTooLargeError(ApiError):
    """A file is larger than the server is configured to take; ``details.max_bytes`` tells how much that is."""

    status = 413
    code = "FILE_TOO_LARGE"


class UnsupportedContentError(ApiError):
    """The content is not of the type that its name, its declared type or its place wants."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"


class OtherUsersFileError(ApiError):
    """An upload would replace the file of another user's asset."""

    status = 409
    code = "OTHER_USERS_FILE"


class AssetInUseError(ApiError):
    """Something else needs the asset; ``details.used_by`` lists what."""

    status = 409
    code = "ASSET_IN_USE"


class StorageError(ApiError):
    """A file could not be written, moved or read."""

    status = 500
    code = "STORAGE_FAILED"


class HostNotAllowedError(ApiError):
    """The server is asked by a name that it does not have; ``details.setting`` is where names are added."""

    status = 403
    code = "HOST_NOT_ALLOWED"


class OriginNotAllowedError(ApiError):
    """A page of another origin has caused the request; ``details.origin`` is what the browser says of it."""

    status = 403
    code = "ORIGIN_NOT_ALLOWED"


class UnauthorizedError(ApiError):
    """The host does not know the request's user."""

    status = 401
    code = "UNAUTHORIZED"


class AssetNotFoundError(ApiError):
    """No such asset for this user."""

    status = 404
    code = "ASSET_NOT_FOUND"


class AssetContentMissingError(ApiError):
    """The asset is known but its file is not there now."""

    status = 404
    code = "ASSET_CONTENT_MISSING"


class FileMissingError(ApiError):
    """There is no such file that may be shown."""

    status = 404
    code = "FILE_NOT_FOUND"


class SubgraphNotFoundError(ApiError):
    """No pack brings along such a subgraph; ``details.id`` tells which."""

    status = 404
    code = "SUBGRAPH_NOT_FOUND"


class NoThumbnailError(ApiError):
    """A file of a kind that no thumbnail can be made of here."""

    code = "NO_THUMBNAIL"


class ImageTooLargeError(ApiError):
    """A picture that would take too much memory to decode."""

    code = "IMAGE_TOO_LARGE"


class BusyError(ApiError):
    """The server has no memory free for a picture; the same request may succeed a moment later."""

    status = 503
    code = "BUSY"


class ImageUnreadableError(ApiError):
    """A picture or video that is truncated or damaged."""

    code = "IMAGE_UNREADABLE"


class JobNotFoundError(ApiError):
    """No such job for this user; ``details.id``, or ``details.ids``, tells which."""

    status = 404
    code = "JOB_NOT_FOUND"


class JobForbiddenError(ApiError):
    """The job is another user's."""

    status = 403
    code = "JOB_FORBIDDEN"


class JobElsewhereError(ApiError):
    """The job is in the queue of another server that shares this library; ``details.id`` tells which job."""

    status = 409
    code = "JOB_ELSEWHERE"


class PromptIdTakenError(ApiError):
    """A ``prompt_id`` that another job has, or that no job can have; ``details.field`` names the member."""

    code = "PROMPT_ID_IN_USE"


class TaskNotFoundError(ApiError):
    """No such task for this user; ``details.id`` tells which."""

    status = 404
    code = "TASK_NOT_FOUND"


class VideoUnreadableError(ApiError):
    """No figures of a video: the file is none, it is damaged, or the server lacks what reads it."""

    code = "VIDEO_UNREADABLE"


class UnprocessableBodyError(InvalidBodyError):
    """A malformed body, in operations of which the contract has it so."""

    status = 422


class UnprocessableNameError(InvalidNameError):
    """A name that is refused, in operations of which the contract has it so."""

    status = 422


class WorkflowTooLargeError(ApiError):
    """A workflow has more bytes than the server is configured to take; ``details.max_bytes`` tells how many it does."""

    status = 422
    code = "WORKFLOW_TOO_LARGE"


class WorkflowNotFoundError(ApiError):
    """No such workflow for this user; ``details.id`` tells which."""

    status = 404
    code = "WORKFLOW_NOT_FOUND"


class WorkflowVersionNotFoundError(ApiError):
    """The workflow has no such version; ``details`` tell which, and the latest."""

    status = 404
    code = "WORKFLOW_VERSION_NOT_FOUND"


class WorkflowForbiddenError(ApiError):
    """The workflow is another user's."""

    status = 403
    code = "WORKFLOW_FORBIDDEN"


class PublishedTooLargeError(WorkflowTooLargeError):
    """A published workflow has more bytes than the server is configured to take now."""

    status = 413


class ShareNotFoundError(ApiError):
    """Nothing is published there, or not any more."""

    status = 404
    code = "SHARE_NOT_FOUND"


class UnknownAssetsError(ApiError):
    """A request names assets that there are not, or not for this user; ``details.ids`` tells which."""

    code = "UNKNOWN_ASSETS"


class UnshareableAssetsError(ApiError):
    """Assets whose files are away cannot be published; ``details.ids`` tells which."""

    code = "ASSET_NOT_SHAREABLE"


class VersionConflictError(ApiError):
    """A change is based on another version than the latest; ``details`` tell both."""

    status = 409
    code = "VERSION_CONFLICT"


class SearchUnavailableError(ApiError):
    """This server cannot search by words; the message says what it lacks."""

    status = 501
    code = "SEARCH_UNAVAILABLE"


class SearchNotReadyError(ApiError):
    """So much is yet to be indexed that an answer would take too long; ``details`` tells how far that is."""

    status = 503
    code = "SEARCH_NOT_READY"


class QueryTimeoutError(ApiError):
    """The store needs too long for what was asked: ask for less, or raise the limit."""

    status = 503
    code = "QUERY_TIMEOUT"


class StoreUnavailableError(ApiError):
    """The store could not be opened, so nothing that needs it can be answered."""

    status = 500
    code = "STORE_UNAVAILABLE"


class StoreBusyError(StoreUnavailableError, sqlite3.OperationalError):
    """The store cannot be read or written at the moment: it is locked, or its disk is full or fails."""

    status = 503
    is_passing = False  # whether another process only has to let go of it


class StoreError(Exception):
    """The store cannot be opened; the message says why and what to do."""


class StoreTooNewError(StoreError):
    """The store was written by a newer version of this program."""
