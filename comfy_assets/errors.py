"""Errors that cross layers. Each carries what a client needs: a status, a code, a message, details."""

from __future__ import annotations

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


class InvalidCursorError(ApiError):
    """``after`` is no cursor of this listing."""

    code = "INVALID_CURSOR"


class InvalidHashError(ApiError):
    """Not a ``blake3:`` hash."""

    code = "INVALID_HASH"


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


class StoreUnavailableError(ApiError):
    """The store could not be opened, so nothing that needs it can be answered."""

    status = 500
    code = "STORE_UNAVAILABLE"


class StoreError(Exception):
    """The store cannot be opened; the message says why and what to do."""


class StoreTooNewError(StoreError):
    """The store was written by a newer version of this program."""
