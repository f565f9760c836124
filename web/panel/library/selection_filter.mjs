/** The query of the list as the filter of a request's body, which has lists, numbers and booleans. */

/** @import { Query } from "./query.mjs" */

import { filterParams } from "./query.mjs";

const LISTS = new Set([
  "tags_all",
  "tags_any",
  "tags_none",
  "include_tags",
  "exclude_tags",
  "kind",
  "base_model",
]);
const BOOLEANS = new Set(["include_public", "favorite", "has_workflow", "used", "folder_recursive"]);
const NUMBERS = new Set([
  "utc_offset",
  "size_min",
  "size_max",
  "width_min",
  "width_max",
  "height_min",
  "height_max",
]);

/**
 * Return the filter that selects what the query lists.
 *
 * @param {Query} query
 * @returns {Record<string, unknown>}
 */
export function selectionFilter(query) {
  const params = filterParams(query);
  return Object.fromEntries([...new Set(params.keys())].map((name) => [name, valueOf(name, params.getAll(name))]));
}

/**
 * @param {string} name
 * @param {string[]} values
 */
function valueOf(name, values) {
  if (LISTS.has(name)) return values.flatMap((value) => value.split(",")).filter((value) => value !== "");
  const value = values[values.length - 1];
  if (BOOLEANS.has(name)) return value === "true";
  return NUMBERS.has(name) ? Number(value) : value;
}
