/** Places of the library: all assets, a folder, a collection. Changes of the query that go there. */

/** @import { Query } from "../library/query.mjs" */

import { DEFAULT_QUERY, isFiltered, KINDS, NO_FILTERS } from "../library/query.mjs";

/** Filters that are the place where the user is: the navigation shows them, and other filters stay within them. */
export const PLACE_FILTERS = new Set(["folder", "collection"]);

/** @typedef {{ kind: "all" } | { kind: "folder", path: string } | { kind: "collection", id: string }} Place */

/**
 * @param {Query} query
 * @returns {Place}
 */
export function placeOf({ filters }) {
  const { folder, collection } = filters;
  if (typeof collection === "string" && collection !== "") return { kind: "collection", id: collection };
  if (typeof folder === "string" && folder !== "") return { kind: "folder", path: folder };
  return { kind: "all" };
}

/**
 * Return whether two queries are at the same place.
 *
 * @param {Query} one
 * @param {Query} other
 */
export function isSamePlace(one, other) {
  return JSON.stringify(placeOf(one)) === JSON.stringify(placeOf(other));
}

/** Goes to places. Remembers the order of the list outside of collections, which have one of their own. */
export class PlaceChanges {
  /** @type {Query["sort"]} */
  #sort = DEFAULT_QUERY.sort;

  /**
   * Return the change for a place. Within a place, searches and filters stay.
   *
   * @param {Query} query
   * @param {Place} place
   * @returns {Partial<Query>}
   */
  to(query, place) {
    if (query.sort !== "collection") this.#sort = query.sort;
    const { folder: _, collection: __, folder_recursive: ___, ...filters } = query.filters;
    if (place.kind === "collection") {
      return { filters: Object.freeze({ ...filters, collection: place.id }), sort: "collection" };
    }
    const sort = query.sort === "collection" ? this.#sort : query.sort;
    if (place.kind === "all") return { filters: Object.freeze(filters), sort };
    const kind = isOfKind(place.path, query.kind) ? query.kind : "all";
    const tags = kind === query.kind ? query.tags : NO_FILTERS.tags;
    return { filters: Object.freeze({ ...filters, folder: place.path }), sort, kind, tags };
  }
}

/**
 * Return whether a folder can have assets of a kind.
 *
 * @param {string} path
 * @param {Query["kind"]} kind
 */
export function isOfKind(path, kind) {
  const root = path.split("/")[0];
  return kind === "all" || !(/** @type {readonly string[]} */ (KINDS).includes(root)) || root === kind;
}

/**
 * Return the last part of a folder's path.
 *
 * @param {string} path
 */
export function folderName(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}

/**
 * Return the change that removes all filters and the search, but stays in the folder or collection.
 *
 * @param {Query} query
 */
export function withoutFilters({ filters }) {
  const place = Object.entries(filters).filter(([name]) => PLACE_FILTERS.has(name));
  return { ...NO_FILTERS, filters: Object.freeze(Object.fromEntries(place)) };
}

/**
 * Return whether the query leaves out any assets of the folder or collection, or of all.
 *
 * @param {Query} query
 */
export function isFilteredInPlace({ filters, ...query }) {
  return isFiltered({
    ...query,
    filters: Object.fromEntries(Object.entries(filters).filter(([name]) => !PLACE_FILTERS.has(name))),
  });
}
