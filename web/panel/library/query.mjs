/** The query of the library tab, the store that holds it, and its parameters for the API. */

/** The first is no tag but stands for all assets. */
export const KINDS = /** @type {const} */ (["all", "output", "input", "models"]);

/** The API's `sort` and `order` by name. */
export const SORTS = /** @type {const} */ ({
  newest: ["created_at", "desc"],
  oldest: ["created_at", "asc"],
  changed: ["updated_at", "desc"],
  name: ["name", "asc"],
  largest: ["size", "desc"],
});

/** Orders in which new assets come first. */
export const NEWEST_FIRST = new Set(["newest", "changed"]);

/**
 * @typedef {{
 *   text: string,
 *   kind: typeof KINDS[number],
 *   tags: readonly string[],
 *   sort: keyof typeof SORTS,
 *   favourites: boolean,
 *   view: "grid" | "list",
 * }} Query
 */

const MAX_ENCODED = 6000; // characters of a search in a URL

/** @type {Query} */
export const DEFAULT_QUERY = Object.freeze({
  text: "",
  kind: "all",
  tags: Object.freeze([]),
  sort: "newest",
  favourites: false,
  view: "grid",
});

/**
 * Return the parameters of the filters, which the list and the counts of its tags share.
 *
 * @param {Query} query
 */
export function filterParams(query) {
  const params = new URLSearchParams();
  const text = query.text.trim();
  if (text) params.set(hasWords(text) ? "q" : "name_contains", withinUrl(text));
  for (const tag of [...(query.kind === "all" ? [] : [query.kind]), ...query.tags]) params.append("include_tags", tag);
  params.set("exclude_tags", "missing");
  if (query.favourites) params.set("metadata_filter", JSON.stringify({ favorite: true }));
  return params;
}

/**
 * Return the parameters of a page of the list.
 *
 * @param {Query} query
 * @param {{ offset: number, limit: number, cursor?: string }} page
 */
export function pageParams(query, { offset, limit, cursor }) {
  const params = filterParams(query);
  const [sort, order] = SORTS[query.sort] ?? SORTS.newest; // the name may come from another version's preferences
  params.set("sort", sort);
  params.set("order", order);
  params.set("limit", String(limit));
  if (cursor) params.set("after", cursor);
  else if (offset > 0) params.set("offset", String(offset));
  return params;
}

/**
 * Return whether the full-text index can find a text: it holds letters, digits and emoji only. Other text can be part of
 * names.
 *
 * @param {string} text
 */
function hasWords(text) {
  return /[\p{L}\p{N}\p{Extended_Pictographic}]/u.test(text);
}

/**
 * Return as much of a text as a URL holds: servers refuse longer ones, and a pasted prompt may have any length.
 *
 * @param {string} text
 */
export function withinUrl(text) {
  let part = text.slice(0, MAX_ENCODED);
  while (new URLSearchParams({ q: part }).toString().length > MAX_ENCODED) {
    const words = part.replace(/\s*\S+\s*$/u, "");
    part = words || part.slice(0, part.length >> 1);
  }
  return part;
}

/**
 * Return whether the query leaves out any assets.
 *
 * @param {Query} query
 */
export function isFiltered(query) {
  return query.text.trim() !== "" || query.kind !== "all" || query.tags.length > 0 || query.favourites;
}

/** Holds the query, which is replaced as a whole, and notifies listeners of changes. */
export class QueryStore {
  #state;
  /** @type {Set<(state: Query, before: Query) => void>} */
  #listeners = new Set();

  /** @param {Query} initial */
  constructor(initial) {
    this.#state = Object.freeze({ ...initial });
  }

  get state() {
    return this.#state;
  }

  /**
   * Set some members. Listeners are notified only if a value is different.
   *
   * @param {Partial<Query>} change
   */
  set(change) {
    const before = this.#state;
    const names = /** @type {(keyof Query)[]} */ (Object.keys(change));
    if (names.every((name) => Object.is(before[name], change[name]))) return;
    this.#state = Object.freeze({ ...before, ...change });
    for (const listener of [...this.#listeners]) listener(this.#state, before);
  }

  /**
   * Add a listener for changes.
   *
   * @param {(state: Query, before: Query) => void} listener
   */
  subscribe(listener) {
    this.#listeners.add(listener);
  }
}
