"""What operations of several kinds answer."""

from __future__ import annotations

from .schema import Record, flag, integer, mapping, text

PAGINATION = Record(
    "PaginationInfo",
    "Which part of a list a page is.",
    {
        "offset": integer("Entries before the page.", minimum=0),
        "limit": integer("Entries on a page, at most.", minimum=1),
        "total": integer("Entries in all.", minimum=0),
        "has_more": flag("Whether there is a page after this one."),
        "next_cursor": text("What to give as `after` for the next page, where the list has cursors."),
    },
    optional=("next_cursor",),
)

ERROR = Record(
    "ErrorResponse",
    "Why a request was not answered as asked.",
    {
        "code": text("A stable word for programs, in capitals."),
        "message": text("A sentence for people."),
        "details": mapping(True, "What more there is to say, for programs: which field, which ids, which limit."),
    },
    optional=("details",),
)
