/** The pictures of a comparison: side by side, or two on top of each other with a divider to move. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { PictureCache } from "./picture.mjs" */
/** @import { ZoomState } from "./zoom.mjs" */

import { whenReconnected } from "../shared/connection.mjs";
import { h } from "../shared/dom.mjs";
import { isFavourite, mediaKind, rating } from "../library/asset.mjs";
import { bestColumns, typicalAspect } from "./compare_layout.mjs";
import { createMedia, unplayable } from "./media.mjs";
import { ZoomPane } from "./zoom.mjs";

const CAPTION_PX = 28;
const SHARPEN_MS = 300;

/** One asset of a comparison. */
export class ComparePane {
  #context;
  #pictures;
  #timer = 0;

  /**
   * @param {PanelContext} context
   * @param {Asset} asset
   * @param {PictureCache} pictures
   * @param {ZoomState} zoom shared by all panes
   */
  constructor(context, asset, pictures, zoom) {
    this.#context = context;
    this.#pictures = pictures;
    this.asset = asset;
    this.media = createMedia(context, asset, pictures);
    if (this.media.player) this.media.player.muted = true; // several at a time
    this.stage = h("div", { class: "ca-compare-stage" }, this.media.element);
    this.zoom = new ZoomPane(this.stage, zoom);
    this.caption = h("div", { class: "ca-compare-caption" });
    const attributes = { class: "ca-compare-pane", role: "group", tabindex: "0", "aria-label": asset.name };
    this.element = h("div", attributes, this.stage, this.caption);
    this.showMarks(asset);
    zoom.addEventListener("change", () => this.#sharpenSoon());
    this.#showPicture();
  }

  /** @param {Asset} asset as it is now */
  showMarks(asset) {
    this.asset = asset;
    const marks = (isFavourite(asset) ? "♥ " : "") + "★".repeat(rating(asset));
    const { t } = this.#context;
    const label = rating(asset) > 0 ? t("asset.stars", { count: rating(asset) }) : "";
    this.caption.replaceChildren(
      h("span", { class: "ca-compare-name", title: asset.name }, asset.name),
      h("span", { class: "ca-muted", role: "img", "aria-label": label || t("asset.rating") }, marks),
    );
  }

  release() {
    clearTimeout(this.#timer);
    this.media.release();
  }

  async #showPicture() {
    const { picture } = this.media;
    if (picture === undefined) return;
    this.zoom.setContent(picture.element, picture.size);
    picture.addEventListener("resize", () => this.zoom.setContent(picture.element, picture.size));
    await picture.ready;
    if (picture.isBroken) {
      this.zoom.setContent(null);
      const message = unplayable(this.#context, this.asset);
      this.stage.replaceChildren(message);
      whenReconnected(message, () => this.#showAgain());
    } else this.#sharpenSoon();
  }

  #showAgain() {
    this.media = createMedia(this.#context, this.asset, this.#pictures);
    this.stage.replaceChildren(this.media.element);
    this.#showPicture();
  }

  #sharpenSoon() {
    const { picture } = this.media;
    clearTimeout(this.#timer);
    if (picture === undefined) return;
    this.#timer = setTimeout(() => {
      picture.sharpen(Math.max(picture.size.width, picture.size.height) * this.zoom.scale * devicePixelRatio);
    }, SHARPEN_MS);
  }
}

/**
 * Create the grid of all panes, in which the pictures are as large as possible.
 *
 * @param {ComparePane[]} panes
 */
export function sideBySide(panes) {
  const element = h("div", { class: "ca-compare-grid" }, panes.map((pane) => pane.element));
  for (const pane of panes) pane.element.prepend(pane.stage);
  const arrange = () => {
    const sizes = panes.map(({ media }) => media.picture?.size ?? { width: 16, height: 9 });
    const area = { width: element.clientWidth, height: element.clientHeight };
    const columns = bestColumns(panes.length, area, typicalAspect(sizes), CAPTION_PX);
    element.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    element.style.gridTemplateRows = `repeat(${Math.ceil(panes.length / columns)}, minmax(0, 1fr))`;
  };
  new ResizeObserver(arrange).observe(element);
  for (const { media } of panes) media.picture?.addEventListener("resize", arrange);
  return element;
}

/**
 * Create the view of two pictures on top of each other.
 *
 * @param {PanelContext} context
 * @param {ComparePane} left
 * @param {ComparePane} right
 */
export function slider({ t }, left, right) {
  const range = { type: "range", min: "0", max: "100", step: "0.5", value: "50" };
  const input = h("input", { ...range, class: "ca-compare-slider", "aria-label": t("compare.slider") });
  const divider = h("div", { class: "ca-compare-divider", "aria-hidden": "true" });
  const layers = h("div", { class: "ca-compare-layers" }, right.stage, left.stage, divider);
  const move = () => layers.style.setProperty("--ca-split", `${input.value}%`);
  input.addEventListener("input", move);
  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    event.stopPropagation();
  });
  divider.addEventListener("pointermove", (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const box = layers.getBoundingClientRect();
    input.value = String(((event.clientX - box.left) / box.width) * 100);
    move();
  });
  move();
  const captions = h("div", { class: "ca-compare-captions" }, left.caption, right.caption);
  return h("div", { class: "ca-compare-overlay" }, layers, input, captions);
}

/**
 * Return whether two assets can be laid on top of each other.
 *
 * @param {Asset[]} assets
 */
export function canOverlay(assets) {
  return assets.length === 2 && assets.every((asset) => mediaKind(asset) === "image");
}
