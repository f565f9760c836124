/** The viewer: one asset of the list over the whole page, with the others around it. */

/** @import { Asset, DeletionAction } from "../api.d.ts" */
/** @import { MenuItem } from "../shared/context_menu.mjs" */
/** @import { PanelContext, ScreenPoint } from "../types.d.ts" */
/** @import { AssetActions, AssetChange } from "../library/asset_actions.mjs" */
/** @import { AssetGrid } from "../library/asset_grid.mjs" */
/** @import { CullingKeys } from "../library/culling_keys.mjs" */
/** @import { SelectedAssets } from "../library/search_results.mjs" */

import { iconButton } from "../shared/buttons.mjs";
import { onMenu } from "../shared/context_menu.mjs";
import { createDialog, hostNotifications, takesText } from "../shared/dialog.mjs";
import { h } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { AssetCommands } from "../library/asset_commands.mjs";
import { deletionOf } from "../library/culling_keys.mjs";
import { Filmstrip } from "./filmstrip.mjs";
import { InfoPanel } from "./info_panel.mjs";
import { Stage } from "./stage.mjs";
import { ViewerBar } from "./viewer_bar.mjs";

const PAN_STEP = 0.2; // of the view
const VIEW = "viewer"; // its name among the views of the list

/**
 * @typedef {{
 *   remove: (selected: SelectedAssets, action: DeletionAction) => Promise<unknown>,
 *   organizing: (selected: SelectedAssets, at: ScreenPoint) => MenuItem[],
 *   onClose: (asset: Asset, index: number) => unknown,
 * }} ViewerCallbacks
 */

export class Viewer {
  #context;
  #grid;
  #culling;
  #callbacks;
  #stage;
  #strip;
  #info;
  /** @type {HTMLDialogElement | null} while it is open */
  #dialog = null;
  /** @type {Asset | null} */
  #asset = null;
  #isListed = false; // or the asset was opened from elsewhere
  #bar;
  #previous;
  #next;

  /**
   * @param {PanelContext} context
   * @param {AssetGrid} grid the list to step through
   * @param {AssetActions} actions
   * @param {CullingKeys} culling
   * @param {ViewerCallbacks} callbacks
   */
  constructor(context, grid, actions, culling, callbacks) {
    this.#context = context;
    this.#grid = grid;
    this.#culling = culling;
    this.#callbacks = callbacks;
    this.#stage = new Stage(context, { onZoom: () => this.#onZoom(), onSwipe: (by) => this.#step(by) });
    this.#strip = new Filmstrip(context, grid, (index) => this.#goTo(index));
    /** @type {PanelContext} */
    const leaving = { // what leads to another part of the panel closes the viewer
      ...context,
      openJob: (id) => this.#leave(() => context.openJob(id)),
      searchLibrary: (text) => this.#leave(() => context.searchLibrary(text)),
    };
    this.#info = new InfoPanel(leaving);
    const { t } = context;
    const { remove, organizing } = callbacks;
    const commands = new AssetCommands(leaving, actions, { details: () => {}, view: () => {}, remove, organizing });
    onMenu(this.#stage.element, (_target, at) => {
      commands.showMenu([this.#current()], at ?? { x: innerWidth / 2, y: innerHeight / 2 });
      return true;
    });
    this.#bar = new ViewerBar(context, actions, {
      zoom: () => this.#stage.pane.toggleActualSize(),
      info: () => this.#toggleInfo(),
      remove: (action) => callbacks.remove([this.#current()], action),
      help: () => culling.showHelp(),
      close: () => this.#close(),
      focus: () => this.#dialog?.focus(),
    });
    this.#previous = iconButton("back", t("detail.previous"), () => this.#step(-1));
    this.#next = iconButton("forward", t("detail.next"), () => this.#step(1));
    for (const each of [this.#previous, this.#next]) each.classList.add("ca-viewer-step");
    grid.addEventListener("change", () => this.#onListChange());
  }

  /** The asset on display, or null. */
  get shown() {
    return this.#dialog === null ? null : this.#asset;
  }

  /**
   * Show an asset.
   *
   * @param {Asset} asset
   * @param {number} index in the list, or -1 for an asset from elsewhere
   */
  open(asset, index) {
    this.#isListed = index >= 0;
    if (this.#dialog === null) this.#createDialog();
    this.#show(asset, index);
    this.#dialog?.focus();
  }

  /**
   * Show a change of an asset, if it is the one on display.
   *
   * @param {AssetChange} change
   */
  update(change) {
    this.#strip.refresh();
    if (this.shown?.id !== change.id) return;
    this.#asset = { ...this.#current(), ...change };
    this.#bar.show(this.#asset);
    if (!this.#info.element.hidden) this.#info.show(this.#asset);
  }

  #createDialog() {
    const { t, notifications, preferences } = this.#context;
    const stage = h("div", { class: "ca-viewer-main" }, this.#stage.element, this.#previous, this.#next);
    const body = h("div", { class: "ca-viewer-body" }, stage, this.#info.element);
    const dialog = createDialog("ca-viewer", t("viewer.title"), this.#bar.element, body, this.#strip.element);
    dialog.tabIndex = -1;
    dialog.addEventListener("keydown", (event) => this.#onKeyDown(event));
    hostNotifications(dialog, notifications, this.#stage.element);
    dialog.addEventListener("close", () => this.#close());
    this.#dialog = dialog;
    this.#setInfo(preferences.read("viewer", ["info"]).info !== false);
    dialog.showModal();
  }

  /** Close at once: the dialog's own event comes later, and keys for the list may come before it. */
  #close() {
    if (this.#dialog === null) return;
    this.#dialog.close();
    this.#dialog = null;
    this.#info.stop();
    this.#strip.clear();
    this.#stage.clear();
    this.#grid.list.hide(VIEW);
    this.#callbacks.onClose(this.#current(), this.#index());
  }

  #current() {
    if (this.#asset === null) throw new Error("no asset is shown");
    return this.#asset;
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

  /**
   * @param {Asset} asset
   * @param {number} index
   */
  #show(asset, index) {
    this.#asset = asset;
    if (index >= 0) {
      this.#grid.grid.activate(index);
      this.#grid.list.show(index - 1, index + 1, VIEW);
    }
    this.#bar.show(asset);
    this.#stage.show(asset, () => this.#near());
    this.#onZoom();
    this.#showPosition();
    if (!this.#info.element.hidden) this.#info.show(asset);
  }

  /** Return the assets to which the user may step, if they are loaded. */
  #near() {
    const index = this.#index();
    return index < 0 ? [] : [this.#grid.list.at(index + 1), this.#grid.list.at(index - 1)];
  }

  #showPosition() {
    const index = this.#index();
    const { count } = this.#grid.grid;
    const [number, total] = [index + 1, count].map((each) => format.number(each, this.#context.language));
    this.#bar.showPosition(index < 0 ? "" : `${number} / ${total}`);
    this.#previous.disabled = index <= 0;
    this.#next.disabled = index < 0 || index >= count - 1;
    this.#strip.show(index);
  }

  /** Follow the asset in a list that has changed. */
  #onListChange() {
    if (this.shown === null) return;
    this.#showPosition();
    this.#stage.prefetch(this.#near());
  }

  #onZoom() {
    this.#bar.showZoom(this.#stage.hasPicture, this.#stage.pane.isActualSize);
  }

  /** @param {1 | -1} by */
  #step(by) {
    return this.#goTo(this.#index() + by);
  }

  /**
   * Show the asset at an index of the list, as soon as that is loaded.
   *
   * @param {number} index
   */
  async #goTo(index) {
    if (!this.#isListed || index < 0 || index >= this.#grid.grid.count) return;
    const from = this.#asset;
    this.#grid.list.show(index - 1, index + 1, VIEW);
    const asset = this.#grid.list.at(index) ?? await this.#grid.list.item(index);
    if (asset !== undefined && this.shown === from) this.#show(asset, index);
  }

  /**
   * Go on from the asset on display, which is deleted, to another one of the list; close if there is none.
   *
   * @param {Asset | undefined} next
   */
  goOn(next) {
    if (!this.#isListed || next === undefined) this.#close();
    else this.#show(next, this.#grid.indexOf(next));
  }

  /** @param {() => unknown} action */
  #leave(action) {
    this.#close();
    action();
  }

  #toggleInfo() {
    const isShown = Boolean(this.#info.element.hidden);
    this.#setInfo(isShown);
    this.#context.preferences.write("viewer", { info: isShown }, ["info"]);
    if (isShown) this.#info.show(this.#current());
  }

  /** @param {boolean} isShown */
  #setInfo(isShown) {
    this.#info.element.hidden = !isShown;
    this.#bar.showInfo(isShown);
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    const isField = event.target instanceof HTMLInputElement && event.target.type === "radio";
    if (takesText(event.target) || event.defaultPrevented) return;
    if (this.#culling.handle(event, [this.#current()], () => this.#step(1))) event.preventDefault();
    else if (!event.ctrlKey && !event.metaKey && !event.altKey && !(isField && event.key.startsWith("Arrow"))) {
      if (this.#act(event)) event.preventDefault();
    }
  }

  /**
   * Do what a key stands for. Returns whether it stands for anything.
   *
   * @param {KeyboardEvent} event
   */
  #act(event) {
    const { key, shiftKey, target } = event;
    const { pane, player, hasPicture } = this.#stage;
    /** @type {Record<string, () => unknown>} */
    const actions = {
      ArrowLeft: () => shiftKey ? pane.pan(-PAN_STEP, 0) : this.#step(-1),
      ArrowRight: () => shiftKey ? pane.pan(PAN_STEP, 0) : this.#step(1),
      ArrowUp: () => pane.pan(0, -PAN_STEP),
      ArrowDown: () => pane.pan(0, PAN_STEP),
      Home: () => this.#goTo(0),
      End: () => this.#goTo(this.#grid.grid.count - 1),
      Delete: () => this.#callbacks.remove([this.#current()], deletionOf(event)),
      Escape: () => this.#close(),
      F2: () => this.#bar.rename(),
      "+": () => pane.zoomByKey(1),
      "-": () => pane.zoomByKey(-1),
      z: () => hasPicture && pane.toggleActualSize(),
      i: () => this.#toggleInfo(),
    };
    const isOnButton = target instanceof Element && target.matches("button, video, audio, pre");
    if (!isOnButton) actions[" "] = () => player === undefined ? this.#close() : this.#stage.togglePlayer();
    const action = actions[key.length === 1 ? key.toLowerCase() : key];
    action?.();
    return action !== undefined;
  }
}
