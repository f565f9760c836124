"""The log of requests that aiohttp cannot read, which have no handler yet: without their text."""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError

_server_log = logging.getLogger("aiohttp.server")


class MalformedRequests(logging.Filter):
    """Remove the text of malformed requests from records: the line that is quoted may hold a cookie or a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return that the record is logged, with the kind of the error in the place of its traceback."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args = f"{record.getMessage()}: {type(error).__name__}", ()
            record.exc_info = None
        return True


_filter = MalformedRequests()


def quote_no_requests() -> None:
    """Leave the text of malformed requests out of the server's log. A second call changes nothing."""
    _server_log.addFilter(_filter)
