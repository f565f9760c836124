/** The filters that narrow the list, as chips that remove them, and a mark that the list is filtered. */

/** @import { PanelContext } from "../types.d.ts" */
/** @import { QueryStore } from "./query.mjs" */

import { h, setChildren } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import { activeFilterText } from "./filter_texts.mjs";
import { isFilteredInPlace, PLACE_FILTERS, withoutFilters } from "../navigation/place.mjs";

export class ActiveFilters {
  #context;
  #store;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {() => void} onEmpty takes the focus from the last chip
   */
  constructor(context, store, onEmpty) {
    const { t } = context;
    this.#context = context;
    this.#store = store;
    this.onEmpty = onEmpty;
    /** The chips, below the search box. */
    this.element = h("div", { class: "ca-active-filters", role: "group", "aria-label": t("filter.activeTitle") });
    /** The mark and "Clear all", beside the number of assets. */
    this.mark = h(
      "div",
      { class: "ca-filtered" },
      h("span", {}, t("filter.filtered")),
      h(
        "button",
        { class: "ca-chip ca-clear-filters", type: "button", onclick: () => this.#clear() },
        t("filter.clear"),
      ),
    );
    store.subscribe(() => this.#show());
    this.#show();
  }

  #show() {
    const { filters } = this.#store.state;
    const own = Object.entries(filters).filter(([name]) => !PLACE_FILTERS.has(name));
    const chips = own.map(([name, value]) => this.#chip(name, value));
    const focused = [...this.element.children].findIndex((chip) => chip === document.activeElement);
    setChildren(this.element, chips);
    this.element.hidden = chips.length === 0;
    this.mark.hidden = !isFilteredInPlace(this.#store.state);
    if (focused < 0) return;
    if (chips.length > 0) chips[Math.min(focused, chips.length - 1)].focus();
    else this.onEmpty();
  }

  /**
   * @param {string} name
   * @param {string | readonly string[]} value
   */
  #chip(name, value) {
    const text = activeFilterText(this.#context, name, value);
    const label = this.#context.t("filter.remove", { filter: text });
    return h(
      "button",
      {
        class: "ca-chip ca-active-filter",
        type: "button",
        "aria-label": label,
        title: label,
        dataset: { filter: name },
        onclick: () => this.#store.setFilters({ [name]: null }),
      },
      h("span", { class: "ca-chip-name" }, text),
      icon("close"),
    );
  }

  #clear() {
    this.#store.set(withoutFilters(this.#store.state));
    this.onEmpty();
  }
}
