"""Records of this project's loggers: no name or request in them can forge a line or control a terminal."""

from __future__ import annotations

import logging
import re
import traceback

ROOT = "comfy_assets"

# Control characters of both sets (C0, C1), what breaks lines, what turns the direction of a text, lone surrogates.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]|[\ud800-\udfff]"
)
_INDENT = "  "


def escaped(text: str) -> str:
    """The text on one line, with control characters as escape sequences."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def escape_records(name: str = ROOT) -> None:
    """Have the records of a logger and those below it escaped before any other handler writes them."""
    logger = logging.getLogger(name)
    if not any(isinstance(handler, EscapingHandler) for handler in logger.handlers):
        logger.addHandler(EscapingHandler())


class EscapingHandler(logging.Handler):
    """Writes nothing. A record comes here before it reaches the handlers of the root logger.

    A filter would not do: it is asked only for records of the logger that has it, not for those of its children.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            record.msg, record.args = escaped(record.getMessage()), ()
            if record.exc_info and record.exc_info[1] is not None:
                record.exc_text = _indented("".join(traceback.format_exception(record.exc_info[1])))
        except Exception:  # noqa: BLE001 - the arguments are anybody's objects; logging reports what fails
            self.handleError(record)
        if not logging.getLogger().handlers and logging.lastResort is not None:
            self._write(record, logging.lastResort)

    @staticmethod
    def _write(record: logging.LogRecord, last: logging.Handler) -> None:
        """Write what Python would write itself if this handler were not there."""
        if record.levelno >= last.level:
            last.handle(record)


def _indented(text: str) -> str:
    """The text with every line escaped and set in, as an exception may repeat what a request said."""
    return "\n".join(_INDENT + escaped(line) for line in text.rstrip("\n").split("\n"))
