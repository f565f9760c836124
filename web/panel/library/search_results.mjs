/** All assets that a search finds, without their ids: as a whole, the server changes them by the search itself. */

/** @import { Asset } from "../api.d.ts" */
/** @import { Query } from "./query.mjs" */

import { isFavourite } from "./asset.mjs";
import { filterParams, orderOf } from "./query.mjs";
import { filterBody } from "./selection_filter.mjs";

/** What the user has selected. @typedef {Asset[] | SearchResults} SelectedAssets */

export class SearchResults {
  /** Whether all are favourites, as far as that is known. */
  areFavourites = false;

  /**
   * @param {Query} query of the list
   * @param {number} total
   * @param {ReadonlyMap<string, Asset>} [excluded] by id
   */
  constructor(query, total, excluded = new Map()) {
    this.query = query;
    this.total = total;
    this.excluded = excluded;
  }

  /** The filters of the list. */
  get params() {
    return filterParams(this.query);
  }

  get count() {
    return Math.max(this.total - this.excluded.size, 0);
  }
}

/**
 * Return how many assets are selected.
 *
 * @param {{ id: string }[] | SearchResults} selected
 */
export function countOf(selected) {
  return Array.isArray(selected) ? selected.length : selected.count;
}

/**
 * Return whether all are favourites, as far as that is known.
 *
 * @param {SelectedAssets} selected
 */
export function areFavourites(selected) {
  return Array.isArray(selected) ? selected.every(isFavourite) : selected.areFavourites;
}

/**
 * Return the members of a batch that name the assets.
 *
 * @param {{ id: string }[] | SearchResults} selected
 * @returns {{ ids: string[] } | { filter: Record<string, unknown>, exclude_ids: string[], sort: string, order: string }}
 */
export function selectionBody(selected) {
  if (Array.isArray(selected)) return { ids: selected.map(({ id }) => id) };
  const [sort, order] = orderOf(selected.query);
  return { filter: filterBody(selected.params), exclude_ids: [...selected.excluded.keys()], sort, order };
}
