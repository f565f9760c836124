/** What stands above the list: search, filters, tags, and the number of assets. */

/** @import { Navigation } from "../navigation/navigation.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { QueryStore } from "./query.mjs" */

import { h } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { ActiveFilters } from "./active_filters.mjs";
import { FilterSection } from "./filter_section.mjs";
import { TagFacets } from "./tag_facets.mjs";
import { Toolbar } from "./toolbar.mjs";

export class ListControls {
  #context;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {Navigation} navigation
   * @param {{ upload: () => void }} callbacks `upload` lets the user choose files
   */
  constructor(context, store, { view, place }, { upload }) {
    this.#context = context;
    this.toolbar = new Toolbar(context, store, view.button, { upload, filters: () => this.filters.toggle() });
    this.active = new ActiveFilters(context, store, () => this.toolbar.filters.focus());
    this.filters = new FilterSection(context, store, (isOpen) => this.#onFiltersToggle(isOpen));
    this.toolbar.filters.setAttribute("aria-controls", this.filters.element.id);
    this.facets = new TagFacets(context, store);
    this.total = h("div", { class: "ca-total", role: "status" });
    this.elements = [
      this.toolbar.element,
      place.element,
      this.active.element,
      this.filters.element,
      this.facets.element,
      h("div", { class: "ca-list-head" }, this.total, this.active.mark),
    ];
    store.subscribe((state, before) => {
      const changesOrder = state.sort !== before.sort || state.view !== before.view;
      if (!changesOrder) this.refresh(); // an order changes no counts
    });
  }

  /** The field of the search box. */
  get search() {
    return this.toolbar.search;
  }

  /** Load the numbers of tags and filters again. */
  refresh() {
    this.facets.refresh();
    this.filters.refresh();
  }

  /** @param {number | null} total null while it is not known */
  showTotal(total) {
    const { t, language } = this.#context;
    const text = total === null ? "" : t("library.total", { count: total, number: format.number(total, language) });
    this.total.textContent = text;
  }

  /** @param {boolean} isOpen */
  #onFiltersToggle(isOpen) {
    this.toolbar.filters.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) this.toolbar.filters.focus();
  }
}
