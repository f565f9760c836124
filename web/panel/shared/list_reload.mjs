/** The pages of a long list that is loaded again, until they replace the old ones. */

/** @typedef {{ offset: number, limit: number, cursor: string | undefined, signal: AbortSignal }} PageRequest */

/**
 * @template Item
 * @typedef {{ items: Item[], total: number, cursor?: string }} LoadedPage
 */

/** @template Item */
export class ListReload {
  #load;
  #size;
  #controller = new AbortController();
  /** @type {Map<number, Promise<void>>} by page number */
  #requests = new Map();
  /** @type {Map<number, Item[]>} by page number */
  pages = new Map();
  /** @type {Map<number, string>} by the number of the page that begins there */
  cursors = new Map();
  total = 0;

  /**
   * @param {(request: PageRequest) => Promise<LoadedPage<Item>>} load
   * @param {number} size
   */
  constructor(load, size) {
    this.#load = load;
    this.#size = size;
  }

  /** @param {number[]} numbers of the pages */
  async load(numbers) {
    await Promise.all(numbers.map((number) => {
      if (!this.#requests.has(number)) this.#requests.set(number, this.#fetch(number));
      return this.#requests.get(number);
    }));
  }

  abort() {
    this.#controller.abort();
  }

  /** @param {number} number */
  async #fetch(number) {
    const { signal } = this.#controller;
    const cursor = this.cursors.get(number);
    const page = await this.#load({ offset: number * this.#size, limit: this.#size, cursor, signal });
    this.pages.set(number, page.items);
    this.total = page.total;
    if (page.cursor) this.cursors.set(number + 1, page.cursor);
  }
}

/**
 * Return the index in the whole list of the first matching item of the loaded pages, or -1.
 *
 * @template Item
 * @param {Map<number, Item[]>} pages
 * @param {number} size of a page
 * @param {(item: Item) => boolean} matches
 */
export function findIndex(pages, size, matches) {
  for (const [number, items] of pages) {
    const index = items.findIndex(matches);
    if (index >= 0) return number * size + index;
  }
  return -1;
}

/**
 * Return the numbers of the pages that hold some ranges of items, also when these have moved.
 *
 * @param {[first: number, last: number][]} views
 * @param {number} size of a page
 * @param {number} total of items; the first page is there without any
 * @param {number} by the way of the items
 */
export function pagesInView(views, size, total, by) {
  const end = Math.max(Math.ceil(total / size) - 1, 0);
  /** @param {number} index */
  const pageOf = (index) => Math.min(Math.max(Math.floor((index + by) / size), 0), end);
  /** @type {Set<number>} */
  const numbers = new Set();
  for (const [first, last] of views) {
    for (let number = pageOf(first); number <= pageOf(last); number += 1) numbers.add(number);
  }
  return [...numbers];
}
