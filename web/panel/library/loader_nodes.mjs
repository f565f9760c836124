/** The nodes that load an asset: their types, and the values of their widgets. Pure. */

/** @import { Asset } from "../api.d.ts" */
/** @import { NodeInputs, WidgetValues } from "../types.d.ts" */

import { mediaKind, modelCategories, trainedWords, viewParams } from "./asset.mjs";

/** @typedef {{ type: string, values: WidgetValues }} LoaderNode */

/** Types of nodes with the input for the file, the usual one first. */
const OF_MEDIA = {
  image: [["LoadImage", "image"], ["LoadImageMask", "image"], ["LoadImageOutput", "image"]],
  video: [["LoadVideo", "file"], ["VHS_LoadVideo", "video"]],
  audio: [["LoadAudio", "audio"], ["VHS_LoadAudioUpload", "audio"]],
  solid: [["Load3D", "model_file"]],
};
/** By category, as ComfyUI's own model library has them. */
const OF_MODELS = {
  checkpoints: [["CheckpointLoaderSimple", "ckpt_name"]],
  loras: [["LoraLoader", "lora_name"], ["LoraLoaderModelOnly", "lora_name"]],
  vae: [["VAELoader", "vae_name"]],
  controlnet: [["ControlNetLoader", "control_net_name"]],
  diffusion_models: [["UNETLoader", "unet_name"]],
  unet: [["UNETLoader", "unet_name"]],
  text_encoders: [["CLIPLoader", "clip_name"]],
  clip: [["CLIPLoader", "clip_name"]],
  clip_vision: [["CLIPVisionLoader", "clip_name"]],
  upscale_models: [["UpscaleModelLoader", "model_name"]],
  latent_upscale_models: [["LatentUpscaleModelLoader", "model_name"]],
  style_models: [["StyleModelLoader", "style_model_name"]],
  gligen: [["GLIGENLoader", "gligen_name"]],
  hypernetworks: [["HypernetworkLoader", "hypernetwork_name"]],
  photomaker: [["PhotoMakerLoader", "photomaker_model_name"]],
  audio_encoders: [["AudioEncoderLoader", "audio_encoder_name"]],
  model_patches: [["ModelPatchLoader", "name"]],
  ipadapter: [["IPAdapterModelLoader", "ipadapter_file"]],
};
const EMBEDDINGS = "embeddings";

/**
 * Return the nodes that load an asset, the best first; none if the server has no such node.
 *
 * @param {Asset} asset
 * @param {Record<string, NodeInputs>} inputs of all types of nodes
 * @returns {LoaderNode[]}
 */
export function loaderNodes(asset, inputs) {
  const found = modelCategories(asset).length > 0 ? ofModel(asset, inputs) : ofFile(asset);
  return found.filter(({ type }) => type in inputs);
}

/** @param {Asset} asset */
export function isLora(asset) {
  return modelCategories(asset).includes("loras");
}

/**
 * Return the text that uses an embedding in a prompt, or null for other assets.
 *
 * @param {Asset} asset
 */
export function embeddingText(asset) {
  if (!modelCategories(asset).includes(EMBEDDINGS)) return null;
  const name = loaderName(asset, EMBEDDINGS);
  return name && `embedding:${name.replace(/\.[^.]+$/, "")}`;
}

/**
 * Return the words that make a model do what it was trained for, as a text for a prompt.
 *
 * @param {Asset} asset
 */
export function triggerText(asset) {
  return trainedWords(asset).join(", ");
}

/**
 * @param {Asset} asset
 * @returns {LoaderNode[]}
 */
function ofFile(asset) {
  const params = viewParams(asset);
  const kind = mediaKind(asset);
  if (params === null || !(kind in OF_MEDIA)) return [];
  const { filename, subfolder, type } = params;
  const path = subfolder ? `${subfolder}/${filename}` : filename;
  const value = type === "input" ? path : `${path} [${type}]`;
  return OF_MEDIA[/** @type {keyof typeof OF_MEDIA} */ (kind)].map(([type, input]) => ({
    type,
    values: { [input]: value },
  }));
}

/**
 * @param {Asset} asset
 * @param {Record<string, NodeInputs>} inputs
 * @returns {LoaderNode[]}
 */
function ofModel(asset, inputs) {
  const text = embeddingText(asset);
  if (text) return [{ type: "CLIPTextEncode", values: { text } }];
  const names = new Set(modelCategories(asset).map((category) => loaderName(asset, category)));
  const usual = modelCategories(asset).flatMap((category) =>
    (OF_MODELS[/** @type {keyof typeof OF_MODELS} */ (category)] ?? []).map(([type, input]) => ({
      type,
      values: { [input]: loaderName(asset, category) ?? asset.name },
    }))
  );
  const offering = nodesThatOffer(names, inputs);
  // A node that lists the file is sure to take it: loaders of one category take other formats.
  const isOffering = new Set(offering.map(({ type }) => type));
  const best = usual.filter(({ type }) => isOffering.has(type));
  return [...best, ...(best.length > 0 ? [] : offering.filter(({ type }) => isLoader(type))), ...usual, ...offering];
}

/**
 * Return the nodes with an input that has one of the names among its choices.
 *
 * @param {Set<string | undefined>} names
 * @param {Record<string, NodeInputs>} inputs
 * @returns {LoaderNode[]}
 */
function nodesThatOffer(names, inputs) {
  return Object.entries(inputs).flatMap(([type, byName]) => {
    for (const [input, choices] of Object.entries(byName)) {
      const choice = choices.find((each) => names.has(each.replaceAll("\\", "/")));
      if (choice !== undefined) return [{ type, values: { [input]: choice } }];
    }
    return [];
  });
}

/** @param {string} type */
function isLoader(type) {
  return /load/i.test(type);
}

/**
 * Return the name that the loaders of a category have for a model.
 *
 * @param {Asset} asset
 * @param {string} category
 */
function loaderName({ loader_path, loader_paths }, category) {
  return loader_paths?.[category] ?? loader_path;
}
