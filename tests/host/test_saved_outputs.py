"""Outputs as the nodes of a real ComfyUI save them: each is found by a word of its prompt and has its facts.

A pack makes what no node of ComfyUI makes from nothing: a mesh, an SVG, splats, a video as VideoHelperSuite writes it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from support.servers import COMFYUI, HttpServer, comfyui, make_base

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout"),
]
WAIT_S = 120

NODES = '''
import io, json, os
import av, torch
import folder_paths
from comfy_api.latest import Types

PLY = """ply
format ascii 1.0
element vertex 2
property float x
property float y
property float z
property float f_dc_0
property float opacity
property float rot_0
end_header
0 0 0 0 0 0
1 1 1 0 0 0
"""

class GiveMesh:
    RETURN_TYPES = ("MESH",)
    FUNCTION = "run"
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}
    def run(self):
        vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]])
        faces = torch.tensor([[[0, 1, 2], [0, 1, 3]]])
        return (Types.MESH(vertices, faces),)

class GivePicture(GiveMesh):
    RETURN_TYPES = ("SVG",)
    def run(self):
        from comfy_api.latest._util.image_types import SVG
        return (SVG([io.BytesIO(b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="32"></svg>')]),)

class GiveSplats(GiveMesh):
    RETURN_TYPES = ("FILE_3D_PLY",)
    def run(self):
        return (Types.File3D(io.BytesIO(PLY.encode()), "ply"),)

class SaveLikeVideoHelperSuite:
    OUTPUT_NODE = True
    RETURN_TYPES = ()
    FUNCTION = "run"
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"images": ("IMAGE",), "suffix": ("STRING",)},
                "hidden": {"prompt": "PROMPT", "extra": "EXTRA_PNGINFO"}}
    def run(self, images, suffix, prompt=None, extra=None):
        name = f"AnimateDiff_00001.{suffix}"
        comment = {"prompt": json.dumps(prompt), **(extra or {})}
        with av.open(os.path.join(folder_paths.get_output_directory(), name), "w") as output:
            output.metadata["comment"] = json.dumps(comment)
            stream = output.add_stream("libx264" if suffix == "mp4" else "libvpx-vp9", rate=8)
            stream.width, stream.height, stream.pix_fmt = images.shape[2], images.shape[1], "yuv420p"
            for image in images:
                frame = av.VideoFrame.from_ndarray((image.numpy() * 255).astype("uint8"), format="rgb24")
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        return {"ui": {"gifs": [{"filename": name, "subfolder": "", "type": "output", "format": "video/" + suffix}]}}

NODE_CLASS_MAPPINGS = {each.__name__: each for each in (GiveMesh, GivePicture, GiveSplats, SaveLikeVideoHelperSuite)}
'''

IMAGES = {"class_type": "EmptyImage", "inputs": {"width": 96, "height": 64, "batch_size": 5, "color": 255}}
ONE_IMAGE = {"class_type": "EmptyImage", "inputs": {"width": 96, "height": 64, "batch_size": 1, "color": 255}}
AUDIO = {"class_type": "EmptyAudio", "inputs": {"duration": 0.5, "sample_rate": 48000, "channels": 2}}
VIDEO = {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}}
WITH_AUDIO = {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0, "audio": ["4", 0]}}
MESH = {"class_type": "GiveMesh", "inputs": {}}
PICTURE = {"class_type": "GivePicture", "inputs": {}}
SPLATS = {"class_type": "GiveSplats", "inputs": {}}
NOTE = {"class_type": "PrimitiveString", "inputs": {"value": ["8", 0]}}
VIEW = {"viewport_state": {}, "width": 64, "height": 64}
LATENT = {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}
SIZE = {"kind": "image", "width": 96, "height": 64}
CLIP = {"kind": "video", "width": 96, "height": 64, "duration": 0.625, "fps": 8, "frame_count": 5, "has_audio": False}
SOUND = {"kind": "audio", "duration": pytest.approx(0.5, abs=0.1), "sample_rate": 48000, "channels": 2}
BOTH = ["prompt", "workflow"]
MP3 = {"format": "mp3", "audio_codec": "mp3"} | SOUND
VHS = "SaveLikeVideoHelperSuite"


def save(node: str, source: str, of: dict[str, Any], **inputs: Any) -> dict[str, Any]:
    """Return a graph in which a node saves what another one makes, given to its input ``source``."""
    prefix = {} if node.startswith("SaveLike") else {"filename_prefix": f"made/{node}"}
    return {"1": of, "2": {"class_type": node, "inputs": {source: ["1", 0], **prefix, **inputs}}}


def save_video(container: str, video: dict[str, Any] = VIDEO, codec: str = "auto") -> dict[str, Any]:
    inputs = {"video": ["3", 0], "filename_prefix": "video/made", "format": container, "format.codec": codec}
    return {"1": IMAGES, "3": video, "4": AUDIO, "2": {"class_type": "SaveVideo", "inputs": inputs}}


def advanced(container: str, depth: str) -> dict[str, Any]:
    more = {"format": container, "format.bit_depth": depth, "format.input_color_space": "sRGB"}
    return save("SaveImageAdvanced", "images", ONE_IMAGE, **more)


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "image": (save("SaveImage", "images", ONE_IMAGE), {"format": "png"} | SIZE, BOTH),
    "webp": (
        save("SaveAnimatedWEBP", "images", IMAGES, fps=8.0, lossless=True, quality=80, method="default"),
        {"format": "webp"} | SIZE,
        BOTH,
    ),
    "apng": (save("SaveAnimatedPNG", "images", IMAGES, fps=8.0, compress_level=4), SIZE, BOTH),
    "png 8": (advanced("png", "8-bit"), {"format": "png"} | SIZE, BOTH),
    "png 16": (advanced("png", "16-bit"), {"format": "png"} | SIZE, BOTH),
    "exr": (advanced("exr", "32-bit float"), {"format": "exr"} | SIZE, BOTH),
    "svg": (save("SaveSVGNode", "svg", PICTURE), {"width": 64, "height": 32}, BOTH),
    "webm vp9": (
        save("SaveWEBM", "images", IMAGES, codec="vp9", fps=8.0, crf=32.0),
        {"format": "webm", "codec": "vp9"} | CLIP,
        BOTH,
    ),
    "webm av1": (
        save("SaveWEBM", "images", IMAGES, codec="av1", fps=8.0, crf=32.0),
        {"format": "webm", "codec": "av1"} | CLIP,
        BOTH,
    ),
    "mp4": (save_video("mp4"), {"format": "mp4", "codec": "h264"} | CLIP, BOTH),
    "mp4 av1": (save_video("mp4", codec="av1"), {"format": "mp4", "codec": "av1"} | CLIP, BOTH),
    "mp4 auto": (save_video("auto"), {"format": "mp4", "codec": "h264"} | CLIP, BOTH),
    "mkv": (save_video("mkv"), {"format": "mkv", "codec": "h264"} | CLIP, BOTH),
    "webm": (save_video("webm"), {"format": "webm", "codec": "av1"} | CLIP, BOTH),
    "mp4 with sound": (
        save_video("mp4", WITH_AUDIO),
        {"format": "mp4", "has_audio": True, "audio_codec": "aac", "sample_rate": 48000, "frame_count": 5},
        BOTH,
    ),
    "flac": (save("SaveAudio", "audio", AUDIO), {"format": "flac", "audio_codec": "flac"} | SOUND, BOTH),
    "mp3": (save("SaveAudioMP3", "audio", AUDIO, quality="128k"), MP3, BOTH),
    "mp3 v0": (save("SaveAudioMP3", "audio", AUDIO, quality="V0"), MP3, BOTH),
    "opus": (save("SaveAudioOpus", "audio", AUDIO, quality="128k"), {"audio_codec": "opus"} | SOUND, BOTH),
    "advanced audio": (save("SaveAudioAdvanced", "audio", AUDIO, format="flac"), {"audio_codec": "flac"} | SOUND, BOTH),
    "glb": (
        save("SaveGLB", "mesh", MESH),
        {"format": "glb", "kind": "3d", "vertices": 4, "faces": 2},
        BOTH,
    ),
    "splats": (
        save("SaveGaussianSplat", "model_3d", SPLATS, **VIEW),
        {"format": "ply", "kind": "3d", "splats": 2},
        [],
    ),
    "latent": (save("SaveLatent", "samples", LATENT), {"format": "safetensors", "kind": "other"}, BOTH),
    "text": (save("SaveText", "text", NOTE, format="txt"), {"kind": "text"}, ["description"]),
    "vhs mp4": (save(VHS, "images", IMAGES, suffix="mp4"), {"format": "mp4", "codec": "h264"} | CLIP, BOTH),
    "vhs webm": (save(VHS, "images", IMAGES, suffix="webm"), {"format": "webm", "codec": "vp9"} | CLIP, BOTH),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    base = make_base(tmp_path_factory.mktemp("saved"))
    (base / "custom_nodes" / "nodes_for_tests.py").write_text(NODES, encoding="utf-8")
    with comfyui(base) as running:
        running.wait_until_up()
        running.wait_until_read()
        yield running


@pytest.fixture(scope="module")
def nodes(server: HttpServer) -> set[str]:
    """The classes of nodes that this ComfyUI has."""
    return set(server.get("/object_info").json)


def word_of(case: str) -> str:
    """Return a word that no other case and no name of a file has."""
    digest = hashlib.sha256(case.encode()).digest()
    return "zq" + "".join("bcdfghjklmnpqrstvwxyz"[byte % 21] + "aeiou"[byte % 5] for byte in digest[:5])


def run(server: HttpServer, graph: dict[str, Any]) -> None:
    workflow = {"nodes": [{"id": 1, "type": "EmptyImage"}], "links": [], "last_node_id": 1, "version": 0.4}
    answer = server.post("/prompt", {"prompt": graph, "extra_data": {"extra_pnginfo": {"workflow": workflow}}})
    assert answer.status == 200, answer
    path = f"/api/jobs/{answer.json['prompt_id']}"
    job = server.wait_for(path, lambda job: job["status"] in ("completed", "failed", "cancelled"), WAIT_S)
    assert job["status"] == "completed", (job, server.log[-4000:])


@pytest.mark.parametrize("case", CASES)
def test_a_saved_output_is_found_by_its_prompt_and_has_its_facts(
    server: HttpServer, nodes: set[str], case: str
) -> None:
    graph, facts, embedded = CASES[case]
    missing = {node["class_type"] for node in graph.values()} - nodes
    if missing:
        pytest.skip(f"this ComfyUI has no node {', '.join(sorted(missing))}")
    word = word_of(case)
    graph = graph | {
        "8": {"class_type": "PrimitiveString", "inputs": {"value": f"a {word} in the garden"}},
        "9": {"class_type": "PreviewAny", "inputs": {"source": ["8", 0]}},
    }
    run(server, graph)
    query = f"q={quote(word)}"
    deadline = time.monotonic() + WAIT_S
    while not (found := server.get(f"/api/assets?{query}").json)["total"] or not found["assets"][0].get("hash"):
        assert time.monotonic() < deadline, (case, found, server.log[-4000:])
        time.sleep(0.1)
    assert found["total"] == 1, [asset["name"] for asset in found["assets"]]
    asset = found["assets"][0]
    assert {key: asset["metadata"].get(key) for key in facts} == facts, (asset["name"], asset["metadata"])
    assert asset["metadata"].get("embedded", []) == embedded
    assert "error" not in asset["metadata"]
    documents = server.get(f"/api/assets/{asset['id']}").json["metadata"]
    if embedded == BOTH:
        assert word in json.dumps(documents["prompt"])
        assert documents["workflow"]["nodes"][0]["type"] == "EmptyImage"
