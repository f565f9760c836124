/**
 * A long list of which only the pages near the view are held.
 *
 * A page that follows one we know is fetched by its cursor; one that is jumped to, by its offset. Cursors are kept for
 * good (a few bytes each), pages only within `keep` of the view.
 */

import { isAborted } from "./client.mjs";

export class PagedList {
  #load;
  #size;
  #keep;
  #onChange;
  #pages = new Map(); // number -> items
  #cursors = new Map(); // number -> the cursor that begins the page
  #requests = new Map(); // number -> AbortController
  #view = [0, 0]; // first and last page wanted
  #generation = 0;

  total = null; // unknown until the first answer
  error = null; // of the latest request

  /**
   * `load({ offset, limit, cursor, signal })` answers `{ items, total, cursor }`.
   * `onChange` is called when items, the total or the error are different.
   */
  constructor(load, { size = 80, keep = 4, onChange }) {
    this.#load = load;
    this.#size = size;
    this.#keep = keep;
    this.#onChange = onChange;
  }

  /** The item at a place in the whole list, or undefined while it is not here. */
  at(index) {
    return this.#pages.get(Math.floor(index / this.#size))?.[index % this.#size];
  }

  /** The items that are here, with their places. */
  *loaded() {
    for (const [number, items] of this.#pages) {
      for (let index = 0; index < items.length; index += 1) yield [number * this.#size + index, items[index]];
    }
  }

  /** Say which items are in view: fetches what is missing, gives up and forgets what is far away. */
  show(first, last) {
    this.#view = [Math.floor(first / this.#size), Math.floor(Math.max(first, last) / this.#size)];
    const [from, to] = this.#view;
    for (const [number, request] of this.#requests) if (number < from - 1 || number > to + 1) request.abort();
    for (const number of this.#pages.keys()) {
      if (number < from - this.#keep || number > to + this.#keep) this.#pages.delete(number);
    }
    if (this.error === null) this.#fetchMissing();
  }

  /** Begin again, with nothing. */
  reset() {
    this.#abortRequests();
    this.#pages.clear();
    this.total = null;
    this.#view = [0, 0];
    this.#restart();
  }

  /** Fetch anew what is in view; what is there is shown until then. */
  refresh() {
    this.#abortRequests();
    const [from, to] = this.#view;
    for (const number of this.#pages.keys()) if (number < from || number > to) this.#pages.delete(number);
    this.#restart(new Set(this.#pages.keys()));
  }

  /** Put another item in the place of one that was changed here. */
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

  #restart(stale = new Set()) {
    this.#cursors.clear();
    this.error = null;
    this.#onChange();
    this.#fetchMissing(stale);
  }

  #fetchMissing(stale = new Set()) {
    const [from, to] = this.#view;
    const last = this.total === null ? 0 : Math.max(Math.ceil(this.total / this.#size) - 1, 0);
    for (let number = from; number <= Math.min(to, last); number += 1) {
      if (!this.#requests.has(number) && (stale.has(number) || !this.#pages.has(number))) this.#fetch(number);
    }
  }

  async #fetch(number) {
    const request = new AbortController();
    const generation = this.#generation;
    this.#requests.set(number, request);
    const cursor = this.#cursors.get(number);
    const where = { offset: number * this.#size, limit: this.#size, cursor, signal: request.signal };
    try {
      const page = await this.#load(where);
      if (generation !== this.#generation) return;
      this.#pages.set(number, page.items);
      this.total = page.total;
      if (page.cursor) this.#cursors.set(number + 1, page.cursor);
    } catch (error) {
      if (generation !== this.#generation || isAborted(error)) return;
      this.error = error;
    } finally {
      if (this.#requests.get(number) === request) this.#requests.delete(number);
    }
    this.#onChange();
    if (this.error === null) this.#fetchMissing();
  }
}
