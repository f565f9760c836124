/**
 * A long list that holds only the pages near what is in view.
 *
 * The page after a known one is fetched by its cursor, any other by its offset. Pages stay within `keep` pages of a view.
 */

import { findIndex, ListReload, pagesInView } from "./list_reload.mjs";

const MAX_ROUNDS = 4; // of requests to find where the items in view have moved to

/** @typedef {import("./list_reload.mjs").PageRequest} PageRequest */

/** What shows a list. @typedef {Pick<import("./virtual_grid.mjs").VirtualGrid, "active" | "firstInView" | "moveItems" | "press">} ListGrid */

/** @template Item */
export class PagedList {
  #load;
  #size;
  #keep;
  #key;
  #grid;
  #onMove;
  #onChange;
  /** @type {Map<number, Item[]>} by page number */
  #pages = new Map();
  /** @type {Map<number, string>} by the number of the page that begins there */
  #cursors = new Map();
  /** @type {Map<number, AbortController>} by page number */
  #requests = new Map();
  /** @type {ListReload<Item> | null} while the list is loaded again */
  #reload = null;
  /** @type {Map<string, [first: number, last: number]>} the items in view, by who shows them */
  #views = new Map([["list", [0, 0]]]);
  /** Counts what makes requests obsolete: responses to those from before are dropped. */
  #generation = 0;
  /** @type {(() => void)[]} called at the next change */
  #waiting = [];

  /** @type {number | null} null until the first response */
  total = null;
  /** @type {unknown} of the latest request, or null */
  error = null;

  /**
   * @param {(request: PageRequest) => Promise<import("./list_reload.mjs").LoadedPage<Item>>} load
   * @param {{
   *   size?: number,
   *   keep?: number,
   *   key: (item: Item) => string,
   *   grid: () => ListGrid,
   *   onMove?: (by: number, moved: (index: number) => number) => void,
   *   onChange: () => void,
   * }} options `size` is that of a page; `onChange` is called when the items, the total or the error have changed.
   *   `onMove` is called before that when items have moved, in place of the grid's `moveItems`: `by` is the way of the
   *   first item in view, which must stay there, `moved` returns the new index of an old one
   */
  constructor(load, { size = 80, keep = 4, key, grid, onMove, onChange }) {
    this.#load = load;
    this.#size = size;
    this.#keep = keep;
    this.#key = key;
    this.#grid = grid;
    this.#onMove = onMove ?? ((by, moved) => grid().moveItems(by, moved(grid().active), this.total ?? 0));
    this.#onChange = onChange;
  }

  /**
   * Return the item at an index of the whole list, or undefined if it is not loaded.
   *
   * @param {number} index
   */
  at(index) {
    return this.#pages.get(Math.floor(index / this.#size))?.[index % this.#size];
  }

  /**
   * Return the item at an index as soon as it is loaded, or undefined if there is none. Some view must show it.
   *
   * @param {number} index
   */
  async item(index) {
    while (this.at(index) === undefined && this.error === null && index >= 0 && index < (this.total ?? Infinity)) {
      await new Promise((resolve) => this.#waiting.push(() => resolve(undefined)));
    }
    return this.at(index);
  }

  /**
   * Return the index of an item that is loaded, or -1.
   *
   * @param {string} key
   */
  indexOf(key) {
    return findIndex(this.#pages, this.#size, (item) => this.#key(item) === key);
  }

  /** Return the items that are loaded. */
  loaded() {
    return [...this.#pages.values()].flat();
  }

  /**
   * Set the range of items in view. Fetches missing pages; drops pages and aborts requests far from every view.
   *
   * @param {number} first
   * @param {number} last
   * @param {string} [view] a list can be shown in several places at a time
   */
  show(first, last, view = "list") {
    this.#views.set(view, [first, Math.max(first, last)]);
    for (const [number, request] of this.#requests) {
      if (this.#isNear(number, 1)) continue;
      request.abort();
      this.#requests.delete(number); // it may be needed again before the request has ended
    }
    for (const number of this.#pages.keys()) if (!this.#isNear(number, this.#keep)) this.#pages.delete(number);
    if (this.error === null) this.#fetchMissing();
  }

  /**
   * Forget the range of a view that is closed.
   *
   * @param {string} view
   */
  hide(view) {
    this.#views.delete(view);
  }

  /** Drop everything and load the first page. */
  reset() {
    this.#abortRequests();
    this.#pages.clear();
    this.#cursors.clear();
    this.#views = new Map([["list", [0, 0]]]);
    this.total = null;
    this.error = null;
    this.#notify();
    this.#fetchMissing();
  }

  /** Load the pages in view again; the old items stay until then, and the anchor stays in view. */
  async refresh() {
    this.#abortRequests();
    if (this.error !== null) {
      this.error = null;
      this.#notify();
    }
    const reload = new ListReload(this.#load, this.#size);
    this.#reload = reload;
    try {
      await this.#reloadViews(reload);
      await this.#grid().press.released();
      if (this.#reload !== reload) return;
      this.#replaceAll(reload, this.#wayOfAnchor(reload) ?? 0);
    } catch (error) {
      if (this.#reload !== reload) return; // it was aborted
      this.error = error;
    }
    this.#reload = null;
    this.#notify();
    if (this.error === null) this.#fetchMissing(); // the views may have moved meanwhile
  }

  /**
   * Apply a change that was made in the panel itself to an item, if it is loaded.
   *
   * @param {string} key
   * @param {Partial<Item>} change
   */
  update(key, change) {
    for (const items of this.#pages.values()) {
      const index = items.findIndex((item) => this.#key(item) === key);
      if (index >= 0) items[index] = { ...items[index], ...change };
    }
    this.#notify();
  }

  #notify() {
    const waiting = this.#waiting.splice(0);
    this.#onChange();
    for (const resolve of waiting) resolve();
  }

  /**
   * @param {number} number of a page
   * @param {number} distance in pages
   */
  #isNear(number, distance) {
    return [...this.#views.values()].some(([first, last]) =>
      number >= this.#pageOf(first) - distance && number <= this.#pageOf(last) + distance
    );
  }

  /** @param {number} index */
  #pageOf(index) {
    return Math.floor(index / this.#size);
  }

  /**
   * @param {number} total
   * @param {number} [by] the way that the items in view have moved
   */
  #pagesInView(total, by = 0) {
    return pagesInView([...this.#views.values()], this.#size, total, by);
  }

  #abortRequests() {
    this.#generation += 1;
    for (const request of this.#requests.values()) request.abort();
    this.#requests.clear();
    this.#reload?.abort();
    this.#reload = null;
  }

  /**
   * Load the pages that hold the items in view, wherever these have moved.
   *
   * @param {ListReload<Item>} reload
   */
  async #reloadViews(reload) {
    let by = 0;
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      await reload.load(this.#pagesInView(round === 0 ? this.total ?? 0 : reload.total, by));
      // Without a trace of them, the items have most likely moved by as many as were added before them.
      const found = this.#wayOfAnchor(reload) ?? (round === 0 ? reload.total - (this.total ?? reload.total) : by);
      if (found === by) break;
      by = found;
    }
    await reload.load(this.#pagesInView(reload.total, by));
  }

  /**
   * Return how far the anchor has moved in the pages that are loaded, or null if they hold neither it nor one of the
   * items after it. One that is gone gives its place to the next.
   *
   * @param {ListReload<Item>} reload
   */
  #wayOfAnchor(reload) {
    const anchor = this.#grid().firstInView;
    for (let index = anchor; index < anchor + this.#size; index += 1) {
      const item = this.at(index);
      if (item === undefined) continue;
      const key = this.#key(item);
      const found = findIndex(reload.pages, this.#size, (each) => this.#key(each) === key);
      if (found >= 0) return found - anchor;
    }
    return null;
  }

  /**
   * @param {ListReload<Item>} reload
   * @param {number} by the way of the anchor
   */
  #replaceAll(reload, by) {
    const before = this.#pages;
    this.#abortRequests(); // their pages belong to the list as it was
    this.#pages = reload.pages;
    this.#cursors = reload.cursors;
    this.total = reload.total;
    for (const [view, [first, last]] of this.#views) {
      this.#views.set(view, [Math.max(first + by, 0), Math.max(last + by, 0)]);
    }
    this.#onMove(by, (index) => {
      const item = before.get(this.#pageOf(index))?.[index % this.#size];
      const found = item === undefined ? -1 : this.indexOf(this.#key(item));
      return found >= 0 ? found : Math.max(index + by, 0);
    });
  }

  #fetchMissing() {
    for (const number of this.#pagesInView(this.total ?? 0)) {
      if (!this.#requests.has(number) && !this.#pages.has(number)) this.#fetch(number);
    }
  }

  /** @param {number} number of the page */
  async #fetch(number) {
    const request = new AbortController();
    const generation = this.#generation;
    this.#requests.set(number, request);
    const { signal } = request;
    const cursor = this.#cursors.get(number);
    try {
      const page = await this.#load({ offset: number * this.#size, limit: this.#size, cursor, signal });
      if (generation !== this.#generation) return;
      this.#pages.set(number, page.items);
      this.total = page.total;
      if (page.cursor) this.#cursors.set(number + 1, page.cursor);
    } catch (error) {
      if (generation !== this.#generation || signal.aborted) return;
      this.error = error;
    } finally {
      // Another request may have the number by now.
      if (this.#requests.get(number) === request) this.#requests.delete(number);
    }
    this.#notify();
    if (this.error === null) this.#fetchMissing(); // the views may have moved meanwhile
  }
}
