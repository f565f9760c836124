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
  rating: ["rating", "desc"],
  collection: ["collection", "asc"],
});

/** Orders in which new assets come first. */
export const NEWEST_FIRST = new Set(["newest", "changed"]);

/**
 * Parameters of the list of assets, named and written as in the API: `{ kind: "image,video", rating: "4..", folder:
 * "output/2026-01" }`. Also those that the panel has no control for, as saved searches may have any.
 * @typedef {Readonly<Record<string, string | readonly string[]>>} Filters
 */

/**
 * @typedef {{
 *   text: string,
 *   kind: typeof KINDS[number],
 *   tags: readonly string[],
 *   filters: Filters,
 *   sort: keyof typeof SORTS,
 *   view: "grid" | "list",
 *   isStacked: boolean,
 * }} Query
 */

/**
 * Parameters of a saved search.
 * @typedef {Record<string, string | number | boolean | string[]>} SavedQuery
 */

const MAX_ENCODED = 6000; // characters of a search in a URL
const MAX_DAYS = 5000; // the most that a page has: more than 13 years
const DAY_PARAMS = ["created_days", "created_from", "created_to", "updated_from", "updated_to"];

/** @type {Query} */
export const DEFAULT_QUERY = Object.freeze({
  text: "",
  kind: "all",
  tags: Object.freeze([]),
  filters: Object.freeze({}),
  sort: "newest",
  view: "grid",
  isStacked: false,
});

/** The members of a query that narrow the list, without any. */
export const NO_FILTERS = Object.freeze({
  text: DEFAULT_QUERY.text,
  kind: DEFAULT_QUERY.kind,
  tags: DEFAULT_QUERY.tags,
  filters: DEFAULT_QUERY.filters,
});

/**
 * Return the parameters of the filters, which the list, the counts and the timeline share.
 *
 * @param {Query} query
 */
export function filterParams(query) {
  const params = new URLSearchParams();
  const text = query.text.trim();
  if (text) params.set(hasWords(text) ? "q" : "name_contains", withinUrl(text));
  for (const tag of [...(query.kind === "all" ? [] : [query.kind]), ...query.tags]) params.append("include_tags", tag);
  if (!("missing" in query.filters)) params.set("missing", "exclude");
  for (const [name, value] of Object.entries(query.filters)) {
    for (const each of [value].flat()) params.append(name, each);
  }
  if (DAY_PARAMS.some((name) => params.has(name))) params.set("utc_offset", String(utcOffset()));
  return params;
}

/**
 * Return the parameters of the whole list: the filters, the order and the stacks.
 *
 * @param {Query} query
 */
function listParams(query) {
  const params = filterParams(query);
  const [sort, order] = orderOf(query);
  params.set("sort", sort);
  params.set("order", order);
  if (isStacked(query)) params.set("stack", "job");
  return params;
}

/**
 * Return the parameters of the days of the list, or null if it is not in their order.
 *
 * @param {Query} query
 */
export function daysParams(query) {
  const params = listParams(query);
  if (!["created_at", "updated_at"].includes(params.get("sort") ?? "")) return null;
  params.set("utc_offset", String(utcOffset()));
  params.set("limit", String(MAX_DAYS));
  return params;
}

/**
 * Return the name of the order that the list has: only collections have an order of their own.
 *
 * @param {Query} query
 */
export function effectiveSort({ sort, filters }) {
  return sort === "collection" && !("collection" in filters) ? "newest" : sort;
}

/**
 * Return the API's `sort` and `order` of the list.
 *
 * @param {Query} query
 */
export function orderOf(query) {
  return SORTS[effectiveSort(query)];
}

/**
 * Return the parameters of a page of the list.
 *
 * @param {Query} query
 * @param {{ offset: number, limit: number, cursor?: string }} page
 */
export function pageParams(query, { offset, limit, cursor }) {
  const params = listParams(query);
  params.set("limit", String(limit));
  if (cursor) params.set("after", cursor);
  else if (offset > 0) params.set("offset", String(offset));
  return params;
}

/**
 * Return the parameters that a saved search stores for a query.
 *
 * @param {Query} query
 * @returns {SavedQuery}
 */
export function savedQuery(query) {
  const params = listParams(query);
  const names = [...new Set(params.keys())];
  return Object.fromEntries(names.map((name) => {
    const values = params.getAll(name);
    return [name, name === "include_tags" || values.length > 1 ? values : values[0]];
  }));
}

/**
 * Return the query of a saved search, which another program may have saved; the view is left out.
 *
 * @param {SavedQuery} saved
 * @returns {Omit<Query, "view">}
 */
export function queryOfSaved({ q, include_tags: tagged, sort, order, stack, missing, utc_offset: _, ...others }) {
  const tags = tagged === undefined ? [] : Array.isArray(tagged) ? tagged : String(tagged).split(",");
  const kind = KINDS.find((each) => each !== "all" && tags.includes(each)) ?? "all";
  const filters = Object.fromEntries(
    Object.entries(others).map(([name, value]) => [name, Array.isArray(value) ? value : String(value)]),
  );
  if (missing !== "exclude") filters.missing = String(missing ?? "include"); // as the API takes it
  const { name_contains: name, ...filtersOfText } = filters;
  const isNameSearch = q === undefined && typeof name === "string" && !hasWords(name);
  return {
    text: isNameSearch ? name : String(q ?? ""),
    kind,
    tags: tags.filter((tag) => tag !== kind),
    filters: isNameSearch ? filtersOfText : filters,
    sort: sortNamed(String(sort ?? "created_at"), String(order ?? "desc")),
    isStacked: stack === "job",
  };
}

/**
 * @param {string} sort
 * @param {string} order
 */
function sortNamed(sort, order) {
  const names = /** @type {Query["sort"][]} */ (Object.keys(SORTS));
  return names.find((name) => SORTS[name][0] === sort && SORTS[name][1] === order) ?? "newest";
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

/** Return how many minutes the clocks here are ahead of UTC, for the API's `utc_offset`. */
export function utcOffset() {
  return -new Date().getTimezoneOffset();
}

/**
 * Return whether the list shows stacks: the pictures of one job are shown by themselves.
 *
 * @param {Query} query
 */
export function isStacked({ isStacked: isOn, filters }) {
  return isOn && !("job_id" in filters);
}

/**
 * Return whether the query leaves out any assets.
 *
 * @param {Query} query
 */
export function isFiltered(query) {
  const { text, kind, tags, filters } = query;
  return text.trim() !== "" || kind !== "all" || tags.length > 0 || Object.keys(filters).length > 0;
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
   * Set some filters; the others stay.
   *
   * @param {Readonly<Record<string, string | readonly string[] | null>>} change null removes a filter
   */
  setFilters(change) {
    const before = this.#state.filters;
    const names = Object.keys(change);
    if (names.every((name) => String(change[name] ?? null) === String(before[name] ?? null))) return;
    const merged = Object.entries({ ...before, ...change }).flatMap(([name, value]) =>
      value === null ? [] : [/** @type {const} */ ([name, value])]
    );
    this.set({ filters: Object.freeze(Object.fromEntries(merged)) });
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
