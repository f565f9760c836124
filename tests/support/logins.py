"""A login on the folder of a server, for tests that look at servers from outside."""

from __future__ import annotations

from pathlib import Path

from comfy_assets_node.comfy_assets.login.accounts import Accounts
from comfy_assets_node.comfy_assets.login.passwords import PasswordHasher
from comfy_assets_node.comfy_assets.login.store import AuditLog, LoginStore

PASSWORD = "correct horse battery"
NOTICED_S = 0.3
"""How long a server may take to notice a change of another process."""


def login_on(base: Path) -> Accounts:
    """Turn the login on for a base directory, with the administrator Root and the member Ada."""
    folder = base / "user/__comfy_assets"
    accounts = Accounts(LoginStore(folder), AuditLog(folder))
    hasher = PasswordHasher()
    encoded = hasher.hash_now(PASSWORD)
    hasher.close()
    accounts.add_user("Root", "admin", encoded)
    accounts.add_user("Ada", "member", encoded)
    accounts.set_enabled(True)
    return accounts
