"""Errors that cross layers, each with an HTTP status, a code, a message and details for the client."""

from __future__ import annotations

import sqlite3
from typing import Any


class ApiError(Exception):
    """A request that fails; the response body is ``{code, message, details?}``.

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


class InvalidTagFilterError(InvalidQueryError):
    """The tags to filter by are too many, contradict each other, or are given by an older and a newer name.

    ``details.parameters`` or ``details.parameter`` names the parameters, ``details.conflicting_tags`` the tags.
    """

    code = "INVALID_TAG_FILTER"


class InvalidBodyError(ApiError):
    """The request body is malformed; ``details.field`` names the member at fault, if there is one."""

    code = "INVALID_BODY"


class BodyTooLargeError(InvalidBodyError):
    """The request body is too large; ``details`` has the limit: ``max_bytes`` or ``max_values``."""

    status = 413
    code = "BODY_TOO_LARGE"


class InvalidCursorError(ApiError):
    """``after`` is not a cursor of this list."""

    code = "INVALID_CURSOR"


class InvalidHashError(ApiError):
    """The text is not a ``blake3:`` hash."""

    code = "INVALID_HASH"


class InvalidNameError(ApiError):
    """The name leads to another folder or has unprintable characters; ``details.field`` names the member."""

    code = "INVALID_NAME"


class InvalidTagsError(ApiError):
    """The tags are malformed, or name no location or several."""

    code = "INVALID_TAGS"


class ReservedTagError(ApiError):
    """A tag is derived from the file's location and cannot be added or removed; ``details.tags`` names it."""

    status = 422
    code = "RESERVED_TAG"


class InvalidIdError(ApiError):
    """The id cannot be used for a new asset."""

    code = "INVALID_ID"


class InvalidPreviewError(ApiError):
    """The asset cannot be a preview."""

    code = "INVALID_PREVIEW_ID"


class HashMismatchError(ApiError):
    """The content does not have the declared hash."""

    code = "HASH_MISMATCH"


class BlobNotFoundError(ApiError):
    """The library has no content with this hash that the user may use."""

    status = 404
    code = "BLOB_NOT_FOUND"


class IdempotencyKeyReuseError(ApiError):
    """An earlier request had the same Idempotency-Key."""

    status = 422
    code = "IDEMPOTENCY_KEY_REUSE"


class RangeNotSatisfiableError(ApiError):
    """The content is shorter than the beginning of the range; ``details.size`` is its size in bytes."""

    status = 416
    code = "RANGE_NOT_SATISFIABLE"


class FileTooLargeError(ApiError):
    """The file is larger than the configured limit, ``details.max_bytes``."""

    status = 413
    code = "FILE_TOO_LARGE"


class UnsupportedContentError(ApiError):
    """The content does not match the type of its name, its declared type or its location."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"


class OtherUsersFileError(ApiError):
    """The upload would replace the file of another user's asset."""

    status = 409
    code = "OTHER_USERS_FILE"


class AssetInUseError(ApiError):
    """The asset is in use; ``details.used_by`` lists its users."""

    status = 409
    code = "ASSET_IN_USE"


class FileNameTakenError(ApiError):
    """The folder has another file of this name, ``details.name``."""

    status = 409
    code = "FILE_NAME_TAKEN"


class ChangedSinceError(ApiError):
    """The asset has other values by now than the batch had given it."""

    status = 409
    code = "CHANGED_SINCE"


class SelectionTooLargeError(ApiError):
    """More assets match than can be changed or exported at once; see ``details.count`` and ``details.max``."""

    code = "SELECTION_TOO_LARGE"


class TooManyBatchesError(ApiError):
    """The user has too many batches that run."""

    status = 429
    code = "TOO_MANY_BATCHES"


class BatchNotFoundError(ApiError):
    """The batch does not exist, is another user's, or is too old to be undone."""

    status = 404
    code = "BATCH_NOT_FOUND"


class BatchRunningError(ApiError):
    """The batch is still running."""

    status = 409
    code = "BATCH_RUNNING"


class UndoBlockedError(ApiError):
    """Later batches have changed the same of the same assets; ``details.later`` names them."""

    status = 409
    code = "UNDO_BLOCKED"


class UndoImpossibleError(ApiError):
    """The assets of the batch have been removed for good."""

    status = 409
    code = "UNDO_IMPOSSIBLE"


class TrashForbiddenError(ApiError):
    """The deleted asset belongs to all users: no user can remove it for good."""

    status = 403
    code = "TRASH_FORBIDDEN"


class StorageError(ApiError):
    """A file could not be written, moved or read."""

    status = 500
    code = "STORAGE_FAILED"


class FileInUseError(StorageError):
    """Another program has the file open, so that Windows lets nobody change it; the request may succeed later."""

    status = 409
    code = "FILE_IN_USE"


class HostNotAllowedError(ApiError):
    """The Host header names another server; ``details.setting`` is the setting with additional names."""

    status = 403
    code = "HOST_NOT_ALLOWED"


class OriginNotAllowedError(ApiError):
    """The request comes from a page of another origin: ``details.origin``, as the browser reports it."""

    status = 403
    code = "ORIGIN_NOT_ALLOWED"


class UnauthorizedError(ApiError):
    """The request's user does not exist."""

    status = 401
    code = "UNAUTHORIZED"


class SignInRequiredError(UnauthorizedError):
    """The server has a login, and the request has no valid session or token."""

    code = "SIGN_IN_REQUIRED"


class SignInFailedError(UnauthorizedError):
    """The name or password is wrong, the link is used up, or the user is disabled; the response does not say which."""

    code = "SIGN_IN_FAILED"


class TooManyAttemptsError(ApiError):
    """There were too many wrong passwords; ``details.retry_after`` is the number of seconds to wait."""

    status = 429
    code = "TOO_MANY_ATTEMPTS"


class NotPermittedError(ApiError):
    """The token or the user's role does not permit the request; ``details.scopes`` are the scopes that do."""

    status = 403
    code = "NOT_PERMITTED"


class AuthorizationError(ApiError):
    """A program cannot be authorized: ``details.error`` is an error code of OAuth (RFC 6749, 4.1.2.1 and 5.2)."""

    code = "AUTHORIZATION_FAILED"


class JobQuotaError(ApiError):
    """As many jobs of the user wait as may: ``details.limit``, ``details.used``."""

    status = 429
    code = "JOB_QUOTA_EXCEEDED"


class StorageQuotaError(ApiError):
    """The user's files would take more bytes than they may: ``details.limit``, ``details.used``, ``details.needed``."""

    status = 413
    code = "STORAGE_QUOTA_EXCEEDED"


class LengthRequiredError(ApiError):
    """The user's space is limited, and the request does not say how large its body is (RFC 9110, 15.5.12)."""

    status = 411
    code = "LENGTH_REQUIRED"


class LoginUnavailableError(ApiError):
    """The file of the login cannot be read or written: every request is refused."""

    status = 503
    code = "LOGIN_UNAVAILABLE"


class PasswordCheckUnavailableError(ApiError):
    """The server cannot verify hashes of some passwords, as a package is missing: perhaps the one that is asked for."""

    status = 503
    code = "PASSWORD_CHECK_UNAVAILABLE"


class LoginRecordNotFoundError(ApiError):
    """There is no such user, token or session, or it is another user's."""

    status = 404
    code = "LOGIN_RECORD_NOT_FOUND"


class LoginConflictError(ApiError):
    """The change would make two users of a name, leave no administrator, or exceed a limit of the login."""

    status = 409
    code = "LOGIN_CONFLICT"


class AssetNotFoundError(ApiError):
    """The asset does not exist or belongs to another user."""

    status = 404
    code = "ASSET_NOT_FOUND"


class UnknownAssetIdError(AssetNotFoundError):
    """No user has such an asset: the id may be one of the server around the project."""


class AssetContentMissingError(ApiError):
    """The asset exists, but its file is missing."""

    status = 404
    code = "ASSET_CONTENT_MISSING"


class FolderNotOpenableError(ApiError):
    """The client does not run on the server's machine, or that has no desktop."""

    status = 403
    code = "FOLDER_NOT_OPENABLE"


class FileMissingError(ApiError):
    """The file does not exist or must not be shown."""

    status = 404
    code = "FILE_NOT_FOUND"


class SubgraphNotFoundError(ApiError):
    """No node pack contains the subgraph ``details.id``."""

    status = 404
    code = "SUBGRAPH_NOT_FOUND"


class NoThumbnailError(ApiError):
    """This server cannot make a thumbnail of the file."""

    code = "NO_THUMBNAIL"


class ImageTooLargeError(ApiError):
    """The image would take too much memory to decode."""

    code = "IMAGE_TOO_LARGE"


class BusyError(ApiError):
    """The memory for decoding images is in use; the same request may succeed a moment later."""

    status = 503
    code = "BUSY"


class ImageUnreadableError(ApiError):
    """The image or video is truncated or damaged."""

    code = "IMAGE_UNREADABLE"


class JobNotFoundError(ApiError):
    """The job does not exist or belongs to another user; ``details.id`` or ``details.ids`` names it."""

    status = 404
    code = "JOB_NOT_FOUND"


class JobForbiddenError(ApiError):
    """The job belongs to another user."""

    status = 403
    code = "JOB_FORBIDDEN"


class JobElsewhereError(ApiError):
    """The job ``details.id`` is in the queue of another server that shares this library."""

    status = 409
    code = "JOB_ELSEWHERE"


class InvalidPromptIdError(ApiError):
    """The ``prompt_id`` cannot be the id of a job; ``details.field`` names the member."""

    code = "INVALID_PROMPT_ID"


class PromptIdTakenError(ApiError):
    """The ``prompt_id`` is in use; ``details.field`` names the member."""

    code = "PROMPT_ID_IN_USE"


class SubmissionFailedError(ApiError):
    """The server failed while a job was submitted."""

    status = 500
    code = "INTERNAL_ERROR"


class InvalidWorkflowError(ApiError):
    """The server does not accept the graph; ``details.node_errors`` has its reasons by node."""

    status = 422
    code = "INVALID_WORKFLOW"


class WorkflowFormatError(ApiError):
    """The workflow is in the format that the page saves, and not in the one that servers execute."""

    status = 422
    code = "WORKFLOW_FORMAT_UI"


class MissingAssetError(ApiError):
    """The graph names assets that cannot be used; ``details.assets`` lists them."""

    status = 422
    code = "MISSING_ASSET"


class MetadataInvalidError(ApiError):
    """The metadata of a job is no map of a few short texts; ``details.field`` names the member at fault."""

    status = 422
    code = "METADATA_INVALID"


class InvalidMetadataFilterError(InvalidQueryError):
    """A parameter ``metadata[name]`` is malformed; ``details.field`` names it."""

    status = 422
    code = "INVALID_METADATA_FILTER"


class QueueFullError(ApiError):
    """As many jobs wait as the server accepts, ``details.max_jobs``; ``details.retry_after`` is in seconds."""

    status = 429
    code = "QUEUE_FULL"


class TooManyStreamsError(ApiError):
    """The user reads as many streams of events as one may, ``details.max_streams``."""

    status = 429
    code = "TOO_MANY_STREAMS"


class DeploymentNotReadyError(ApiError):
    """The server accepts no jobs now, as at its start; ``details.retry_after`` is in seconds."""

    status = 503
    code = "DEPLOYMENT_NOT_READY"


class TaskNotFoundError(ApiError):
    """The task ``details.id`` does not exist or belongs to another user."""

    status = 404
    code = "TASK_NOT_FOUND"


class TaskNotCancellableError(ApiError):
    """The task has ended, belongs to the server itself, or runs on another server that shares this library."""

    status = 409
    code = "TASK_NOT_CANCELLABLE"


class ExportNotFoundError(ApiError):
    """The export does not exist, has expired, or belongs to another user; ``details.name`` names it."""

    status = 404
    code = "EXPORT_NOT_FOUND"


class TooManyExportsError(ApiError):
    """The user has too many exports that run or wait."""

    status = 429
    code = "TOO_MANY_EXPORTS"


class VideoUnreadableError(ApiError):
    """The file is not a video, is damaged, or this server has no decoder for it."""

    code = "VIDEO_UNREADABLE"


class UnprocessableBodyError(InvalidBodyError):
    """The body is malformed. Some operations of the contract return 422 for this."""

    status = 422


class UnprocessableNameError(InvalidNameError):
    """The name is refused. Some operations of the contract return 422 for this."""

    status = 422


class WorkflowTooLargeError(ApiError):
    """The workflow is larger than the configured limit, ``details.max_bytes``."""

    status = 422
    code = "WORKFLOW_TOO_LARGE"


class WorkflowNotFoundError(ApiError):
    """The workflow ``details.id`` does not exist or belongs to another user."""

    status = 404
    code = "WORKFLOW_NOT_FOUND"


class WorkflowVersionNotFoundError(ApiError):
    """The workflow has no such version; ``details`` has the requested and the latest one."""

    status = 404
    code = "WORKFLOW_VERSION_NOT_FOUND"


class WorkflowForbiddenError(ApiError):
    """The workflow belongs to another user."""

    status = 403
    code = "WORKFLOW_FORBIDDEN"


class PublishedTooLargeError(WorkflowTooLargeError):
    """The published workflow is larger than the limit configured now."""

    status = 413


class ShareNotFoundError(ApiError):
    """The share does not exist, or is no longer published."""

    status = 404
    code = "SHARE_NOT_FOUND"


class UnknownAssetsError(ApiError):
    """The assets ``details.ids`` do not exist or belong to another user."""

    code = "UNKNOWN_ASSETS"


class UnshareableAssetsError(ApiError):
    """The assets ``details.ids`` cannot be published because their files are missing."""

    code = "ASSET_NOT_SHAREABLE"


class CollectionNotFoundError(ApiError):
    """The collection ``details.id`` does not exist or belongs to another user."""

    status = 404
    code = "COLLECTION_NOT_FOUND"


class CollectionExistsError(ApiError):
    """The user has a collection of this name."""

    status = 409
    code = "COLLECTION_EXISTS"


class CollectionFullError(ApiError):
    """The user has too many collections, or a collection too many assets; ``details.max`` is the largest number."""

    status = 409
    code = "COLLECTION_FULL"


class SavedSearchNotFoundError(ApiError):
    """The saved search ``details.id`` does not exist or belongs to another user."""

    status = 404
    code = "SAVED_SEARCH_NOT_FOUND"


class SavedSearchExistsError(ApiError):
    """The user has a saved search of this name."""

    status = 409
    code = "SAVED_SEARCH_EXISTS"


class TooManySavedSearchesError(ApiError):
    """The user has too many saved searches; ``details.max`` is the largest number."""

    status = 409
    code = "TOO_MANY_SAVED_SEARCHES"


class VersionConflictError(ApiError):
    """The change is based on an outdated version; ``details`` has that one and the latest."""

    status = 409
    code = "VERSION_CONFLICT"


class DownloadsDisabledError(ApiError):
    """Downloads from other servers are turned off by a setting."""

    status = 403
    code = "DOWNLOADS_DISABLED"


class TooManyDownloadsError(ApiError):
    """Too many downloads are waiting; ``details.limit`` is the largest number."""

    status = 429
    code = "TOO_MANY_DOWNLOADS"


class NotEnoughSpaceError(ApiError):
    """The disk has too little free space; ``details`` has the needed and the free bytes."""

    status = 507
    code = "NOT_ENOUGH_SPACE"


class InvalidLinkError(ApiError):
    """The link is not an address of a file that this server may request; ``details.field`` names the member."""

    code = "INVALID_URL_FORMAT"


class AddressNotAllowedError(ApiError):
    """The link, or a redirect from it, leads to an address that is not public; ``details.setting`` allows those."""

    status = 403
    code = "ADDRESS_NOT_ALLOWED"


class SourceError(ApiError):
    """The other server did not send the file or the facts about it.

    ``is_passing`` is true if the same request may succeed later.
    """

    status = 422
    code = "HTTP_ERROR"
    is_passing = False


class UnknownSourceHostError(SourceError):
    """The name of the other server cannot be resolved."""

    code = "INVALID_HOST"
    is_passing = True


class SourceKeyNeededError(SourceError):
    """The other server wants a key: add one for ``details.provider``."""

    code = "UNAUTHORIZED_SOURCE"


class SourceKeyInvalidError(SourceError):
    """The other server does not accept the stored key of ``details.provider``."""

    code = "USER_TOKEN_INVALID"


class SourceKeyDeniedError(SourceError):
    """The stored key of ``details.provider`` does not give access to the file."""

    code = "USER_TOKEN_ACCESS_DENIED"


class SourceForbiddenError(SourceError):
    """The other server does not give access to the file."""

    code = "ACCESS_FORBIDDEN"


class SourceNotFoundError(SourceError):
    """The other server has no such file; ``details.files`` names files that the link may mean."""

    code = "RESOURCE_NOT_FOUND"


class SourceRateLimitError(SourceError):
    """The other server has had too many requests."""

    code = "RATE_LIMITED"
    is_passing = True


class SourceServerError(SourceError):
    """The other server has a problem of its own."""

    code = "SOURCE_SERVER_ERROR"
    is_passing = True


class SourceTimeoutError(SourceError):
    """The other server sent nothing for too long."""

    code = "NETWORK_TIMEOUT"
    is_passing = True


class SourceUnreachableError(SourceError):
    """No connection to the other server is possible, or its certificate is not valid."""

    code = "CONNECTION_REFUSED"
    is_passing = True


class SourceInterruptedError(SourceError):
    """The connection to the other server ended early, again and again."""

    code = "NETWORK_ERROR"
    is_passing = True


class SourceMetadataError(SourceError):
    """The other server's facts about the file are malformed or too large."""

    code = "METADATA_FETCH_FAILED"


class UnsafePickleError(SourceError):
    """The provider's scan found code in the file that could do harm."""

    code = "UNSAFE_PICKLE_SCAN"


class UnsafeVirusError(SourceError):
    """The provider's scan found a virus in the file."""

    code = "UNSAFE_VIRUS_SCAN"


class InvalidProviderError(ApiError):
    """Keys of this provider are not used here; ``details.providers`` lists the others."""

    code = "INVALID_PROVIDER"


class SecretNotFoundError(ApiError):
    """The key does not exist or belongs to another user."""

    status = 404
    code = "NOT_FOUND"


class DuplicateSecretNameError(ApiError):
    """The user has a key of this name."""

    status = 409
    code = "DUPLICATE_NAME"


class DuplicateProviderError(ApiError):
    """The user has a key for this provider: change that one."""

    status = 409
    code = "DUPLICATE_PROVIDER"


class SearchUnavailableError(ApiError):
    """This server has no full-text search; the message names the missing feature."""

    status = 501
    code = "SEARCH_UNAVAILABLE"


class SearchNotReadyError(ApiError):
    """The full-text index is not ready yet; ``details`` has its progress."""

    status = 503
    code = "SEARCH_NOT_READY"


class QueryTimeoutError(ApiError):
    """The query took longer than the configured limit. Request less, or raise the limit."""

    status = 503
    code = "QUERY_TIMEOUT"


class StoreUnavailableError(ApiError):
    """The store could not be opened. Every request that needs it fails."""

    status = 500
    code = "STORE_UNAVAILABLE"


class StoreBusyError(StoreUnavailableError, sqlite3.OperationalError):
    """The store cannot be read or written now: it is locked, or its disk is full or fails."""

    status = 503
    is_passing = False  # whether it is only locked by another process


class StoreError(Exception):
    """The store cannot be opened; the message has the reason and the remedy."""


class StoreLockedError(StoreError):
    """Another program holds the store, or its disk is full or fails: it may be opened later."""


class StoreTooNewError(StoreError):
    """The store was written by a newer version of this program."""
