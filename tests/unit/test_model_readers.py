"""Headers of models: facts under the names that pages read, architectures, GGUF, pickles, files that are no models."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from comfy_assets_node.comfy_assets.assets.media.metadata import FileMetadata, extract, extract_path
from comfy_assets_node.comfy_assets.assets.media.readers.architectures import infer
from comfy_assets_node.comfy_assets.assets.media.readers.model_facts import base_model_name, model_facts
from comfy_assets_node.comfy_assets.assets.media.readers.torch_pickle import PickleError, pickles
from hypothesis import given, settings
from hypothesis import strategies as st
from support.model_files import TensorStub, gguf, pickled, safetensors, torch_archive, torch_legacy


def bounded(found: FileMetadata) -> FileMetadata:
    assert len(msgspec.json.encode(found.facts)) <= 4096
    for document in found.documents.values():
        assert len(document) <= 16 << 20
        json.loads(document)
    return found


HEADERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    (
        {"modelspec.title": "Ink", "modelspec.author": "A", "modelspec.trigger_phrase": "ink, style"},
        {"name": "Ink", "author": "A", "trained_words": ["ink, style"]},
    ),
    (
        {"modelspec.architecture": "flux-1-dev/lora"},
        {"architecture": "flux-1-dev/lora", "base_model": "Flux.1 D"},
    ),
    ({"ss_base_model_version": "sdxl_base_v1-0", "ss_output_name": "x"}, {"base_model": "SDXL 1.0", "name": "x"}),
    ({"ss_base_model_version": "sd_v1"}, {"base_model": "SD 1.5"}),
    ({"ss_base_model_version": "flux1"}, {"base_model": "Flux.1 D"}),
    ({"base_model": "My own"}, {"base_model": "My own"}),
    ({"base_model": "black-forest-labs/FLUX.1-schnell"}, {"base_model": "Flux.1 S"}),
    ({"base_model": "Unknown", "ss_base_model_version": "sd3"}, {"base_model": "SD 3"}),
    ({"trained_words": '["a b", "c", "a b", ""]'}, {"trained_words": ["a b", "c"]}),
    ({"trained_words": ["a", 5, None, {}]}, {"trained_words": ["a", "5"]}),
    ({"trained_words": "[not JSON"}, {"trained_words": ["[not JSON"]}),
    ({"activation text": "a, b,", "trigger_word": "c"}, {"trained_words": ["a, b"]}),
    ({"trigger_word": "c"}, {"trained_words": ["c"]}),
    ({"ss_training_comment": "a\n comment"}, {"description": "a comment"}),
    ({"repo_url": "https://example.org/a"}, {"repo_url": "https://example.org/a"}),
    ({"repo_url": "javascript:alert(1)"}, {}),
    ({"general.name": "N", "general.author": "A"}, {"name": "N", "author": "A"}),
    ({"name": "\ud83d half"}, {"name": "half"}),
    ({"name": 5, "author": True, "description": {"a": 1}}, {"name": "5"}),
    ({"ssmd_cover_images": "[]", "modelspec.thumbnail": "x"}, {"has_picture": True}),
]


@pytest.mark.parametrize(("header", "facts"), HEADERS)
def test_facts_of_headers(header: dict[str, Any], facts: dict[str, Any]) -> None:
    assert model_facts(header) == facts


def test_long_facts_are_shortened() -> None:
    long = 'é"\\\n' * 10_000
    words = [f"{number} {long}" for number in range(100)]
    header = {"name": long, "author": long, "description": long, "base_model": long, "trained_words": words}
    found = model_facts(header)
    assert found["name"].endswith("…")
    assert {*found} == {*header}
    assert len(msgspec.json.encode(found)) < 2000
    many = model_facts({"trained_words": [f"word{number}" for number in range(1000)]})["trained_words"]
    assert many == [f"word{number}" for number in range(50)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sd_1.5", "SD 1.5"),
        ("SDXL", "SDXL 1.0"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "SDXL 1.0"),
        ("runwayml/stable-diffusion-v1-5", "SD 1.5"),
        ("Tongyi-MAI/Z-Image-Turbo", "ZImageTurbo"),
        ("Wan-AI/Wan2.1-T2V-14B-Diffusers", "Wan Video 14B t2v"),
        ("hunyuan-video/lora", "Hunyuan Video"),
        ("Pony", "Pony"),
        ("SG161222/RealVisXL_V4", "SG161222/RealVisXL_V4"),
        ("", ""),
    ],
)
def test_names_of_base_models(text: str, name: str) -> None:
    assert base_model_name(text) == name


UNET = "model.diffusion_model."
SDXL_LORA = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
ARCHITECTURES: list[tuple[dict[str, list[int]], str | None, str | None]] = [
    ({"w": [8, 8]}, None, None),
    ({f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [320, 768]}, "stable-diffusion-v1", "SD 1.5"),
    ({f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [320, 1024]}, "stable-diffusion-v2", "SD 2.1"),
    (
        {
            "first_stage_model.decoder.conv_in.weight": [512, 4, 3, 3],
            f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": [640, 2048],
        },
        "stable-diffusion-xl-v1-base",
        "SDXL 1.0",
    ),
    (
        {f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": [640, 1280]},
        "stable-diffusion-xl-v1-refiner",
        "SDXL Refiner",
    ),
    (
        {"down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": [640, 2048]},
        "stable-diffusion-xl-v1-base",
        "SDXL 1.0",
    ),
    ({f"{SDXL_LORA}.lora_down.weight": [16, 2048]}, "stable-diffusion-xl-v1-base/lora", "SDXL 1.0"),
    ({f"{SDXL_LORA}.hada_w1_b": [16, 768]}, "stable-diffusion-v1/lora", "SD 1.5"),
    (
        {"unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight": [4, 768]},
        "stable-diffusion-v1/lora",
        "SD 1.5",
    ),
    (
        {"lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": [1, 1], "lora_te2_x.lora_up.weight": [1, 1]},
        "stable-diffusion-xl-v1-base/lora",
        "SDXL 1.0",
    ),
    ({"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": [3072, 8]}, "stable-diffusion-v1/lora", "SD 1.5"),
    ({"lora_te_text_model_encoder_layers_12_mlp_fc1.lora_up.weight": [4096, 8]}, "stable-diffusion-v2/lora", "SD 2.1"),
    ({"lora_unet_down_blocks_0.lora_down.weight": [4, 8]}, None, None),
    ({"joint_blocks.0.context_block.attn.qkv.weight": [1, 1]}, "stable-diffusion-v3-medium", "SD 3"),
    (
        {"joint_blocks.0.x_block.attn.qkv.weight": [1, 1], "joint_blocks.37.x_block.attn.qkv.weight": [1, 1]},
        "stable-diffusion-v3.5-large",
        "SD 3.5 Large",
    ),
    (
        {"transformer.transformer_blocks.0.attn.add_k_proj.lora_A.weight": [4, 1536]},
        "stable-diffusion-v3-medium/lora",
        "SD 3",
    ),
    (
        {"double_blocks.0.img_attn.qkv.weight": [1, 1], "guidance_in.in_layer.weight": [1, 1], "img_in.weight": [1, 1]},
        "flux-1",
        "Flux.1 D",
    ),
    (
        {"double_blocks.0.img_attn.qkv.weight": [1, 1], "vector_in.in_layer.weight": [1, 1], "img_in.weight": [1, 1]},
        "flux-1-schnell",
        "Flux.1 S",
    ),
    ({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": [16, 3072]}, "flux-1/lora", "Flux.1 D"),
    ({"transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight": [16, 3072]}, "flux-1/lora", "Flux.1 D"),
    ({"double_stream_modulation_img.lin.weight": [1, 1], "double_blocks.0.x.weight": [1, 1]}, "flux-2", "Flux.2 D"),
    ({"distilled_guidance_layer.norms.0.scale": [1], "double_blocks.0.x.weight": [1]}, "chroma", "Chroma"),
    ({"txt_in.individual_token_refiner.blocks.0.norm1.weight": [1], "double_blocks.0.x": [1]}, "hunyuan-video", None),
    ({"lora_unet_double_blocks_19_img_attn_qkv.lora_down.weight": [16, 3072]}, "hunyuan-video/lora", None),
    (
        {"blocks.0.self_attn.q.weight": [5120, 5120], "blocks.0.cross_attn.k.weight": [1, 1], "head.modulation": [1]},
        "wan-2_1-text2video-14b",
        "Wan Video 14B t2v",
    ),
    (
        {
            "diffusion_model.blocks.0.self_attn.q.lora_A.weight": [16, 1536],
            "diffusion_model.blocks.0.cross_attn.k_img.lora_A.weight": [16, 1536],
            "diffusion_model.blocks.0.cross_attn.k.lora_A.weight": [16, 1536],
        },
        "wan-2_1-image2video-1.3b/lora",
        "Wan Video 1.3B i2v",
    ),
    (
        {"blocks.0.self_attn.q.weight": [3072, 3072], "blocks.0.cross_attn.k.weight": [1, 1]},
        "wan-2_2-ti2v-5b",
        "Wan Video 2.2 TI2V-5B",
    ),
    ({"adaln_single.emb.timestep_embedder.linear_1.bias": [1]}, "lightricks-ltx-video", "LTXV"),
    (
        {"diffusion_model.transformer_blocks.0.attn1.to_k.lora_A.weight": [32, 2048]},
        "lightricks-ltx-video/lora",
        "LTXV",
    ),
    (
        {
            "transformer_blocks.0.attn1.to_k.lora_A.weight": [32, 4096],
            "transformer_blocks.0.audio_attn1.to_k.lora_A.weight": [1, 1],
        },
        "lightricks-ltx-2/lora",
        "LTXV2",
    ),
    ({"txt_norm.weight": [3584], "transformer_blocks.0.img_mlp.net.0.proj.weight": [1, 1]}, "qwen-image", "Qwen"),
    ({"transformer_blocks.0.img_mod.1.lora_down.weight": [16, 3072]}, "qwen-image/lora", "Qwen"),
    (
        {"noise_refiner.0.attention.k_norm.weight": [1], "layers.0.attention.qkv.weight": [1, 3840]},
        "z-image",
        "Z-Image",
    ),
    ({"diffusion_model.layers.0.attention.to_q.lora_A.weight": [16, 3840]}, "z-image/lora", "Z-Image"),
    ({"layers.0.feed_forward.w1.weight": [1, 2304]}, "lumina-2", "Lumina"),
    ({"blocks.0.mlp.layer1.weight": [1, 1]}, "nvidia-cosmos-predict2", "Cosmos"),
    (
        {"input_hint_block.0.weight": [1], "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [320, 768]},
        "stable-diffusion-v1/controlnet",
        "SD 1.5",
    ),
    ({"controlnet_blocks.0.weight": [1], "single_transformer_blocks.0.x": [1]}, "flux-1/controlnet", "Flux.1 D"),
    ({"decoder.conv_in.weight": [512, 4, 3, 3]}, "stable-diffusion/vae", None),
    ({"decoder.conv_in.weight": [512, 16, 3, 3]}, "flux-1/vae", None),
    ({"decoder.middle.0.residual.0.gamma": [1]}, "wan-2_1/vae", None),
    ({"text_model.encoder.layers.0.mlp.fc1.weight": [1, 1]}, "clip-l/text-encoder", None),
    (
        {"text_model.encoder.layers.0.mlp.fc1.weight": [1, 1], "text_model.encoder.layers.30.mlp.fc1.weight": [1, 1]},
        "clip-g/text-encoder",
        None,
    ),
    ({"encoder.block.0.layer.1.DenseReluDense.wi_0.weight": [10240, 4096]}, "t5-xxl/text-encoder", None),
    (
        {"shared.weight": [256_384, 4096], "encoder.block.0.layer.1.DenseReluDense.wi_0.weight": [10240, 4096]},
        "umt5-xxl/text-encoder",
        None,
    ),
    (
        {
            "model.layers.0.self_attn.k_proj.weight": [1, 1],
            "model.layers.0.self_attn.k_proj.bias": [1],
            "model.layers.0.mlp.up_proj.weight": [1, 1],
        },
        "qwen-2.5/text-encoder",
        None,
    ),
    ({"vision_model.encoder.layers.0.mlp.fc1.weight": [1, 1]}, "clip-vision", None),
    ({"emb_params": [8, 768]}, "stable-diffusion-v1/textual-inversion", "SD 1.5"),
    ({"clip_l": [8, 768], "clip_g": [8, 1280]}, "stable-diffusion-xl-v1-base/textual-inversion", "SDXL 1.0"),
]


@pytest.mark.parametrize(("shapes", "name", "base_model"), ARCHITECTURES)
def test_architectures(shapes: dict[str, list[int]], name: str | None, base_model: str | None) -> None:
    found = infer(shapes)
    assert (found.name if found is not None else None) == name
    if base_model is not None:
        assert found is not None
        assert found.base_model == base_model
    facts = extract("a.safetensors", safetensors(shapes=shapes)).facts
    assert facts.get("architecture") == name, "in a file"


def test_a_stated_architecture_is_refined_but_not_replaced() -> None:
    wan = {"blocks.0.self_attn.q.weight": [5120, 5120], "blocks.0.cross_attn.k.weight": [1, 1]}
    stated = extract("a.safetensors", safetensors({"modelspec.architecture": "wan2.1"}, wan)).facts
    assert (stated["architecture"], stated["base_model"]) == ("wan2.1", "Wan Video 14B t2v")
    other = extract("a.safetensors", safetensors({"modelspec.architecture": "flux-1-dev"}, wan)).facts
    assert other["base_model"] == "Flux.1 D"
    own = extract("a.safetensors", safetensors({"base_model": "Mine"}, wan)).facts
    assert own["base_model"] == "Mine"


FLUX = {"double_blocks.0.img_attn.qkv.weight": ([256, 4], 12), "x.bias": ([4], 0)}


@pytest.mark.parametrize(("version", "order"), [(1, "<"), (2, "<"), (3, "<"), (3, ">")])
def test_gguf(version: int, order: str) -> None:
    values = {
        "general.architecture": "flux",
        "general.name": "Flux dev",
        "general.author": "BFL",
        "general.file_type": 14,
        "general.tags": ["text-to-image"],
        "general.base_model.0.name": "unused",
        "tokenizer.ggml.tokens": [f"token{number}" for number in range(1000)],
        "some.numbers": [1, 2, 3],
        "flux.flag": True,
        "flux.scale": 0.5,
    }
    found = bounded(extract("x", gguf(values, FLUX, version, order)))
    assert found.mime_type == "application/gguf"
    header = found.facts.pop("header")
    assert header["general.name"] == "Flux dev"
    assert found.facts == {
        "format": "gguf",
        "kind": "model",
        "tensor_count": 2,
        "parameter_count": 1028,
        "dtypes": {"Q4_K": 1, "F32": 1},
        "name": "Flux dev",
        "author": "BFL",
        "architecture": "flux",
        "base_model": "Flux.1 D",
        "quantization": "Q4_K_S",
        "embedded": ["header"],
    }
    document = json.loads(found.documents["header"])
    assert document["general.tags"] == ["text-to-image"]
    assert not any(key.startswith("tokenizer.") for key in document)


@pytest.mark.parametrize(
    ("file_type", "kind", "quantization"),
    [
        (15, 12, "Q4_K_M"),
        (1, 8, "Q8_0"),
        (None, 30, "BF16"),
        (32, 30, "BF16"),
        (999, 39, "MXFP4"),
        ("x", 99, "type 99"),
    ],
)
def test_quantization(file_type: Any, kind: int, quantization: str) -> None:
    values = {} if file_type is None else {"general.file_type": file_type}
    assert extract("x", gguf(values, {"w": ([32, 32], kind)})).facts["quantization"] == quantization


GGUF = gguf({"general.name": "a name", "list": ["a"]}, FLUX)
BAD_GGUF = {
    "nothing": (b"GGUF", "truncated"),
    "version 0": (b"GGUF" + bytes(20), "version 0"),
    "version 77": (b"GGUF" + struct.pack("<IQQ", 77, 0, 0), "version 77"),
    "2^64 tensors": (b"GGUF" + struct.pack("<IQQ", 3, 2**64 - 1, 0), "more than"),
    "2^32-1 keys": (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**32 - 1), "more than"),
    "a name of 2^64-1": (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**64 - 1) + b"x" * 99, "too long"),
    "a text of 2^63": (b"GGUF" + struct.pack("<IQQQ1sIQ", 3, 0, 1, 1, b"k", 8, 2**63), "truncated"),
    "an array of 2^64-1": (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 4, 2**64 - 1), "more values"),
    "arrays in arrays": (
        b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 9) + struct.pack("<IQ", 9, 1) * 9,
        "unknown type",
    ),
    "type 77": (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 77), "unknown type"),
    "99 dimensions": (b"GGUF" + struct.pack("<IQQQ1sI", 3, 1, 0, 1, b"w", 99), "wrongly"),
    "a huge tensor": (b"GGUF" + struct.pack("<IQQQ1sIQQIQ", 3, 1, 0, 1, b"w", 2, 2**40, 2**40, 0, 0), "more than"),
}


@pytest.mark.parametrize(("data", "words"), BAD_GGUF.values(), ids=BAD_GGUF.keys())
def test_bad_gguf(data: bytes, words: str) -> None:
    found = bounded(extract("x", data))
    assert words in found.facts["error"]
    assert found.facts["format"] == "gguf"


def test_a_gguf_file_that_is_cut_off_keeps_what_is_known() -> None:
    found = extract("x", GGUF[:-8])
    assert found.facts["name"] == "a name"
    assert found.facts["tensor_count"] == 1
    assert "truncated" in found.facts["error"]


def test_a_vocabulary_is_skipped_in_bounded_memory(tmp_path: Path) -> None:
    tokens = [f"{number:0>40}" for number in range(20_000)]
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf({"tokenizer.ggml.tokens": tokens, "general.name": "last"}, FLUX))
    del tokens
    tracemalloc.start()
    try:
        assert extract_path("x.gguf", path).facts["name"] == "last"
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


EMBEDDING = {
    "string_to_token": {"*": 265},
    "string_to_param": {"*": TensorStub((8, 768))},
    "name": "easyneg",
    "step": 500,
    "sd_checkpoint": "abcd",
    "sd_checkpoint_name": "anything-v3",
}
EMBEDDING_FACTS = {
    "format": "pickle",
    "kind": "model",
    "tensor_count": 1,
    "parameter_count": 6144,
    "dtypes": {"F32": 1},
    "name": "easyneg",
    "description": "trained on anything-v3",
    "architecture": "stable-diffusion-v1/textual-inversion",
    "base_model": "SD 1.5",
    "header": {"name": "easyneg", "step": "500", "sd_checkpoint": "abcd", "sd_checkpoint_name": "anything-v3"},
}
CHECKPOINT = {
    "epoch": 3,
    "state_dict": {
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": TensorStub(
            (320, 768), "HalfStorage"
        ),
        "b": TensorStub((), "BFloat16Storage"),
    },
}


@pytest.mark.parametrize(
    "data",
    [
        *(torch_archive(EMBEDDING, protocol) for protocol in (1, 2, 3, 4, 5)),
        torch_archive(EMBEDDING, compression=zipfile.ZIP_DEFLATED, folder="easyneg"),
        torch_archive(EMBEDDING) + b"x",
        torch_legacy(EMBEDDING),
    ],
)
def test_embeddings(data: bytes) -> None:
    assert bounded(extract("x", data)) == FileMetadata(EMBEDDING_FACTS, {}, None)


def test_an_archive_whose_list_lacks_the_pickle() -> None:
    data = torch_archive(EMBEDDING)
    at = data.rindex(b"archive/data.pkl")
    found = extract("x.pt", data[:at] + b"archive/data.pkx" + data[at + 16 :])
    assert found.facts == {"format": "pickle", "kind": "model", "error": "The archive is damaged or cut off."}


def test_checkpoints() -> None:
    facts = extract("x.ckpt", torch_archive(CHECKPOINT)).facts
    assert facts["tensor_count"] == 2
    assert facts["dtypes"] == {"F16": 1, "BF16": 1}
    assert (facts["architecture"], facts["base_model"]) == ("stable-diffusion-v1", "SD 1.5")
    assert facts["header"] == {"epoch": "3"}


def test_nothing_is_called() -> None:
    code = b"\x80\x02}(X\x04\0\0\0nameX\x02\0\0\0okX\x01\0\0\0xcos\nsystem\nX\x04\0\0\0true\x85Ru."
    assert [*pickles(code, 1)] == [{"name": "ok", "x": {}}]


DEEP = b"(" * 2000 + b"N" + b"t" * 2000 + b"."
BAD_PICKLES = {
    "empty": b"",
    "no end": b"\x80\x02}",
    "an empty stack": b".",
    "no such opcode": b"\xff.",
    "a text of 2^32-1": b"X\xff\xff\xff\xffabc.",
    "a text of 2^64-1": b"\x8d" + b"\xff" * 8 + b"abc.",
    "a negative length": b"T\xff\xff\xff\xff.",
    "no memo": b"h\x07.",
    "a mark on top": b"((s.",
    "a name without an end": b"cos.system",
    "a wrong float": b"Fx\n.",
    "a wrong memo": b"gx\n.",
}


@pytest.mark.parametrize("data", BAD_PICKLES.values(), ids=BAD_PICKLES.keys())
def test_bad_pickles(data: bytes) -> None:
    with pytest.raises(PickleError):
        list(pickles(data, 1))


@pytest.mark.parametrize(
    "code", [DEEP, b"}q\0X\x01\0\0\0ah\0s.", b"]q\0h\0a.", b"I" + b"9" * 4000 + b"\n.", b"\x8a\xff" + b"9" * 255 + b"."]
)
def test_odd_pickles_have_a_value(code: bytes) -> None:
    assert len([*pickles(code, 1)]) == 1


def test_a_bomb_of_an_archive_is_bounded() -> None:
    data = torch_archive({"name": "x" * (40 << 20)}, compression=zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    try:
        found = bounded(extract("x.pt", data))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert "damaged" in found.facts["error"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 4265\n", "4,265 bytes"),
        ("a.ckpt", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("a.gguf", b"<!doctype html><head><title>Login\n here</title>", 'a web page ("Login here")'),
        ("a.pt", b"<html>", "a web page,"),
        ("a.sft", b'{"message": "not found"}', "error message"),
    ],
)
def test_files_that_are_no_models(name: str, data: bytes, words: str) -> None:
    found = extract(name, data)
    assert words in found.facts["error"]
    assert found.mime_type is None


CIVITAI = {
    "id": 11,
    "modelId": 22,
    "name": "v2",
    "trainedWords": ["ink style", "splash"],
    "baseModel": "Pony",
    "description": "<p>What&#39;s new: <b>ink</b></p>",
    "model": {"name": "Ink", "type": "LORA", "description": "<p>About</p>", "tags": ["style"]},
    "creator": {"username": "painter"},
}
CIVITAI_FACTS = {
    "name": "Ink (v2)",
    "author": "painter",
    "description": "What's new: ink",
    "repo_url": "https://civitai.com/models/22?modelVersionId=11",
    "trained_words": ["ink style", "splash"],
    "base_model": "Pony",
}
DESCRIPTIONS: list[tuple[Any, dict[str, Any]]] = [
    (CIVITAI, CIVITAI_FACTS),
    (
        {"id": 22, "name": "Ink", "modelVersions": [{"id": 11, "name": "v2", "baseModel": "Pony"}], "tags": []},
        {
            "name": "Ink (v2)",
            "repo_url": "https://civitai.com/models/22?modelVersionId=11",
            "base_model": "Pony",
        },
    ),
    (
        {
            "ModelId": 22,
            "ModelName": "Ink",
            "VersionId": 11,
            "VersionName": "v2",
            "TrainedWords": ["ink"],
            "BaseModel": "SDXL 1.0",
        },
        {
            "name": "Ink (v2)",
            "repo_url": "https://civitai.com/models/22?modelVersionId=11",
            "trained_words": ["ink"],
            "base_model": "SDXL 1.0",
        },
    ),
    (
        {"model_name": "My ink", "base_model": "Illustrious", "notes": "n", "civitai": CIVITAI},
        {**CIVITAI_FACTS, "name": "My ink", "base_model": "Illustrious"},
    ),
    (
        {"model_name": "My ink", "base_model": "Illustrious", "tags": ["a"], "civitai": {}},
        {"name": "My ink", "base_model": "Illustrious"},
    ),
    (
        {"description": "d", "sd version": "SDXL", "activation text": "a, b", "notes": "n"},
        {"description": "d", "base_model": "SDXL 1.0", "trained_words": ["a, b"]},
    ),
    (
        {"modelspec.title": "T", "modelspec.architecture": "Flux.1-dev"},
        {"name": "T", "architecture": "Flux.1-dev", "base_model": "Flux.1 D"},
    ),
    ({"baseModel": 5, "trainedWords": {"a": 1}, "model": [], "name": None, "modelId": "x"}, {}),
    ({"model_name": None, "civitai": {"model": {"name": ["x"]}}}, {}),
]


@pytest.mark.parametrize(("content", "facts"), DESCRIPTIONS)
def test_descriptions_of_models(content: Any, facts: dict[str, Any]) -> None:
    for text in (json.dumps(content).encode(), b"\xef\xbb\xbf" + json.dumps(content, indent=2).encode()):
        found = bounded(extract("x.civitai.info", text))
        assert {key: value for key, value in found.facts.items() if key != "embedded"} == {
            "format": "model-info",
            "kind": "text",
            **facts,
        }
        assert found.mime_type == "application/json"


@pytest.mark.parametrize(
    "text",
    [
        b'{"1":{"class_type":"X","inputs":{"base_model":"y"}}}',
        b'{"last_node_id":1,"nodes":[],"extra":{"base_model":"x"}}',
        b'{"a":1}',
        b'["base_model"]',
        b"base_model",
    ],
)
def test_other_json_is_no_description(text: bytes) -> None:
    assert extract("x.bin", text).facts.get("format") != "model-info"


@pytest.mark.parametrize("text", [b'{"baseModel":', b'{"baseModel":"\xff"}', b'{"baseModel":' + b"[" * 100_000])
def test_broken_descriptions(text: bytes) -> None:
    assert extract("x", text).facts == {
        "format": "model-info",
        "kind": "text",
        "error": "The file is not valid JSON.",
    }


SEEDS = {
    "gguf": GGUF,
    "archive": torch_archive(EMBEDDING),
    "legacy": torch_legacy(EMBEDDING),
    "civitai": json.dumps(CIVITAI).encode(),
    "lora manager": json.dumps({"model_name": "My ink", "civitai": CIVITAI}).encode(),
}


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS.keys())
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_mutation(seed: bytes, data: st.DataObject) -> None:
    mutated = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated)))
        noise = st.sampled_from([b"\xff" * 4, b"\xff" * 8, bytes(4), b'"', b"{", b"[", b"null", b"."])
        mutated[at : at + data.draw(st.integers(0, 8))] = data.draw(st.one_of(st.binary(max_size=4), noise))
    bounded(extract("x.pt", bytes(mutated)))
    bounded(extract("x.gguf", bytes(mutated[: data.draw(st.integers(0, len(mutated)))])))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_pickle(noise: bytes) -> None:
    bounded(extract("x.pt", torch_legacy({})[: -len(pickled({}))] + noise))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_MEMBERS = ("name", "modelId", "id", "baseModel", "trainedWords", "model", "modelVersions", "ModelName", "TrainedWords")
_MORE = ("model_name", "base_model", "civitai", "tags", "description", "activation text", "sd version", "creator")
_HEADERS = ("modelspec.title", "ss_tag_frequency", "general.name")


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from([*_MEMBERS, *_MORE, "modelspec.title"]), _JSON, max_size=8))
def test_any_description(content: dict[str, Any]) -> None:
    bounded(extract("x.civitai.info", json.dumps(content).encode()))


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from([*_MORE, *_HEADERS]), _JSON, max_size=8))
def test_any_header(metadata: dict[str, Any]) -> None:
    bounded(extract("x.safetensors", safetensors(metadata)))
