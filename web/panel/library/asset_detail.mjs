/** One asset in detail: its preview, its actions, its properties and metadata. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { AssetActions } from "./asset_actions.mjs" */
/** @import { AssetGrid } from "./asset_grid.mjs" */

import { h, setChildren } from "../shared/dom.mjs";
import { button, iconButton, setPressed } from "../shared/buttons.mjs";
import { isAborted } from "../shared/client.mjs";
import { editInPlace } from "../shared/edit_in_place.mjs";
import { icon } from "../shared/icons.mjs";
import { errorPlaceholder } from "../shared/placeholders.mjs";
import { contentUrl, isFavourite, isMissing, mediaKind, rating, thumbnailUrl } from "./asset.mjs";
import { startDrag } from "./drag.mjs";
import { embeddedMetadata } from "./embedded_metadata.mjs";
import { properties } from "./properties.mjs";
import { starRating } from "./star_rating.mjs";
import { TagEditor } from "./tag_editor.mjs";

const PREVIEW_PX = 1024;
const MAX_COPIES = 20;

export class AssetDetail {
  #context;
  #grid;
  #actions;
  #remove;
  /** @type {Asset | null} null until one is shown */
  #asset = null;
  #index = -1;
  /** @type {AbortController | null} */
  #request = null;
  #title = h("h3");
  #details = h("div"); // the part that needs another request
  #openButton = h("button");

  /**
   * @param {PanelContext} context
   * @param {AssetGrid} grid the list to step through
   * @param {AssetActions} actions
   * @param {(assets: Asset[]) => unknown} remove
   */
  constructor(context, grid, actions, remove) {
    this.#context = context;
    this.#grid = grid;
    this.#actions = actions;
    this.#remove = remove;
    const label = context.t("detail.title");
    this.element = h("div", { class: "ca-detail", role: "dialog", "aria-label": label, tabindex: "-1" });
    this.element.hidden = true;
    this.element.addEventListener("keydown", (event) => this.#onKeyDown(event));
  }

  /**
   * Show an asset.
   *
   * @param {Asset} asset
   * @param {number} index in the list, or -1 for an asset from elsewhere
   */
  async open(asset, index) {
    this.#asset = asset;
    this.#index = index;
    this.element.hidden = false;
    this.#show(asset);
    this.element.focus({ preventScroll: true });
    await this.#fetchDetails(asset.id);
  }

  close() {
    if (this.element.hidden) return;
    this.#request?.abort();
    this.element.hidden = true;
    this.element.replaceChildren(); // videos stop
    this.#grid.focus();
  }

  /** @param {string} id */
  async #fetchDetails(id) {
    this.#request?.abort();
    const { signal } = (this.#request = new AbortController());
    const { client, t } = this.#context;
    try {
      const asset = await client.get(`/assets/${id}`, { signal });
      const copies = asset.hash ? await this.#fetchCopies(id, asset.hash, signal) : [];
      if (this.#asset?.id === id) this.#showDetails(asset, copies);
    } catch (error) {
      if (isAborted(error) || this.#asset?.id !== id) return;
      setChildren(this.#details, errorPlaceholder(t, error, () => this.#fetchDetails(id)));
    }
  }

  /**
   * Return the other assets with the same content.
   *
   * @param {string} id
   * @param {string} hash
   * @param {AbortSignal} signal
   */
  async #fetchCopies(id, hash, signal) {
    const query = { hash, limit: String(MAX_COPIES) };
    const { assets } = await this.#context.client.get("/assets", { query, signal });
    return assets.filter((copy) => copy.id !== id);
  }

  /**
   * @param {Asset} asset with its embedded documents
   * @param {Asset[]} copies
   */
  #showDetails(asset, copies) {
    this.#asset = asset;
    this.#title.textContent = asset.name;
    setChildren(
      this.#details,
      properties(this.#context, asset),
      copies.length > 0 && this.#copies(copies),
      ...embeddedMetadata(this.#context, asset),
    );
    this.#openButton.hidden = !(asset.metadata?.workflow || asset.metadata?.prompt);
  }

  /** @param {Asset} asset as the list has it */
  #show(asset) {
    const { t, page } = this.#context;
    const openWorkflow = () => this.#actions.openWorkflow(this.#current());
    this.#title = h("h3", { class: "ca-detail-name" }, asset.name);
    this.#details = h("div");
    this.#openButton = button("graph", t("asset.openWorkflow"), openWorkflow, { kind: "ca-primary" });
    this.#openButton.hidden = true;
    const previewBox = preview(this.#context, asset);
    previewBox.draggable = true;
    previewBox.addEventListener("dragstart", (event) => startDrag(event, page, this.#current()));
    const tags = new TagEditor(
      this.#context,
      asset,
      (change) => this.#change((current) => this.#actions.tag(current, change)),
    );
    setChildren(
      this.element,
      this.#header(),
      h(
        "div",
        { class: "ca-detail-body" },
        previewBox,
        isMissing(asset) && h("p", { class: "ca-missing-hint" }, t("asset.missingHint")),
        h(
          "div",
          { class: "ca-detail-title" },
          this.#title,
          iconButton("edit", t("asset.rename"), () => this.#rename()),
        ),
        this.#ratingRow(asset),
        h(
          "div",
          { class: "ca-actions" },
          this.#openButton,
          button("download", t("asset.download"), () => this.#actions.download(this.#current())),
          button("trash", t("asset.delete"), () => this.#remove([this.#current()]), { kind: "ca-danger" }),
        ),
        tags.element,
        this.#details,
      ),
    );
  }

  /** Return the asset as it is now: changes and the request for its details replace it. */
  #current() {
    if (this.#asset === null) throw new Error("no asset is shown");
    return this.#asset;
  }

  #header() {
    const { t } = this.#context;
    const isFirst = this.#index <= 0;
    const isLast = this.#index < 0 || this.#index >= this.#grid.grid.count - 1;
    return h(
      "div",
      { class: "ca-detail-header" },
      button("back", t("detail.back"), () => this.close(), { kind: "ca-plain" }),
      h("span", { class: "ca-spacer" }),
      iconButton("back", t("detail.previous"), () => this.#step(-1), { disabled: isFirst }),
      iconButton("forward", t("detail.next"), () => this.#step(1), { disabled: isLast }),
    );
  }

  /** @param {Asset} asset */
  #ratingRow(asset) {
    const { t } = this.#context;
    const favourite = iconButton("heart", t("asset.favourite"), () => {
      const isOn = favourite.getAttribute("aria-pressed") !== "true";
      setPressed(favourite, isOn);
      this.#change((current) => this.#actions.setFavourite(current, isOn));
    });
    setPressed(favourite, isFavourite(asset));
    /** @param {number} stars */
    const rate = (stars) => this.#change((current) => this.#actions.setRating(current, stars));
    return h("div", { class: "ca-rating-row" }, favourite, starRating(t, rating(asset), rate));
  }

  /** @param {Asset[]} copies */
  #copies(copies) {
    const { t } = this.#context;
    /** @param {Asset} copy */
    const openButton = (copy) =>
      button("file", copy.file_path ?? copy.name, () => this.open(copy, -1), { kind: "ca-plain" });
    return h(
      "section",
      { class: "ca-section" },
      h("h4", {}, t("detail.copies", { count: copies.length })),
      h("ul", { class: "ca-copies" }, copies.map((copy) => h("li", {}, openButton(copy)))),
    );
  }

  /**
   * Change the asset. If that fails, show a notification and the asset as the server has it. Returns whether it succeeded.
   *
   * @param {(asset: Asset) => Promise<Asset>} action
   */
  async #change(action) {
    const { notifications, t } = this.#context;
    const before = this.#current();
    try {
      const changed = await action(before);
      // Meanwhile another asset may have been opened.
      if (this.#asset?.id === changed.id) this.#asset = { ...this.#asset, ...changed };
      return true;
    } catch (error) {
      notifications.error(t("asset.changeFailed"), error);
      const current = this.#current();
      if (!this.element.hidden) this.#show(current);
      this.#fetchDetails(current.id);
      return false;
    }
  }

  #rename() {
    const { name } = this.#current();
    const stem = name.lastIndexOf(".");
    editInPlace(this.#title, {
      label: this.#context.t("asset.name"),
      value: name,
      selectionEnd: stem > 0 ? stem : name.length,
      focusAfter: this.element,
      save: (edited) => {
        this.#title.textContent = edited;
        return this.#change((current) => this.#actions.rename(current, edited));
      },
    });
  }

  /** @param {1 | -1} by */
  #step(by) {
    const index = this.#index + by;
    const asset = this.#grid.list.at(index);
    if (this.#index < 0 || index < 0 || index >= this.#grid.grid.count) return;
    this.#grid.grid.activate(index);
    if (asset !== undefined) this.open(asset, index);
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    const isTyping = event.target instanceof Element && event.target.matches("input, textarea, select");
    if (event.key === "Escape") this.close();
    else if (isTyping || event.ctrlKey || event.metaKey) return;
    else if (event.key === "ArrowLeft") this.#step(-1);
    else if (event.key === "ArrowRight") this.#step(1);
    else if (event.key === "Delete") this.#remove([this.#current()]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

/**
 * Create the large image, the player, or the icon of an asset.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 */
function preview({ page }, asset) {
  const kind = mediaKind(asset);
  const src = contentUrl(page, asset);
  const url = thumbnailUrl(page, asset, PREVIEW_PX);
  const placeholder = () => h("div", { class: "ca-preview-icon" }, icon(kind));
  const picture = () => {
    if (url === null) return placeholder();
    const image = h("img", { src: url, alt: asset.name, decoding: "async" });
    image.addEventListener("error", () => image.replaceWith(placeholder()));
    return image;
  };
  const box = h("div", { class: "ca-preview" });
  if (kind === "video") {
    const video = h("video", { src, poster: url, controls: true, preload: "metadata", loop: true });
    video.addEventListener("error", () => video.replaceWith(picture())); // a container that this browser cannot play
    box.append(video);
  } else box.append(picture());
  if (kind === "audio") box.append(h("audio", { src, controls: true, preload: "metadata" }));
  return box;
}
