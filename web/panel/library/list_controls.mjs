/** What stands above the list: search, filters, tags, and the number of assets. */

/** @import { Navigation } from "../navigation/navigation.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { QueryStore } from "./query.mjs" */

import { iconButton } from "../shared/buttons.mjs";
import { h } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { ActiveFilters } from "./active_filters.mjs";
import { FilterSection } from "./filter_section.mjs";
import { isStacked } from "./query.mjs";
import { SearchHelp } from "./search_help.mjs";
import { TagFacets } from "./tag_facets.mjs";
import { Toolbar } from "./toolbar.mjs";
import { UnusedModels } from "./unused_models.mjs";

/** The members of a query that decide which assets there are. */
const FILTERS = /** @type {const} */ (["text", "kind", "tags", "filters"]);

export class ListControls {
  #context;
  #store;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {Navigation} navigation
   * @param {HTMLElement} back the button that leaves a stack
   * @param {{ upload: () => void, trash: () => void, leaveSearch: () => void, released: () => Promise<void> }} callbacks
   *   let the user choose files, open the trash, move the focus from the search box to the list, and wait until nothing in
   *   the list is pressed
   */
  constructor(context, store, { view, place, list }, back, { upload, trash, leaveSearch, released }) {
    this.#context = context;
    this.#store = store;
    this.toolbar = new Toolbar(context, store, view.button, {
      upload,
      filters: () => this.filters.toggle(),
      help: () => this.help.toggle(),
      leaveSearch,
      released,
    });
    this.help = new SearchHelp(context, store, (isOpen) => this.#onHelpToggle(isOpen));
    this.toolbar.search.help.setAttribute("aria-controls", this.help.element.id);
    this.active = new ActiveFilters(context, store, () => this.toolbar.filters.focus());
    this.filters = new FilterSection(context, store, (isOpen) => this.#onFiltersToggle(isOpen));
    this.toolbar.filters.setAttribute("aria-controls", this.filters.element.id);
    this.facets = new TagFacets(context, store);
    this.unused = new UnusedModels(context, store);
    this.total = h("div", { class: "ca-total", role: "status" });
    this.trash = iconButton("trash", context.t("trash.title"), trash);
    const spacer = h("span", { class: "ca-spacer" });
    this.head = h(
      "div",
      { class: "ca-list-head" },
      back,
      this.total,
      this.active.mark,
      spacer,
      list.button,
      this.trash,
    );
    this.elements = [
      this.toolbar.element,
      place.element,
      this.active.element,
      this.help.element,
      this.filters.element,
      this.facets.element,
      this.head,
      this.unused.element,
    ];
    store.subscribe((state, before) => {
      // Order, view and stacks change no counts.
      if (FILTERS.some((name) => state[name] !== before[name])) this.refresh();
    });
  }

  /** The field of the search box. */
  get search() {
    return this.toolbar.search.input;
  }

  /** Return the focus from the trash. */
  focusTrash() {
    this.trash.focus({ preventScroll: true });
  }

  /** Load the numbers of tags and filters again. */
  refresh() {
    this.facets.refresh();
    this.filters.refresh();
    this.unused.refresh();
  }

  /**
   * Show the number of assets, and what is wrong with the search.
   *
   * @param {number | null} total null while it is not known
   * @param {unknown} error of the list, or null
   */
  showResult(total, error) {
    const { t, language } = this.#context;
    const name = isStacked(this.#store.state) ? "library.entries" : "library.total"; // stacks and single assets
    const text = total === null ? "" : t(name, { count: total, number: format.number(total, language) });
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
