/** The filters of the list as those of a request's body, which has lists, numbers and booleans. */

import { valuesOf } from "./listed_values.mjs";

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
  "created_days",
  "utc_offset",
  "size_min",
  "size_max",
  "width_min",
  "width_max",
  "height_min",
  "height_max",
]);

/**
 * Return parameters of the list as members of a body. The server refuses a filter that it does not know.
 *
 * @param {URLSearchParams} params
 * @returns {Record<string, unknown>}
 */
export function filterBody(params) {
  return Object.fromEntries([...new Set(params.keys())].map((name) => [name, valueOf(name, params.getAll(name))]));
}

/**
 * @param {string} name
 * @param {string[]} values
 */
function valueOf(name, values) {
  if (LISTS.has(name)) return valuesOf(name, values);
  const value = values[values.length - 1];
  if (BOOLEANS.has(name)) return value === "true";
  return NUMBERS.has(name) ? Number(value) : value;
}
