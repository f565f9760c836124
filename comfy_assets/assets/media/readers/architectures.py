"""The architecture of a model, inferred from the names and shapes of its tensors. Pure.

Architectures are named as in the Stability AI Model Metadata Standard (``flux-1``, ``stable-diffusion-v1/lora``), base
models as on Civitai, whose sidecar files have the same names, so that one filter finds both.

A rule looks for texts in the names. Dots count as underscores, because trainers of LoRAs replace them
(``lora_unet_double_blocks_0_img_attn_qkv``).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import NamedTuple

import msgspec

MAX_TENSORS = 12_000  # whose names are examined; the first blocks of a model suffice
_MAX_REMEMBERED = 4_000  # tensors of a model whose result is kept for the next one
_MAX_RESULTS = 256

Shape = Sequence[int]


class Architecture(NamedTuple):
    """An architecture and the base model that it implies, None where it implies none."""

    name: str
    base_model: str | None


class TensorNames:
    """The names of a model's tensors as one text, with the shapes behind them."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        names = list(shapes)[:MAX_TENSORS]
        self._shapes = [shapes[name] for name in names]
        self._text = "\n".join(("", *names, "")).replace(".", "_")

    def has(self, *parts: str) -> bool:
        """Return whether each of the parts is in some name."""
        return all(part in self._text for part in parts)

    def has_any(self, *parts: str) -> bool:
        """Return whether one of the parts is in some name."""
        return any(part in self._text for part in parts)

    def starts(self, *starts: str) -> bool:
        """Return whether some name begins with one of these."""
        return any(f"\n{start}" in self._text for start in starts)

    def shape(self, part: str, end: str = "weight") -> Shape | None:
        """Return the shape of the first tensor with this part in its name and this end, or None."""
        at = self._text.find(part)
        while at >= 0:
            line_end = self._text.index("\n", at)
            if self._text.endswith(end, at, line_end):
                return self._shapes[self._text.count("\n", 0, at) - 1]
            at = self._text.find(part, line_end)
        return None

    def width(self, part: str) -> int | None:
        """Return the number of inputs of the layer with this part in its name, from its weight or its LoRA."""
        for end in (f"{part}_lora_down_weight", f"{part}_lora_A_weight", f"{part}_lora_A_default_weight"):
            if end in self._text:
                return _last(self.shape(part, end))
        for end in (f"{part}_hada_w1_b", f"{part}_weight"):
            if end in self._text:
                return _last(self.shape(part, end))
        return None


def _last(shape: Shape | None) -> int | None:
    # A LoRA of a 1x1 convolution has the inputs before two ones.
    return None if shape is None or len(shape) < 2 else shape[1]


Rule = Callable[[TensorNames], Architecture | None]


def infer(shapes: Mapping[str, Shape]) -> Architecture | None:
    """Return the architecture of a model with tensors of these names and shapes, or None if no rule knows it."""
    if len(shapes) > _MAX_REMEMBERED:
        return _infer(TensorNames(shapes))
    # By a digest: the names of many models would take tens of megabytes.
    digest = hashlib.blake2b(msgspec.json.encode((list(shapes), list(shapes.values()))), digest_size=16).digest()
    return _remembered.get(digest, shapes)


class _Remembered:
    """The latest results: LoRAs of one kind, of which a library has hundreds, have the same tensors."""

    def __init__(self) -> None:
        self._found: OrderedDict[bytes, Architecture | None] = OrderedDict()
        self._lock = Lock()

    def get(self, digest: bytes, shapes: Mapping[str, Shape]) -> Architecture | None:
        """Return the architecture of a model with this digest of its tensors."""
        with self._lock:
            if digest in self._found:
                self._found.move_to_end(digest)
                return self._found[digest]
        found = _infer(TensorNames(shapes))
        with self._lock:
            self._found[digest] = found
            if len(self._found) > _MAX_RESULTS:
                self._found.popitem(last=False)
        return found


_remembered = _Remembered()


def _infer(names: TensorNames) -> Architecture | None:
    is_lora = names.has_any(*_LORA)
    for rule in _DIFFUSION:
        found = rule(names)
        if found is not None:
            return found._replace(name=f"{found.name}{_role(names, is_lora)}")
    return None if is_lora else next((found for rule in _OTHER if (found := rule(names)) is not None), None)


_LORA = ("_lora_down_", "_lora_up_", "_lora_A_", "_lora_B_", "_hada_w1_", "_lokr_w1", "_oft_blocks", "_dora_scale")
_CONTROL = (
    "input_hint_block_0_",
    "controlnet_cond_embedding_",
    "controlnet_blocks_0_",
    "control_model_",
    "zero_convs_0_",
)


def _role(names: TensorNames, is_lora: bool) -> str:
    if is_lora:
        return "/lora"
    return "/controlnet" if names.has_any(*_CONTROL) else ""


def _simple(architecture: str, base_model: str | None, *parts: str) -> Rule:
    """Return the rule for an architecture that one of the parts identifies."""
    result = Architecture(architecture, base_model)
    return lambda names: result if names.has_any(*parts) else None


# Context sizes of the cross attention of Stable Diffusion's networks.
_UNETS = {
    768: Architecture("stable-diffusion-v1", "SD 1.5"),
    1024: Architecture("stable-diffusion-v2", "SD 2.1"),
    2048: Architecture("stable-diffusion-xl-v1-base", "SDXL 1.0"),
    1280: Architecture("stable-diffusion-xl-v1-refiner", "SDXL Refiner"),
}

_CROSS_ATTENTION = ("attn2_to_k", "attn2_to_v", "attn2_processor_to_k")


def _unet(names: TensorNames) -> Architecture | None:
    if not names.has_any("input_blocks_", "down_blocks_", "mid_block_", "middle_block_", "up_blocks_", "lora_te"):
        return None
    if names.has_any("time_stack_", "temporal_transformer_blocks_"):
        return Architecture("stable-video-diffusion", "SVD")
    width = next((w for part in _CROSS_ATTENTION if (w := names.width(part)) is not None), None)
    if width in _UNETS:
        return _UNETS[width]
    # Adapters without a usable shape. Only SDXL has a second text encoder and several blocks in a row.
    if names.starts("lora_te2_") or names.has_any("_transformer_blocks_1_", "text_encoder_2_"):
        return _UNETS[2048]
    if names.has_any("lora_te_text_model_encoder_layers_12_"):  # OpenCLIP, which has more layers than CLIP
        return _UNETS[1024]
    if names.has_any("lora_te_text_model_encoder_layers_", "_attentions_0_transformer_blocks_0_attn"):
        return _UNETS[768]
    return None


def _mmdit(names: TensorNames) -> Architecture | None:
    if not names.has_any("joint_blocks_0_"):
        return None
    if names.has("joint_blocks_37_"):
        return Architecture("stable-diffusion-v3.5-large", "SD 3.5 Large")
    if names.has("joint_blocks_0_x_block_attn2_"):
        return Architecture("stable-diffusion-v3.5-medium", "SD 3.5 Medium")
    return Architecture("stable-diffusion-v3-medium", "SD 3")


def _diffusers_mmdit(names: TensorNames) -> Architecture | None:
    """Rule for the names that diffusers give to Qwen-Image, Flux and Stable Diffusion 3: they share most layers."""
    if names.has_any("transformer_blocks_0_img_mlp_", "transformer_blocks_0_img_mod_", "transformer_blocks_59_attn_"):
        return Architecture("qwen-image", "Qwen")
    if names.has("single_transformer_blocks_0_"):
        if names.has_any("single_transformer_blocks_47_", "double_stream_modulation_img_"):
            return Architecture("flux-2", "Flux.2 D")
        return Architecture("flux-1", "Flux.1 D")
    if not names.has_any("transformer_blocks_0_attn_add_q_proj", "transformer_blocks_0_attn_add_k_proj"):
        return None
    if names.has("transformer_blocks_37_"):
        return Architecture("stable-diffusion-v3.5-large", "SD 3.5 Large")
    return Architecture("stable-diffusion-v3-medium", "SD 3")


def _double_blocks(names: TensorNames) -> Architecture | None:
    """Rule for Flux and Hunyuan Video, whose blocks have the same names."""
    if names.has("distilled_guidance_layer_"):
        return Architecture("chroma", "Chroma")
    if not names.has_any("double_blocks_", "single_blocks_"):
        return None
    if names.has_any("double_stream_modulation_img_", "single_blocks_47_"):
        return Architecture("flux-2", "Flux.2 D")
    # Hunyuan Video has 20 and 40 blocks, Flux 19 and 38.
    if names.has_any("individual_token_refiner_", "img_mlp_fc1_", "double_blocks_19_", "single_blocks_39_"):
        return Architecture("hunyuan-video", "Hunyuan Video")
    if names.has("img_in_weight", "vector_in_") and not names.has("guidance_in_"):
        return Architecture("flux-1-schnell", "Flux.1 S")
    return Architecture("flux-1", "Flux.1 D")


_WAN_SIZES = {1536: "1.3B", 5120: "14B"}


def _wan(names: TensorNames) -> Architecture | None:
    if names.has("blocks_0_self_attn_q", "blocks_0_cross_attn_k") or names.has("head_modulation", "blocks_0_ffn_"):
        width = names.width("blocks_0_self_attn_q")
    elif names.has("blocks_0_attn1_to_q", "blocks_0_ffn_net_0_proj"):
        width = names.width("blocks_0_attn1_to_q")
    elif names.has("blocks_0_cross_attn_k_img") or names.has("blocks_0_cross_attn_", "blocks_0_ffn_0_"):
        width = names.width("blocks_0_ffn_0")
    else:
        return None
    if width == 3072:
        return Architecture("wan-2_2-ti2v-5b", "Wan Video 2.2 TI2V-5B")
    size = _WAN_SIZES.get(width or 0)
    is_from_image = names.has_any("cross_attn_k_img", "img_emb_proj_", "add_k_proj")
    task = "image2video" if is_from_image else "text2video"
    if size is None:
        return Architecture("wan-2_1", "Wan Video")
    return Architecture(f"wan-2_1-{task}-{size.lower()}", f"Wan Video {size} {'i2v' if is_from_image else 't2v'}")


def _ltx(names: TensorNames) -> Architecture | None:
    """Rule for LTX-Video and PixArt, whose blocks have the same names, at the top where U-Nets have none."""
    is_base = names.has("adaln_single_emb_timestep_embedder_linear_1_bias")
    if not is_base and not (
        names.has_any("transformer_blocks_0_attn1_to_k", "transformer_blocks_0_attn1_to_q")
        and not names.has_any(
            "down_blocks_", "up_blocks_", "input_blocks_", "output_blocks_", "mid_block_", "middle_block_"
        )
    ):
        return None
    if names.has_any("audio_adaln_single_", "audio_attn1_", "audio_to_video_attn_"):
        return Architecture("lightricks-ltx-2", "LTXV2")
    width = names.width("transformer_blocks_0_attn1_to_k") or names.width("transformer_blocks_0_attn1_to_q")
    if names.has("pos_embed_proj_bias") or width == 1152:
        return Architecture("pixart", "PixArt E")
    return Architecture("lightricks-ltx-video", "LTXV") if is_base or width in (2048, 4096) else None


def _next_dit(names: TensorNames) -> Architecture | None:
    """Rule for Lumina 2 and Z-Image, which are the same network in two sizes."""
    if not names.has_any(
        "layers_0_attention_qkv", "layers_0_attention_to_q", "layers_0_feed_forward_w1", "noise_refiner_0_"
    ):
        return None
    parts = ("layers_0_attention_qkv", "layers_0_attention_to_q", "layers_0_feed_forward_w1")
    width = next((found for part in parts if (found := names.width(part)) is not None), None)
    if width == 3840:
        return Architecture("z-image", "Z-Image")
    return Architecture("lumina-2", "Lumina") if width == 2304 else None


# In this order: the first rule that applies decides.
_DIFFUSION: tuple[Rule, ...] = (
    _simple("auraflow-v1", "AuraFlow", "double_layers_0_attn_w1q", "joint_transformer_blocks_0_"),
    _mmdit,
    _simple("hunyuan-dit", "Hunyuan 1", "mlp_t5_0_weight"),
    _simple("hidream-i1", "HiDream", "caption_projection_0_linear_", "double_stream_blocks_0_block_"),
    _simple("mochi-preview", "Mochi", "t5_yproj_weight"),
    _simple("kandinsky-5", "Kandinsky 5", "visual_transformer_blocks_0_"),
    _simple("omnigen-2", "OmniGen2", "time_caption_embed_timestep_embedder_"),
    _simple("anima", "Anima", "llm_adapter_blocks_0_"),
    _simple("nvidia-cosmos-predict2", "Cosmos", "blocks_0_mlp_layer1_"),
    _simple("nvidia-cosmos-1", "Cosmos", "blocks_block0_blocks_0_block_attn_"),
    _simple("stable-cascade-v1", "Stable Cascade", "clip_txt_mapper_weight", "clip_mapper_weight"),
    _simple("hunyuan-3d-2", "Hunyuan 3D", "latent_in_weight"),
    _simple("ace-step", "ACE-Step", "genre_embedder_weight", "encoder_lyric_encoder_layers_0_"),
    _simple("stable-audio-1", "Stable Audio", "transformer_rotary_pos_emb_inv_freq"),
    _double_blocks,
    _wan,
    _next_dit,
    _ltx,
    _unet,
    _diffusers_mmdit,
)


def _embedding(names: TensorNames) -> Architecture | None:
    """Rule for textual inversions: a few vectors, as wide as the text encoder."""
    if names.starts("clip_g\n"):
        return Architecture("stable-diffusion-xl-v1-base/textual-inversion", "SDXL 1.0")
    shape = names.shape("emb_params", "") or names.shape("string_to_param", "")
    width = shape[-1] if shape else 0
    if width not in (768, 1024):
        return None
    unet = _UNETS[width]
    return Architecture(f"{unet.name}/textual-inversion", unet.base_model)


_VAES = {4: "stable-diffusion/vae", 16: "flux-1/vae", 32: "flux-2/vae"}


def _vae(names: TensorNames) -> Architecture | None:
    if names.has("decoder_upsamples_0_upsamples_0_residual_"):
        return Architecture("wan-2_2/vae", None)
    if names.has("decoder_middle_0_residual_0_gamma"):
        return Architecture("wan-2_1/vae", None)
    if names.has("decoder_up_blocks_0_res_blocks_0_conv1_conv_"):
        return Architecture("lightricks-ltx-video/vae", None)
    if names.has("decoder_conv_in_conv_weight"):
        return Architecture("hunyuan-video/vae", None)
    if names.has_any("taesd_decoder_", "decoder_22_bias"):
        return Architecture("taesd/vae", None)
    shape = names.shape("decoder_conv_in_weight", "decoder_conv_in_weight")
    if shape is None or len(shape) < 2:
        return None
    return Architecture(_VAES.get(shape[1], "vae"), None)


def _text_encoder(names: TensorNames) -> Architecture | None:
    name = _clip(names) or _t5(names) or _language_model(names)
    return Architecture(f"{name}/text-encoder", None) if name is not None else None


def _clip(names: TensorNames) -> str | None:
    layer = "text_model_encoder_layers_{}_mlp_fc1_weight"
    layers = {30: "clip-g", 22: "clip-h", 0: "clip-l"}
    return next((name for number, name in layers.items() if names.has(layer.format(number))), None)


def _t5(names: TensorNames) -> str | None:
    shape = names.shape("encoder_block_0_layer_1_DenseReluDense_wi_0_weight")
    shape = shape or names.shape("encoder_block_0_layer_1_DenseReluDense_wi_weight")
    if shape is None:
        return "t5" if names.has("encoder_block_0_layer_0_SelfAttention_k_weight") else None
    words = names.shape("shared_weight")
    family = "umt5" if words and words[0] > 200_000 else "t5"  # the multilingual vocabulary is far larger
    return f"{family}-{ {10240: 'xxl', 5120: 'xl', 2816: 'large', 2048: 'base'}.get(shape[0], 'encoder') }"


def _language_model(names: TensorNames) -> str | None:
    if not names.has("layers_0_self_attn_k_proj_weight") or not names.has("layers_0_mlp_"):
        return None
    if names.has("layers_0_post_feedforward_layernorm_weight"):
        return "gemma"
    if names.has("layers_0_self_attn_k_proj_bias"):
        return "qwen-2.5-vl" if names.has("visual_") else "qwen-2.5"
    if names.has("layers_0_self_attn_q_norm_weight"):
        return "qwen-3"
    return "llama"


_OTHER: tuple[Rule, ...] = (
    _embedding,
    _simple("ip-adapter", None, "ip_adapter_1_to_k_ip_weight"),
    _simple("clip-vision", None, "vision_model_encoder_layers_0_", "visual_transformer_resblocks_0_"),
    _vae,
    _text_encoder,
)
