/** Pictures at full size: a thumbnail as large as a screen first, where the file is large, then the file itself. */

/** @import { Asset } from "../api.d.ts" */
/** @import { HostPage } from "../types.d.ts" */

import { h } from "../shared/dom.mjs";
import { allowsAnonymous, contentPath, contentUrl, isAnimated, thumbnailUrl } from "../library/asset.mjs";

const THUMBNAIL_PX = 1024; // of the longer side, the most that the server makes
const SMALL_BYTES = 6_000_000; // files up to this size are shown without a thumbnail
const SMALL_PX = 1600;
const VECTOR_PX = 1024; // of drawings, which have no size of their own
const KEPT = 6; // decoded pictures take 4 bytes a pixel
const SHOWN_BY_BROWSERS = new Set(
  ["png", "apng", "jpeg", "gif", "webp", "avif", "bmp", "svg+xml", "x-icon", "vnd.microsoft.icon"]
    .map((type) => `image/${type}`),
);

/** One picture. Dispatches "resize" when its size turns out to be another. */
export class Picture extends EventTarget {
  #page;
  #asset;
  /** @type {Promise<unknown> | null} */
  #original = null;
  #objectUrl = "";

  /**
   * @param {HostPage} page
   * @param {Asset} asset
   */
  constructor(page, asset) {
    super();
    this.#page = page;
    this.#asset = asset;
    this.element = h("div", { class: "ca-picture" });
    this.size = statedSize(asset);
    /** The length of the longer side of the image on display, in px. */
    this.resolution = 0;
    /** Whether there is nothing to show. */
    this.isBroken = false;
    /** Resolves when the picture can be shown, or turns out to be broken. */
    this.ready = this.#load();
  }

  /**
   * Load the original if the image on display is too coarse. Before the first image is there nothing happens, since a
   * thumbnail that arrives later would replace the original.
   *
   * @param {number} pixels of the screen that the longer side takes
   */
  async sharpen(pixels) {
    const isCoarse = pixels > this.resolution && Math.max(this.size.width, this.size.height) > this.resolution;
    if (this.resolution === 0 || !isCoarse || !this.#hasOriginal()) return;
    this.#original ??= this.#showOriginal();
    await this.#original.catch(() => this.#original = null); // the thumbnail stays until the next attempt
  }

  /** Release what the picture holds; it can not be shown again. */
  release() {
    for (const image of this.element.querySelectorAll("img")) image.removeAttribute("src"); // ends a download
    this.element.remove();
    URL.revokeObjectURL(this.#objectUrl);
  }

  #hasOriginal() {
    return SHOWN_BY_BROWSERS.has(this.#asset.mime_type);
  }

  /** Load the first image: the original if it is small or moves, or if there is no other. */
  async #load() {
    const { size, mime_type, metadata } = this.#asset;
    const thumbnail = thumbnailUrl(this.#page, this.#asset, THUMBNAIL_PX);
    const isSmall = Boolean(metadata?.width) && Math.max(this.size.width, this.size.height) <= SMALL_PX;
    const isDirect = isAnimated(this.#asset) || mime_type === "image/svg+xml" || (isSmall && size <= SMALL_BYTES);
    const original = () => (this.#original ??= this.#showOriginal());
    const preview = () => thumbnail === null ? Promise.reject() : this.#show(thumbnail);
    const attempts = !this.#hasOriginal() ? [preview] : isDirect ? [original, preview] : [preview, original];
    for (const attempt of attempts) {
      try {
        return await attempt();
      } catch {
        // The next one may be there.
      }
    }
    this.isBroken = true;
  }

  async #showOriginal() {
    await this.#show(await this.#originalUrl(), true);
  }

  /** Return an address of the file. Where the server must know the user, it is fetched first. */
  async #originalUrl() {
    if (allowsAnonymous(this.#page, this.#asset)) return contentUrl(this.#page, this.#asset);
    const response = await this.#page.fetch(contentPath(this.#asset, "inline"));
    if (!response.ok) throw new Error(`status ${response.status}`);
    this.#objectUrl = URL.createObjectURL(await response.blob());
    return this.#objectUrl;
  }

  /**
   * Show an image as soon as it is decoded. Rejects if it cannot be.
   *
   * @param {string} url
   * @param {boolean} [isOriginal]
   */
  async #show(url, isOriginal = false) {
    const image = h("img", { alt: this.#asset.name, draggable: "false", decoding: "async" });
    image.src = url;
    await image.decode();
    this.element.replaceChildren(image);
    const { naturalWidth: width, naturalHeight: height } = image;
    const isVector = this.#asset.mime_type === "image/svg+xml";
    this.resolution = isVector ? Infinity : Math.max(width, height);
    const size = isVector ? vectorSize(width, height) : isOriginal ? { width, height } : this.#sizeLike(width, height);
    if (size.width === this.size.width && size.height === this.size.height) return;
    this.size = size;
    this.dispatchEvent(new Event("resize"));
  }

  /**
   * Return the stated size in the shape of a thumbnail: files state the size before their rotation, or none.
   *
   * @param {number} width
   * @param {number} height
   */
  #sizeLike(width, height) {
    if (!this.#asset.metadata?.width) return { width, height };
    const long = Math.max(this.size.width, this.size.height);
    const factor = long / Math.max(width, height);
    const isSame = Math.abs(this.size.width - width * factor) <= factor && this.size.width > 0;
    return isSame ? this.size : { width: Math.round(width * factor), height: Math.round(height * factor) };
  }
}

/** The pictures that were shown last or are shown next. */
export class PictureCache {
  #page;
  /** @type {Map<string, Picture>} by asset and its last change, the latest use last */
  #pictures = new Map();
  #kept;

  /**
   * @param {HostPage} page
   * @param {number} [kept] how many pictures are kept beside those on display
   */
  constructor(page, kept = KEPT) {
    this.#page = page;
    this.#kept = kept;
  }

  /**
   * Return the picture of an asset, which begins to load unless it is there already.
   *
   * @param {Asset} asset
   */
  get(asset) {
    const key = `${asset.id} ${asset.hash ?? asset.size}`;
    if (this.#pictures.get(key)?.isBroken) this.#drop(key); // perhaps the server could not be reached
    const picture = this.#pictures.get(key) ?? new Picture(this.#page, asset);
    this.#pictures.delete(key);
    this.#pictures.set(key, picture);
    for (const [oldest, { element }] of this.#pictures) {
      if (this.#pictures.size <= this.#kept) break;
      if (!element.isConnected && oldest !== key) this.#drop(oldest);
    }
    return picture;
  }

  clear() {
    for (const key of [...this.#pictures.keys()]) this.#drop(key);
  }

  /** @param {string} key */
  #drop(key) {
    this.#pictures.get(key)?.release();
    this.#pictures.delete(key);
  }
}

/** @param {Asset} asset */
function statedSize({ metadata }) {
  return { width: metadata?.width || THUMBNAIL_PX, height: metadata?.height || THUMBNAIL_PX };
}

/**
 * @param {number} width
 * @param {number} height
 */
function vectorSize(width, height) {
  const factor = VECTOR_PX / Math.max(width, height, 1);
  return { width: (width || 1) * factor, height: (height || 1) * factor };
}
