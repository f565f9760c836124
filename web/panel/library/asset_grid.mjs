/** The assets that the query finds, as a grid or a list that scrolls through all of them. */

/** @import { Asset, DeletionAction } from "../api.d.ts" */
/** @import { PageRequest } from "../shared/paged_list.mjs" */
/** @import { PanelContext, ScreenPoint } from "../types.d.ts" */
/** @import { CullingKeys } from "./culling_keys.mjs" */
/** @import { GridCell } from "./grid_cell.mjs" */
/** @import { QueryStore } from "./query.mjs" */
/** @import { SelectedAssets } from "./search_results.mjs" */
/** @import { Selection } from "./selection.mjs" */

import { middleOf, onMenu } from "../shared/context_menu.mjs";
import { h } from "../shared/dom.mjs";
import { PagedList } from "../shared/paged_list.mjs";
import { emptyPlaceholder, showListOrPlaceholder } from "../shared/placeholders.mjs";
import { VirtualGrid } from "../shared/virtual_grid.mjs";
import { CELL_SIZE } from "../settings.mjs";
import { deletionOf, isSelectKey } from "./culling_keys.mjs";
import { createCell, fillCell } from "./grid_cell.mjs";
import { HoverPlayer } from "./hover_player.mjs";
import { ListDays } from "./list_days.mjs";
import { NewItems } from "./new_items.mjs";
import { isSearchError } from "./search_box.mjs";
import { isFiltered, NEWEST_FIRST, pageParams } from "./query.mjs";
import { selectEverything } from "./selection.mjs";
import { wholeOf } from "./stacks.mjs";

const CAPTION_PX = 40; // name and summary below a thumbnail
const ROW_PX = 52;
const DEFAULT_CELL_PX = 128;

/**
 * @typedef {{
 *   open: (asset: Asset, index: number) => unknown,
 *   view: (asset: Asset, index: number) => unknown,
 *   rename: (asset: Asset, index: number) => unknown,
 *   remove: (selected: SelectedAssets, action: DeletionAction) => unknown,
 *   menu: (selected: SelectedAssets, index: number, at: ScreenPoint) => unknown,
 *   copyWords: (asset: Asset) => unknown,
 *   drag: (event: DragEvent, asset: Asset) => unknown,
 *   onTotalChange: (total: number | null) => void,
 * }} GridCallbacks
 */

/** Dispatches "change" events when the list has changed. */
export class AssetGrid extends EventTarget {
  #context;
  #store;
  #selection;
  #culling;
  #callbacks;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {Selection} selection
   * @param {CullingKeys} culling
   * @param {GridCallbacks} callbacks
   */
  constructor(context, store, selection, culling, callbacks) {
    super();
    this.#context = context;
    this.#store = store;
    this.#selection = selection;
    this.#culling = culling;
    this.#callbacks = callbacks;
    this.days = new ListDays(context, store);
    /** @type {PagedList<Asset>} */
    this.list = new PagedList((request) => this.#load(request), {
      key: (asset) => asset.id,
      grid: () => this.grid,
      onMove: (by, moved) => this.#onMove(by, moved),
      onChange: () => this.#onListChange(),
    });
    /** @type {VirtualGrid<GridCell>} */
    this.grid = new VirtualGrid({
      label: context.t("library.assets"),
      cells: { create: createCell, fill: (cell, index, isMoving) => this.#fillCell(cell, index, isMoving) },
      shape: (width) => this.#shape(width),
      onVisibleRange: (first, last) => this.list.show(first, last),
    });
    this.placeholder = h("div", { class: "ca-grid-placeholder" });
    this.newItems = new NewItems(context, () => this.#showNew());
    const parts = [this.grid.element, this.placeholder, this.newItems.element];
    this.element = h("div", { class: "ca-grid-area", tabindex: "-1" }, ...parts);
    new HoverPlayer(context, this.grid.element, (target) => this.list.at(this.grid.indexOf(target)));
    this.#listen();
    selection.addEventListener("change", () => this.grid.refresh());
  }

  /** Load the list from the start, for another query. */
  reset() {
    this.days.load();
    this.list.reset();
    this.grid.scrollToTop();
    this.newItems.count = 0;
  }

  /** Load the list again where it is, after a change of assets. */
  refresh() {
    this.days.load();
    return this.list.refresh();
  }

  /** Apply the view and the size of cells. */
  updateLayout() {
    const isList = this.#store.state.view === "list";
    this.grid.element.classList.toggle("ca-list-view", isList);
    this.grid.layout();
  }

  focus() {
    const isEmpty = this.grid.element.hidden; // keys such as Ctrl+Z work all the same
    (isEmpty ? this.element : this.grid.element).focus({ preventScroll: true });
  }

  /**
   * Return the index of an asset in the list, or -1 if the list does not have it near the view.
   *
   * @param {Asset} asset
   */
  indexOf(asset) {
    return this.list.indexOf(asset.id);
  }

  /** @param {PageRequest} request */
  async #load({ offset, limit, cursor, signal }) {
    const query = pageParams(this.#store.state, { offset, limit, cursor });
    const page = await this.#context.client.get("/assets", { query, signal });
    await this.days.wait(() => this.#onListChange());
    return { items: page.assets, total: page.total, cursor: page.next_cursor };
  }

  /** @param {number} width */
  #shape(width) {
    if (this.#store.state.view === "list") return { columns: 1, rowHeight: ROW_PX };
    const cellSize = Number(this.#context.page.setting(CELL_SIZE)) || DEFAULT_CELL_PX;
    const columns = Math.max(Math.floor(width / cellSize), 1);
    return { columns, rowHeight: Math.round(width / columns) + CAPTION_PX };
  }

  /**
   * @param {GridCell} cell
   * @param {number} index
   * @param {boolean} isMoving
   */
  #fillCell(cell, index, isMoving) {
    const { page, t, language } = this.#context;
    const asset = this.list.at(index);
    const hasDay = this.days.days.length === 0;
    fillCell(cell, asset, { page, t, language, isSelected: this.#selection.has(asset), isMoving, hasDay });
  }

  /**
   * Follow assets that have moved in the list, as new ones came before them or others went.
   *
   * @param {number} by
   * @param {(index: number) => number} moved
   */
  #onMove(by, moved) {
    const { isScrolled } = this.grid;
    const total = this.list.total ?? 0;
    this.grid.moveItems(by, moved(this.grid.active), total, this.days.groups(total));
    if (!isScrolled || !NEWEST_FIRST.has(this.#store.state.sort)) return;
    this.newItems.count = Math.max(this.newItems.count + by, 0);
  }

  #showNew() {
    this.grid.scrollToTop();
    this.newItems.count = 0;
    this.focus();
  }

  #onListChange() {
    const { t } = this.#context;
    const wrongSearch = () => emptyPlaceholder("search", t("searchError.title"), t("searchError.hint"));
    const whenFailed = (/** @type {unknown} */ error) => isSearchError(error) ? wrongSearch() : null;
    if (this.#selection.size > 0) this.#selection.update(this.list.loaded());
    const focused = document.activeElement;
    const hadFocus = focused === this.element || this.grid.element.contains(focused);
    const { list, grid, placeholder } = this;
    const setCount = (/** @type {number} */ count) => grid.setCount(count, this.days.groups(count));
    const view = { list, placeholder, grid: { element: grid.element, setCount } };
    showListOrPlaceholder(view, t, () => this.#emptyPlaceholder(), whenFailed);
    if (hadFocus) this.focus();
    this.#callbacks.onTotalChange(this.list.total);
    this.dispatchEvent(new Event("change"));
  }

  #emptyPlaceholder() {
    const { t } = this.#context;
    return isFiltered(this.#store.state)
      ? emptyPlaceholder("search", t("library.nothingFound"), t("library.nothingFoundHint"))
      : emptyPlaceholder("image", t("library.empty"), t("library.emptyHint"));
  }

  #listen() {
    const { element } = this.grid;
    element.addEventListener("scroll", () => {
      if (this.newItems.count > 0 && !this.grid.isScrolled) this.newItems.count = 0;
    }, { passive: true });
    element.addEventListener("click", (event) => this.#onClick(event));
    this.element.addEventListener("keydown", (event) => this.#onKeyDown(event));
    element.addEventListener("dragstart", (event) => {
      const asset = this.list.at(this.grid.indexOf(event.target));
      if (asset) this.#callbacks.drag(event, asset);
      else event.preventDefault();
    });
    onMenu(element, (target, at) => this.#showMenu(target, at));
  }

  /**
   * Show the menu of the asset under the pointer, or of the active one; if it is selected, of all that are.
   *
   * @param {Element} target
   * @param {ScreenPoint | null} at
   */
  #showMenu(target, at) {
    const index = at === null ? this.grid.active : this.grid.indexOf(target);
    const asset = this.list.at(index);
    if (asset === undefined) return false;
    this.grid.activate(index);
    const selected = this.selectedWith(asset);
    this.#callbacks.menu(selected, index, at ?? middleOf(`${this.grid.id}-${index}`));
    return true;
  }

  /**
   * Return the assets that an action on one applies to: the selected ones if it is among them, else all of its stack, or
   * the asset alone.
   *
   * @param {Asset} asset
   * @returns {SelectedAssets}
   */
  selectedWith(asset) {
    return this.#selection.has(asset) ? this.#selection.selected : wholeOf(asset, this.#store.state);
  }

  /** @param {MouseEvent} event */
  #onClick(event) {
    const index = this.grid.indexOf(event.target);
    const asset = this.list.at(index);
    if (asset === undefined) return;
    const part = event.target instanceof Element ? event.target.closest("[data-check], [data-copy-words]") : null;
    if (part?.matches("[data-copy-words]")) return this.#callbacks.copyWords(asset);
    this.grid.activate(index);
    if (event.shiftKey) this.#extendSelection(index);
    // Once something is selected, plain clicks select as well.
    else if (event.ctrlKey || event.metaKey || part !== null || this.#selection.size > 0) {
      this.#selection.toggle(asset, index);
    } else this.#callbacks.open(asset, index);
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    const isChord = event.ctrlKey || event.metaKey;
    const { active } = this.grid;
    const asset = this.list.at(active);
    const target = this.list.total ? this.grid.keyTarget(event.key) : null;
    if (target !== null && !event.altKey) {
      this.grid.activate(target);
      if (event.shiftKey) this.#extendSelection(target);
    } else if (event.key === "Enter" && asset && !isChord) this.#callbacks.open(asset, active);
    else if (event.key === " " && asset && !isChord) this.#callbacks.view(asset, active);
    else if (isSelectKey(event) && asset) this.#selection.toggle(asset, active);
    else if (event.key === "F2" && asset) this.#callbacks.rename(asset, active);
    else if (event.key === "a" && isChord) this.selectAll();
    else if (event.key === "Escape" && this.#selection.size > 0) this.#selection.clear();
    else if (event.key === "Delete" && asset) {
      this.#callbacks.remove(this.#targets(asset), deletionOf(event));
    } else if (!this.#culling.handle(event, this.#targets(asset), () => this.#goOn())) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /**
   * Return the assets that a key applies to: the selected ones, else the active one or all of its stack.
   *
   * @param {Asset | undefined} active
   * @returns {SelectedAssets}
   */
  #targets(active) {
    if (this.#selection.size > 0) return this.#selection.selected;
    return active === undefined ? [] : wholeOf(active, this.#store.state);
  }

  /** Move to the next asset, unless keys apply to a selection. */
  #goOn() {
    if (this.#selection.size === 0) this.grid.activate(this.grid.active + 1);
  }

  /** @param {number} index */
  #extendSelection(index) {
    this.#selection.extend(index, (each) => this.list.at(each));
  }

  selectAll() {
    return selectEverything(this.#context, this.#store, this.#selection);
  }
}
