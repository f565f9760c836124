/** The comparison of assets: their pictures with one zoom for all, and a table of what differs in their making. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { AssetChange } from "../library/asset_actions.mjs" */
/** @import { CullingKeys } from "../library/culling_keys.mjs" */

import { button, iconButton, setPressed } from "../shared/buttons.mjs";
import { createDialog, hostNotifications } from "../shared/dialog.mjs";
import { h, setChildren } from "../shared/dom.mjs";
import { errorPlaceholder, loadingPlaceholder } from "../shared/placeholders.mjs";
import { canOverlay, ComparePane, sideBySide, slider } from "./compare_panes.mjs";
import { compareTable } from "./compare_table.mjs";
import { PictureCache } from "./picture.mjs";
import { ZoomState } from "./zoom.mjs";

export class CompareDialog {
  #context;
  #panes;
  #pictures;
  #zoom = new ZoomState();
  #view = h("div", { class: "ca-compare-view" });
  #table = h("div", { class: "ca-compare-facts" });
  #modeButton;
  #tableButton;
  #controller = new AbortController();

  /**
   * Open the dialog over the whole page. Escape closes it.
   *
   * @param {PanelContext} context
   * @param {Asset[]} assets two or more
   * @param {CullingKeys} culling
   */
  constructor(context, assets, culling) {
    const { t } = context;
    this.#context = context;
    this.#pictures = new PictureCache(context.page, assets.length);
    this.#panes = assets.map((asset) => new ComparePane(context, asset, this.#pictures, this.#zoom));
    this.#modeButton = button("compare", t("compare.overlay"), () => this.#setOverlay(!this.#isOverlay));
    this.#modeButton.hidden = !canOverlay(assets);
    this.#tableButton = button("list", t("compare.table"), () => this.#setTable(Boolean(this.#table.hidden)));
    const actualSize = button("zoom", t("viewer.actualSize"), () => this.#panes[0].zoom.toggleActualSize());
    const close = iconButton("close", t("common.close"), () => dialog.close());
    const title = h("h3", { class: "ca-viewer-title" }, t("compare.title", { count: assets.length }));
    const buttons = [this.#modeButton, actualSize, this.#tableButton, close];
    const bar = h("div", { class: "ca-viewer-bar" }, title, h("span", { class: "ca-spacer" }), buttons);
    const dialog = createDialog("ca-compare", t("compare.label"), bar, this.#view, this.#table);
    dialog.addEventListener("keydown", (event) => {
      const index = this.#panes.findIndex(({ element }) => event.target === element);
      const goOn = () => this.#panes[index + 1]?.element.focus();
      if (culling.handle(event, index < 0 ? [] : [this.#panes[index].asset], goOn)) event.preventDefault();
    });
    hostNotifications(dialog, context.notifications, this.#view);
    dialog.addEventListener("close", () => this.#onClose());
    this.#setOverlay(false);
    this.#setTable(true);
    dialog.showModal();
    this.#panes[0].element.focus();
    this.#loadTable();
  }

  /**
   * Show a change of an asset.
   *
   * @param {AssetChange} change
   */
  update(change) {
    for (const pane of this.#panes) if (pane.asset.id === change.id) pane.showMarks({ ...pane.asset, ...change });
  }

  get #isOverlay() {
    return this.#modeButton.getAttribute("aria-pressed") === "true";
  }

  /** @param {boolean} isOverlay */
  #setOverlay(isOverlay) {
    setPressed(this.#modeButton, isOverlay);
    const [left, right] = this.#panes;
    if (!isOverlay) { for (const pane of this.#panes) pane.element.append(pane.caption); }
    setChildren(this.#view, isOverlay ? slider(this.#context, left, right) : sideBySide(this.#panes));
  }

  /** @param {boolean} isShown */
  #setTable(isShown) {
    this.#table.hidden = !isShown;
    setPressed(this.#tableButton, isShown);
  }

  /** Fetch what the lists leave out, and compare it. */
  async #loadTable() {
    const { client, t } = this.#context;
    const { signal } = this.#controller;
    setChildren(this.#table, loadingPlaceholder(t));
    try {
      const assets = await Promise.all(this.#panes.map(({ asset }) => client.get(`/assets/${asset.id}`, { signal })));
      setChildren(this.#table, compareTable(t, assets));
    } catch (error) {
      if (!signal.aborted) setChildren(this.#table, errorPlaceholder(t, error, () => this.#loadTable()));
    }
  }

  #onClose() {
    this.#controller.abort();
    for (const pane of this.#panes) pane.release();
    this.#pictures.clear();
  }
}
