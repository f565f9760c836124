/** What the panel shows of an asset, as pure functions. */

/** @import { Asset } from "../api.d.ts" */
/** @import { HostPage } from "../types.d.ts" */

import { solidFormat } from "../viewer/solid_formats.mjs";

const VIEW_TYPES = ["input", "output", "temp"];
const LOCATION_TAGS = new Set(["models", "input", "output", "temp", "missing"]);
const MODEL_TYPE = "model_type:";
/** Facts of models in their metadata, which their card shows. */
export const MODEL_FACTS = ["name", "base_model", "trained_words", "author", "description", "repo_url", "architecture"];
const LOADED_KINDS = new Set(["image", "video", "audio", "solid"]);
const MAX_STARS = 5;
const THUMBNAIL_PX = 256;

/** @param {Asset} asset */
export function isMissing(asset) {
  return asset.tags.includes("missing");
}

/** @param {Asset} asset */
export function isFavourite(asset) {
  return asset.user_metadata?.favorite === true;
}

/**
 * Return the rating, 0 to 5. Other clients may have stored anything under its name.
 *
 * @param {Asset} asset
 */
export function rating(asset) {
  const stars = asset.user_metadata?.rating ?? 0;
  return Number.isInteger(stars) && stars >= 0 && stars <= MAX_STARS ? stars : 0;
}

/**
 * Return the kind of an asset's content, which selects its icon and its preview.
 *
 * @param {Asset} asset
 */
export function mediaKind(asset) {
  const family = asset.mime_type.split("/")[0];
  if (family === "image" || family === "video" || family === "audio") return family;
  if (asset.tags.includes("models")) return "model";
  return asset.mime_type.startsWith("model/") || solidFormat(asset) !== null ? "solid" : "file";
}

/**
 * Return whether a picture moves, as far as its type or its header says.
 *
 * @param {Asset} asset
 */
export function isAnimated({ mime_type, metadata }) {
  return mime_type === "image/apng" || (mime_type.startsWith("image/") && Number(metadata?.frame_count) > 1);
}

/**
 * Return the categories of models to which an asset belongs.
 *
 * @param {Asset} asset
 */
export function modelCategories(asset) {
  return asset.tags.filter((tag) => tag.startsWith(MODEL_TYPE)).map((tag) => tag.slice(MODEL_TYPE.length));
}

/**
 * Return the words that trigger what a model was trained for.
 *
 * @param {Asset} asset
 * @returns {string[]}
 */
export function trainedWords({ metadata }) {
  const words = metadata?.trained_words;
  return Array.isArray(words) ? words.filter((word) => typeof word === "string") : [];
}

/**
 * Return the base model that a model belongs to, or null.
 *
 * @param {Asset} asset
 */
export function baseModel({ metadata }) {
  return typeof metadata?.base_model === "string" ? metadata.base_model : null;
}

/**
 * Return whether an asset's file holds a graph. Lists name its documents.
 *
 * @param {Asset} asset
 */
export function hasGraph({ metadata = {} }) {
  const embedded = Array.isArray(metadata.embedded) ? metadata.embedded : [];
  return Boolean(metadata.workflow || metadata.prompt) || embedded.includes("workflow") || embedded.includes("prompt");
}

/**
 * Return whether all that a canvas can do with an asset is to load it in a node: whether it is a file of media, read,
 * and without documents of which ComfyUI's page makes a graph.
 *
 * @param {Asset} asset
 */
export function isLoadedByNode(asset) {
  const { hash, metadata } = asset;
  const embedded = Array.isArray(metadata?.embedded) ? metadata.embedded : [];
  return Boolean(hash) && embedded.length === 0 && !hasGraph(asset) && !isMissing(asset) &&
    LOADED_KINDS.has(mediaKind(asset));
}

/**
 * Return the tags from users and the model categories, without tags that only name the location.
 *
 * @param {Asset} asset
 */
export function visibleTags(asset) {
  return asset.tags.filter((tag) => !LOCATION_TAGS.has(tag) && !tag.startsWith(MODEL_TYPE));
}

/**
 * Return whether a tag follows from the file's location, so that the server does not let users remove it.
 *
 * @param {Asset} asset
 * @param {string} tag
 */
export function isLocationTag(asset, tag) {
  const category = asset.tags.find((each) => each.startsWith(MODEL_TYPE))?.slice(MODEL_TYPE.length);
  return LOCATION_TAGS.has(tag) || tag.startsWith(MODEL_TYPE) || tag === category;
}

/**
 * Return the address of an asset's thumbnail, or null. Addresses without a size lead to a video or a sound.
 *
 * @param {HostPage} page
 * @param {Asset} asset
 * @param {number} [pixels] of the longer side
 */
export function thumbnailUrl(page, asset, pixels = THUMBNAIL_PX) {
  if (!asset.preview_url || !/[?&]res=\d+/.test(asset.preview_url)) return null;
  const path = asset.preview_url.replace(/^\/api(?=\/)/, ""); // `page.url` adds it, after the base path
  return page.url(path.replace(/([?&]res=)\d+/, `$1${pixels}`));
}

/**
 * Return the path of the file's content, for requests that name the user.
 *
 * @param {Asset} asset
 * @param {"inline" | "attachment"} disposition
 */
export function contentPath(asset, disposition) {
  return `/assets/${asset.id}/content?disposition=${disposition}`;
}

/**
 * Return the parameters under which ComfyUI's nodes and its `/view` know the file, or null for models.
 *
 * @param {Asset} asset
 */
export function viewParams(asset) {
  const [type, ...rest] = (asset.file_path ?? "").split("/");
  const filename = rest.pop();
  if (!VIEW_TYPES.includes(type) || filename === undefined) return null;
  return { filename, subfolder: rest.join("/"), type };
}

/**
 * Return the absolute address of the file in ComfyUI's `/view`, or null for models.
 *
 * @param {HostPage} page
 * @param {Asset} asset
 */
export function viewUrl(page, asset) {
  const params = viewParams(asset);
  return params && new URL(page.url(`/view?${new URLSearchParams(params)}`), location.href).href;
}

/**
 * Return the address under which elements of the page find the whole file. Elements cannot send the header that names
 * the user, so with several users models are refused there: see allowsAnonymous.
 *
 * @param {HostPage} page
 * @param {Asset} asset
 * @param {"inline" | "attachment"} [disposition]
 */
export function contentUrl(page, asset, disposition = "inline") {
  return viewUrl(page, asset) ?? page.url(contentPath(asset, disposition));
}

/**
 * Return whether the server sends the file without knowing the user: `/view` does, the asset API only with one user.
 *
 * @param {HostPage} page
 * @param {Asset} asset
 */
export function allowsAnonymous(page, asset) {
  return viewParams(asset) !== null || Object.keys(page.headers()).length === 0;
}

/**
 * Return width and height, such as `1024 × 768`, or null if they are not known.
 *
 * @param {Asset} asset
 */
export function dimensions(asset) {
  const { width, height } = asset.metadata ?? {};
  return width && height ? `${width} × ${height}` : null;
}
