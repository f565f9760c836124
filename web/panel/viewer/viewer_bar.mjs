/** The bar above the viewer: name, place in the list, marks and actions. */

/** @import { Asset, DeletionAction } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { AssetActions } from "../library/asset_actions.mjs" */

import { iconButton, setPressed } from "../shared/buttons.mjs";
import { h } from "../shared/dom.mjs";
import { DELETION_ICONS, DELETIONS } from "../library/deletion.mjs";
import { marks } from "../library/marks.mjs";
import { renameInPlace } from "../library/rename_in_place.mjs";

/**
 * @typedef {{
 *   zoom: () => unknown,
 *   info: () => unknown,
 *   remove: (action: DeletionAction) => unknown,
 *   help: () => unknown,
 *   close: () => unknown,
 *   focus: () => unknown,
 * }} BarCallbacks `focus` returns the focus to the viewer
 */

export class ViewerBar {
  #context;
  #actions;
  #callbacks;
  /** @type {Asset | null} */
  #asset = null;
  #title = h("h3", { class: "ca-viewer-title" });
  #position = h("span", { class: "ca-muted ca-viewer-position" });
  #marks = h("div");
  #zoom;
  #info;

  /**
   * @param {PanelContext} context
   * @param {AssetActions} actions
   * @param {BarCallbacks} callbacks
   */
  constructor(context, actions, callbacks) {
    const { t } = context;
    this.#context = context;
    this.#actions = actions;
    this.#callbacks = callbacks;
    this.#zoom = iconButton("zoom", t("viewer.actualSize"), callbacks.zoom);
    this.#info = iconButton("info", t("viewer.info"), callbacks.info);
    this.element = h(
      "div",
      { class: "ca-viewer-bar", tabindex: "-1" },
      this.#title,
      this.#position,
      h("span", { class: "ca-spacer" }),
      this.#marks,
      this.#zoom,
      this.#info,
      iconButton("download", t("asset.download"), () => actions.download(this.#current())),
      DELETIONS.map((action) =>
        iconButton(DELETION_ICONS[action], t(`deletion.${action}`), () => callbacks.remove(action))
      ),
      iconButton("keyboard", t("keysIn.title"), callbacks.help),
      iconButton("close", t("common.close"), callbacks.close),
    );
  }

  /**
   * Show an asset, or a change of it.
   *
   * @param {Asset} asset
   */
  show(asset) {
    this.#asset = asset;
    this.#title.textContent = asset.name;
    this.#title.title = asset.name;
    const element = marks(this.#context.t, asset, {
      favour: (isOn) => this.#report(this.#actions.favour([this.#current()], isOn)),
      rate: (stars) => this.#report(this.#actions.rate([this.#current()], stars)),
    });
    const hadFocus = this.#marks.contains(document.activeElement);
    this.#marks.replaceWith(element);
    this.#marks = element;
    if (hadFocus) this.#callbacks.focus();
  }

  /** @param {string} text such as `3 / 20` */
  showPosition(text) {
    this.#position.textContent = text;
  }

  /**
   * @param {boolean} isPicture whether there is anything to enlarge
   * @param {boolean} isActualSize
   */
  showZoom(isPicture, isActualSize) {
    this.#zoom.hidden = !isPicture;
    setPressed(this.#zoom, isActualSize);
  }

  /** @param {boolean} isShown */
  showInfo(isShown) {
    setPressed(this.#info, isShown);
  }

  /** Edit the name in place. */
  rename() {
    const asset = this.#current();
    renameInPlace(this.#context, this.#title, asset, {
      focusAfter: this.element,
      save: (name, withFile) => this.#report(this.#actions.rename(asset, name, { withFile })),
    });
  }

  #current() {
    if (this.#asset === null) throw new Error("no asset is shown");
    return this.#asset;
  }

  /** @param {Promise<unknown>} change */
  async #report(change) {
    const { notifications, t } = this.#context;
    try {
      await change;
    } catch (error) {
      notifications.error(t("asset.changeFailed"), error);
      this.show(this.#current()); // as it was
    }
  }
}
