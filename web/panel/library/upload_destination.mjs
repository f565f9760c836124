/** Where an uploaded file belongs, as far as its name and its header say. */

/** @import { Graph } from "../api.d.ts" */

import { isPageGraph } from "../workflows/graph_diff.mjs";

/** @typedef {{ kind: "input" } | { kind: "model", category: string } | { kind: "workflow", graph: Graph }} Destination */

const MAX_WORKFLOW = 20 << 20; // bytes, as the server's
const MAX_HEADER = 16 << 20; // bytes; headers of the largest models have a few megabytes
const SAFETENSORS = /\.(safetensors|sft)$/i;
/** Categories of other formats: what files with these names mostly are. */
const BY_SUFFIX = /** @type {const} */ ([
  [/\.gguf$/i, "diffusion_models"],
  [/\.ckpt$/i, "checkpoints"],
  [/\.pth$/i, "upscale_models"],
  [/\.pt$/i, "embeddings"],
]);
/** Categories by the names of tensors, the first that fits. */
const BY_TENSORS = /** @type {const} */ ([
  [/lora_(up|down|A|B|unet|te)|\.lora\.|hada_w|lokr_w/, "loras"],
  [/^(emb_params|string_to_param|clip_[lg]$)/, "embeddings"],
  [/^(control_model|controlnet_|input_hint_block|adapter\.)/, "controlnet"],
  [/^(first_stage_model|cond_stage_model|conditioner|text_encoders)\./, "checkpoints"],
  [
    /^(model\.diffusion_model|diffusion_model|double_blocks|joint_blocks|transformer_blocks|input_blocks)\./,
    "diffusion_models",
  ],
  [/^(encoder|decoder)\.(conv_in|conv1|down|up|mid)/, "vae"],
  [/^(text_model|transformer\.text_model|model\.layers|encoder\.block|shared\.)/, "text_encoders"],
  [/^vision_model\./, "clip_vision"],
  [/^(body\.0|conv_first|model\.0\.weight|layers\.0\.residual_group)/, "upscale_models"],
]);

/**
 * Return where a file belongs: a category of models, the saved workflows, or the input folder, as for any other file.
 *
 * @param {File} file
 * @returns {Promise<Destination>}
 */
export async function destinationOf(file) {
  if (SAFETENSORS.test(file.name)) return modelIn(await categoryByHeader(file));
  const bySuffix = BY_SUFFIX.find(([suffix]) => suffix.test(file.name));
  if (bySuffix) return modelIn(bySuffix[1]);
  const graph = /\.json$/i.test(file.name) ? await graphIn(file) : null;
  return graph === null ? { kind: "input" } : { kind: "workflow", graph };
}

/**
 * @param {string | null} category null for a file that is no model
 * @returns {Destination}
 */
function modelIn(category) {
  return category === null ? { kind: "input" } : { kind: "model", category };
}

/**
 * Return the category of a file in the format safetensors by its header, or null if it has none.
 *
 * @param {File} file
 */
async function categoryByHeader(file) {
  const start = new DataView(await file.slice(0, 8).arrayBuffer());
  const length = start.byteLength === 8 ? Number(start.getBigUint64(0, true)) : 0;
  if (length < 2 || length > Math.min(MAX_HEADER, file.size - 8)) return null;
  const header = parsed(await file.slice(8, 8 + length).text());
  if (header === null) return null;
  const { __metadata__: metadata, ...tensors } = header;
  if (metadata?.ss_network_module || String(metadata?.["modelspec.architecture"]).endsWith("/lora")) return "loras";
  const names = Object.keys(tensors);
  const found = BY_TENSORS.find(([pattern]) => names.some((name) => pattern.test(name)));
  return found?.[1] ?? "checkpoints";
}

/**
 * Return the graph in a file in either of ComfyUI's formats, or null.
 *
 * @param {File} file
 * @returns {Promise<Graph | null>}
 */
async function graphIn(file) {
  if (file.size > MAX_WORKFLOW) return null;
  const value = parsed(await file.text());
  if (value === null) return null;
  const nodes = Object.values(value);
  const isPrompt = nodes.length > 0 && nodes.every((node) => typeof node?.class_type === "string");
  return isPrompt || (isPageGraph(value) && Array.isArray(value.nodes)) ? value : null;
}

/**
 * Return the object that a text of JSON holds, or null.
 *
 * @param {string} text
 * @returns {Record<string, any> | null}
 */
function parsed(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}
