"""Assets that nobody has: a library of any size, made row by row through the store's own functions.

Of every hundred assets 95 are pictures in dated output folders, three are models, two are inputs. Pictures are made in
runs of one to sixteen; those of a run share one prompt and one workflow, as ComfyUI embeds them, and the runs of a
session vary one text. Every file is hashed and has its facts. A fourteenth of the pictures carry a tag of the user's.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from blake3 import blake3
from comfy_assets_node.comfy_assets.assets.index.content_reader import document
from comfy_assets_node.comfy_assets.db import contents, files, tags
from comfy_assets_node.comfy_assets.db.connection import Database
from comfy_assets_node.comfy_assets.db.contents import Document, Hashed
from comfy_assets_node.comfy_assets.db.files import FileGroup, FolderRow, NewFileRow

BATCH = 4000
_START_MS = 1_640_995_200_000
_MODELS = {
    "checkpoints": 12,
    "loras": 60,
    "vae": 2,
    "controlnet": 6,
    "embeddings": 8,
    "upscale_models": 4,
    "diffusion_models": 5,
    "text_encoders": 3,
}
_USER_TAGS = [f"{kind} {number}" for kind in ("client", "series", "book") for number in range(12)] + ["favorite", "wip"]
_SAMPLERS = ("euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde", "uni_pc", "ddim", "lcm")
_SCHEDULERS = ("normal", "karras", "exponential", "sgm_uniform", "simple", "beta")
_SIZES = ((512, 512), (512, 768), (768, 512), (832, 1216), (1024, 1024), (1216, 832), (1344, 768))
_RUN = (1, 1, 2, 4, 8, 16)
_COMMON = [
    "masterpiece", "best", "quality", "portrait", "woman", "man", "girl", "boy", "detailed", "face", "eyes", "hair",
    "light", "shadow", "cinematic", "photo", "landscape", "mountain", "forest", "river", "city", "night", "rain",
    "snow", "sunset", "sky", "cloud", "castle", "dragon", "knight", "robot", "cat", "dog", "street", "window",
    "flower", "dress", "armor", "sword", "smile", "standing", "sitting", "looking", "viewer", "background", "blurry",
    "depth", "field", "sharp", "focus", "realistic", "painting", "watercolor", "sketch", "anime", "style", "studio",
    "dramatic", "soft", "warm", "cold", "blue", "red", "golden",
]  # fmt: skip
_NEGATIVE = (
    "lowres, bad anatomy, bad hands, text, error, missing fingers, extra digit, cropped, worst quality, watermark"
)
_SYLLABLES = [
    c + v
    for c in ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "sh", "ch", "st", "tr"]
    for v in ["a", "e", "i", "o", "u"]
]


@dataclass(frozen=True)
class _Row:
    """An asset to be: where, what, when, and what reading its file shows."""

    folder: str
    suffix: str
    name: str
    size: int
    mtime_ns: int
    facts: str
    documents: tuple[Document, ...]
    user_tag: str | None


class Generator:
    """Makes rows; the same seed makes the same ones."""

    def __init__(self, seed: int = 7) -> None:
        self._random = random.Random(seed)
        tail = ["".join(self._random.choices(_SYLLABLES, k=self._random.randint(2, 4))) for _ in range(12_000)]
        self.words = [*_COMMON, *dict.fromkeys(tail)]
        self._weights = list(accumulate(1 / (rank + 12) for rank in range(len(self.words))))
        self._models = {category: [self._model_name() for _ in range(400)] for category in _MODELS}
        self._counters: dict[str, int] = {}
        self._workflow = _workflow_template()

    def rows(self, count: int) -> Iterator[_Row]:
        """That many rows, in the order in which their files were written."""
        made = 0
        while made < count:
            kind = self._random.choices(("run", "model", "input"), (95 / 5.33, 3, 2))[0]
            rows = self._run(made / count) if kind == "run" else [getattr(self, f"_{kind}")(made / count)]
            for row in rows[: count - made]:
                made += 1
                yield row

    def _number(self, series: str) -> int:
        """The next number of a series, from 1."""
        number = self._counters[series] = self._counters.get(series, 0) + 1
        return number

    def _mtime(self, when: float) -> int:
        return (_START_MS + int(when * 94_608_000_000) + self._random.randrange(60_000)) * 1_000_000

    def _model_name(self) -> str:
        words = self._random.choices(self.words, k=2)
        return f"{words[0]}{words[1].title()}_v{self._random.randint(1, 30)}{self._random.choice(('', 'XL', '_fp16'))}"

    def _model(self, when: float) -> _Row:
        category = self._random.choices(list(_MODELS), list(_MODELS.values()))[0]
        name = f"{self._model_name()}_{self._number('models')}.safetensors"
        trained = {word: self._random.randint(1, 400) for word in self._random.choices(self.words, k=30)}
        header = {
            "ss_base_model_version": self._random.choice(("sd_v1", "sdxl_base_v1-0", "flux1")),
            "ss_output_name": name.partition(".")[0],
            "ss_tag_frequency": json.dumps({"10_" + self._random.choice(self.words): trained}),
        }
        facts = {"format": "safetensors", "tensor_count": 264, "parameter_count": 18_874_368, "dtypes": {"F16": 264}}
        shown = {**facts, "header": {key: value for key, value in header.items() if len(value) < 100}}
        documents = (document("header", json.dumps(header).encode()),) if category == "loras" else ()
        folder = f"models/{category}/{self._random.choice(self.words[:40])}"
        size = self._random.randrange(10_000_000, 7_000_000_000)
        return _Row(folder, ".safetensors", name, size, self._mtime(when), json.dumps(shown), documents, None)

    def _input(self, when: float) -> _Row:
        stem = self._random.choice(("IMG_2024", "image (", "pasted-", "reference_"))
        name = f"{stem}{self._number('input'):07d}.jpg"
        facts = json.dumps({"format": "jpeg", "width": 3024, "height": 4032})
        return _Row("input", ".jpg", name, self._random.randrange(10**5, 10**7), self._mtime(when), facts, (), None)

    def _run(self, when: float) -> list[_Row]:
        """The pictures of one execution."""
        chance = self._random
        prompt = self._prompt()
        documents = (
            document("prompt", json.dumps(prompt).encode()),
            document(
                "workflow", (self._workflow % (prompt["6"]["inputs"]["text"], prompt["3"]["inputs"]["seed"])).encode()
            ),
        )
        width, height = chance.choice(_SIZES)
        shown = {"format": "png", "width": width, "height": height, "embedded": ["prompt", "workflow"]}
        facts = json.dumps(shown)
        day = int(when * 360)
        folder = f"output/2024-{day // 30 + 1:02d}-{day % 30 + 1:02d}"
        prefix = prompt["9"]["inputs"]["filename_prefix"]
        tag = chance.choice(_USER_TAGS) if chance.random() < 1 / 14 else None
        rows = []
        for _ in range(chance.choice(_RUN)):
            number = self._number(f"{folder}/{prefix}")
            size = chance.randrange(300_000, 3_000_000)
            name = f"{prefix}_{number:05d}_.png"
            rows.append(_Row(folder, ".png", name, size, self._mtime(when), facts, documents, tag))
        return rows

    def _prompt(self) -> dict[str, Any]:
        chance = self._random
        text = ", ".join(
            " ".join(chance.choices(self.words, cum_weights=self._weights, k=chance.randint(1, 3)))
            for _ in range(chance.randint(8, 20))
        )
        model: list[Any] = ["4", 0]
        graph: dict[str, Any] = {
            "4": _node("CheckpointLoaderSimple", ckpt_name=chance.choice(self._models["checkpoints"]) + ".safetensors")
        }
        for number in range(chance.randint(0, 3)):
            name = chance.choice(self._models["loras"]) + ".safetensors"
            graph[f"2{number}"] = _node(
                "LoraLoader",
                lora_name=f"style\\{name}",
                strength_model=0.8,
                strength_clip=1,
                model=model,
                clip=["4", 1],
            )
            model = [f"2{number}", 0]
        width, height = chance.choice(_SIZES)
        graph |= {
            "5": _node("EmptyLatentImage", width=width, height=height, batch_size=1),
            "6": _node("CLIPTextEncode", text=text, clip=["4", 1]),
            "7": _node("CLIPTextEncode", text=_NEGATIVE, clip=["4", 1]),
            "3": _node(
                "KSampler",
                seed=chance.getrandbits(50),
                steps=chance.randint(4, 40),
                cfg=chance.choice((1.0, 3.5, 5.0, 7.0, 8.0)),
                sampler_name=chance.choice(_SAMPLERS),
                scheduler=chance.choice(_SCHEDULERS),
                denoise=1.0,
                model=model,
                positive=["6", 0],
                negative=["7", 0],
                latent_image=["5", 0],
            ),
            "8": _node("VAEDecode", samples=["3", 0], vae=["4", 2]),
            "9": _node("SaveImage", filename_prefix=chance.choice(("ComfyUI", "ComfyUI", "ComfyUI", *_COMMON[4:24])),
                       images=["8", 0]),
        }  # fmt: skip
        return graph


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"inputs": inputs, "class_type": class_type, "_meta": {"title": class_type}}


def _workflow_template() -> str:
    """A workflow as the page saves it: positions, links and widgets of nine nodes; a seed and a text to be put in."""
    nodes = [
        {
            "id": number,
            "type": kind,
            "pos": [60 + 340 * number, 180 + 37 * number],
            "size": {"0": 315, "1": 262},
            "flags": {},
            "order": number,
            "mode": 0,
            "inputs": [{"name": name, "type": name.upper(), "link": number} for name in ("model", "positive", "clip")],
            "outputs": [{"name": "LATENT", "type": "LATENT", "links": [number + 7], "slot_index": 0}],
            "properties": {"Node name for S&R": kind},
            "widgets_values": ["SEED", "randomize", 20, 8, "euler", "normal", 1] if kind == "KSampler" else ["TEXT"],
        }
        for number, kind in enumerate(
            ("CheckpointLoaderSimple", "LoraLoader", "CLIPTextEncode", "CLIPTextEncode", "EmptyLatentImage", "KSampler",
             "VAEDecode", "SaveImage", "Note")
        )
    ]  # fmt: skip
    links = [[number, number, 0, number + 1, 0, "MODEL"] for number in range(12)]
    graph = {"last_node_id": 9, "last_link_id": 12, "nodes": nodes, "links": links, "version": 0.4}
    return json.dumps(graph).replace("%", "%%").replace('"SEED"', "%d").replace("TEXT", "%s", 1).replace('"TEXT"', '""')


async def fill(db: Database, count: int) -> AsyncIterator[int]:
    """Add ``count`` assets that are listed and read; yields how many there are, after each batch."""
    made = 0
    batch: list[_Row] = []
    for row in Generator().rows(count):
        batch.append(row)
        if len(batch) == BATCH:
            await _add(db, batch)
            made += len(batch)
            batch = []
            yield made
    await _add(db, batch)
    yield made + len(batch)


async def _add(db: Database, batch: list[_Row]) -> None:
    groups: dict[tuple[str, str, str | None], list[_Row]] = {}
    for row in batch:
        groups.setdefault((row.folder, row.suffix, row.user_tag), []).append(row)
    async with db.transaction() as tx:
        folder_ids = await files.put_folders(tx, [_folder(path) for path in {row.folder for row in batch}])
        new: list[NewFileRow] = []
        alike: list[FileGroup] = []
        for at, ((folder, suffix, _), members) in enumerate(groups.items()):
            set_id = await tags.intern(tx, "", _place_tags(folder))
            mime = {".png": "image/png", ".jpg": "image/jpeg", ".safetensors": "application/safetensors"}[suffix]
            alike.append(FileGroup(folder_ids[f"/library/{folder}"], set_id, mime))
            new += [(at, row.name, row.name.casefold(), row.size, row.mtime_ns, 0) for row in members]
        first = int(await tx.fetch_value("SELECT coalesce(max(id), 0) FROM assets")) + 1
        await files.insert_new(tx, alike, new, 10**15)
        ordered = [row for members in groups.values() for row in members]
        for tag in {row.user_tag for row in ordered if row.user_tag}:
            await tags.retag(tx, [n for n, row in enumerate(ordered, first) if row.user_tag == tag], add=[tag])
        await contents.record(
            tx,
            [
                Hashed(
                    number,
                    row.size,
                    row.mtime_ns,
                    blake3(b"%d" % number).digest(),
                    row.facts,
                    None,
                    row.documents,
                )
                for number, row in enumerate(ordered, first)
            ],
        )


def _place_tags(folder: str) -> list[str]:
    kind, _, rest = folder.partition("/")
    category = rest.partition("/")[0]
    return ["models", category, f"model_type:{category}"] if kind == "models" else [kind]


def _folder(path: str) -> FolderRow:
    kind, _, rest = path.partition("/")
    category, _, inside = rest.partition("/")
    is_model = kind == "models"
    categories = json.dumps([category] if is_model else [])
    return FolderRow(f"/library/{path}", kind, path, inside if is_model else None, categories, path, None)
