"""The data that users have set on an asset, told apart from what its file and path give it.

Whatever merges asset rows asks ``user_data`` first, so that nothing a user made is lost with a row.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from ..db import tags
from ..db.moves import MoveCandidate
from ..models import AssetEdit
from .media.mime import guess_mime


class UserData(NamedTuple):
    """The edit that gives another asset the same data, and the tags that users have added."""

    edit: AssetEdit
    tags: frozenset[str]

    @property
    def is_empty(self) -> bool:
        """Whether no user has set anything."""
        return self.edit == AssetEdit() and not self.tags


def user_data(row: MoveCandidate) -> UserData:
    """Return what users have set on an asset. A name or a type that comes from the file does not count."""
    edit = row.members
    if edit.name == row.name:
        edit = replace(edit, name=None)
    # Once the content is known, the type may come from that instead of the name.
    if row.content_id is not None or edit.mime_type == guess_mime(row.name):
        edit = replace(edit, mime_type=None)
    return UserData(edit, frozenset() if row.user_tags is None else _given_tags(row.user_tags, row.categories))


def _given_tags(user_tags: str, categories: str) -> frozenset[str]:
    """Return the users' tags (a JSON array) without categories of the path, which the migration may have left there."""
    found = msgspec.json.decode(user_tags, type=frozenset[str])
    return found - tags.place_tags(found, msgspec.json.decode(categories, type=list[str]))
