/** One asset in detail: its preview, its actions, its properties and metadata. */

/** @import { Asset, DeletionAction } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { AssetActions, AssetChange, TagChange } from "./asset_actions.mjs" */
/** @import { AssetCommands } from "./asset_commands.mjs" */
/** @import { AssetGrid } from "./asset_grid.mjs" */
/** @import { CullingKeys } from "./culling_keys.mjs" */

import { h, setChildren } from "../shared/dom.mjs";
import { button, iconButton } from "../shared/buttons.mjs";
import { isAborted } from "../shared/client.mjs";
import { errorPlaceholder } from "../shared/placeholders.mjs";
import { isMissing } from "./asset.mjs";
import { copiesSection, fetchCopies } from "./copies.mjs";
import { deletionOf } from "./culling_keys.mjs";
import { detailActions } from "./detail_actions.mjs";
import { detailSections } from "./detail_sections.mjs";
import { marks } from "./marks.mjs";
import { preview } from "./preview.mjs";
import { renameInPlace } from "./rename_in_place.mjs";
import { TagEditor } from "./tag_editor.mjs";

/**
 * @typedef {{
 *   view: (asset: Asset, index: number) => unknown,
 *   remove: (selected: Asset[], action: DeletionAction) => unknown,
 * }} DetailCallbacks
 */

export class AssetDetail {
  #context;
  #grid;
  #actions;
  #commands;
  #culling;
  #callbacks;
  /** @type {Asset | null} null until one is shown */
  #asset = null;
  #isListed = false; // or it was opened from elsewhere
  /** @type {AbortController | null} */
  #request = null;
  /** @type {(() => void) | null} leads back to where the asset was opened, if not in the list */
  back = null;
  #title = h("h3");
  #details = h("div"); // the part that needs another request
  #actionRow = h("div");
  #marks = h("div"); // favourite and rating
  #tags = h("section");

  /**
   * @param {PanelContext} context
   * @param {AssetGrid} grid the list to step through
   * @param {AssetActions} actions
   * @param {AssetCommands} commands
   * @param {CullingKeys} culling
   * @param {DetailCallbacks} callbacks
   */
  constructor(context, grid, actions, commands, culling, callbacks) {
    this.#context = context;
    this.#grid = grid;
    this.#actions = actions;
    this.#commands = commands;
    this.#culling = culling;
    this.#callbacks = callbacks;
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
    if (index >= 0) this.back = null;
    this.#asset = asset;
    this.#isListed = index >= 0;
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
    const { back } = this;
    this.back = null;
    if (back) back();
    else this.#grid.focus();
  }

  /** The asset on display, or null. */
  get shown() {
    return this.element.hidden ? null : this.#asset;
  }

  /**
   * Show a change of an asset, if it is the one on display.
   *
   * @param {AssetChange} change
   */
  update(change) {
    if (this.shown?.id !== change.id) return;
    this.#asset = { ...this.#current(), ...change };
    this.#title.textContent = this.#asset.name;
    this.#showMarks(this.#asset);
    if (!this.#tags.contains(document.activeElement)) this.#showTags(this.#asset);
  }

  /** @param {string} id */
  async #fetchDetails(id) {
    this.#request?.abort();
    const { signal } = (this.#request = new AbortController());
    const { client, t } = this.#context;
    try {
      const asset = await client.get(`/assets/${id}`, { signal });
      const copies = await fetchCopies(this.#context, asset, signal);
      if (this.#asset?.id === id) this.#showDetails(asset, copies, signal);
    } catch (error) {
      if (isAborted(error) || this.#asset?.id !== id) return;
      setChildren(this.#details, errorPlaceholder(t, error, () => this.#fetchDetails(id)));
    }
  }

  /**
   * @param {Asset} asset with its embedded documents
   * @param {Asset[]} copies
   * @param {AbortSignal} signal
   */
  #showDetails(asset, copies, signal) {
    this.#asset = asset;
    this.#title.textContent = asset.name;
    const copiesPart = copies.length > 0 && copiesSection(this.#context, copies, (copy) => this.open(copy, -1));
    setChildren(this.#details, detailSections(this.#context, asset, copiesPart, signal));
    setChildren(this.#actionRow, detailActions(this.#context, this.#commands, asset));
  }

  /** @param {Asset} asset as the list has it */
  #show(asset) {
    const { t } = this.#context;
    this.#title = h("h3", { class: "ca-detail-name" }, asset.name);
    this.#details = h("div");
    this.#actionRow = h("div", {}, detailActions(this.#context, this.#commands, asset));
    const view = () => this.#callbacks.view(this.#current(), this.#index());
    const previewBox = preview(this.#context, asset, view);
    previewBox.draggable = true;
    previewBox.addEventListener("dragstart", (event) => this.#commands.drag(event, this.#current()));
    this.#showMarks(asset);
    this.#showTags(asset);
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
          iconButton("edit", t("asset.rename"), () => this.rename()),
        ),
        this.#marks,
        this.#actionRow,
        this.#tags,
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
    const index = this.#index();
    const isFirst = index <= 0;
    const isLast = index < 0 || index >= this.#grid.grid.count - 1;
    return h(
      "div",
      { class: "ca-detail-header" },
      button("back", t("detail.back"), () => this.close(), { kind: "ca-plain" }),
      h("span", { class: "ca-spacer" }),
      iconButton("back", t("detail.previous"), () => this.#step(-1), { disabled: isFirst }),
      iconButton("forward", t("detail.next"), () => this.#step(1), { disabled: isLast }),
    );
  }

  /**
   * Return the index of the asset, or -1 if it is from elsewhere. The active item of the list follows it when others
   * come before it, and takes its place when it goes.
   */
  #index() {
    if (!this.#isListed) return -1;
    const index = this.#grid.indexOf(this.#current());
    return index >= 0 ? index : this.#grid.grid.active;
  }

  /** @param {Asset} asset */
  #showTags(asset) {
    /** @param {TagChange} tags */
    const change = (tags) => this.#change((current) => this.#actions.tag([current], tags));
    const { element } = new TagEditor(this.#context, asset, change);
    this.#tags.replaceWith(element);
    this.#tags = element;
  }

  /** @param {Asset} asset */
  #showMarks(asset) {
    const element = marks(this.#context.t, asset, {
      favour: (isOn) => this.#change((current) => this.#actions.favour([current], isOn)),
      rate: (stars) => this.#change((current) => this.#actions.rate([current], stars)),
    });
    this.#marks.replaceWith(element);
    this.#marks = element;
  }

  /**
   * Change the asset. If that fails, show a notification and the asset as the server has it. Returns whether it succeeded.
   *
   * @param {(asset: Asset) => Promise<unknown>} action
   */
  async #change(action) {
    const { notifications, t } = this.#context;
    try {
      await action(this.#current());
      return true;
    } catch (error) {
      notifications.error(t("asset.changeFailed"), error);
      const current = this.#current();
      if (!this.element.hidden) this.#show(current);
      this.#fetchDetails(current.id);
      return false;
    }
  }

  /** Edit the name in place. */
  rename() {
    renameInPlace(this.#context, this.#title, this.#current(), {
      focusAfter: this.element,
      save: async (name, withFile) => {
        this.#title.textContent = name;
        const isDone = await this.#change((current) => this.#actions.rename(current, name, { withFile }));
        if (isDone && withFile) this.#fetchDetails(this.#current().id); // the file has another path
      },
    });
  }

  /** @param {1 | -1} by */
  #step(by) {
    const index = this.#index() + by;
    const asset = this.#grid.list.at(index);
    if (!this.#isListed || index < 0 || index >= this.#grid.grid.count) return;
    this.#grid.grid.activate(index);
    if (asset !== undefined) this.open(asset, index);
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    const isField = event.target instanceof Element && event.target.matches("input, textarea, select");
    const isChord = event.ctrlKey || event.metaKey;
    if (event.key === "Escape") this.close();
    else if (this.#culling.handle(event, [this.#current()], () => this.#step(1))) { /* done */ }
    else if (isField || isChord) return;
    else if (event.key === "ArrowLeft") this.#step(-1);
    else if (event.key === "ArrowRight") this.#step(1);
    else if (event.key === "F2") this.rename();
    else if (event.key === "Delete") this.#callbacks.remove([this.#current()], deletionOf(event));
    else if (event.key === " " && event.target === this.element) this.#callbacks.view(this.#current(), this.#index());
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
