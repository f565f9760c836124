"""The driver of models: plain Python that does what the product should have done, step by step beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol


class SteppedModel(Protocol):
    """A model whose methods are its steps."""

    async def begin(self) -> None:
        """Open what the steps work on."""

    async def end(self) -> None:
        """Close it; called whatever happened."""


async def run_model(
    model: SteppedModel, steps: Iterable[Sequence[Any]], *, after_each: Sequence[str] = (), at_end: Sequence[str] = ()
) -> None:
    """Take steps, each the name of a method and its arguments; ``after_each`` and ``at_end`` name methods as well."""
    await model.begin()
    try:
        for name, *arguments in steps:
            await getattr(model, name.replace(" ", "_"))(*arguments)
            for check in after_each:
                await getattr(model, check)()
        for check in at_end:
            await getattr(model, check)()
    finally:
        await model.end()
