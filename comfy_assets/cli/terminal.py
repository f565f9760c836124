"""What the commands write to the terminal: names cannot control it, whatever characters they have."""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any, TextIO

# Control characters of both sets (C0, C1), what breaks lines, what turns the direction of a text, lone surrogates.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]|[\ud800-\udfff]"
)


def escaped(text: str) -> str:
    """The text on one line, with control characters as escape sequences."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def say(*lines: object, to: TextIO | None = None, end: str = "\n") -> None:
    """Print each line, escaped. The only way in which the commands print."""
    out = sys.stdout if to is None else to
    for line in lines:
        print(escaped(str(line)), end=end, file=out, flush=True)


def complain(*lines: object) -> None:
    """Print lines where errors go."""
    say(*lines, to=sys.stderr)


class Parser(argparse.ArgumentParser):
    """A parser whose messages are escaped: they repeat what was typed, or pasted."""

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message("\n".join(map(escaped, message.split("\n"))), file)
