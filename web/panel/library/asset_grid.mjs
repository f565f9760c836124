/** The assets that the query finds, as a grid or a list that scrolls through all of them. */

import { h } from "../shared/dom.mjs";
import { PagedList } from "../shared/paged_list.mjs";
import { emptyPlaceholder, showListOrPlaceholder } from "../shared/placeholders.mjs";
import { VirtualGrid } from "../shared/virtual_grid.mjs";
import { CELL_SIZE } from "../settings.mjs";
import { createCell, fillCell } from "./grid_cell.mjs";
import { startDrag } from "./drag.mjs";
import { isFiltered, pageParams } from "./query.mjs";

const CAPTION_PX = 40;
const ROW_PX = 52;
const DEFAULT_CELL_PX = 128;
const MAX_SELECTED_AT_ONCE = 5000;

export class AssetGrid {
  #context;
  #store;
  #selection;
  #actions;

  /** `actions` are what can be done with an asset: `open(asset, index)`, `remove(assets)`. */
  constructor(context, store, selection, actions) {
    this.#context = context;
    this.#store = store;
    this.#selection = selection;
    this.#actions = actions;
    this.list = new PagedList((where) => this.#load(where), { onChange: () => this.#listChanged() });
    this.grid = new VirtualGrid({
      label: context.t("library.assets"),
      cells: { create: createCell, fill: (cell, index, isMoving) => this.#fillCell(cell, index, isMoving) },
      shape: (width) => this.#shape(width),
      onVisibleRange: (first, last) => this.list.show(first, last),
    });
    this.state = h("div", { class: "ca-grid-placeholder" });
    this.element = h("div", { class: "ca-grid-area" }, this.grid.element, this.state);
    this.#listen();
    selection.addEventListener("change", () => this.grid.refresh());
  }

  /** List anew from the top: the query is another. */
  reset() {
    this.list.reset();
    this.grid.scrollToTop();
  }

  /** List anew in place: the assets are others. */
  refresh() {
    this.list.refresh();
  }

  /** Lay out anew: the view or the size of cells is another. */
  updateLayout() {
    const isList = this.#store.state.view === "list";
    this.grid.element.classList.toggle("ca-list-view", isList);
    this.grid.layout();
  }

  focus() {
    this.grid.element.focus({ preventScroll: true });
  }

  async #load({ offset, limit, cursor, signal }) {
    const query = pageParams(this.#store.state, { offset, limit, cursor });
    const page = await this.#context.client.get("/assets", { query, signal });
    return { items: page.assets, total: page.total, cursor: page.next_cursor };
  }

  #shape(width) {
    if (this.#store.state.view === "list") return { columns: 1, rowHeight: ROW_PX };
    const wanted = Number(this.#context.page.setting(CELL_SIZE)) || DEFAULT_CELL_PX;
    const columns = Math.max(Math.floor(width / wanted), 1);
    return { columns, rowHeight: Math.round(width / columns) + CAPTION_PX };
  }

  #fillCell(cell, index, isMoving) {
    const { page, t, language } = this.#context;
    const asset = this.list.at(index);
    fillCell(cell, asset, { page, t, language, isSelected: this.#selection.has(asset), isMoving });
  }

  #listChanged() {
    showListOrPlaceholder(this, this.#context.t, () => this.#emptyPlaceholder());
    this.onChange?.(this.list.total);
  }

  #emptyPlaceholder() {
    const { t } = this.#context;
    if (isFiltered(this.#store.state)) {
      return emptyPlaceholder("search", t("library.nothingFound"), t("library.nothingFoundHint"));
    }
    return emptyPlaceholder("image", t("library.empty"), t("library.emptyHint"));
  }

  #listen() {
    const { element } = this.grid;
    element.addEventListener("click", (event) => this.#click(event));
    element.addEventListener("keydown", (event) => this.#key(event));
    element.addEventListener("dragstart", (event) => {
      const asset = this.list.at(this.grid.indexOf(event.target));
      if (asset) startDrag(event, this.#context.page, asset);
      else event.preventDefault();
    });
  }

  #click(event) {
    const index = this.grid.indexOf(event.target);
    const asset = this.list.at(index);
    if (asset === undefined) return;
    this.grid.activate(index);
    if (event.shiftKey) this.#selection.extend(index, (each) => this.list.at(each));
    else if (event.ctrlKey || event.metaKey || event.target.closest("[data-check]")) {
      this.#selection.toggle(asset, index);
    } else if (this.#selection.size > 0) this.#selection.toggle(asset, index);
    else this.#actions.open(asset, index);
  }

  #key(event) {
    const isChord = event.ctrlKey || event.metaKey;
    const { active } = this.grid;
    const asset = this.list.at(active);
    const target = this.grid.keyTarget(event.key);
    if (target !== null && !event.altKey) {
      this.grid.activate(target);
      if (event.shiftKey) this.#selection.extend(target, (each) => this.list.at(each));
    } else if (event.key === "Enter" && asset && !isChord) this.#actions.open(asset, active);
    else if (event.key === " " && asset) this.#selection.toggle(asset, active);
    else if (event.key === "a" && isChord) this.#selectAll();
    else if (event.key === "Escape" && this.#selection.size > 0) this.#selection.clear();
    else if (event.key === "Delete" && asset) {
      this.#actions.remove(this.#selection.size > 0 ? this.#selection.assets : [asset]);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Select all that the query finds, as far as that is a number that can be worked with. */
  async #selectAll() {
    const { t, notifications } = this.#context;
    try {
      const found = [];
      let cursor;
      do {
        const query = pageParams(this.#store.state, { offset: found.length, limit: 500, cursor });
        const page = await this.#context.client.get("/assets", { query });
        found.push(...page.assets);
        cursor = page.next_cursor;
        if (!page.has_more || page.assets.length === 0) break;
      } while (found.length < MAX_SELECTED_AT_ONCE);
      this.#selection.add(found);
    } catch (error) {
      notifications.error(t("library.selectAll"), error);
    }
  }
}
