/** The days of the list, loaded along with it: for the headings in the grid and for the timeline. */

/** @import { GridGroups } from "../shared/grid_headings.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { QueryStore } from "./query.mjs" */

import { isAborted } from "../shared/client.mjs";
import * as format from "../shared/format.mjs";
import { NO_GROUPS } from "../shared/grid_headings.mjs";
import { daysParams, NEWEST_FIRST } from "./query.mjs";
import { TimelineDays } from "./timeline_days.mjs";

const WAIT_MS = 400; // of the list for the headings of its days, which otherwise come later
const NO_DAYS = new TimelineDays([]);

export class ListDays {
  #context;
  #store;
  #query = "";
  /** @type {AbortController | null} */
  #request = null;
  #loading = Promise.resolve();
  #groups = { days: NO_DAYS, total: 0, groups: NO_GROUPS };
  /** The days, none if the list is not in their order. */
  days = NO_DAYS;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   */
  constructor(context, store) {
    this.#context = context;
    this.#store = store;
  }

  /** Begin to load the days of the query. */
  load() {
    this.#loading = this.#load();
  }

  /**
   * Wait until the days are loaded, but not for long.
   *
   * @param {() => void} onLate called when they are there after all
   */
  async wait(onLate) {
    const loading = this.#loading;
    const timeout = new Promise((resolve) => setTimeout(resolve, WAIT_MS));
    const isLate = await Promise.race([loading.then(() => false), timeout.then(() => true)]);
    if (isLate) loading.then(onLate);
  }

  /** Load the days of the query. Without them, because of an error or as they are too many, the list has no headings. */
  async #load() {
    this.#request?.abort();
    const params = daysParams(this.#store.state);
    const query = String(params ?? "");
    if (query !== this.#query) this.days = NO_DAYS; // others would lead to wrong places
    this.#query = query;
    if (params === null) return;
    const { signal } = (this.#request = new AbortController());
    try {
      const { days, has_more: isPart } = await this.#context.client.get("/assets/days", { query: params, signal });
      if (this.#query === query) this.days = isPart ? NO_DAYS : new TimelineDays(days);
    } catch (error) {
      if (!isAborted(error)) this.days = NO_DAYS; // the list tells that the server cannot be reached
    }
  }

  /**
   * Return the days as groups of a list of some length. Assets that came or went since the days were counted belong to
   * the latest one, until the list is loaded again.
   *
   * @param {number} total
   * @returns {GridGroups}
   */
  groups(total) {
    const { days } = this;
    if (this.#groups.days !== days || this.#groups.total !== total) {
      this.#groups = { days, total, groups: days.length === 0 ? NO_GROUPS : this.#build(total) };
    }
    return this.#groups.groups;
  }

  /** @param {number} total */
  #build(total) {
    const { days } = this;
    const { language } = this.#context;
    const more = NEWEST_FIRST.has(this.#store.state.sort) ? total - days.total : 0;
    const later = days.starts.slice(1).map((start) => start + more);
    const gone = later.filter((start) => start <= 0).length;
    /** @param {number} group */
    const text = (group) => format.dayHeading(days.at(group + gone).date, language);
    return { starts: [0, ...later.slice(gone)], text };
  }
}
