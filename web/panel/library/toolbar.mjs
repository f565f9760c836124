/** The rows above the library: search, kind, order, filters, view, upload. */

/** @import { PanelContext } from "../types.d.ts" */
/** @import { Query, QueryStore } from "./query.mjs" */

import { h } from "../shared/dom.mjs";
import { iconButton, select, setPressed } from "../shared/buttons.mjs";
import { icon } from "../shared/icons.mjs";
import { PLACE_FILTERS } from "../navigation/place.mjs";
import { effectiveSort, KINDS, SORTS } from "./query.mjs";
import { SearchBox } from "./search_box.mjs";

export class Toolbar {
  #store;
  #t;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {HTMLElement} navigation the button that shows folders and collections
   * @param {{
   *   upload: () => void,
   *   filters: () => void,
   *   help: () => void,
   *   leaveSearch: () => void,
   *   released: () => Promise<void>,
   * }} callbacks let the user choose files, open the filters and the help with the search, move the focus from the search
   *   box to the list, and wait until nothing in the list is pressed
   */
  constructor(context, store, navigation, { upload, filters, help, leaveSearch, released }) {
    const { t } = context;
    this.#store = store;
    this.#t = t;
    const { state } = store;
    this.search = new SearchBox(context, store, { help, leave: leaveSearch, released });
    this.filterCount = h("span", { class: "ca-filter-count" });
    const filterAttributes = { class: "ca-button ca-filter-button", type: "button", "aria-expanded": "false" };
    this.filters = h(
      "button",
      { ...filterAttributes, title: t("filter.title"), onclick: filters },
      icon("filter"),
      h("span", { class: "ca-filter-name" }, t("filter.title")),
      this.filterCount,
    );
    this.stack = iconButton("stack", t("library.stack"), () => this.#toggleStack());
    this.view = iconButton("list", t("library.asList"), () => this.#toggleView());
    const kinds = KINDS.map((kind) => /** @type {const} */ ([kind, t(`kind.${kind}`)]));
    const sortNames = /** @type {Query["sort"][]} */ (Object.keys(SORTS));
    const sorts = sortNames.map((sort) => /** @type {const} */ ([sort, t(`sort.${sort}`)]));
    // Tags of one kind are rarely tags of another.
    this.kind = select(t("library.kind"), kinds, state.kind, (kind) => store.set({ kind, tags: [] }));
    this.sort = select(t("library.sort"), sorts, state.sort, (sort) => store.set({ sort }));
    this.element = h(
      "div",
      { class: "ca-toolbar", role: "search" },
      h("div", { class: "ca-toolbar-row" }, navigation, this.search.element, this.search.help),
      this.search.error,
      h(
        "div",
        { class: "ca-toolbar-row" },
        this.kind,
        this.sort,
        h("span", { class: "ca-spacer" }),
        this.filters,
        this.stack,
        this.view,
        iconButton("upload", t("library.upload"), upload),
      ),
    );
    store.subscribe(() => this.#show());
    this.#show();
  }

  #show() {
    const { filters, kind, view, isStacked } = this.#store.state;
    const count = Object.keys(filters).filter((name) => !PLACE_FILTERS.has(name)).length;
    this.filterCount.textContent = String(count);
    this.filterCount.hidden = count === 0;
    const label = this.#t("filter.title");
    this.filters.setAttribute("aria-label", count === 0 ? label : `${label}: ${this.#t("filter.count", { count })}`);
    this.kind.value = kind;
    for (const option of this.sort.options) option.hidden = option.value === "collection" && !("collection" in filters);
    this.sort.value = effectiveSort(this.#store.state);
    setPressed(this.stack, isStacked);
    setPressed(this.view, view === "list");
  }

  /** Show the list of stacks also from within one. */
  #toggleStack() {
    const { isStacked, filters } = this.#store.state;
    const { job_id: _, ...others } = filters;
    this.#store.set({ isStacked: !isStacked, filters: isStacked ? filters : others });
  }

  #toggleView() {
    this.#store.set({ view: this.#store.state.view === "list" ? "grid" : "list" });
  }
}
