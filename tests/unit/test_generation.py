"""What made a picture, by the documents of every program; and what hostile ones cannot do."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.models import Generation, UsedLora
from comfy_assets_node.comfy_assets.search.generation import generation_of
from hypothesis import given
from hypothesis import strategies as st


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """A node as the server executes it."""
    return {"class_type": class_type, "inputs": inputs}


CHECKPOINT = node("CheckpointLoaderSimple", ckpt_name="xl\\jugger_v9.safetensors")
SAMPLER = node(
    "KSampler", seed=42, steps=20, cfg=7.5, sampler_name="euler", scheduler="karras", denoise=1.0, model=["10", 0],
    positive=["6", 0], negative=["7", 0], latent_image=["5", 0],
)  # fmt: skip
LATENT = node("EmptyLatentImage", width=832, height=1216, batch_size=1)
PLAIN = {
    "3": SAMPLER,
    "4": CHECKPOINT,
    "5": LATENT,
    "6": node("CLIPTextEncode", text="a red dragon", clip=["10", 1]),
    "7": node("CLIPTextEncode", text="blurry", clip=["10", 1]),
    "10": node("LoraLoader", lora_name="style/ink.safetensors", strength_model=0.8, strength_clip=1, model=["4", 0]),
}
MADE = Generation(
    positive="a red dragon", negative="blurry", models=("xl/jugger_v9.safetensors",),
    loras=(UsedLora("style/ink.safetensors", 0.8),), seed=42, steps=20, sampler="euler", scheduler="karras", cfg=7.5,
    width=832, height=1216, tool="ComfyUI",
)  # fmt: skip


def graph(**nodes: Any) -> dict[str, Any]:
    """The plain graph with some nodes replaced or added: ``n6`` is the node 6."""
    return {**PLAIN, **{name[1:]: value for name, value in nodes.items()}}


def prompts(positive: str, negative: str = "") -> dict[str, str]:
    """What is expected of prompts alone."""
    return {"positive": positive, "negative": negative}


def loras(*found: tuple[str, float | None]) -> dict[str, Any]:
    """What is expected of LoRAs alone."""
    return {"loras": tuple(UsedLora(*each) for each in found)}


# Graphs that were executed, and what is to be found beside everything else.
GRAPHS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": (PLAIN, {name: getattr(MADE, name) for name in Generation.__struct_fields__}),
    "primitive": (
        graph(n6=node("CLIPTextEncode", text=["20", 0]), n20=node("PrimitiveStringMultiline", value="a castle")),
        prompts("a castle", "blurry"),
    ),
    "joined texts": (
        graph(
            n6=node("CLIPTextEncode", text=["20", 0]),
            n20=node("StringConcatenate", string_a=["21", 0], string_b="in the mist", delimiter=", "),
            n21=node("ShowText|pysssss", text=["22", 0]),
            n22=node("PrimitiveString", value="a castle"),
        ),
        prompts("a castle\nin the mist", "blurry"),
    ),
    "conditions": (
        graph(
            n3={**SAMPLER, "inputs": {**SAMPLER["inputs"], "positive": ["30", 0], "negative": ["30", 1]}},
            n30=node("ControlNetApplyAdvanced", positive=["31", 0], negative=["7", 0], control_net=["33", 0]),
            n31=node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["32", 0]),
            n32=node("CLIPTextEncode", text="golden hour"),
            n33=node("ControlNetLoader", control_net_name="depth.safetensors"),
        ),
        {**prompts("a red dragon\ngolden hour", "blurry"), "models": MADE.models},
    ),
    "flux": (
        {
            "1": node("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default"),
            "2": node("DualCLIPLoader", clip_name1="t5.safetensors", clip_name2="clip_l.safetensors", type="flux"),
            "3": node("CLIPTextEncode", text="a fox", clip=["2", 0]),
            "4": node("FluxGuidance", guidance=3.5, conditioning=["3", 0]),
            "5": node("BasicGuider", model=["1", 0], conditioning=["4", 0]),
            "6": node("RandomNoise", noise_seed=18446744073709551615),
            "7": node("KSamplerSelect", sampler_name="dpmpp_2m"),
            "8": node("BasicScheduler", scheduler="simple", steps=28, denoise=1.0, model=["1", 0]),
            "9": node("EmptySD3LatentImage", width=1024, height=768, batch_size=1),
            "10": node(
                "SamplerCustomAdvanced",
                noise=["6", 0], guider=["5", 0], sampler=["7", 0], sigmas=["8", 0], latent_image=["9", 0],
            ),
        },
        {
            "positive": "a fox", "negative": "", "models": ("flux1-dev.safetensors",), "seed": 18446744073709551615,
            "steps": 28, "sampler": "dpmpp_2m", "scheduler": "simple", "cfg": 3.5, "width": 1024, "height": 768,
        },
    ),
    "zeroed negative": (
        graph(
            n3={**SAMPLER, "inputs": {**SAMPLER["inputs"], "negative": ["30", 0]}},
            n30=node("ConditioningZeroOut", conditioning=["6", 0]),
        ),
        prompts("a red dragon"),
    ),
    "efficiency nodes": (
        {
            "1": node(
                "Efficient Loader", ckpt_name="a.safetensors", lora_name="None", positive="a cat", negative="bad",
                empty_latent_width=512, empty_latent_height=768, lora_stack=["2", 0],
            ),
            "2": node(
                "LoRA Stacker", input_mode="simple", lora_count=2, lora_name_1="one.safetensors", lora_wt_1=0.5,
                lora_name_2="two.safetensors", lora_wt_2=1.2, lora_name_3="off.safetensors", lora_wt_3=1.0,
            ),
            "3": node("KSampler (Efficient)", seed=["4", 0], steps=9, cfg=2, sampler_name="lcm", positive=["1", 1],
                      negative=["1", 2], model=["1", 0]),
            "4": node("Seed (rgthree)", seed=77),
        },
        {
            **prompts("a cat", "bad"), **loras(("one.safetensors", 0.5), ("two.safetensors", 1.2)),
            "models": ("a.safetensors",), "seed": 77, "steps": 9, "cfg": 2.0, "sampler": "lcm",
        },
    ),
    "power lora loader": (
        graph(
            n10=node(
                "Power Lora Loader (rgthree)",
                lora_1={"on": True, "lora": "a.safetensors", "strength": 0.7},
                lora_2={"on": False, "lora": "b.safetensors", "strength": 1},
            )
        ),
        loras(("a.safetensors", 0.7)),
    ),
    "stacks with switches": (
        graph(
            n10=node(
                "CR LoRA Stack", switch_1="On", lora_name_1="a.safetensors", model_weight_1=0.6, clip_weight_1=1.0,
                switch_2="Off", lora_name_2="b.safetensors", model_weight_2=1.0,
            ),
            n11=node("Lora Loader Stack (rgthree)", lora_01="c.safetensors", strength_01=0.3, lora_02="None"),
            n12=node("Lora Loader (LoraManager)", text="<lora:d:0.4>",
                     loras={"__value__": [{"name": "d", "strength": 0.4, "active": True},
                                          {"name": "e", "strength": 1, "active": False}]}),
        ),
        loras(("a.safetensors", 0.6), ("c.safetensors", 0.3), ("d", 0.4)),
    ),
    "a picture beside a name": (
        graph(n4=node("CheckpointLoader|pysssss", ckpt_name={"content": "x.safetensors", "image": None})),
        {"models": ("x.safetensors",)},
    ),
    "wildcards": (
        graph(n6=node("ImpactWildcardEncode", wildcard_text="__animal__", populated_text="a heron", clip=["4", 1])),
        prompts("a heron", "blurry"),
    ),
    "video": (
        {
            "1": node("WanVideoTextEncode", positive_prompt="a running horse", negative_prompt="static", t5=["2", 0]),
            "3": node("WanVideoSampler", seed=5, steps=6, cfg=1.0, scheduler="unipc", text_embeds=["1", 0]),
        },
        {**prompts("a running horse", "static"), "seed": 5, "scheduler": "unipc"},
    ),
    "another service": (
        {"1": node("OpenAIGPTImage1", prompt="a paper boat", seed=3, quality="low")},
        prompts("a paper boat"),
    ),
    "no sampler": (
        {"1": node("PrimitiveString", value="a lantern"), "2": node("PreviewAny", source=["1", 0])},
        prompts("a lantern"),
    ),
    "two passes": (
        graph(
            n40=node("LatentUpscale", samples=["3", 0], width=1664, height=2432),
            n2={**SAMPLER, "inputs": {**SAMPLER["inputs"], "seed": 1, "steps": 9, "latent_image": ["40", 0]}},
        ),
        {"seed": 42, "steps": 20, "width": 832},
    ),
    "a prompt with tags": (
        graph(n6=node("CLIPTextEncode", text="a cat <lora:foo_bar:0.8:0.5>")),
        {"positive": "a cat <lora:foo_bar:0.8:0.5>", "loras": (MADE.loras[0], UsedLora("foo_bar", 0.8))},
    ),
    "a subgraph": (
        {f"9:{key}": json.loads(json.dumps(value).replace('["', '["9:')) for key, value in PLAIN.items()},
        {name: getattr(MADE, name) for name in Generation.__struct_fields__},
    ),
}  # fmt: skip


def check(found: Generation, wanted: dict[str, Any]) -> None:
    """Compare the named members."""
    assert {name: getattr(found, name) for name in wanted} == wanted


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_that_was_executed(name: str) -> None:
    prompt, wanted = GRAPHS[name]
    check(generation_of({"prompt": json.dumps(prompt).encode()}), wanted)


def saved(*nodes: dict[str, Any], links: Any = (), **more: Any) -> dict[str, Any]:
    """A workflow as the page saves it."""
    return {"nodes": list(nodes), "links": list(links), "version": 0.4, **more}


def socket(name: str, link: int | None, kind: str = "CONDITIONING", **more: Any) -> dict[str, Any]:
    """An input of a saved node."""
    return {"name": name, "type": kind, "link": link, **more}


SAVED_SAMPLER = {
    "id": 3, "type": "KSampler", "widgets_values": [42, "randomize", 20, 7.5, "euler", "karras", 1],
    "inputs": [socket("model", 4, "MODEL"), socket("positive", 1), socket("negative", 2),
               socket("latent_image", 3, "LATENT")],
}  # fmt: skip
SAVED_TEXT = {"id": 6, "type": "CLIPTextEncode", "widgets_values": ["a red dragon"], "inputs": [socket("clip", None)]}
SAVED_NEGATIVE = {"id": 7, "type": "CLIPTextEncode", "widgets_values": ["blurry"]}
SAVED_REST = (
    {"id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["xl\\jugger_v9.safetensors"]},
    {"id": 5, "type": "EmptyLatentImage", "widgets_values": [832, 1216, 1]},
    {"id": 10, "type": "LoraLoader", "widgets_values": ["style/ink.safetensors", 0.8, 1],
     "inputs": [socket("model", 5, "MODEL")]},
)  # fmt: skip
SAVED_LINKS = (
    [1, 6, 0, 3, 1, "CONDITIONING"],
    [2, 7, 0, 3, 2, "CONDITIONING"],
    [3, 5, 0, 3, 3, "LATENT"],
    [4, 10, 0, 3, 0, "MODEL"],
    [5, 4, 0, 10, 0, "MODEL"],
)
SAVED = saved(SAVED_SAMPLER, SAVED_TEXT, SAVED_NEGATIVE, *SAVED_REST, links=SAVED_LINKS)
ALL_MADE = {name: getattr(MADE, name) for name in Generation.__struct_fields__}
_INSIDE = {
    "id": "sub-1",
    "nodes": [
        {**SAVED_TEXT, "widgets_values": ["inside"],
         "inputs": [socket("text", 21, "STRING", widget={"name": "text"})]},
    ],
    "links": [
        {"id": 21, "origin_id": -10, "origin_slot": 0, "target_id": 6, "target_slot": 0, "type": "STRING"},
        {"id": 22, "origin_id": 6, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "CONDITIONING"},
    ],
}  # fmt: skip

WORKFLOWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": (SAVED, ALL_MADE),
    "reroute": (
        saved(
            SAVED_SAMPLER, SAVED_TEXT, SAVED_NEGATIVE, *SAVED_REST,
            {"id": 8, "type": "Reroute", "inputs": [socket("", 9, "*")], "outputs": [{"type": "CONDITIONING"}]},
            links=[[1, 8, 0, 3, 1, "*"], [9, 6, 0, 8, 0, "*"], *SAVED_LINKS[1:]],
        ),
        ALL_MADE,
    ),
    "set and get": (
        saved(
            SAVED_SAMPLER, SAVED_TEXT, SAVED_NEGATIVE, *SAVED_REST,
            {"id": 8, "type": "SetNode", "widgets_values": ["cond"], "inputs": [socket("CONDITIONING", 9)]},
            {"id": 11, "type": "GetNode", "widgets_values": ["cond"], "outputs": [{"type": "CONDITIONING"}]},
            links=[[1, 11, 0, 3, 1, "*"], [9, 6, 0, 8, 0, "*"], *SAVED_LINKS[1:]],
        ),
        ALL_MADE,
    ),
    "bypassed LoRA": (
        saved(
            SAVED_SAMPLER, SAVED_TEXT, SAVED_NEGATIVE, *SAVED_REST[:2],
            {**SAVED_REST[2], "mode": 4, "outputs": [{"type": "MODEL"}]}, links=SAVED_LINKS,
        ),
        {**ALL_MADE, "loras": ()},
    ),
    "muted text": (
        saved(SAVED_SAMPLER, {**SAVED_TEXT, "mode": 2}, SAVED_NEGATIVE, *SAVED_REST, links=SAVED_LINKS),
        prompts("", "blurry"),
    ),
    "a primitive": (
        saved(
            SAVED_SAMPLER,
            {**SAVED_TEXT, "inputs": [socket("text", 8, "STRING", widget={"name": "text"})]},
            {"id": 9, "type": "PrimitiveNode", "widgets_values": ["a golden bird"]},
            SAVED_NEGATIVE, *SAVED_REST, links=[*SAVED_LINKS, [8, 9, 0, 6, 0, "STRING"]],
        ),
        prompts("a golden bird", "blurry"),
    ),
    "a subgraph with a text from outside": (
        saved(
            SAVED_SAMPLER, SAVED_NEGATIVE, *SAVED_REST,
            {"id": 50, "type": "sub-1", "inputs": [socket("text", None, "STRING", widget={"name": "text"})],
             "widgets_values": ["a red dragon"]},
            links=[[1, 50, 0, 3, 1, "CONDITIONING"], *SAVED_LINKS[1:]],
            definitions={"subgraphs": [_INSIDE]},
        ),
        ALL_MADE,
    ),
    "named widgets": (
        saved(
            {
                "id": 1, "type": "SomeSampler", "widgets_values": [9, "fixed", 4, "euler"],
                "inputs": [socket("positive", 1), *(
                    socket(name, None, "*", widget={"name": name}) for name in ("seed", "steps", "sampler_name"))],
            },
            SAVED_TEXT, links=[[1, 6, 0, 1, 0, "*"]],
        ),
        {**prompts("a red dragon"), "seed": 9, "steps": 4, "sampler": "euler"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_graph_as_the_page_saves_it(name: str) -> None:
    workflow, wanted = WORKFLOWS[name]
    check(generation_of({"workflow": json.dumps(workflow).encode()}), wanted)


A1111 = (
    "a cat, (masterpiece:1.2)\n<lora:foo_bar:0.8>\nNegative prompt: ugly,\nblurry\n"
    "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1234567, Size: 512x768, "
    'Model hash: abcdef1234, Model: dreamshaper_8, Lora hashes: "foo_bar: 0123456789ab, other: 0011", Version: v1.9.4'
)
SWARM = {
    "sui_image_params": {
        "prompt": "a knight", "negativeprompt": "x", "model": "Flux/dev", "seed": 30, "steps": 25, "cfgscale": 1.5,
        "width": 640, "height": 480, "loras": ["ink", "glow"], "loraweights": ["0.5", "1"],
    },
    "sui_extra_data": {"date": "2024-08-07"},
}  # fmt: skip
FOOOCUS = {
    "prompt": "a lake", "negative_prompt": "low", "base_model": "jugger.safetensors", "seed": "99", "steps": 30,
    "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras", "resolution": "(1152, 896)", "guidance_scale": 4.0,
    "loras": [["offset.safetensors", 0.1, "ab"]], "metadata_scheme": "fooocus", "version": "Fooocus v2.5.5",
}  # fmt: skip
INVOKE = {
    "app_version": "3.1.1", "positive_prompt": "a bird", "negative_prompt": "bad", "width": 96, "height": 64,
    "seed": 25, "cfg_scale": 6, "steps": 12, "scheduler": "euler", "model": {"model_name": "xl-base"},
    "loras": [{"lora": {"model_name": "ink"}, "weight": 0.75}, {"model": {"name": "glow"}, "weight": 1}],
}  # fmt: skip
OLD_INVOKE = {
    "model_weights": "sd-1.5",
    "image": {"prompt": [{"prompt": "an owl", "weight": 1}], "steps": 50, "cfg_scale": 7.5, "seed": 11, "width": 512,
              "height": 512, "sampler": "k_lms"},
}  # fmt: skip
NOVELAI = {
    "prompt": "1girl, hat", "steps": 28, "seed": 55, "uc": "lowres", "scale": 5, "sampler": "k_euler", "width": 832,
    "height": 1216,
    "v4_prompt": {"caption": {"base_caption": "1girl", "char_captions": [{"char_caption": "hat"}]}},
}  # fmt: skip
DRAW_THINGS = {
    "c": "a moon", "uc": "sun", "model": "sd_v1.5.ckpt", "sampler": "DPM++ 2M Karras", "scale": 4, "seed": 6,
    "size": "512x640", "steps": 8, "lora": [{"model": "ink.ckpt", "weight": 0.6}],
}  # fmt: skip
EASY = {
    "prompt": "a horse", "negative_prompt": "dog", "use_stable_diffusion_model": "sd-v1-5", "use_lora_model": "ink",
    "lora_alpha": 0.3, "num_inference_steps": 22, "guidance_scale": 7.5, "sampler_name": "euler_a", "seed": 8,
}  # fmt: skip

TEXTS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "A1111": (
        "parameters", A1111,
        {
            **prompts("a cat, (masterpiece:1.2)\n<lora:foo_bar:0.8>", "ugly,\nblurry"), "models": ("dreamshaper_8",),
            **loras(("foo_bar", 0.8), ("other", None)), "seed": 1234567, "steps": 20, "sampler": "DPM++ 2M",
            "scheduler": "Karras", "cfg": 7.0, "width": 512, "height": 768, "tool": "A1111",
        },
    ),
    "no settings": ("parameters", "a cat", prompts("a cat")),
    "no negative prompt": ("parameters", "a cat\nSteps: 5, Seed: 1", {**prompts("a cat"), "seed": 1}),
    "Civitai": (
        "parameters",
        'x\nSteps: 5, Seed: 1, Civitai resources: [{"type":"checkpoint","modelName":"Big"},'
        '{"type":"lora","weight":0.4,"modelName":"Ink"}], Civitai metadata: {}',
        {"models": ("Big",), **loras(("Ink", 0.4))},
    ),
    "SwarmUI": (
        "parameters", json.dumps(SWARM),
        {**prompts("a knight", "x"), "models": ("Flux/dev",), **loras(("ink", 0.5), ("glow", 1.0)), "seed": 30,
         "steps": 25, "cfg": 1.5, "width": 640, "height": 480, "tool": "SwarmUI"},
    ),
    "Fooocus": (
        "parameters", json.dumps(FOOOCUS),
        {**prompts("a lake", "low"), "models": ("jugger.safetensors",), **loras(("offset.safetensors", 0.1)),
         "seed": 99, "cfg": 4.0, "width": 1152, "height": 896, "sampler": "dpmpp_2m_sde_gpu", "tool": "Fooocus"},
    ),
    "InvokeAI": (
        "generation", INVOKE,
        {**prompts("a bird", "bad"), "models": ("xl-base",), **loras(("ink", 0.75), ("glow", 1.0)), "seed": 25,
         "steps": 12, "cfg": 6.0, "scheduler": "euler", "width": 96, "tool": "InvokeAI"},
    ),
    "InvokeAI 2": (
        "generation", OLD_INVOKE,
        {**prompts("an owl"), "models": ("sd-1.5",), "seed": 11, "steps": 50, "sampler": "k_lms", "tool": "InvokeAI"},
    ),
    "InvokeAI 1": (
        "description", '"an owl [bad]" -s 50 -S 123 -W 512 -H 640 -C 7.5 -A k_lms',
        {**prompts("an owl", "bad"), "seed": 123, "steps": 50, "width": 512, "height": 640, "cfg": 7.5},
    ),
    "NovelAI": (
        "generation", NOVELAI,
        {**prompts("1girl, hat", "lowres"), "seed": 55, "steps": 28, "cfg": 5.0, "sampler": "k_euler",
         "tool": "NovelAI"},
    ),
    "Draw Things": (
        "generation", DRAW_THINGS,
        {**prompts("a moon", "sun"), "models": ("sd_v1.5.ckpt",), **loras(("ink.ckpt", 0.6)), "seed": 6, "steps": 8,
         "cfg": 4.0, "width": 512, "height": 640},
    ),
    "Easy Diffusion": (
        "generation", EASY,
        {**prompts("a horse", "dog"), "models": ("sd-v1-5",), **loras(("ink", 0.3)), "seed": 8, "steps": 22,
         "sampler": "euler_a", "tool": "Easy Diffusion"},
    ),
    "Midjourney": ("description", "a fox --v 6 --ar 3:2 Job ID: 1-2", {**prompts("a fox"), "tool": "Midjourney"}),
    "a photo": ("description", "Sunset in Rome", ALL_MADE | {name: getattr(Generation(), name) for name in ALL_MADE}),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_what_another_program_wrote(name: str) -> None:
    key, value, wanted = TEXTS[name]
    check(generation_of({key: json.dumps(value).encode()}), wanted)


def test_documents_complete_one_another() -> None:
    documents = {
        "prompt": json.dumps({"1": node("KSampler", seed=1, steps=2, positive=["2", 0]),
                              "2": node("CLIPTextEncode", text="a cat")}).encode(),
        "parameters": json.dumps(A1111).encode(),
    }  # fmt: skip
    found = generation_of(documents)
    check(found, {"positive": "a cat", "negative": "", "seed": 1, "models": ("dreamshaper_8",), "tool": "ComfyUI"})


ODD = {
    "nothing": ({}, Generation()),
    "unknown keys": ({"header": b'{"a":"b"}'}, Generation()),
    "not JSON": ({"prompt": b"{", "workflow": b"[", "parameters": b"x"}, Generation()),
    "an empty prompt": ({"prompt": b"{}", "workflow": json.dumps(SAVED).encode()}, MADE),
    "encoded twice": ({"prompt": json.dumps(json.dumps(PLAIN)).encode()}, MADE),
    "half an emoji": ({"prompt": json.dumps(PLAIN).replace("karras", "karras\\ud83d").encode()}, None),
    "a byte order mark": ({"prompt": b"\xef\xbb\xbf" + json.dumps(PLAIN).encode()}, MADE),
    "a picture as text": (
        {"prompt": json.dumps({**PLAIN, "99": node("LoadImageBase64", image="iVBORw0KGgo" * 400_000)}).encode()},
        MADE,
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_documents(name: str) -> None:
    documents, wanted = ODD[name]
    found = generation_of(documents)
    assert found == wanted if wanted is not None else found.positive == "a red dragon"


HOSTILE = {
    "deep": b'{"a":' * 100_000,
    "a loop": json.dumps({"1": node("KSampler", seed=["1", 0], positive=["1", 0], noise=["1", 0])}).encode(),
    "a long loop": json.dumps(
        {str(n): node("CLIPTextEncode", text=[str((n + 1) % 4000), 0], positive=["0", 0]) for n in range(4000)}
    ).encode(),
    "many samplers": json.dumps({str(n): node("KSampler", seed=n, positive=["0", 0]) for n in range(5000)}).encode(),
    "many settings": json.dumps("x\nSteps: 1, " + "A: b, " * 100_000).encode(),
    "open quotes": json.dumps("x\nSteps: 1, " + 'A: "' * 20_000).encode(),
    "open brackets": json.dumps("x\nSteps: 1, " + "A: [x," * 20_000).encode(),
    "many brackets": json.dumps('"' + "[" * 200_000 + '" -s 3').encode(),
    "subgraphs in themselves": json.dumps(
        saved(
            {"id": 1, "type": "s", "inputs": [socket("a", 1)]},
            links=[[1, 1, 0, 1, 0, "*"]],
            definitions={
                "subgraphs": [{"id": "s", "nodes": [{"id": n, "type": "s"} for n in range(3)], "links": [[1] * 6]}]
            },
        )
    ).encode(),
    "many subgraphs": json.dumps(
        saved({"id": 1, "type": "s0"}, definitions={"subgraphs": [
            {"id": f"s{d}", "nodes": [{"id": n, "type": f"s{d + 1}"} for n in range(40)]} for d in range(10)
        ]})
    ).encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_cost_little(name: str) -> None:
    started = time.process_time()
    for key in ("prompt", "workflow", "parameters", "generation", "description"):
        assert isinstance(generation_of({key: HOSTILE[name]}), Generation)
    assert time.process_time() - started < 5


names = st.sampled_from(
    ["class_type", "inputs", "positive", "negative", "text", "lora_1", "loras", "seed", "nodes", "links", "type", "id",
     "widgets_values", "definitions", "subgraphs", "prompt", "model", "width", "size", "mode", "v4_prompt", "caption"]
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | st.just("1"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.just("1"), inner, max_size=4),
    max_leaves=15,
)


@given(
    documents=st.dictionaries(
        st.sampled_from(["prompt", "workflow", "parameters", "generation", "description"]),
        values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60),
        max_size=3,
    )
)
def test_any_documents_are_read(documents: dict[str, bytes]) -> None:
    assert isinstance(generation_of(documents), Generation)
