"""Files that appear, change, move and vanish in the library's folders, without any request."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

from notes import Notes

FOLDERS = ("models/loras", "models/checkpoints", "input", "output", "output/sub", "input/sub/deep")
SOURCES = 20


def make_sources(base: Path, chance: random.Random) -> list[bytes]:
    """Files that stay as they are; answers their contents."""
    folder = base / "input" / "sources"
    folder.mkdir(parents=True, exist_ok=True)
    contents = [chance.randbytes(chance.randrange(1, 50_000)) for _ in range(SOURCES)]
    for number, content in enumerate(contents):
        (folder / f"{number}.bin").write_bytes(content)
    return contents


class Disk:
    """Does one thing to the files after the other."""

    pause_s = 0.02

    def __init__(self, base: Path, notes: Notes, chance: random.Random) -> None:
        self._base, self._notes, self._chance = base, notes, chance
        self._files: list[Path] = []
        self._count = 0

    async def work(self, until: float) -> None:
        """Until the time is over, whether or not the server is there."""
        deeds = [self._appear, self._change, self._change_slowly, self._move, self._vanish]
        while time.monotonic() < until:
            deed = self._chance.choices(deeds, (5, 2, 1, 2, 2))[0]
            await deed()
            await asyncio.sleep(self.pause_s)

    def _any(self) -> Path | None:
        return self._chance.choice(self._files) if self._files else None

    def _new(self) -> Path:
        self._count += 1
        path = self._base / self._chance.choice(FOLDERS) / f"foreign {self._count}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _content(self) -> bytes:
        return self._chance.randbytes(self._chance.randrange(1, 30_000))

    async def _appear(self) -> None:
        path = self._new()
        path.write_bytes(self._content())
        self._files.append(path)
        self._notes.write("disk", kind="appear", path=path)

    async def _change(self) -> None:
        path = self._any()
        if path is not None:
            path.write_bytes(self._content())
            self._notes.write("disk", kind="change", path=path)

    async def _change_slowly(self) -> None:
        """Seen half written by whoever looks now."""
        path = self._any()
        if path is not None:
            with path.open("wb", buffering=0) as file:
                for _ in range(3):
                    file.write(self._content())
                    await asyncio.sleep(self._chance.random() / 20)
            self._notes.write("disk", kind="change slowly", path=path)

    async def _move(self) -> None:
        path = self._any()
        if path is not None:
            self._files.remove(path)
            self._files.append(path.rename(self._new()))
            self._notes.write("disk", kind="move", path=path, new=self._files[-1])

    async def _vanish(self) -> None:
        path = self._any()
        if path is not None:
            self._files.remove(path)
            path.unlink()
            self._notes.write("disk", kind="vanish", path=path)
