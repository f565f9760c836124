"""Output of the commands. Control characters are escaped, so that names cannot control the terminal."""

from __future__ import annotations

import argparse
import sys
from typing import Any, TextIO

from ..logs import escaped


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
