/**
 * A long list that holds only the pages near the view.
 *
 * The page after a known one is fetched by its cursor, any other by its offset. Cursors stay (a few bytes each), pages
 * only within `keep` pages of the view.
 */

import { isAborted } from "./client.mjs";

/** @typedef {{ offset: number, limit: number, cursor: string | undefined, signal: AbortSignal }} PageRequest */

/**
 * @template Item
 * @typedef {{ items: Item[], total: number, cursor?: string }} LoadedPage
 */

/** @template Item */
export class PagedList {
  #load;
  #size;
  #keep;
  #onChange;
  /** @type {Map<number, Item[]>} by page number */
  #pages = new Map();
  /** @type {Map<number, string>} by the number of the page that begins there */
  #cursors = new Map();
  /** @type {Map<number, AbortController>} by page number */
  #requests = new Map();
  /** First and last page in view. */
  #view = [0, 0];
  /** Counts resets and refreshes: responses to requests from before one are dropped. */
  #generation = 0;

  /** @type {number | null} null until the first response */
  total = null;
  /** @type {unknown} of the latest request, or null */
  error = null;

  /**
   * @param {(request: PageRequest) => Promise<LoadedPage<Item>>} load
   * @param {{ size?: number, keep?: number, onChange: () => void }} options `size` is that of a page; `onChange` is
   *   called when the items, the total or the error have changed
   */
  constructor(load, { size = 80, keep = 4, onChange }) {
    this.#load = load;
    this.#size = size;
    this.#keep = keep;
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

  /** Return the items that are loaded. */
  loaded() {
    return [...this.#pages.values()].flat();
  }

  /**
   * Set the range of items in view. Fetches missing pages; drops pages and aborts requests far from the view.
   *
   * @param {number} first
   * @param {number} last
   */
  show(first, last) {
    this.#view = [Math.floor(first / this.#size), Math.floor(Math.max(first, last) / this.#size)];
    const [from, to] = this.#view;
    for (const [number, request] of this.#requests) if (number < from - 1 || number > to + 1) request.abort();
    for (const number of this.#pages.keys()) {
      if (number < from - this.#keep || number > to + this.#keep) this.#pages.delete(number);
    }
    if (this.error === null) this.#fetchMissing();
  }

  /** Drop everything and load the first page. */
  reset() {
    this.#abortRequests();
    this.#pages.clear();
    this.total = null;
    this.#view = [0, 0];
    this.#restart();
  }

  /** Load the pages in view again; the old items stay until then. */
  refresh() {
    this.#abortRequests();
    const [from, to] = this.#view;
    for (const number of this.#pages.keys()) if (number < from || number > to) this.#pages.delete(number);
    this.#restart(new Set(this.#pages.keys()));
  }

  /**
   * Replace matching items, after a change made in the panel itself.
   *
   * @param {(item: Item) => boolean} matches
   * @param {Item} item
   */
  replace(matches, item) {
    for (const items of this.#pages.values()) {
      const index = items.findIndex(matches);
      if (index >= 0) items[index] = item;
    }
    this.#onChange();
  }

  #abortRequests() {
    this.#generation += 1;
    for (const request of this.#requests.values()) request.abort();
    this.#requests.clear();
  }

  /** @param {Set<number>} [stale] pages to load although there are items */
  #restart(stale = new Set()) {
    this.#cursors.clear(); // they belong to the list as it was
    this.error = null;
    this.#onChange();
    this.#fetchMissing(stale);
  }

  /** @param {Set<number>} [stale] */
  #fetchMissing(stale = new Set()) {
    const [from, to] = this.#view;
    const last = this.total === null ? 0 : Math.max(Math.ceil(this.total / this.#size) - 1, 0);
    for (let number = from; number <= Math.min(to, last); number += 1) {
      if (!this.#requests.has(number) && (stale.has(number) || !this.#pages.has(number))) this.#fetch(number);
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
      if (generation !== this.#generation || isAborted(error)) return;
      this.error = error;
    } finally {
      // After a reset another request may have the number.
      if (this.#requests.get(number) === request) this.#requests.delete(number);
    }
    this.#onChange();
    if (this.error === null) this.#fetchMissing(); // the view may have moved meanwhile
  }
}
