/** Videos of the grid that play without sound while the mouse rests on them, one at a time. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { h } from "../shared/dom.mjs";
import { allowsAnonymous, contentUrl, isMissing, mediaKind } from "./asset.mjs";

const DELAY_MS = 300; // or a mouse that crosses the grid would load every video on its way

export class HoverPlayer {
  #page;
  #assetAt;
  #timer = 0;
  /** @type {Element | null} the cell under the mouse */
  #cell = null;
  /** @type {HTMLVideoElement | null} */
  #video = null;

  /**
   * @param {PanelContext} context
   * @param {HTMLElement} grid
   * @param {(target: Element) => Asset | undefined} assetAt returns the asset of a cell
   */
  constructor({ page }, grid, assetAt) {
    this.#page = page;
    this.#assetAt = assetAt;
    grid.addEventListener("pointerover", (event) => this.#enter(event));
    grid.addEventListener("pointerleave", () => this.stop());
    grid.addEventListener("scroll", () => this.stop(), { passive: true }); // cells are used for other assets then
    grid.addEventListener("pointerdown", () => this.stop());
  }

  /** Stop the video, and end its download. */
  stop() {
    clearTimeout(this.#timer);
    this.#cell = null;
    const video = this.#video;
    if (video === null) return;
    this.#video = null;
    video.remove();
    video.removeAttribute("src");
    video.load(); // a video that is only removed goes on loading
  }

  /** @param {PointerEvent} event */
  #enter({ target, pointerType }) {
    const cell = target instanceof Element ? target.closest(".ca-cell") : null;
    if (cell === this.#cell || pointerType === "touch") return;
    this.stop();
    if (cell === null || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    this.#cell = cell;
    this.#timer = setTimeout(() => this.#play(cell), DELAY_MS);
  }

  /** @param {Element} cell */
  #play(cell) {
    const asset = this.#assetAt(cell);
    if (asset === undefined || mediaKind(asset) !== "video" || isMissing(asset)) return;
    if (!allowsAnonymous(this.#page, asset)) return;
    const video = h("video", { class: "ca-hover-video", playsinline: true, loop: true, "aria-hidden": "true" });
    video.muted = true;
    this.#video = video;
    video.addEventListener("playing", () => video.classList.add("ca-loaded"));
    video.addEventListener("error", () => {
      if (this.#video === video) this.stop();
    });
    video.src = contentUrl(this.#page, asset);
    cell.querySelector(".ca-thumb")?.append(video);
    video.play().catch(() => {}); // it was stopped, or this browser plays no such file: the picture stays
  }
}
