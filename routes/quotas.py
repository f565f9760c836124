"""The quotas of users in every operation that stores something or submits a job."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from ..comfy_assets.app import Services
from ..comfy_assets.errors import LengthRequiredError, StorageQuotaError
from .context import Failure, error_of, error_response, known_user
from .interceptors import HostRequest
from .operations import Route
from .request_body import has_body

_STORING = ("POST", "PUT", "PATCH")


@asynccontextmanager
async def admitted(route: Route, request: web.Request, services: Services) -> AsyncIterator[None]:
    """Admit the body of an operation that stores it. Raises StorageQuotaError, LengthRequiredError."""
    if not route.stores or request.method not in _STORING:
        yield
        return
    async with _storing(request, services):
        yield


@asynccontextmanager
async def admitted_job(owner: str, services: Services) -> AsyncIterator[None]:
    """Admit a job, whose outputs take an unknown space. Raises JobQuotaError, StorageQuotaError."""
    with services.quotas.submitting(owner):
        async with services.quotas.storing(owner, 0):
            yield


@asynccontextmanager
async def _storing(request: web.Request, services: Services) -> AsyncIterator[None]:
    user = known_user(request, services) or ""
    if not services.quotas.limits_storage(user) or not has_body(request):
        yield
        return
    if request.content_length is None:
        raise LengthRequiredError("Send Content-Length: the space of your files is limited.")
    async with services.quotas.storing(user, request.content_length):
        yield


class AdmitBody:
    """An interceptor's handler that refuses a body that the host would store beyond the user's quota."""

    def __init__(self, fail: Failure = error_response) -> None:
        self._fail = fail

    async def __call__(self, call: HostRequest) -> web.StreamResponse:
        try:
            async with _storing(call.request, call.services):
                return await call.pass_on()
        except (StorageQuotaError, LengthRequiredError) as error:
            return error_of(error, self._fail)
