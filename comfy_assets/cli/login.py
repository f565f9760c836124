"""``comfy-assets users``, ``tokens`` and ``login``: who may use the server.

They work while a server is running, which notices a change within a second. Passwords are read from the terminal or
from standard input, never from arguments, which other users of the machine can see.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from msgspec import UNSET

from ..host.access import is_beyond_this_machine
from ..ids import now_ms
from ..login.accounts import LINK_MS, Accounts
from ..login.passwords import check_password, installed_argon2, is_argon2, portable_hasher
from ..login.store import ROLE_SCOPES, ROLES, SCOPES, UNLIMITED, AuditLog, LoginStore, TokenRecord, UserRecord, name_key
from .command import (
    USAGE,
    CommandError,
    Commands,
    add_command,
    add_group,
    add_json,
    add_yes,
    age_ms,
    confirm,
    require_terminal_or_yes,
)
from .output import Column, complain, counted, local_time, print_table, say, say_json, written_time
from .store import existing_base, host_on

_BY = "command line"
_QUOTA_WORDS = {"unlimited": UNLIMITED, "default": None}


def add_to(commands: Commands) -> None:
    """Add the commands."""
    _add_users(add_group(commands, "users", "manage the users of the login", ("users add Ada --role admin",)))
    _add_tokens(add_group(commands, "tokens", "manage tokens for programs", ("tokens create Ada --scope run",)))
    _add_login(add_group(commands, "login", "turn the login on and off", ("login enable",)))


def _add_users(group: Commands) -> None:
    examples = ("users add Ada --role admin", "users add Grace --no-password")
    add = add_command(group, "add", _add_user, "add a user", examples, more="The password is asked for.")
    _add_name(add)
    add.add_argument("--role", choices=ROLES, default="member", help="what the user may do (default: %(default)s)")
    add.add_argument("--no-password", action="store_true", help="let the user sign in by links and tokens alone")
    add_json(add_command(group, "list", _list_users, "list the users", ("users list",)))
    more = "It ends the user's sessions."
    _add_name(add_command(group, "passwd", _set_password, "set a password", ("users passwd Ada",), more=more))
    _add_name(add_command(group, "disable", _disable, "stop a user from signing in", ("users disable Ada",), more=more))
    _add_name(add_command(group, "enable", _enable, "let a disabled user sign in again", ("users enable Ada",)))
    role = add_command(group, "role", _set_role, "change the role of a user", ("users role Ada admin",))
    _add_name(role)
    role.add_argument("role", choices=ROLES, metavar="ROLE", help=f"{', '.join(ROLES[:-1])} or {ROLES[-1]}")
    quotas = ("users quota Ada --jobs 20 --storage 5000", "users quota Ada --jobs unlimited", "users quota Ada")
    more = "Without options it prints the quota. It applies on servers with --multi-user."
    quota = add_command(
        group, "quota", _set_quota, "limit the waiting jobs and the storage of a user", quotas, more=more
    )
    _add_name(quota)
    kinds = "a number, unlimited, or default for that of the server's settings"
    for option, metavar, kind, what in (
        ("--jobs", "N", _quota, "how many of the user's jobs may wait"),
        ("--storage", "MIB", _storage_quota, "how much space the user's files may take"),
    ):
        quota.add_argument(option, type=kind, metavar=metavar, default=UNSET, help=f"{what}: {kinds}")
    more = "Jobs and files of the user stay."
    remove = add_command(
        group, "remove", _remove_user, "remove a user and their tokens", ("users remove Ada",), more=more
    )
    _add_name(remove)
    add_yes(remove)
    more = f"The link lasts {LINK_MS // 60_000} minutes, for a phone, or for a user who has forgotten their password."
    _add_name(add_command(group, "link", _make_link, "print a link to sign in once", ("users link Ada",), more=more))


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the user's name")


def _add_tokens(group: Commands) -> None:
    examples = ("tokens create Ada --name backup --scope read", "tokens create Ada --scope run --expires 30d")
    create = add_command(
        group, "create", _create_token, "create a token for a program", examples, more="It is printed once."
    )
    create.add_argument("user", metavar="USER", help="the user that the program acts for")
    create.add_argument("--name", default="token", help="a name to recognize it by (default: %(default)s)")
    create.add_argument(
        "--scope",
        dest="scopes",
        choices=SCOPES,
        action="append",
        help="what it permits (can be repeated; default: all of read, write and run that the user's role permits)",
    )
    create.add_argument("--expires", type=age_ms, metavar="AGE", help="how long it lasts: 12h, 30d, 8w (default: ever)")
    listing = add_command(group, "list", _list_tokens, "list tokens", ("tokens list --user Ada",))
    listing.add_argument("--user", metavar="USER", help="only those of this user")
    add_json(listing)
    revoke = add_command(group, "revoke", _revoke_token, "revoke tokens", ("tokens revoke 0123456789abcdef",))
    revoke.add_argument("ids", metavar="ID", nargs="+", help="the id of a token, as tokens list prints it")


def _add_login(group: Commands) -> None:
    more = "A running server lets nobody in without signing in from then on."
    add_command(group, "enable", _enable_login, "turn the login on", ("login enable",), more=more)
    disable = add_command(
        group, "disable", _disable_login, "turn the login off", ("login disable",), more="Users and tokens are kept."
    )
    add_yes(disable)
    add_json(add_command(group, "status", _show_status, "print whether the login is on", ("login status",)))


def login_folder(base: Path) -> Path:
    """Return the folder with the file of the login of a base directory."""
    return host_on(base).data_directory()


def require_login(host: str, folder: Path, *, without_login: bool) -> None:
    """Raise CommandError for a server that other machines can reach while its login is off.

    Raises LoginUnavailableError.
    """
    if without_login or not is_beyond_this_machine(host.split(",")):
        return
    if not LoginStore(folder).refresh().file.is_enabled:
        raise CommandError(
            f"everyone who can reach {host} could use the server, because its login is off. Turn it on with"
            " comfy-assets login enable, or pass --without-login"
        )


def _store(options: argparse.Namespace) -> LoginStore:
    store = LoginStore(login_folder(existing_base(options)))
    store.refresh()
    return store


def _accounts(options: argparse.Namespace) -> Accounts:
    folder = login_folder(existing_base(options))
    return Accounts(LoginStore(folder), AuditLog(folder), by=_BY)


def _read_password() -> str:
    """Read a new password, twice on a terminal, or a line of standard input. Raises CommandError, InvalidBodyError."""
    if sys.stdin is not None and sys.stdin.isatty():
        password = getpass.getpass("New password: ")
        check_password(password)
        if getpass.getpass("The same again: ") != password:
            raise CommandError("the two passwords are different")
        return password
    line = "" if sys.stdin is None else sys.stdin.readline()
    if not line:
        error = CommandError("there is no terminal to ask for the password: write it to standard input")
        error.status = USAGE
        raise error
    password = line.removesuffix("\n").removesuffix("\r")
    check_password(password)
    return password


def _hashed_password() -> str:
    hasher = portable_hasher()
    try:
        return hasher.hash_now(_read_password())
    finally:
        hasher.close()


def _add_user(options: argparse.Namespace) -> int:
    store = _store(options)
    if name_key(options.name) in store.state.users:  # before a password is asked for
        raise CommandError(f"there is a user {options.name} already")
    password = "" if options.no_password else _hashed_password()
    user = _accounts(options).add_user(options.name, options.role, password)
    say(f"{user.name} was added ({user.role})")
    if not store.state.file.is_enabled:
        complain("The login is off: comfy-assets login enable turns it on.")
    return 0


def _list_users(options: argparse.Namespace) -> int:
    state = _store(options).state
    users = sorted(state.file.users, key=lambda each: each.key)
    if options.json:
        say_json([_user_json(each) for each in users])
        return 0
    columns = (Column("ROLE"), Column("STATE"), Column("TOKENS", True), Column("SESSIONS", True), Column("NAME"))
    rows = []
    for each in users:
        tokens = sum(token.user == each.key for token in state.file.tokens)
        sessions = sum(session.user == each.key for session in state.file.sessions)
        rows.append((each.role, _state_of(each), str(tokens), str(sessions), each.name))
    print_table(columns, rows)
    say(counted(len(rows), "user"))
    return 0


def _state_of(user: UserRecord) -> str:
    if user.is_disabled:
        return "disabled"
    return "active" if user.password else "no password"


def _user_json(user: UserRecord) -> dict[str, Any]:
    return {
        "name": user.name,
        "role": user.role,
        "disabled": user.is_disabled,
        "has_password": bool(user.password),
        "created_at": written_time(user.created_at),
        "max_jobs": user.max_jobs,
        "max_bytes": user.max_bytes,
    }


def _set_password(options: argparse.Namespace) -> int:
    if name_key(options.name) not in _store(options).state.users:
        raise CommandError(f"there is no user {options.name}")
    ended = _accounts(options).set_password(options.name, _hashed_password())
    say(f"The password was set; {counted(ended, 'session')} ended")
    return 0


def _disable(options: argparse.Namespace) -> int:
    changed = _accounts(options).set_disabled(options.name, True)
    say(f"{options.name} is disabled" if changed else f"{options.name} was disabled already")
    return 0


def _enable(options: argparse.Namespace) -> int:
    changed = _accounts(options).set_disabled(options.name, False)
    say(f"{options.name} is enabled" if changed else f"{options.name} was not disabled")
    return 0


def _remove_user(options: argparse.Namespace) -> int:
    require_terminal_or_yes(options)
    confirm(options, f"Remove {options.name} and their tokens?")
    user = _accounts(options).remove_user(options.name)
    say(f"{user.name} was removed")
    return 0


def _set_role(options: argparse.Namespace) -> int:
    user = _accounts(options).change_user(options.name, role=options.role)
    say(f"{user.name} is {'an' if user.role[0] in 'aeiou' else 'a'} {user.role} now")
    return 0


def _quota(text: str) -> int | None:
    """Parse a quota. Raises ArgumentTypeError."""
    if text in _QUOTA_WORDS:
        return _QUOTA_WORDS[text]
    if not (text.isascii() and text.isdecimal() and int(text) < 1 << 32):
        raise argparse.ArgumentTypeError(f"{text!r} is no number, and neither unlimited nor default")
    return int(text)


def _storage_quota(text: str) -> int | None:
    """Parse a quota in MiB; return bytes."""
    quota = _quota(text)
    return quota if quota in (None, UNLIMITED) else quota << 20


def _set_quota(options: argparse.Namespace) -> int:
    user = _accounts(options).change_user(options.name, max_jobs=options.jobs, max_bytes=options.storage)
    say(f"{user.name}: waiting jobs {_quota_text(user.max_jobs)}, files {_quota_text(user.max_bytes, 'MiB')}")
    return 0


def _quota_text(quota: int | None, unit: str = "") -> str:
    if quota is None:
        return "default"
    if quota == UNLIMITED:
        return "unlimited"
    return f"{quota >> 20:,} {unit}" if unit else f"{quota:,}"


def _make_link(options: argparse.Namespace) -> int:
    link = _accounts(options).new_link(options.name)
    say(f"/?token={link}")
    complain(
        f"Put this after the server's address. It signs in {options.name} once, within {LINK_MS // 60_000} minutes."
    )
    return 0


def _create_token(options: argparse.Namespace) -> int:
    user = _store(options).state.users.get(name_key(options.user))
    if user is None:
        raise CommandError(f"there is no user {options.user}")
    usual = ROLE_SCOPES[user.role] - {"admin"}
    expires_at = None if options.expires is None else now_ms() + options.expires
    record, text = _accounts(options).create_token(user.name, options.name, options.scopes or sorted(usual), expires_at)
    say(text)
    complain(f"Keep it: it is not shown again. Its id is {record.id}, it permits {', '.join(record.scopes)}.")
    return 0


def _list_tokens(options: argparse.Namespace) -> int:
    state = _store(options).state
    owner = None if options.user is None else name_key(options.user)
    if owner is not None and owner not in state.users:
        raise CommandError(f"there is no user {options.user}")
    tokens = [each for each in state.file.tokens if owner in (None, each.user)]
    names = {key: user.name for key, user in state.users.items()}
    if options.json:
        say_json([_token_json(each, names) for each in tokens])
        return 0
    columns = ("ID", "SCOPES", "EXPIRES", "LAST USED", "USER", "NAME")
    rows = [
        (each.id, ",".join(each.scopes), _time(each.expires_at), _time(each.used_at), names[each.user], each.name)
        for each in tokens
    ]
    print_table([Column(head) for head in columns], rows)
    say(counted(len(rows), "token"))
    return 0


def _time(milliseconds: int | None) -> str:
    return "never" if milliseconds is None else local_time(milliseconds)


def _token_json(token: TokenRecord, names: dict[str, str]) -> dict[str, Any]:
    return {
        "id": token.id,
        "user": names[token.user],
        "name": token.name,
        "scopes": list(token.scopes),
        "created_at": written_time(token.created_at),
        "expires_at": None if token.expires_at is None else written_time(token.expires_at),
        "last_used_at": None if token.used_at is None else written_time(token.used_at),
    }


def _revoke_token(options: argparse.Namespace) -> int:
    accounts = _accounts(options)
    for token_id in options.ids:
        accounts.revoke_token(token_id)
        say(f"{token_id} was revoked")
    return 0


def _enable_login(options: argparse.Namespace) -> int:
    store = _store(options)
    changed = _accounts(options).set_enabled(True)
    say("The login is on" if changed else "The login was on already")
    folder = login_folder(existing_base(options)).parent
    say(f"It holds for servers with the user folder {folder}")
    admins = [each for each in store.state.file.users if each.role == "admin" and not each.is_disabled]
    if not any(each.password for each in admins):
        complain(
            "No administrator has a password yet. Add one with comfy-assets users add NAME --role admin; otherwise the"
            " next start of the server prints a link to sign in with once."
        )
    return 0


def _disable_login(options: argparse.Namespace) -> int:
    require_terminal_or_yes(options)
    confirm(options, "Turn the login off, so that everyone who can reach the server can use it?")
    changed = _accounts(options).set_enabled(False)
    say("The login is off" if changed else "The login was off already")
    return 0


def _show_status(options: argparse.Namespace) -> int:
    file = _store(options).state.file
    hashes = Counter("argon2id" if is_argon2(each.password) else "scrypt" for each in file.users if each.password)
    if options.json:
        counts = {"users": len(file.users), "tokens": len(file.tokens), "sessions": len(file.sessions)}
        say_json({"enabled": file.is_enabled, **counts, "passwords": hashes})
        return 0
    say(f"The login is {'on' if file.is_enabled else 'off'}")
    nouns = (("user", file.users), ("token", file.tokens), ("session", file.sessions))
    say(", ".join(counted(len(records), noun) for noun, records in nouns))
    if hashes:
        say("Passwords: " + ", ".join(f"{count} hashed with {kind}" for kind, count in sorted(hashes.items())))
    if hashes["argon2id"] and installed_argon2() is None:
        complain(
            "This Python has no argon2-cffi. A server with the same Python cannot check passwords that were hashed with"
            f" argon2id: run {sys.executable} -m pip install argon2-cffi, or set them again with users passwd."
        )
    return 0
