/** The bar with the actions for the selected assets. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext, Undo } from "../types.d.ts" */
/** @import { AssetActions } from "./asset_actions.mjs" */
/** @import { Selection } from "./selection.mjs" */

import { h, setChildren } from "../shared/dom.mjs";
import { button, iconButton } from "../shared/buttons.mjs";
import { mediaKind } from "./asset.mjs";
import { showCompareDialog } from "./compare_dialog.mjs";
import { tagInput } from "./tag_editor.mjs";

export class SelectionBar {
  #context;
  #selection;
  #actions;
  #remove;
  #tagInput;

  /**
   * @param {PanelContext} context
   * @param {Selection} selection
   * @param {AssetActions} actions
   * @param {(assets: Asset[]) => unknown} remove
   */
  constructor(context, selection, actions, remove) {
    this.#context = context;
    this.#selection = selection;
    this.#actions = actions;
    this.#remove = remove;
    this.#tagInput = tagInput(context, (tags) => this.#tag(tags)); // kept, so that text in it survives a click
    this.element = h("div", { class: "ca-selection", role: "toolbar", "aria-label": context.t("selection.title") });
    this.element.hidden = true;
    selection.addEventListener("change", () => this.#show());
  }

  #show() {
    const { t } = this.#context;
    const { assets, size } = this.#selection;
    this.element.hidden = size === 0;
    if (size === 0) return;
    const [left, right] = assets;
    const isComparable = size === 2 && assets.every((asset) => mediaKind(asset) === "image");
    setChildren(
      this.element,
      h("span", { class: "ca-selection-count", role: "status" }, t("selection.count", { count: size })),
      h("span", { class: "ca-spacer" }),
      isComparable && button("compare", t("selection.compare"), () => showCompareDialog(this.#context, left, right)),
      iconButton("heart", t("selection.addFavourites"), () => this.#addFavourites()),
      iconButton("trash", t("selection.delete"), () => this.#remove(assets)),
      iconButton("close", t("selection.clear"), () => this.#selection.clear()),
      this.#tagInput,
    );
  }

  /** @param {string[]} tags */
  async #tag(tags) {
    const { t, notifications } = this.#context;
    const { assets } = this.#selection;
    const { done, error } = await this.#actions.forEach(assets, (asset) => this.#actions.tag(asset, { add: tags }));
    if (error !== null) notifications.error(t("selection.tagFailed"), error);
    else {notifications.show(
        t("selection.tagged", { count: done, tags: tags.join(", ") }),
        this.#undoTags(assets, tags),
      );}
  }

  /**
   * Return the undo that removes the tags from the assets that did not have them before.
   *
   * @param {Asset[]} assets as they were before
   * @param {string[]} tags
   * @returns {Undo}
   */
  #undoTags(assets, tags) {
    const action = () =>
      this.#actions.forEach(assets, async (asset) => {
        const remove = tags.filter((tag) => !asset.tags.includes(tag));
        if (remove.length > 0) await this.#actions.tag({ ...asset, tags: [...asset.tags, ...tags] }, { remove });
      });
    return { label: this.#context.t("asset.undo"), action };
  }

  async #addFavourites() {
    const { t, notifications } = this.#context;
    const { assets } = this.#selection;
    const { done, error } = await this.#actions.forEach(assets, (asset) => this.#actions.setFavourite(asset, true));
    if (error !== null) notifications.error(t("asset.changeFailed"), error);
    else notifications.show(t("selection.addedFavourites", { count: done }));
  }
}
