/** The bar with the actions for the selected assets. */

/** @import { Asset } from "../api.d.ts" */
/** @import { MenuItem } from "../shared/context_menu.mjs" */
/** @import { PanelContext, ScreenPoint } from "../types.d.ts" */
/** @import { AssetActions } from "./asset_actions.mjs" */
/** @import { Selection } from "./selection.mjs" */

import { h, setChildren } from "../shared/dom.mjs";
import { button, iconButton } from "../shared/buttons.mjs";
import { showMenu } from "../shared/context_menu.mjs";
import { mediaKind } from "./asset.mjs";
import { tagInput } from "./tag_editor.mjs";

const COMPARED = ["image", "video"];

export class SelectionBar {
  #context;
  #selection;
  #actions;
  #callbacks;
  #tagInput;

  /**
   * @param {PanelContext} context
   * @param {Selection} selection
   * @param {AssetActions} actions
   * @param {{
   *   remove: (assets: Asset[]) => unknown,
   *   compare: (assets: Asset[]) => unknown,
   *   organizing: (assets: Asset[], at: ScreenPoint) => MenuItem[],
   * }} callbacks
   */
  constructor(context, selection, actions, callbacks) {
    this.#context = context;
    this.#selection = selection;
    this.#actions = actions;
    this.#callbacks = callbacks;
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
    const pictures = assets.filter((asset) => COMPARED.includes(mediaKind(asset)));
    setChildren(
      this.element,
      h("span", { class: "ca-selection-count", role: "status" }, t("selection.count", { count: size })),
      h("span", { class: "ca-spacer" }),
      pictures.length > 1 && button("compare", t("selection.compare"), () => this.#callbacks.compare(pictures)),
      this.#organizing(assets),
      iconButton("heart", t("selection.addFavourites"), () => this.#addFavourites()),
      iconButton("trash", t("selection.delete"), () => this.#callbacks.remove(assets)),
      iconButton("close", t("selection.clear"), () => this.#selection.clear()),
      this.#tagInput,
    );
  }

  /**
   * Return the button for collections: of a menu if there is more to do with them than to add to one.
   *
   * @param {Asset[]} assets
   */
  #organizing(assets) {
    const { t } = this.#context;
    const element = iconButton("collection", t("collection.addTo"), () => {
      const { left, top } = element.getBoundingClientRect();
      const at = { x: left, y: top };
      const items = this.#callbacks.organizing(assets, at);
      if (items.length === 1) items[0].run();
      else showMenu(t("collection.addTo"), [items], at);
    }, { "aria-haspopup": "menu" });
    return element;
  }

  /** @param {string[]} tags */
  async #tag(tags) {
    const { t, notifications } = this.#context;
    const { assets, size } = this.#selection;
    try {
      const change = await this.#actions.tag(assets, { add: tags });
      const undo = { label: t("asset.undo"), action: () => this.#actions.undo(change) };
      notifications.show(t("selection.tagged", { count: size, tags: tags.join(", ") }), undo);
    } catch (error) {
      notifications.error(t("selection.tagFailed"), error);
    }
  }

  async #addFavourites() {
    const { t, notifications } = this.#context;
    const { assets, size } = this.#selection;
    try {
      const change = await this.#actions.favour(assets, true);
      const undo = { label: t("asset.undo"), action: () => this.#actions.undo(change) };
      notifications.show(t("selection.addedFavourites", { count: size }), undo);
    } catch (error) {
      notifications.error(t("asset.changeFailed"), error);
    }
  }
}
