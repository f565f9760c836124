/** The assets that the query finds, as a grid or a list that scrolls through all of them. */

/** @import { Asset, AssetPage } from "../api.d.ts" */
/** @import { PageRequest } from "../shared/paged_list.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { GridCell } from "./grid_cell.mjs" */
/** @import { QueryStore } from "./query.mjs" */
/** @import { Selection } from "./selection.mjs" */

import { h } from "../shared/dom.mjs";
import { PagedList } from "../shared/paged_list.mjs";
import { emptyPlaceholder, showListOrPlaceholder } from "../shared/placeholders.mjs";
import { VirtualGrid } from "../shared/virtual_grid.mjs";
import { CELL_SIZE } from "../settings.mjs";
import { startDrag } from "./drag.mjs";
import { createCell, fillCell } from "./grid_cell.mjs";
import { isFiltered, pageParams } from "./query.mjs";

const CAPTION_PX = 40; // name and summary below a thumbnail
const ROW_PX = 52;
const DEFAULT_CELL_PX = 128;
const MAX_SELECTED_AT_ONCE = 5000; // assets are changed one request each
const SELECT_PAGE_SIZE = 500;

/**
 * @typedef {{
 *   open: (asset: Asset, index: number) => unknown,
 *   remove: (assets: Asset[]) => unknown,
 *   onTotalChange: (total: number | null) => void,
 * }} GridCallbacks
 */

export class AssetGrid {
  #context;
  #store;
  #selection;
  #callbacks;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {Selection} selection
   * @param {GridCallbacks} callbacks
   */
  constructor(context, store, selection, callbacks) {
    this.#context = context;
    this.#store = store;
    this.#selection = selection;
    this.#callbacks = callbacks;
    /** @type {PagedList<Asset>} */
    this.list = new PagedList((request) => this.#load(request), { onChange: () => this.#onListChange() });
    /** @type {VirtualGrid<GridCell>} */
    this.grid = new VirtualGrid({
      label: context.t("library.assets"),
      cells: { create: createCell, fill: (cell, index, isMoving) => this.#fillCell(cell, index, isMoving) },
      shape: (width) => this.#shape(width),
      onVisibleRange: (first, last) => this.list.show(first, last),
    });
    this.placeholder = h("div", { class: "ca-grid-placeholder" });
    this.element = h("div", { class: "ca-grid-area" }, this.grid.element, this.placeholder);
    this.#listen();
    selection.addEventListener("change", () => this.grid.refresh());
  }

  /** Load the list from the start, for another query. */
  reset() {
    this.list.reset();
    this.grid.scrollToTop();
  }

  /** Load the list again where it is, after a change of assets. */
  refresh() {
    this.list.refresh();
  }

  /** Apply the view and the size of cells. */
  updateLayout() {
    const isList = this.#store.state.view === "list";
    this.grid.element.classList.toggle("ca-list-view", isList);
    this.grid.layout();
  }

  focus() {
    this.grid.element.focus({ preventScroll: true });
  }

  /** @param {PageRequest} request */
  async #load({ offset, limit, cursor, signal }) {
    const query = pageParams(this.#store.state, { offset, limit, cursor });
    const page = await this.#context.client.get("/assets", { query, signal });
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
    fillCell(cell, asset, { page, t, language, isSelected: this.#selection.has(asset), isMoving });
  }

  #onListChange() {
    showListOrPlaceholder(this, this.#context.t, () => this.#emptyPlaceholder());
    this.#callbacks.onTotalChange(this.list.total);
  }

  #emptyPlaceholder() {
    const { t } = this.#context;
    return isFiltered(this.#store.state)
      ? emptyPlaceholder("search", t("library.nothingFound"), t("library.nothingFoundHint"))
      : emptyPlaceholder("image", t("library.empty"), t("library.emptyHint"));
  }

  #listen() {
    const { element } = this.grid;
    element.addEventListener("click", (event) => this.#onClick(event));
    element.addEventListener("keydown", (event) => this.#onKeyDown(event));
    element.addEventListener("dragstart", (event) => {
      const asset = this.list.at(this.grid.indexOf(event.target));
      if (asset) startDrag(event, this.#context.page, asset);
      else event.preventDefault();
    });
  }

  /** @param {MouseEvent} event */
  #onClick(event) {
    const index = this.grid.indexOf(event.target);
    const asset = this.list.at(index);
    if (asset === undefined) return;
    const isOnCheck = event.target instanceof Element && event.target.closest("[data-check]") !== null;
    this.grid.activate(index);
    if (event.shiftKey) this.#extendSelection(index);
    // Once something is selected, plain clicks select as well.
    else if (event.ctrlKey || event.metaKey || isOnCheck || this.#selection.size > 0) {
      this.#selection.toggle(asset, index);
    } else this.#callbacks.open(asset, index);
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    const isChord = event.ctrlKey || event.metaKey;
    const { active } = this.grid;
    const asset = this.list.at(active);
    const target = this.grid.keyTarget(event.key);
    if (target !== null && !event.altKey) {
      this.grid.activate(target);
      if (event.shiftKey) this.#extendSelection(target);
    } else if (event.key === "Enter" && asset && !isChord) this.#callbacks.open(asset, active);
    else if (event.key === " " && asset) this.#selection.toggle(asset, active);
    else if (event.key === "a" && isChord) this.#selectAll();
    else if (event.key === "Escape" && this.#selection.size > 0) this.#selection.clear();
    else if (event.key === "Delete" && asset) {
      this.#callbacks.remove(this.#selection.size > 0 ? this.#selection.assets : [asset]);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {number} index */
  #extendSelection(index) {
    this.#selection.extend(index, (each) => this.list.at(each));
  }

  /** Select everything that the query finds, up to a limit. */
  async #selectAll() {
    const { t, client, notifications } = this.#context;
    try {
      /** @type {Asset[]} */
      const found = [];
      let cursor;
      do {
        const query = pageParams(this.#store.state, { offset: found.length, limit: SELECT_PAGE_SIZE, cursor });
        /** @type {AssetPage} */
        const page = await client.get("/assets", { query });
        found.push(...page.assets);
        cursor = page.next_cursor;
        if (!page.has_more || page.assets.length === 0) break;
      } while (found.length < MAX_SELECTED_AT_ONCE);
      this.#selection.add(found);
    } catch (error) {
      notifications.error(t("library.selectAllFailed"), error);
    }
  }
}
