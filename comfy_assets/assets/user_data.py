"""The data that users have set on an asset, told apart from what its file and path give it.

Whatever merges asset rows asks ``user_data`` first, so that nothing a user made is lost with a row.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ..db import tags
from ..db.moves import MoveCandidate
from ..models import AssetEdit
from .media.mime import guess_mime

# Each column of the table ``assets`` is either one that users set, with the member of AssetEdit that sets it, or one
# that files, paths and the store give. A test compares both with the table.
USER_COLUMNS = {
    "name": "name",
    "name_key": "name",
    "mime_type": "mime_type",
    "user_metadata": "user_metadata",
    "preview_id": "preview_id",
}
OTHER_COLUMNS = frozenset(
    {
        "id",
        "uuid",
        "tag_set_id",  # the owner and the tags of the path; users' tags are in a table of their own
        "content_id",
        "size",
        "created_at",
        "updated_at",
        "last_access_at",
        "origin",
        "job_id",
    }
)


class UserData(NamedTuple):
    """The edit that gives another asset the same data, and the tags that users have added."""

    edit: AssetEdit
    tags: frozenset[str]

    @property
    def is_empty(self) -> bool:
        """Whether no user has set anything."""
        return self.edit == _NO_EDIT and not self.tags


_NO_EDIT = AssetEdit()


def user_data(row: MoveCandidate) -> UserData:
    """Return what users have set on an asset."""
    # Once the content is known, the type may come from that instead of the name.
    has_own_type = row.content_id is None and row.mime_type != guess_mime(row.name)
    has_own_name = row.asset_name != row.name
    edit = _NO_EDIT
    if has_own_name or has_own_type or row.user_metadata is not None or row.preview_id is not None:
        edit = AssetEdit(
            name=row.asset_name if has_own_name else None,
            mime_type=row.mime_type if has_own_type else None,
            user_metadata=row.user_metadata,
            preview_id=row.preview_id,
        )
    return UserData(edit, frozenset() if row.user_tags is None else _given_tags(row.user_tags, row.categories))


def _given_tags(user_tags: str, categories: str) -> frozenset[str]:
    """Return the users' tags (a JSON array) without categories of the path, which the migration may have left there."""
    found = msgspec.json.decode(user_tags, type=frozenset[str])
    return found - tags.place_tags(found, msgspec.json.decode(categories, type=list[str]))
