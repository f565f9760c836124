/** The query as this browser keeps it, so that a reload shows the same list. */

/** @import { PanelContext } from "../types.d.ts" */
/** @import { Filters, Query } from "./query.mjs" */

import { DEFAULT_QUERY, KINDS, QueryStore, SORTS } from "./query.mjs";

const MEMBERS = /** @type {const} */ (["text", "kind", "tags", "filters", "sort", "view", "isStacked"]);

/**
 * Create the store of the query, which begins with the last one and keeps every change.
 *
 * @param {PanelContext} context
 */
export function createQueryStore({ page, preferences }) {
  const user = page.headers()["Comfy-User"];
  const name = user ? `library.${user}` : "library"; // others at this browser do not see what a user looked for
  const store = new QueryStore(restoredQuery(preferences.read(name, MEMBERS)));
  store.subscribe((state) => preferences.write(name, state, MEMBERS));
  return store;
}

/**
 * Return the query that was stored in this browser, as far as this version of the panel understands it.
 *
 * @param {Record<string, unknown>} stored
 * @returns {Query}
 */
function restoredQuery({ text, kind, tags, filters, sort, view, isStacked }) {
  const isList = (/** @type {unknown} */ value) =>
    Array.isArray(value) && value.every((each) => typeof each === "string");
  const isFilters = typeof filters === "object" && filters !== null && !Array.isArray(filters) &&
    Object.values(filters).every((value) => typeof value === "string" || isList(value));
  return {
    text: typeof text === "string" ? text : DEFAULT_QUERY.text,
    kind: KINDS.find((each) => each === kind) ?? DEFAULT_QUERY.kind,
    tags: isList(tags) ? /** @type {string[]} */ (tags) : DEFAULT_QUERY.tags,
    filters: isFilters ? /** @type {Filters} */ (filters) : DEFAULT_QUERY.filters,
    sort: typeof sort === "string" && sort in SORTS ? /** @type {Query["sort"]} */ (sort) : DEFAULT_QUERY.sort,
    view: view === "list" ? "list" : "grid",
    isStacked: isStacked === true,
  };
}
