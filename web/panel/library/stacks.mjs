/** Stacks: the assets of one job as one entry of the list, to be opened and left again. */

/** @import { Asset, AssetPage } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { AssetGrid } from "./asset_grid.mjs" */
/** @import { Query, QueryStore } from "./query.mjs" */

import { button } from "../shared/buttons.mjs";
import { isFavourite } from "./asset.mjs";
import { pageParams } from "./query.mjs";
import { SearchResults } from "./search_results.mjs";

const PAGE_SIZE = 500;
const MAX_MEMBERS = 5000; // of the stacks that are selected at a time

/**
 * Return how many assets an entry of the list stands for.
 *
 * @param {Asset | undefined} asset
 */
export function stackSize(asset) {
  return asset?.stack?.count ?? 1;
}

/** All assets of a stack. The list has only the one on top, whose marks stand for those of all. */
export class StackMembers extends SearchResults {
  /**
   * @param {Asset} top
   * @param {Query} query of the list
   */
  constructor(top, query) {
    super({ ...query, filters: { ...query.filters, job_id: top.stack?.job_id ?? "" } }, stackSize(top));
    this.top = top;
    this.areFavourites = isFavourite(top);
  }
}

/**
 * Return what an entry of the list stands for: an asset, or all assets of a stack.
 *
 * @param {Asset} asset
 * @param {Query} query of the list
 */
export function wholeOf(asset, query) {
  return stackSize(asset) > 1 ? new StackMembers(asset, query) : [asset];
}

export class Stacks {
  #context;
  #store;
  #list;
  /** Where the stack that is open was, by its job. */
  #opened = { job: "", index: 0 };

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {AssetGrid} list
   */
  constructor(context, store, list) {
    this.#context = context;
    this.#store = store;
    this.#list = list;
    const { t } = context;
    this.back = button("back", t("stack.title"), () => this.#leave(), { kind: "ca-plain ca-stack-back" });
    this.back.setAttribute("aria-label", t("stack.back"));
    store.subscribe(() => this.#show());
    this.#show();
    list.grid.element.addEventListener("keydown", (event) => this.#onKeyDown(event));
  }

  /**
   * Show the assets of a stack in its place. Returns false for an entry that is no stack.
   *
   * @param {Asset} asset
   * @param {number} index of the entry
   */
  open(asset, index) {
    if (asset.stack === undefined || stackSize(asset) < 2) return false;
    const { job_id: job } = asset.stack;
    this.#opened = { job, index };
    this.#store.setFilters({ job_id: job });
    this.#focusWhenLoaded(0);
    return true;
  }

  /** Whether the assets of one stack are shown. */
  get isOpen() {
    const { isStacked, filters } = this.#store.state;
    return isStacked && "job_id" in filters;
  }

  #show() {
    this.back.hidden = !this.isOpen;
  }

  /** Return to the stacks, with the one that was open in view. */
  #leave() {
    const { job, index } = this.#opened;
    const isKnown = job === this.#store.state.filters.job_id; // else it was opened before the page was
    this.#store.setFilters({ job_id: null });
    this.#focusWhenLoaded(isKnown ? index : 0);
  }

  /**
   * Move the focus to an entry of the list, which has none while it is loading.
   *
   * @param {number} index
   */
  #focusWhenLoaded(index) {
    const { state } = this.#store;
    const whenLoaded = () => {
      const isLoading = this.#list.list.total === null && this.#list.list.error === null;
      if (isLoading && this.#store.state === state) return;
      this.#list.removeEventListener("change", whenLoaded);
      if (this.#store.state !== state) return; // another list by now
      this.#list.grid.activate(index);
      this.#list.focus();
    };
    this.#list.addEventListener("change", whenLoaded);
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    if (event.key !== "Escape" || event.defaultPrevented || !this.isOpen) return;
    event.preventDefault();
    event.stopPropagation();
    this.#leave();
  }
}

/**
 * Return a function that loads all assets of some stacks, or none, with a notice, if that fails.
 *
 * @param {PanelContext} context
 * @param {QueryStore} store
 * @returns {(stacks: Asset[]) => Promise<Asset[]>}
 */
export function membersLoader({ client, notifications, t }, store) {
  return async (stacks) => {
    const { state } = store;
    /** @type {Asset[]} */
    const found = [];
    try {
      for (const { stack } of stacks) {
        if (stack === undefined) continue;
        const query = { ...state, filters: { ...state.filters, job_id: stack.job_id } };
        const end = found.length + stack.count;
        let cursor;
        do {
          if (found.length >= MAX_MEMBERS) throw new Error(t("stack.tooMany", { count: MAX_MEMBERS }));
          /** @type {AssetPage} */
          const page = await client.get("/assets", {
            query: pageParams(query, { offset: 0, limit: PAGE_SIZE, cursor }),
          });
          found.push(...page.assets);
          cursor = page.next_cursor;
        } while (cursor !== undefined && found.length < end);
      }
      return found;
    } catch (error) {
      notifications.error(t("library.selectAllFailed"), error);
      return [];
    }
  };
}
