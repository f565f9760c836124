/** The user's saved searches: a list that is kept up to date, and its changes. */

/** @import { SavedSearch } from "../api.d.ts" */
/** @import { AssetActions } from "../library/asset_actions.mjs" */
/** @import { Query, SavedQuery } from "../library/query.mjs" */
/** @import { PanelContext } from "../types.d.ts" */

import { savedQuery } from "../library/query.mjs";

/** The methods that change something throw a RequestError. */
export class SavedSearches {
  #context;
  #actions;
  #onChange;
  /** By name. @type {SavedSearch[] | null} */
  items = null;

  /**
   * @param {PanelContext} context
   * @param {AssetActions} actions
   * @param {() => void} onChange
   */
  constructor(context, actions, onChange) {
    this.#context = context;
    this.#actions = actions;
    this.#onChange = onChange;
  }

  /** @param {string} id */
  find(id) {
    return this.items?.find((each) => each.id === id);
  }

  /**
   * Return the search that a query is, if it is saved.
   *
   * @param {Query} query
   */
  matching(query) {
    const wanted = written(savedQuery(query));
    return this.items?.find((each) => written(each.query) === wanted);
  }

  async refresh() {
    this.items = (await this.#context.client.get("/saved-searches")).saved_searches;
    this.#onChange();
  }

  /**
   * Save a query under a name.
   *
   * @param {string} name
   * @param {SavedQuery} query
   */
  async create(name, query) {
    const made = await this.#context.client.post("/saved-searches", { name, query });
    await this.refresh();
    return made;
  }

  /**
   * Give a search another name or query.
   *
   * @param {SavedSearch} search
   * @param {{ name?: string, query?: SavedQuery }} change
   */
  async replace({ id, name: formerName, query: formerQuery }, { name = formerName, query = formerQuery }) {
    /** @param {{ name: string, query: SavedQuery }} body */
    const put = async (body) => {
      await this.#context.client.request("PUT", `/saved-searches/${id}`, { body });
      await this.refresh();
    };
    await put({ name, query });
    const undo = () => put({ name: formerName, query: formerQuery });
    this.#actions.undoStack.push({ label: this.#context.t("undo.changeSearch", { name: formerName }), undo });
  }

  /** @param {SavedSearch} search */
  async remove({ id, name, query }) {
    const { client, t, notifications } = this.#context;
    await client.request("DELETE", `/saved-searches/${id}`);
    await this.refresh();
    const change = {
      label: t("undo.deleteSearch", { name }),
      done: t("savedSearch.restored", { name }),
      undo: () => this.create(name, query),
    };
    this.#actions.undoStack.push(change);
    const undo = { label: t("asset.undo"), action: () => this.#actions.undo(change) };
    notifications.show(t("savedSearch.deleted", { name }), undo);
  }
}

/**
 * Return a query as a text that is the same for equal ones.
 *
 * @param {SavedQuery} query
 */
function written(query) {
  const members = Object.entries(query).filter(([name]) => name !== "utc_offset");
  return JSON.stringify(members.map(([name, value]) => [name, [value].flat().map(String)]).sort());
}
