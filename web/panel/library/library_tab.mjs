/** The library tab: search, tags, the assets that match, and one of them in detail. */

/** @import { Asset, DeletionAction } from "../api.d.ts" */
/** @import { MenuItem } from "../shared/context_menu.mjs" */
/** @import { PanelContext, ScreenPoint } from "../types.d.ts" */
/** @import { CompareDialog } from "../viewer/compare_dialog.mjs" */
/** @import { Viewer } from "../viewer/viewer.mjs" */
/** @import { AssetChange } from "./asset_actions.mjs" */
/** @import { SelectedAssets } from "./search_results.mjs" */
/** @import { Query } from "./query.mjs" */

import { listenForChanges } from "../shared/connection.mjs";
import { takesText } from "../shared/dialog.mjs";
import { debounce, h } from "../shared/dom.mjs";
import { Navigation } from "../navigation/navigation.mjs";
import { TrashOpener } from "../trash/trash_opener.mjs";
import { AssetActions } from "./asset_actions.mjs";
import { AssetCommands } from "./asset_commands.mjs";
import { AssetDetail } from "./asset_detail.mjs";
import { AssetGrid } from "./asset_grid.mjs";
import { CullingKeys } from "./culling_keys.mjs";
import { beginDrag } from "./dragged.mjs";
import { ListControls } from "./list_controls.mjs";
import { isStacked, NO_FILTERS } from "./query.mjs";
import { followChanges, removeAndGoOn } from "./removal.mjs";
import { Selection } from "./selection.mjs";
import { SelectionBar } from "./selection_bar.mjs";
import { membersLoader, Stacks } from "./stacks.mjs";
import { createQueryStore } from "./stored_query.mjs";
import { Timeline } from "./timeline.mjs";
import { Uploads } from "./uploads.mjs";

const REFRESH_DELAY_MS = 400; // a scan reports many changes in a row
const DOUBLE_CLICK_MS = 500;

export class LibraryTab {
  #context;
  #store;
  #isStale = false;
  /** @type {Viewer | null} null until it is first opened */
  viewer = null;
  /** @type {CompareDialog | null} the last one */
  #comparison = null;
  #opened = { asset: /** @type {Asset | null} */ (null), index: -1, at: 0 }; // by the last click on a cell

  /** @param {PanelContext} context */
  constructor(context) {
    this.#context = context;
    const { t, page } = context;
    this.#store = createQueryStore(context);
    this.selection = new Selection(membersLoader(context, this.#store));
    this.actions = new AssetActions(context, (change, many) => this.#onAssetChange(change, many));
    const culling = new CullingKeys(context, this.actions);
    this.culling = culling;
    /** @type {(selected: SelectedAssets, action: DeletionAction) => Promise<void>} */
    const remove = (selected, action) => this.#remove(selected, action);
    /** @type {(asset: Asset, index: number) => unknown} */
    const view = (asset, index) => this.#view(asset, index);
    /** @type {(asset: Asset, index: number) => unknown} */
    const details = (asset, index) => this.stacks.open(asset, index) || this.detail.open(asset, index);
    const refreshSoon = debounce(() => this.#refresh(), REFRESH_DELAY_MS);
    this.navigation = new Navigation(context, this.#store, this.selection, this.actions, refreshSoon);
    /** @type {(selected: SelectedAssets, at: ScreenPoint) => MenuItem[]} */
    const organizing = (selected, at) => this.navigation.commands.itemsFor(selected, at);
    this.commands = new AssetCommands(context, this.actions, { details, view, remove, organizing });
    this.grid = new AssetGrid(context, this.#store, this.selection, culling, {
      open: (asset, index) => this.#open(asset, index),
      view,
      rename: (asset, index) => {
        this.detail.open(asset, index);
        this.detail.rename();
      },
      remove,
      onTotalChange: (total) => {
        this.controls.showResult(total, this.grid.list.error);
        this.bar.setTotal(isStacked(this.#store.state) ? null : total); // stacks are fewer than assets
      },
      menu: (selected, index, at) => this.commands.showMenu(selected, at, index),
      copyWords: (asset) => this.commands.copyTriggerWords(asset),
      drag: (event, asset) => {
        beginDrag(this.grid.selectedWith(asset));
        this.commands.drag(event, asset);
      },
    });
    this.stacks = new Stacks(context, this.#store, this.grid);
    new Timeline(context, this.grid);
    this.navigation.arrangeIn(this.grid);
    this.uploads = new Uploads(context, () => this.#refresh());
    const upload = () => this.uploads.choose();
    const opener = new TrashOpener(context, this.actions.batches);
    const trash = () => opener.open(this.element, () => this.controls.focusTrash());
    const leaveSearch = () => this.grid.focus();
    const released = () => this.grid.grid.press.released();
    const callbacks = { upload, trash, leaveSearch, released };
    this.controls = new ListControls(context, this.#store, this.navigation, this.stacks.back, callbacks);
    this.detail = new AssetDetail(context, this.grid, this.actions, this.commands, culling, { view, remove });
    const compare = (/** @type {Asset[]} */ assets) => this.#compare(assets);
    const { commands } = this.navigation;
    const selectAll = () => this.grid.selectAll();
    this.bar = new SelectionBar(context, this.selection, this.actions, { remove, compare, commands, selectAll });
    const list = [...this.controls.elements, this.grid.element];
    this.navigation.view.frame.append(
      h("div", { class: "ca-pane" }, h("div", { class: "ca-pane" }, list), this.detail.element),
    );
    this.element = h(
      "section",
      // A click beside the controls leaves the keys with the panel: Ctrl+Z would undo changes of ComfyUI's graph.
      { class: "ca-tab-content", "aria-label": t("tab.library"), tabindex: "-1" },
      this.navigation.view.frame,
      context.notifications.createSlot(), // above the bar, which then stays where it is
      this.bar.element,
      this.uploads.element,
      this.navigation.zip.element,
    );
    this.uploads.acceptDrops(this.element);
    this.element.addEventListener("keydown", (event) => this.#onKeyDown(event));
    this.element.addEventListener("click", (event) => this.#onSecondClick(event), { capture: true });
    this.#store.subscribe((state, before) => this.#onQueryChange(state, before));
    listenForChanges(page, ["assets.changed"], refreshSoon);
    for (const type of /** @type {const} */ (["assets.seed.fast_complete", "assets.seed.completed"])) {
      page.listen(type, (shown) => {
        if (shown?.source !== "changes") refreshSoon(); // assets.changed tells of these
      });
    }
    this.grid.updateLayout();
    this.grid.reset();
    this.controls.refresh();
  }

  /** Called when the tab comes into view. */
  shown() {
    if (this.#isStale) this.#refresh();
    this.grid.updateLayout();
  }

  /** Put the focus into the search box. */
  find() {
    this.detail.back = null;
    this.detail.close();
    this.controls.search.focus();
    this.controls.search.select();
  }

  /**
   * Show what a search finds, among assets of all kinds.
   *
   * @param {string} text
   */
  search(text) {
    this.detail.close();
    this.#store.set({ ...NO_FILTERS, text });
    this.controls.search.value = text;
  }

  /**
   * Show an asset by its id, whether or not the list has it.
   *
   * @param {string} id
   * @param {() => void} [back] called when its detail is closed
   */
  async openById(id, back) {
    const { client, notifications, t } = this.#context;
    try {
      this.detail.open(await client.get(`/assets/${id}`), -1);
      this.detail.back = back ?? null;
    } catch (error) {
      notifications.error(t("asset.openFailed"), error);
    }
  }

  /**
   * @param {Query} state
   * @param {Query} before
   */
  #onQueryChange(state, before) {
    if (state.view !== before.view) {
      this.grid.updateLayout();
      return;
    }
    this.selection.clear();
    this.grid.reset();
  }

  /** Load the list again, at once or when the panel comes back into the page. */
  #refresh() {
    this.#isStale = !this.element.isConnected;
    if (this.#isStale) return;
    this.grid.refresh();
    this.controls.refresh();
    this.navigation.refresh();
    followChanges(this.#context, this);
  }

  /**
   * @param {AssetChange | null} change null if the list must be loaded again
   * @param {AssetChange[]} [many] changes of selected assets
   */
  #onAssetChange(change, many = []) {
    this.selection.update(change === null ? many : [change]);
    if (change === null) return this.#refresh();
    this.grid.list.update(change.id, change);
    this.detail.update(change);
    this.viewer?.update(change);
    this.#comparison?.update(change);
  }

  /**
   * @param {SelectedAssets} selected
   * @param {DeletionAction} action
   */
  #remove(selected, action) {
    return removeAndGoOn(this, selected, action);
  }

  /**
   * Show an asset in the details.
   *
   * @param {Asset} asset
   * @param {number} index
   */
  #open(asset, index) {
    const isStack = this.stacks.open(asset, index);
    this.#opened = { asset: isStack ? null : asset, index, at: performance.now() };
    if (!isStack) this.detail.open(asset, index);
  }

  /**
   * Take the second click of a double click on a cell, which by now is covered by the details, to open the viewer.
   *
   * @param {MouseEvent} event
   */
  #onSecondClick(event) {
    const { asset, index, at } = this.#opened;
    // `detail` counts the clicks at one place; a key that activates a button makes a click without any.
    if (event.detail < 2 || performance.now() - at > DOUBLE_CLICK_MS) return;
    event.preventDefault();
    event.stopPropagation();
    if (asset === null) return; // a stack was opened: the click would reach one of its assets
    this.#opened = { asset: null, index: -1, at: 0 };
    this.detail.close();
    this.#view(asset, index);
  }

  /**
   * Show an asset over the whole page.
   *
   * @param {Asset} asset
   * @param {number} index in the list, or -1 for an asset from elsewhere
   */
  async #view(asset, index) {
    const { notifications, t } = this.#context;
    try {
      const { Viewer } = await import("../viewer/viewer.mjs");
      this.viewer ??= new Viewer(this.#context, this.grid, this.actions, this.culling, {
        remove: (selected, action) => this.#remove(selected, action),
        organizing: (each, at) => this.navigation.commands.itemsFor(each, at),
        onClose: (last, at) => this.#onViewerClose(last, at),
      });
      this.viewer.open(asset, index);
    } catch (error) {
      notifications.error(t("asset.openFailed"), error);
    }
  }

  /**
   * Return to where the viewer was opened, with the asset that it showed last.
   *
   * @param {Asset} asset
   * @param {number} index
   */
  #onViewerClose(asset, index) {
    const { grid } = this.grid;
    grid.activate(grid.active); // the viewer has made it the active one; meanwhile a key may have moved on
    if (this.detail.shown !== null) this.detail.open(asset, index);
    else this.grid.focus();
  }

  /** @param {Asset[]} assets */
  async #compare(assets) {
    const { notifications, t } = this.#context;
    try {
      const { CompareDialog } = await import("../viewer/compare_dialog.mjs");
      this.#comparison = new CompareDialog(this.#context, assets, this.culling);
    } catch (error) {
      notifications.error(t("asset.openFailed"), error);
    }
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    if (event.defaultPrevented || takesText(event.target)) return;
    if (event.key === "/") this.find();
    // Without an asset: here the focus is on a button, and a digit or a letter means nothing.
    else if (!["?", "z", "Z"].includes(event.key) || !this.culling.handle(event, [])) return;
    event.preventDefault();
    event.stopPropagation();
  }
}
