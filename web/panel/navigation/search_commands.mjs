/** The commands for saved searches. They show what fails. */

/** @import { SavedSearch } from "../api.d.ts" */
/** @import { QueryStore } from "../library/query.mjs" */
/** @import { MenuItem } from "../shared/context_menu.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { SavedSearches } from "./saved_searches.mjs" */

import { savedQuery } from "../library/query.mjs";
import { askForName } from "../shared/name_dialog.mjs";

const MAX_SUGGESTED = 60; // characters of the search box that a name begins with

export class SearchCommands {
  #context;
  #store;
  #searches;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {SavedSearches} searches
   */
  constructor(context, store, searches) {
    this.#context = context;
    this.#store = store;
    this.#searches = searches;
  }

  /** @returns {MenuItem} */
  saveItem() {
    return { icon: "plus", label: this.#context.t("savedSearch.save"), run: () => this.save() };
  }

  /**
   * Return the commands for a search.
   *
   * @param {SavedSearch} search
   * @returns {MenuItem[]}
   */
  menuOf(search) {
    const { t } = this.#context;
    return [
      { icon: "edit", label: t("asset.rename"), run: () => this.rename(search) },
      { icon: "refresh", label: t("savedSearch.update"), run: () => this.#update(search) },
      { icon: "trash", label: t("savedSearch.delete"), run: () => this.remove(search), isDanger: true },
    ];
  }

  /** Save the current search under a name. */
  save() {
    const { t, notifications } = this.#context;
    const query = savedQuery(this.#store.state);
    return askForName(t, {
      title: t("savedSearch.title"),
      accept: t("common.save"),
      icon: "bookmark",
      value: this.#store.state.text.trim().slice(0, MAX_SUGGESTED),
      save: async (name) => {
        const made = await this.#searches.create(name, query);
        notifications.show(t("savedSearch.saved", { name: made.name }));
      },
    });
  }

  /** @param {SavedSearch} search */
  rename(search) {
    const { t } = this.#context;
    return askForName(t, {
      title: t("savedSearch.rename"),
      accept: t("common.save"),
      icon: "edit",
      value: search.name,
      save: async (name) => {
        if (name !== search.name) await this.#searches.replace(search, { name });
      },
    });
  }

  /** @param {SavedSearch} search */
  remove(search) {
    return this.#try(this.#searches.remove(search), "savedSearch.deleteFailed");
  }

  /** @param {SavedSearch} search */
  #update(search) {
    const query = savedQuery(this.#store.state);
    return this.#try(this.#searches.replace(search, { query }), "savedSearch.saveFailed");
  }

  /**
   * @param {Promise<unknown>} action
   * @param {string} failure the key of what is shown if it fails
   */
  async #try(action, failure) {
    try {
      await action;
    } catch (error) {
      this.#context.notifications.error(this.#context.t(failure), error);
    }
  }
}
