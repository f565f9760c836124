/** What stands above the list: search, filters, tags, and the number of assets. */

/** @import { Navigation } from "../navigation/navigation.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { QueryStore } from "./query.mjs" */

import { iconButton } from "../shared/buttons.mjs";
import { h } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { ActiveFilters } from "./active_filters.mjs";
import { FilterSection } from "./filter_section.mjs";
import { SearchHelp } from "./search_help.mjs";
import { TagFacets } from "./tag_facets.mjs";
import { Toolbar } from "./toolbar.mjs";

export class ListControls {
  #context;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {Navigation} navigation
   * @param {{ upload: () => void, trash: () => void }} callbacks let the user choose files, and open the trash
   */
  constructor(context, store, { view, place }, { upload, trash }) {
    this.#context = context;
    this.toolbar = new Toolbar(context, store, view.button, {
      upload,
      filters: () => this.filters.toggle(),
      help: () => this.help.toggle(),
    });
    this.help = new SearchHelp(context, store, (isOpen) => this.#onHelpToggle(isOpen));
    this.toolbar.search.help.setAttribute("aria-controls", this.help.element.id);
    this.active = new ActiveFilters(context, store, () => this.toolbar.filters.focus());
    this.filters = new FilterSection(context, store, (isOpen) => this.#onFiltersToggle(isOpen));
    this.toolbar.filters.setAttribute("aria-controls", this.filters.element.id);
    this.facets = new TagFacets(context, store);
    this.total = h("div", { class: "ca-total", role: "status" });
    this.trash = iconButton("trash", context.t("trash.title"), trash);
    this.elements = [
      this.toolbar.element,
      place.element,
      this.active.element,
      this.help.element,
      this.filters.element,
      this.facets.element,
      h("div", { class: "ca-list-head" }, this.total, this.active.mark, h("span", { class: "ca-spacer" }), this.trash),
    ];
    store.subscribe((state, before) => {
      const changesOrder = state.sort !== before.sort || state.view !== before.view;
      if (!changesOrder) this.refresh(); // an order changes no counts
    });
  }

  /** The field of the search box. */
  get search() {
    return this.toolbar.search.input;
  }

  /** Search for the text of the search box at once. */
  applySearch() {
    this.toolbar.search.apply();
  }

  /** Return the focus from the trash. */
  focusTrash() {
    this.trash.focus({ preventScroll: true });
  }

  /** Load the numbers of tags and filters again. */
  refresh() {
    this.facets.refresh();
    this.filters.refresh();
  }

  /**
   * Show the number of assets, and what is wrong with the search.
   *
   * @param {number | null} total null while it is not known
   * @param {unknown} error of the list, or null
   */
  showResult(total, error) {
    const { t, language } = this.#context;
    const text = total === null ? "" : t("library.total", { count: total, number: format.number(total, language) });
    this.total.textContent = text;
    this.toolbar.search.showError(error);
  }

  /** @param {boolean} isOpen */
  #onHelpToggle(isOpen) {
    const { help } = this.toolbar.search;
    help.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) help.focus();
    else if (this.filters.isOpen) this.filters.toggle(false);
  }

  /** @param {boolean} isOpen */
  #onFiltersToggle(isOpen) {
    this.toolbar.filters.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) this.help.toggle(false);
    else this.toolbar.filters.focus();
  }
}
