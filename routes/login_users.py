"""The users of the login, managed by administrators."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ..comfy_assets.errors import (
    BusyError,
    InvalidBodyError,
    InvalidNameError,
    LoginConflictError,
    LoginRecordNotFoundError,
    LoginUnavailableError,
    NotPermittedError,
    SignInRequiredError,
)
from ..comfy_assets.login import keys
from ..comfy_assets.login.passwords import MAX_PASSWORD, MIN_PASSWORD
from ..comfy_assets.login.service import Identity, LoginService
from ..comfy_assets.login.store import UNLIMITED, UserRecord
from .context import NoQuery, RequestContext, endpoint, json_response, utc_time
from .login import LoginLinkResponse, login_route, new_link, signed_in
from .operations import Operation, Record, RequestBody, Response, array
from .params import Text, doc, parse_body

_RoleName = Literal["admin", "member", "guest"]
_MAX_QUOTA = 1 << 52  # exact in JSON everywhere
_Quota = Annotated[int, msgspec.Meta(ge=0, le=_MAX_QUOTA)] | Literal["unlimited", "default"]
_NewPassword = Annotated[str, msgspec.Meta(min_length=MIN_PASSWORD, max_length=MAX_PASSWORD)]


class AddUserRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of addLoginUser."""

    name: Annotated[Text, doc("The user's name, 1 to 100 characters, in no other user's spelling or case.")]
    role: Annotated[_RoleName, doc("The user's role.")] = "member"
    password: Annotated[
        _NewPassword | None, doc("The password; without one, the user signs in by a link.", writeOnly=True)
    ] = None

    def __repr__(self) -> str:
        return "AddUserRequest(…)"


class ChangeUserRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of changeLoginUser. What is left out stays."""

    role: Annotated[_RoleName | None, doc("The new role.")] = None
    is_disabled: Annotated[bool | None, doc("Whether to refuse the user, which ends their sessions.")] = None
    password: Annotated[
        _NewPassword | None, doc("The new password, which ends the user's sessions.", writeOnly=True)
    ] = None
    max_jobs: Annotated[
        _Quota | UnsetType, doc("How many jobs of the user may wait; `default` for the number of the settings.")
    ] = UNSET
    max_bytes: Annotated[
        _Quota | UnsetType, doc("How much space the user's files may take; `default` for that of the settings.")
    ] = UNSET

    def __repr__(self) -> str:
        return "ChangeUserRequest(…)"


class LoginUserResponse(msgspec.Struct):
    """A user of the login."""

    id: Annotated[str, doc("The user's id.")]
    name: Annotated[str, doc("The user's name.")]
    role: Annotated[_RoleName, doc("The user's role.")]
    is_disabled: Annotated[bool, doc("Whether the user is refused.")]
    is_current: Annotated[bool, doc("Whether it is the user of this request.")]
    has_password: Annotated[bool, doc("Whether the user can sign in with a password.")]
    created_at: Annotated[datetime, doc("Time when the user was added.")]
    last_used_at: Annotated[datetime | None, doc("Time of the last use of a session; null without a session.")]
    max_jobs: Annotated[_Quota, doc("The user's own quota of waiting jobs; `default` for that of the settings.")]
    max_bytes: Annotated[_Quota, doc("The user's own quota of space; `default` for that of the settings.")]


class JobsUse(msgspec.Struct):
    """The waiting jobs of a user."""

    used: Annotated[int, doc("How many jobs wait.")]
    limit: Annotated[int | None, doc("How many may wait; null without a limit.")]


class StorageUse(msgspec.Struct):
    """The space that the files of a user take."""

    used: Annotated[int, doc("Bytes that the files take, those in the trash included.")]
    limit: Annotated[int | None, doc("Bytes that they may take; null without a limit.")]


class UserUseResponse(msgspec.Struct):
    """The use of a user, and the quotas that apply: the user's own, or those of the settings."""

    jobs: Annotated[JobsUse | None, doc("Waiting jobs; null on a server for one user, where no quotas apply.")]
    storage: Annotated[StorageUse | None, doc("Space of files; null on a server for one user.")]


@endpoint(requires_store=False, allow_anonymous=True)
async def list_users(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Return the users of the login (listLoginUsers, an extension)."""
    identity = _administrator(call)
    return {"users": await asyncio.to_thread(_all_users, call.services.login, identity)}


@endpoint(requires_store=False, allow_anonymous=True)
async def add_user(call: RequestContext[NoQuery]) -> web.Response:
    """Add a user (addLoginUser, an extension)."""
    identity, login = _administrator(call), call.services.login
    body = await parse_body(AddUserRequest, call.request)
    password = "" if body.password is None else await login.passwords.hasher.hash(body.password)
    accounts = login.accounts(by=identity.user)
    user = await asyncio.to_thread(accounts.add_user, body.name, body.role, password)
    return json_response(_user(user, identity, None), 201)


@endpoint(requires_store=False, allow_anonymous=True)
async def change_user(call: RequestContext[NoQuery]) -> LoginUserResponse:
    """Change the role or the password of a user, or disable or enable them (changeLoginUser, an extension)."""
    identity, login = _administrator(call), call.services.login
    user = _named(call)
    body = await parse_body(ChangeUserRequest, call.request)
    if user.key == identity.key and body.password is not None:
        raise InvalidBodyError(
            "Change your own password under your account, with the current one.", details={"field": "password"}
        )
    password = None if body.password is None else await login.passwords.hasher.hash(body.password)
    accounts = login.accounts(by=identity.user)
    changed = await asyncio.to_thread(
        lambda: accounts.change_user(
            user.name,
            role=body.role,
            is_disabled=body.is_disabled,
            password=password,
            max_jobs=_stored(body.max_jobs),
            max_bytes=_stored(body.max_bytes),
        )
    )
    return _user(changed, identity, login.last_uses().get(changed.key))


@endpoint(requires_store=False, allow_anonymous=True)
async def remove_user(call: RequestContext[NoQuery]) -> web.Response:
    """Remove a user with their sessions and tokens (removeLoginUser, an extension)."""
    identity = _administrator(call)
    accounts = call.services.login.accounts(by=identity.user)
    await asyncio.to_thread(accounts.remove_user, _named(call).name)
    return web.Response(status=204)


@endpoint(allow_anonymous=True)
async def get_use(call: RequestContext[NoQuery]) -> UserUseResponse:
    """Return the use of a user and their quotas (getLoginUserUse, an extension)."""
    _administrator(call)
    use = await call.services.quotas.use_of(_named(call))
    if use is None:
        return UserUseResponse(None, None)
    return UserUseResponse(JobsUse(use.jobs, use.quota.jobs), StorageUse(use.size, use.quota.size))


@endpoint(requires_store=False, allow_anonymous=True)
async def create_link(call: RequestContext[NoQuery]) -> web.Response:
    """Create a link that signs a user in once (createLoginUserLink, an extension)."""
    identity, user = _administrator(call), _named(call)
    if user.is_disabled:
        raise LoginConflictError("The user is disabled: a link could not sign them in.")
    accounts = call.services.login.accounts(by=identity.user)
    return await new_link(accounts, user.name)


def _administrator(call: RequestContext[NoQuery]) -> Identity:
    """Return the administrator whose session a request has. Raises SignInRequiredError, NotPermittedError."""
    identity = signed_in(call, with_session=True)
    if identity.role != "admin":  # the gate has refused others already, by the scopes of the operation
        raise NotPermittedError("Only administrators manage users.", details={"scopes": ["admin"]})
    return identity


def _named(call: RequestContext[NoQuery]) -> UserRecord:
    """Return the user of the path. Raises LoginRecordNotFoundError."""
    wanted = call.path["user_id"]
    for user in call.services.login.state.users.values():
        if keys.user_id(user.key) == wanted:
            return user
    raise LoginRecordNotFoundError("There is no such user.", details={"id": wanted[:100]})


def _all_users(login: LoginService, identity: Identity) -> list[LoginUserResponse]:
    uses = login.last_uses()
    users = sorted(login.state.users.values(), key=lambda user: user.key)
    return [_user(each, identity, uses.get(each.key)) for each in users]


def _stored(quota: int | str | UnsetType) -> int | UnsetType | None:
    """Return a quota of a body as records have it."""
    if isinstance(quota, str):
        return UNLIMITED if quota == "unlimited" else None
    return quota


def _shown(quota: int | None) -> int | Literal["unlimited", "default"]:
    """Return a quota of a record as responses have it."""
    if quota is None:
        return "default"
    return "unlimited" if quota == UNLIMITED else quota


def _user(record: UserRecord, identity: Identity, used_at: int | None) -> LoginUserResponse:
    return LoginUserResponse(
        keys.user_id(record.key),
        record.name,
        record.role,
        record.is_disabled,
        record.key == identity.key,
        bool(record.password),
        utc_time(record.created_at),
        None if used_at is None else utc_time(used_at),
        _shown(record.max_jobs),
        _shown(record.max_bytes),
    )


_USERS = Record("LoginUserList", "Users, by name.", {"users": array(LoginUserResponse, "Users.")})
_ERRORS = (SignInRequiredError, NotPermittedError, LoginUnavailableError)
_ID = {"user_id": "The user's id."}

ROUTES = [
    login_route(
        "GET",
        "/api/login/users",
        list_users,
        Operation(
            "listLoginUsers",
            "Login",
            "List the users of the login",
            {200: Response("The users.", _USERS)},
            "Like all operations below `/api/login/users`, it needs the session of an administrator.",
            errors=_ERRORS,
        ),
    ),
    login_route(
        "POST",
        "/api/login/users",
        add_user,
        Operation(
            "addLoginUser",
            "Login",
            "Add a user",
            {201: Response("The user.", LoginUserResponse)},
            body=RequestBody(AddUserRequest, example={"name": "Ada", "role": "member", "password": "correct horse"}),
            errors=(InvalidBodyError, InvalidNameError, LoginConflictError, BusyError, *_ERRORS),
        ),
    ),
    login_route(
        "PATCH",
        "/api/login/users/{user_id}",
        change_user,
        Operation(
            "changeLoginUser",
            "Login",
            "Change, disable or enable a user, or set their quotas",
            {200: Response("The user.", LoginUserResponse)},
            "Either everything in the body is changed, or nothing. The last administrator stays one.",
            parameters=_ID,
            body=RequestBody(ChangeUserRequest, example={"role": "guest"}),
            errors=(InvalidBodyError, LoginRecordNotFoundError, LoginConflictError, BusyError, *_ERRORS),
        ),
    ),
    login_route(
        "DELETE",
        "/api/login/users/{user_id}",
        remove_user,
        Operation(
            "removeLoginUser",
            "Login",
            "Remove a user",
            {204: Response("The user is gone, with their sessions and tokens.")},
            "Their jobs, files and workflows stay, and are theirs again if a user of this name is added later.",
            parameters=_ID,
            errors=(LoginRecordNotFoundError, LoginConflictError, *_ERRORS),
        ),
    ),
    login_route(
        "GET",
        "/api/login/users/{user_id}/use",
        get_use,
        Operation(
            "getLoginUserUse",
            "Login",
            "Get what a user takes of their quotas",
            {200: Response("The use, and the quotas that apply.", UserUseResponse)},
            parameters=_ID,
            errors=(LoginRecordNotFoundError, *_ERRORS),
        ),
    ),
    login_route(
        "POST",
        "/api/login/users/{user_id}/links",
        create_link,
        Operation(
            "createLoginUserLink",
            "Login",
            "Create a link that signs a user in",
            {201: Response("The link, which works once.", LoginLinkResponse)},
            parameters=_ID,
            errors=(LoginRecordNotFoundError, LoginConflictError, *_ERRORS),
        ),
    ),
]
