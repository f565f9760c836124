"""Compression of the texts in ``documents``: zlib, with a dictionary of what the graphs of ComfyUI have in common.

Most of these texts are short and alike. Without a dictionary, each stores the names of nodes and inputs again.
"""

from __future__ import annotations

import zlib

_LEVEL = 3
_LEAST = 128  # bytes: a shorter text gets hardly smaller, and most of the time goes into the preparations
_SHORT = 64 << 10  # longer texts repeat themselves: the dictionary is no gain there

# Texts in the store need exactly these bytes, which must never change. What is most frequent comes last: near matches
# take fewer bits.
_DICTIONARY = (
    b'{"version": 0.4, "groups": [], "config": {}, "extra": {"ds": {"scale": 1, "offset": [0, 0]}, '
    b'"frontendVersion": "1"}, "revision": 0, "last_node_id": 9, "last_link_id": 12, "links": [[1, 4, 0, 3, 0, '
    b'"MODEL"], [2, 5, 0, 3, 3, "LATENT"], [3, 4, 1, 6, 0, "CLIP"], [4, 6, 0, 3, 1, "CONDITIONING"], [5, 4, 1, '
    b'7, 0, "CLIP"], [6, 7, 0, 3, 2, "CONDITIONING"], [7, 3, 0, 8, 0, "LATENT"], [8, 4, 2, 8, 1, "VAE"], [9, '
    b'8, 0, 9, 0, "IMAGE"]], "type": "Note", "type": "Reroute", "type": "PrimitiveNode", '
    b'"type": "MarkdownNote", "color": "#432", "bgcolor": "#653", "title": "", "localized_name": "", '
    b'"shape": 7, "cnr_id": "comfy-core", "ver": "0.3", "noise_seed": , "UNETLoader", "unet_name": "", '
    b'"weight_dtype": "default", "DualCLIPLoader", "clip_name1": "", "clip_name2": "", "type": "flux", '
    b'"CLIPLoader", "clip_name": "", "VAELoader", "vae_name": "ae.safetensors", "SamplerCustomAdvanced", '
    b'"BasicScheduler", "BasicGuider", "KSamplerSelect", "RandomNoise", "noise": , "guider": , "sampler": , '
    b'"sigmas": , "FluxGuidance", "guidance": 3.5, "conditioning": , "ModelSamplingFlux", "max_shift": 1.15, '
    b'"base_shift": 0.5, "ModelSamplingSD3", "shift": 3, "EmptySD3LatentImage", "ConditioningZeroOut", '
    b'"ControlNetLoader", "control_net_name": "", "ControlNetApplyAdvanced", "strength": 1, '
    b'"start_percent": 0, "end_percent": 1, "LoadImage", "image": "", "upload": "image", "pixels": , '
    b'"VAEEncode", "mask": , "ImageScale", "LatentUpscale", "upscale_method": "nearest-exact", '
    b'"crop": "disabled", "UpscaleModelLoader", "model_name": "", "ImageUpscaleWithModel", "upscale_model": , '
    b'"PreviewImage", "CLIPSetLastLayer", "stop_at_clip_layer": -2, "LoraLoaderModelOnly", "KSamplerAdvanced", '
    b'"add_noise": "enable", "start_at_step": 0, "end_at_step": 10000, '
    b'"return_with_leftover_noise": "disable", "fps": 24, "length": 81, "CreateVideo", "SaveVideo", '
    b'"VHS_VideoCombine", "frame_rate": 16, "format": "video/h264-mp4", "true", "false", "MASK", "INT", '
    b'"FLOAT", "STRING", "CONTROL_NET", "UPSCALE_MODEL", "CLIP_VISION", "NOISE", "GUIDER", "SAMPLER", '
    b'"SIGMAS", masterpiece, best quality, highly detailed, lowres, bad anatomy, bad hands, text, error, '
    b"missing fingers, extra digit, fewer digits, cropped, worst quality, low quality, normal quality, "
    b'jpeg artifacts, signature, watermark, username, blurry", "randomize", "fixed", '
    b'"sampler_name": "dpmpp_2m", "scheduler": "karras", "euler_ancestral", "dpmpp_2m_sde", "dpmpp_3m_sde", '
    b'"uni_pc", "ddim", "lcm", "exponential", "sgm_uniform", "simple", "beta", "normal", "nodes": [{"id": 7, '
    b'"type": "CLIPTextEncode", "pos": [413, 389], "size": [425, 180], "flags": {}, "order": 3, "mode": 0, '
    b'"inputs": [{"name": "clip", "type": "CLIP", "link": 5}], "outputs": [{"name": "CONDITIONING", '
    b'"type": "CONDITIONING", "links": [6], "slot_index": 0}], '
    b'"properties": {"Node name for S&R": "CLIPTextEncode"}, "widgets_values": ["text, watermark"]}, '
    b'{"id": 5, "type": "EmptyLatentImage", "pos": [473, 609], "size": {"0": 315, "1": 106}, "flags": {}, '
    b'"order": 1, "mode": 0, "inputs": [], "outputs": [{"name": "LATENT", "type": "LATENT", "links": [2], '
    b'"slot_index": 0}], "properties": {"Node name for S&R": "EmptyLatentImage"}, "widgets_values": [512, 512, '
    b"1]}, "
    b'{"id": 3, "type": "KSampler", "pos": [863, 186], "size": {"0": 315, "1": 262}, "flags": {}, "order": 4, '
    b'"mode": 0, "inputs": [{"name": "model", "type": "MODEL", "link": 1}, {"name": "positive", '
    b'"type": "CONDITIONING", "link": 4}, {"name": "negative", "type": "CONDITIONING", "link": 6}, '
    b'{"name": "latent_image", "type": "LATENT", "link": 2}], "outputs": [{"name": "LATENT", "type": "LATENT", '
    b'"links": [7], "slot_index": 0}], "properties": {"Node name for S&R": "KSampler"}, '
    b'"widgets_values": [156680208700286, "randomize", 20, 8, "euler", "normal", 1]}, '
    b'{"id": 8, "type": "VAEDecode", "pos": [1209, 188], "size": {"0": 210, "1": 46}, "flags": {}, "order": 5, '
    b'"mode": 0, "inputs": [{"name": "samples", "type": "LATENT", "link": 7}, {"name": "vae", "type": "VAE", '
    b'"link": 8}], "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [9], "slot_index": 0}], '
    b'"properties": {"Node name for S&R": "VAEDecode"}}, '
    b'{"id": 9, "type": "SaveImage", "pos": [1451, 189], "size": [210, 58], "flags": {}, "order": 6, '
    b'"mode": 0, "inputs": [{"name": "images", "type": "IMAGE", "link": 9}], "properties": {}, '
    b'"widgets_values": ["ComfyUI"]}, '
    b'{"id": 4, "type": "CheckpointLoaderSimple", "pos": [26, 474], "size": {"0": 315, "1": 98}, "flags": {}, '
    b'"order": 0, "mode": 0, "outputs": [{"name": "MODEL", "type": "MODEL", "links": [1], "slot_index": 0}, '
    b'{"name": "CLIP", "type": "CLIP", "links": [3, 5], "slot_index": 1}, {"name": "VAE", "type": "VAE", '
    b'"links": [8], "slot_index": 2}], "properties": {"Node name for S&R": "CheckpointLoaderSimple"}, '
    b'"widgets_values": ["v1-5-pruned-emaonly.safetensors"]}, '
    b'{"4": {"inputs": {"ckpt_name": ".safetensors"}, "class_type": "CheckpointLoaderSimple", '
    b'"_meta": {"title": "Load Checkpoint"}}, '
    b'"10": {"inputs": {"lora_name": ".safetensors", "strength_model": 1.0, "strength_clip": 1.0, '
    b'"model": ["4", 0], "clip": ["4", 1]}, '
    b'"class_type": "LoraLoader", "_meta": {"title": "Load LoRA"}}, '
    b'"5": {"inputs": {"width": 1024, "height": 1024, "batch_size": 1}, "class_type": "EmptyLatentImage", '
    b'"_meta": {"title": "Empty Latent Image"}}, '
    b'"6": {"inputs": {"text": "", "clip": ["4", 1]}, '
    b'"class_type": "CLIPTextEncode", "_meta": {"title": "CLIP Text Encode (Prompt)"}}, '
    b'"3": {"inputs": {"seed": , "steps": 20, "cfg": 8.0, "sampler_name": "euler", "scheduler": "normal", '
    b'"denoise": 1.0, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", '
    b"0]}, "
    b'"class_type": "KSampler", "_meta": {"title": "KSampler"}}, '
    b'"8": {"inputs": {"samples": ["3", 0], "vae": ["4", 2]}, '
    b'"class_type": "VAEDecode", "_meta": {"title": "VAE Decode"}}, '
    b'"9": {"inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}, '
    b'"class_type": "SaveImage", "_meta": {"title": "Save Image"}}}'
)


def compress(text: bytes) -> bytes:
    """Return a text as it is stored. Blocks, for megabytes."""
    if len(text) > _SHORT:
        return zlib.compress(text, 1)
    # No more memory than needed: what zlib prepares by default takes ten times as long as to compress a prompt.
    if len(text) < _LEAST:
        stream = zlib.compressobj(0, zlib.DEFLATED, 9, 2)
    else:
        bits = min((len(text) + len(_DICTIONARY)).bit_length(), zlib.MAX_WBITS)
        stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, bits, bits - 7, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY)
    return stream.compress(text) + stream.flush()


def decompress(body: bytes) -> bytes:
    """Return a stored text, also one that was compressed without the dictionary. Raises zlib.error. Blocks."""
    stream = zlib.decompressobj(zlib.MAX_WBITS, _DICTIONARY)
    text = stream.decompress(body)
    if not stream.eof:
        raise zlib.error("the compressed text is incomplete")
    return text


def decompress_within(body: bytes, limit: int) -> bytes | None:
    """Return a stored text, or None if it has more than ``limit`` bytes. Raises zlib.error. Blocks."""
    # One byte more than the limit is enough to know, whatever size it has.
    text = zlib.decompressobj(zlib.MAX_WBITS, _DICTIONARY).decompress(body, limit + 1)
    return text if len(text) <= limit else None
