/**
 * The selected assets: each by its id, as their indexes change when the list does, or all that the list has. Stacks stand
 * for all of their assets. Dispatches "change" events.
 */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { Query, QueryStore } from "./query.mjs" */
/** @import { SelectedAssets } from "./search_results.mjs" */

import { pageParams } from "./query.mjs";
import { SearchResults } from "./search_results.mjs";
import { stackSize } from "./stacks.mjs";

const PAGE_SIZE = 500; // the most that are selected one by one

export class Selection extends EventTarget {
  #loadMembers;
  #generation = 0; // counts what makes stacks that are being loaded obsolete
  /** @type {Map<string, Asset>} */
  #assets = new Map();
  /** @type {SearchResults | null} instead of single assets */
  #results = null;
  #anchor = 0; // index at which a range begins

  /** @param {(stacks: Asset[]) => Promise<Asset[]>} loadMembers returns all assets of stacks */
  constructor(loadMembers) {
    super();
    this.#loadMembers = loadMembers;
  }

  get size() {
    return this.#results?.count ?? this.#assets.size;
  }

  /** The assets that were selected one by one; none if all are selected that a search finds. */
  get assets() {
    return [...this.#assets.values()];
  }

  /**
   * What is selected, to be changed.
   *
   * @returns {SelectedAssets}
   */
  get selected() {
    return this.#results ?? this.assets;
  }

  /** @param {Asset | undefined} asset */
  has(asset) {
    if (asset === undefined) return false;
    return this.#results === null ? this.#assets.has(asset.id) : !this.#results.excluded.has(asset.id);
  }

  /**
   * @param {Asset} asset
   * @param {number} index
   */
  toggle(asset, index) {
    this.#anchor = index;
    if (stackSize(asset) > 1) return this.#setStacks([asset], !this.has(asset));
    this.#set(asset, !this.has(asset));
    this.#notify();
  }

  /**
   * Select the assets from the last one that was toggled to an index, as far as they are loaded.
   *
   * @param {number} index
   * @param {(index: number) => Asset | undefined} at
   */
  extend(index, at) {
    const [from, to] = [Math.min(this.#anchor, index), Math.max(this.#anchor, index)];
    const stacks = [];
    for (let each = from; each <= to; each += 1) {
      const asset = at(each);
      if (asset === undefined) continue;
      if (stackSize(asset) > 1) stacks.push(asset);
      else this.#set(asset, true);
    }
    this.#notify();
    if (stacks.length > 0) return this.#setStacks(stacks.filter((stack) => !this.has(stack)), true);
  }

  /** @param {Asset[]} assets */
  add(assets) {
    for (const asset of assets) this.#assets.set(asset.id, asset);
    this.#notify();
  }

  /**
   * Select everything that a search finds, also what is not loaded.
   *
   * @param {Query} query
   * @param {number} total
   */
  selectAll(query, total) {
    this.#assets.clear();
    this.#results = new SearchResults(query, total);
    this.#notify();
  }

  clear() {
    this.#generation += 1;
    if (this.size === 0 && this.#results === null) return;
    this.#assets.clear();
    this.#results = null;
    this.#notify();
  }

  /**
   * Take over what has changed of the selected assets.
   *
   * @param {Iterable<Partial<Asset> & { id: string }>} changes
   */
  update(changes) {
    for (const change of changes) {
      const asset = this.#assets.get(change.id);
      if (asset !== undefined) this.#assets.set(asset.id, { ...asset, ...change });
    }
  }

  /** @param {Iterable<string>} ids */
  remove(ids) {
    let count = 0;
    for (const id of ids) count += Number(this.#assets.delete(id));
    if (count > 0) this.#notify();
  }

  /**
   * Select an asset or not; of results, it is left out or taken in again.
   *
   * @param {Asset} asset
   * @param {boolean} isSelected
   */
  #set(asset, isSelected) {
    if (this.#results === null) {
      if (isSelected) this.#assets.set(asset.id, asset);
      else this.#assets.delete(asset.id);
      return;
    }
    const { query, total, excluded } = this.#results;
    const changed = new Map(excluded);
    if (isSelected) changed.delete(asset.id);
    else changed.set(asset.id, asset);
    this.#results = changed.size < total ? new SearchResults(query, total, changed) : null;
  }

  /**
   * Select all assets of stacks, or none, once they are loaded.
   *
   * @param {Asset[]} stacks
   * @param {boolean} isSelected
   */
  async #setStacks(stacks, isSelected) {
    const generation = this.#generation;
    const members = await this.#loadMembers(stacks);
    if (generation !== this.#generation) return;
    for (const asset of members) this.#set(asset, isSelected);
    this.#notify();
  }

  #notify() {
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * Select everything that the query finds: few assets one by one, which offers more actions, many as a search.
 *
 * @param {PanelContext} context
 * @param {QueryStore} store
 * @param {Selection} selection
 */
export async function selectEverything({ t, client, notifications }, store, selection) {
  const { state } = store;
  try {
    const query = pageParams({ ...state, isStacked: false }, { offset: 0, limit: PAGE_SIZE });
    const { assets, total, has_more: isMore } = await client.get("/assets", { query });
    if (store.state !== state) return;
    if (isMore) selection.selectAll(state, total);
    else selection.add(assets);
  } catch (error) {
    notifications.error(t("library.selectAllFailed"), error);
  }
}
