/** What the panel reads from an asset. */

const LOADER_TYPES = ["input", "output", "temp"];
const HIDDEN_TAGS = new Set(["models", "input", "output", "temp", "missing"]);
const THUMBNAIL_PX = 256;

export function isMissing(asset) {
  return asset.tags.includes("missing");
}

export function isFavourite(asset) {
  return asset.user_metadata?.favorite === true;
}

/** 0 to 5. */
export function rating(asset) {
  const stars = asset.user_metadata?.rating;
  return Number.isInteger(stars) && stars >= 0 && stars <= 5 ? stars : 0;
}

/** "image", "video", "audio", "model" or "file": which of them tells the icon and the preview. */
export function mediaKind(asset) {
  const family = asset.mime_type.split("/")[0];
  if (family === "image") return "image";
  if (family === "video" || family === "audio") return family;
  return asset.tags.includes("models") ? "model" : "file";
}

/** Tags that somebody gave, or that name a category: all but those that only say where the file lies. */
export function visibleTags(asset) {
  return asset.tags.filter((tag) => !HIDDEN_TAGS.has(tag) && !tag.startsWith("model_type:"));
}

/** Whether a tag follows from where a file lies, so that nobody can add or remove it. */
export function isLocationTag(asset, tag) {
  const category = asset.tags.find((each) => each.startsWith("model_type:"))?.slice("model_type:".length);
  return HIDDEN_TAGS.has(tag) || tag.startsWith("model_type:") || tag === category;
}

/** The address of an asset's thumbnail, or null when it has none. */
export function thumbnailUrl(page, asset, pixels = THUMBNAIL_PX) {
  if (!asset.preview_url || !/[?&]res=\d+/.test(asset.preview_url)) return null;
  return page.url(withoutApi(asset.preview_url).replace(/([?&]res=)\d+/, `$1${pixels}`));
}

/** The path of the file itself, for requests that say whose they are. */
export function contentPath(asset, disposition) {
  return `/assets/${asset.id}/content?disposition=${disposition}`;
}

/** Where ComfyUI's nodes and its view find the file: `{ filename, subfolder, type }`, or null for models. */
export function viewParams(asset) {
  const [type, ...rest] = (asset.file_path ?? "").split("/");
  if (!LOADER_TYPES.includes(type) || rest.length === 0) return null;
  return { filename: rest.at(-1), subfolder: rest.slice(0, -1).join("/"), type };
}

/** The absolute address of the file itself, as far as ComfyUI's view has one. */
export function viewUrl(page, asset) {
  const params = viewParams(asset);
  return params && new URL(page.url(`/view?${new URLSearchParams(params)}`), location.href).href;
}

/**
 * Where a browser finds the whole file, to show it or to save it. Elements send no header that names the user: where
 * there are several, what has no place in ComfyUI's view (models) is refused: see allowsAnonymous.
 */
export function contentUrl(page, asset, disposition = "inline") {
  return viewUrl(page, asset) ?? page.url(contentPath(asset, disposition));
}

/** Whether the server hands the file to a browser that does not say who asks. */
export function allowsAnonymous(page, asset) {
  return viewParams(asset) !== null || Object.keys(page.headers()).length === 0;
}

/** `1024 × 768`, or null. */
export function dimensions(asset) {
  const { width, height } = asset.metadata ?? {};
  return width && height ? `${width} × ${height}` : null;
}

function withoutApi(url) {
  return url.replace(/^\/api(?=\/)/, "");
}
