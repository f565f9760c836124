/** What the viewer shows of an asset, by the kind of its content. */

/** @import { Asset } from "../api.d.ts" */
/** @import { IconName } from "../shared/icons.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { Picture, PictureCache } from "./picture.mjs" */

import { h, setChildren } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import { allowsAnonymous, contentPath, contentUrl, isMissing, mediaKind, thumbnailUrl } from "../library/asset.mjs";
import { properties } from "../library/properties.mjs";
import { solidFormat } from "./solid_formats.mjs";
import { isText, textView } from "./text_view.mjs";

const POSTER_PX = 1024;
const MAX_FETCHED_BYTES = 256 * 1024 * 1024; // of players, where the server must know the user

/**
 * `picture` is set where it can be enlarged, `player` where it can be played. `release` ends downloads and playing.
 * @typedef {{ element: HTMLElement, picture?: Picture, player?: HTMLMediaElement, release: () => void }} Media
 */

/**
 * Create what the viewer shows of an asset.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {PictureCache} pictures
 * @returns {Media}
 */
export function createMedia(context, asset, pictures) {
  const kind = mediaKind(asset);
  if (isMissing(asset)) return message(context, asset, "warning", context.t("asset.missingHint"));
  if (kind === "image") return pictureMedia(asset, pictures);
  if (kind === "video" || kind === "audio") return playerMedia(context, asset, kind);
  if (solidFormat(asset) !== null) return solidMedia(context, asset);
  if (kind !== "model" && isText(asset)) {
    const controller = new AbortController();
    return { element: textView(context, asset, controller.signal), release: () => controller.abort() };
  }
  if (kind === "solid") return { element: unplayable(context, asset), release() {} };
  return cardMedia(context, asset);
}

/**
 * @param {Asset} asset
 * @param {PictureCache} pictures
 * @returns {Media}
 */
function pictureMedia(asset, pictures) {
  const picture = pictures.get(asset);
  return { element: picture.element, picture, release: () => picture.element.remove() };
}

/**
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {"video" | "audio"} kind
 * @returns {Media}
 */
function playerMedia(context, asset, kind) {
  const { page } = context;
  const poster = thumbnailUrl(page, asset, POSTER_PX);
  const attributes = { class: "ca-player", controls: true, loop: true, autoplay: true, playsinline: true };
  const player = kind === "video" ? h("video", { ...attributes, poster }) : h("audio", attributes);
  const cover = kind === "audio" && poster !== null && h("img", { src: poster, alt: "", class: "ca-cover" });
  const element = h("div", { class: "ca-playing" }, cover, player);
  const source = new PlayerSource(context, asset);
  player.addEventListener("error", () => {
    if (player.hasAttribute("src")) setChildren(element, unplayable(context, asset));
  });
  source.attach(player).catch(() => setChildren(element, unplayable(context, asset)));
  const release = () => {
    player.removeAttribute("src");
    player.load(); // a player that is only removed goes on playing and loading
    source.release();
  };
  return { element, player, release };
}

/** The file for a player: by its address, or fetched where the server must know the user. */
class PlayerSource {
  #context;
  #asset;
  #controller = new AbortController();
  #url = "";

  /**
   * @param {PanelContext} context
   * @param {Asset} asset
   */
  constructor(context, asset) {
    this.#context = context;
    this.#asset = asset;
  }

  /** @param {HTMLMediaElement} player */
  async attach(player) {
    const { page } = this.#context;
    if (allowsAnonymous(page, this.#asset)) {
      player.src = contentUrl(page, this.#asset);
      return;
    }
    if (this.#asset.size > MAX_FETCHED_BYTES) throw new Error("the file is too large to be fetched");
    const { signal } = this.#controller;
    const response = await page.fetch(contentPath(this.#asset, "inline"), { signal });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const blob = await response.blob();
    if (signal.aborted) return;
    this.#url = URL.createObjectURL(blob);
    player.src = this.#url;
  }

  release() {
    this.#controller.abort();
    URL.revokeObjectURL(this.#url);
  }
}

/**
 * Create the view of a 3D file, whose program is loaded only now.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 * @returns {Media}
 */
function solidMedia(context, asset) {
  const controller = new AbortController();
  const { signal } = controller;
  const element = h("div", { class: "ca-solid" });
  const show = async () => {
    try {
      const { showSolid } = await import("./solid_view.mjs");
      await showSolid(context, asset, element, signal);
    } catch (error) {
      if (signal.aborted) return;
      console.warn("comfy-assets:", error);
      setChildren(element, unplayable(context, asset));
    }
  };
  show();
  return { element, release: () => controller.abort() };
}

/**
 * Create the card of a model, or of a file that cannot be shown.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 * @returns {Media}
 */
function cardMedia(context, asset) {
  const url = thumbnailUrl(context.page, asset, POSTER_PX);
  const symbol = () => h("div", { class: "ca-preview-icon" }, icon(mediaKind(asset)));
  const image = url === null ? symbol() : h("img", { src: url, alt: asset.name, class: "ca-cover" });
  image.addEventListener("error", () => image.replaceWith(symbol()));
  const title = h("h3", { class: "ca-detail-name" }, asset.name);
  return { element: h("div", { class: "ca-card-view" }, image, title, properties(context, asset)), release() {} };
}

/**
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {IconName} iconName
 * @param {string} text
 * @returns {Media}
 */
function message(context, asset, iconName, text) {
  return { element: messageBox(context, asset, iconName, text), release() {} };
}

/**
 * Create the message for content that this browser cannot show.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 */
export function unplayable(context, asset) {
  return messageBox(context, asset, "warning", context.t("viewer.cannotShow", { type: asset.mime_type }));
}

/**
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {IconName} iconName
 * @param {string} text
 */
function messageBox({ page }, asset, iconName, text) {
  const url = thumbnailUrl(page, asset, POSTER_PX);
  const image = url !== null && h("img", { src: url, alt: "", class: "ca-cover" });
  if (image) image.addEventListener("error", () => image.remove());
  return h(
    "div",
    { class: "ca-placeholder ca-viewer-message", role: "status" },
    image,
    icon(iconName),
    h("p", { class: "ca-placeholder-title" }, asset.name),
    h("p", {}, text),
  );
}
