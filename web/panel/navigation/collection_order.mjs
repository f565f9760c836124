/** The order of the assets in a collection, changed by dragging them in the grid or by Alt with the arrows. */

/** @import { Asset } from "../api.d.ts" */
/** @import { AssetGrid } from "../library/asset_grid.mjs" */
/** @import { QueryStore } from "../library/query.mjs" */
/** @import { Selection } from "../library/selection.mjs" */
/** @import { MenuItem } from "../shared/context_menu.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { Collections } from "./collections.mjs" */

import { draggedAssets } from "../library/dragged.mjs";
import { effectiveSort, isStacked, pageParams } from "../library/query.mjs";
import { placeOf } from "./place.mjs";

const PAGE_SIZE = 500;

/** A place between two assets: before the one of this index. @typedef {{ index: number, cell: Element, isAfter: boolean }} Gap */

export class CollectionOrder {
  #context;
  #store;
  #assets;
  #selection;
  #collections;
  #isMoving = false;
  /** @type {Element | null} */
  #marked = null;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {AssetGrid} assets
   * @param {Selection} selection
   * @param {Collections} collections
   */
  constructor(context, store, assets, selection, collections) {
    this.#context = context;
    this.#store = store;
    this.#assets = assets;
    this.#selection = selection;
    this.#collections = collections;
    const { element } = assets.grid;
    element.addEventListener("dragover", (event) => this.#onDragOver(event));
    element.addEventListener("dragleave", () => this.#mark(null));
    element.addEventListener("drop", (event) => this.#onDrop(event));
    element.addEventListener("keydown", (event) => this.#onKeyDown(event));
  }

  /** Whether the list is a collection in its own order. Stacks have no place of their own in it. */
  get isShown() {
    const { state } = this.#store;
    return placeOf(state).kind === "collection" && effectiveSort(state) === "collection" && !isStacked(state);
  }

  /**
   * Return the commands for assets in a collection.
   *
   * @param {Asset[]} assets
   * @returns {MenuItem[]}
   */
  itemsFor(assets) {
    if (!this.isShown) return [];
    const { t } = this.#context;
    return [
      { icon: "back", label: t("collection.toStart"), run: () => this.#move(assets, 0) },
      { icon: "forward", label: t("collection.toEnd"), run: () => this.#move(assets, this.#assets.list.total ?? 0) },
    ];
  }

  /** @param {DragEvent} event */
  #onDragOver(event) {
    const gap = this.isShown && dragged().length > 0 ? this.#gapAt(event) : null;
    this.#mark(gap);
    if (gap === null) return;
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = "copy"; // as the drag's data allows
  }

  /** @param {DragEvent} event */
  #onDrop(event) {
    const assets = dragged();
    const gap = this.isShown && assets.length > 0 ? this.#gapAt(event) : null;
    this.#mark(null);
    if (gap === null) return;
    event.preventDefault();
    event.stopPropagation();
    this.#move(assets, gap.index);
  }

  /**
   * @param {DragEvent} event
   * @returns {Gap | null}
   */
  #gapAt({ target, clientX, clientY }) {
    const index = this.#assets.grid.indexOf(target);
    const cell = target instanceof Element ? target.closest(".ca-cell") : null;
    if (index < 0 || cell === null) return null;
    const { left, top, width, height } = cell.getBoundingClientRect();
    const isRow = this.#store.state.view === "list";
    // The grid goes from left to right in every language.
    const isAfter = isRow ? clientY > top + height / 2 : clientX > left + width / 2;
    return { index: isAfter ? index + 1 : index, cell, isAfter };
  }

  /** @param {Gap | null} gap */
  #mark(gap) {
    this.#marked?.classList.remove("ca-insert-before", "ca-insert-after");
    this.#marked = gap?.cell ?? null;
    this.#marked?.classList.add(gap?.isAfter ? "ca-insert-after" : "ca-insert-before");
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    const { grid, list } = this.#assets;
    if (!event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || !this.isShown) return;
    const target = grid.keyTarget(event.key);
    const active = list.at(grid.active);
    if (target === null || active === undefined) return;
    event.preventDefault(); // the browser's history
    event.stopPropagation();
    const assets = this.#selection.size > 0 ? this.#selection.assets : [active];
    const places = assets.map((asset) => this.#assets.indexOf(asset));
    if (places.includes(-1)) return;
    const by = target - grid.active;
    this.#move(assets, by < 0 ? Math.max(Math.min(...places) + by, 0) : Math.max(...places) + by + 1);
  }

  /**
   * Put assets before the one of an index, or at the end, in the order that they have.
   *
   * @param {Asset[]} assets
   * @param {number} index
   */
  async #move(assets, index) {
    const place = placeOf(this.#store.state);
    if (this.#isMoving || place.kind !== "collection") return;
    const { t, notifications, client } = this.#context;
    this.#isMoving = true;
    try {
      const moved = [...assets].sort((one, other) => this.#assets.indexOf(one) - this.#assets.indexOf(other));
      const before = await this.#firstOther(new Set(moved.map(({ id }) => id)), index);
      const collection = await client.get(`/collections/${place.id}`);
      await this.#collections.order(collection, moved, before, this.#places(moved));
      await this.#assets.refresh();
      const first = this.#assets.indexOf(moved[0]);
      if (first >= 0) this.#assets.grid.activate(first);
    } catch (error) {
      notifications.error(t("collection.orderFailed"), error);
    }
    this.#isMoving = false;
  }

  /**
   * Return the id of the first asset from an index on that is not moved, or undefined at the end.
   *
   * @param {Set<string>} moved
   * @param {number} index
   */
  async #firstOther(moved, index) {
    const { list } = this.#assets;
    const total = list.total ?? 0;
    for (let at = index; at < total;) {
      const shown = list.at(at);
      const assets = shown === undefined ? await this.#assetsFrom(at) : [shown];
      const other = assets.find(({ id }) => !moved.has(id));
      if (other !== undefined || assets.length === 0) return other?.id;
      at += assets.length;
    }
    return undefined;
  }

  /**
   * Load the assets from an index on, as many as a request returns.
   *
   * @param {number} index
   */
  async #assetsFrom(index) {
    const query = pageParams(this.#store.state, { offset: index, limit: PAGE_SIZE });
    return (await this.#context.client.get("/assets", { query })).assets;
  }

  /**
   * Return where assets are, for taking their move back: groups of neighbours, each with the asset behind it.
   *
   * @param {Asset[]} moved in their order
   */
  #places(moved) {
    const { list } = this.#assets;
    /** @type {{ ids: string[], before?: string, end: number }[]} */
    const groups = [];
    for (const asset of moved) {
      const at = this.#assets.indexOf(asset);
      if (at < 0) return null;
      const last = groups[groups.length - 1];
      if (last?.end === at) {
        last.ids.push(asset.id);
        last.end += 1;
      } else groups.push({ ids: [asset.id], end: at + 1 });
    }
    for (const group of groups) {
      group.before = list.at(group.end)?.id;
      if (group.before === undefined && group.end < (list.total ?? 0)) return null;
    }
    return groups.map(({ ids, before }) => ({ ids, before }));
  }
}

/** Return the assets that are being dragged, unless they are all that a search finds: these have no order to move. */
function dragged() {
  const selected = draggedAssets();
  return Array.isArray(selected) ? selected : [];
}
