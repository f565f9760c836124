/** The part of the viewer that shows the asset itself: a picture to enlarge, a player, a text. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { Media } from "./media.mjs" */

import { RECONNECTED } from "../shared/connection.mjs";
import { h } from "../shared/dom.mjs";
import { mediaKind } from "../library/asset.mjs";
import { createMedia, unplayable } from "./media.mjs";
import { PictureCache } from "./picture.mjs";
import { ZoomPane, ZoomState } from "./zoom.mjs";

const SHARPEN_MS = 150; // while the user steps through many, only thumbnails of large pictures are loaded

export class Stage {
  #context;
  #pictures;
  #onZoom;
  #zoom = new ZoomState();
  #timer = 0;
  /** @type {Media | null} */
  #media = null;
  #again = () => {}; // shows the same asset once more

  /**
   * @param {PanelContext} context
   * @param {{ onZoom: () => unknown, onSwipe: (by: 1 | -1) => unknown }} callbacks
   */
  constructor(context, { onZoom, onSwipe }) {
    this.#context = context;
    this.#pictures = new PictureCache(context.page);
    this.#onZoom = onZoom;
    this.element = h("div", { class: "ca-viewer-stage" });
    /** The zoom of the picture. */
    this.pane = new ZoomPane(this.element, this.#zoom, onSwipe);
    this.#zoom.addEventListener("change", () => this.#zoomed());
    document.addEventListener(RECONNECTED, () => this.element.querySelector(".ca-viewer-message") && this.#again());
  }

  /** Whether the asset is a picture that can be enlarged. */
  get hasPicture() {
    return this.#media?.picture !== undefined && !this.#media.picture.isBroken;
  }

  /** The player of a video or a sound. */
  get player() {
    return this.#media?.player;
  }

  /** Play a video or a sound, or pause it. */
  togglePlayer() {
    if (this.player?.paused) this.player.play();
    else this.player?.pause();
  }

  /**
   * Show an asset.
   *
   * @param {Asset} asset
   * @param {() => (Asset | undefined)[]} near returns the assets to which the user may go on, the likeliest first
   */
  async show(asset, near) {
    this.#again = () => void this.show(asset, near);
    this.#media?.release();
    const media = createMedia(this.#context, asset, this.#pictures);
    this.#media = media;
    this.element.replaceChildren(media.element);
    const { picture } = media;
    this.pane.setContent(picture?.element ?? null, picture?.size);
    this.#zoom.fit();
    if (picture === undefined) return this.prefetch(near());
    picture.addEventListener("resize", () => {
      if (this.#media === media) this.pane.setContent(picture.element, picture.size);
    });
    await picture.ready;
    if (this.#media !== media) return;
    if (picture.isBroken) {
      this.pane.setContent(null);
      this.element.replaceChildren(unplayable(this.#context, asset));
    }
    this.#zoomed();
    this.prefetch(near());
  }

  /**
   * Load pictures that may be shown next.
   *
   * @param {(Asset | undefined)[]} assets
   */
  prefetch(assets) {
    for (const asset of assets) if (asset !== undefined && mediaKind(asset) === "image") this.#pictures.get(asset);
  }

  /** Stop players and downloads, and release the pictures. */
  clear() {
    clearTimeout(this.#timer);
    this.#media?.release();
    this.#media = null;
    this.#again = () => {};
    this.pane.setContent(null);
    this.#pictures.clear();
  }

  #zoomed() {
    this.#onZoom();
    const picture = this.#media?.picture;
    clearTimeout(this.#timer);
    if (picture === undefined) return;
    const pixels = Math.max(picture.size.width, picture.size.height) * this.pane.scale * devicePixelRatio;
    this.#timer = setTimeout(() => picture.sharpen(pixels), SHARPEN_MS);
  }
}
