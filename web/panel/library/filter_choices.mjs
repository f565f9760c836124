/** Filters that are chosen from a few values, with the number of assets of each. */

/** @import { Facets } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { QueryStore } from "./query.mjs" */

import { h, setChildren } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { joined, valuesOf } from "./listed_values.mjs";

const MOST_SHOWN = 12; // values of a filter without fixed ones, before "more"

/**
 * A filter: the parameter, its values, their texts, and their numbers as far as they are known. With `isMultiple`,
 * several can be chosen. `replaces` are parameters that a choice removes.
 * @typedef {{
 *   name: string,
 *   label: string,
 *   values: (facets: Facets | null) => readonly string[],
 *   text: (value: string) => string,
 *   count?: (facets: Facets, value: string) => number | undefined,
 *   isMultiple?: boolean,
 *   replaces?: readonly string[],
 * }} ChoiceFilter
 */

export class FilterChoices {
  #context;
  #store;
  #filter;
  /** @type {Map<string, HTMLButtonElement>} by value; kept, so that the focus stays where it is */
  #chips = new Map();
  #isExpanded = false;
  /** @type {Facets | null} */
  #facets = null;
  #more;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {ChoiceFilter} filter
   */
  constructor(context, store, filter) {
    this.#context = context;
    this.#store = store;
    this.#filter = filter;
    this.#more = h("button", { class: "ca-chip ca-more", type: "button", onclick: () => this.#toggleExpanded() });
    this.chips = h("div", { class: "ca-filter-choices" });
    const attributes = {
      class: "ca-filter",
      role: "group",
      "aria-label": filter.label,
      dataset: { filter: filter.name },
    };
    this.element = h("div", attributes, h("div", { class: "ca-filter-label", "aria-hidden": "true" }, filter.label), [
      this.chips,
    ]);
  }

  /** @param {Facets | null} facets null while the numbers are not known */
  show(facets) {
    this.#facets = facets;
    const chosen = this.#chosen;
    const values = [...new Set([...chosen, ...this.#filter.values(facets)])];
    if (this.#filter.values(null).length > 0) values.sort(this.#inFixedOrder);
    const visible = this.#isExpanded ? values : values.slice(0, Math.max(MOST_SHOWN, chosen.length));
    const chips = visible.map((value) => this.#chip(value, chosen.includes(value)));
    const hidden = values.length - visible.length;
    this.#showMore(hidden);
    const children = hidden > 0 || this.#isExpanded ? [...chips, this.#more] : chips;
    const isSame = children.length === this.chips.childElementCount &&
      children.every((child, index) => child === this.chips.children[index]);
    if (!isSame) setChildren(this.chips, children); // an element that is put into the page again loses the focus
    this.element.hidden = values.length === 0;
  }

  get #chosen() {
    const value = this.#store.state.filters[this.#filter.name];
    if (value === undefined) return [];
    return this.#filter.isMultiple ? valuesOf(this.#filter.name, value) : [String(value)];
  }

  /** @type {(one: string, other: string) => number} */
  #inFixedOrder = (one, other) => {
    const order = this.#filter.values(null);
    return order.indexOf(one) - order.indexOf(other);
  };

  /**
   * @param {string} value
   * @param {boolean} isChosen
   */
  #chip(value, isChosen) {
    const { text, count } = this.#filter;
    let chip = this.#chips.get(value);
    if (chip === undefined) {
      const name = h("span", { class: "ca-chip-name" }, text(value));
      const number = h("span", { class: "ca-chip-count" });
      chip = h("button", { class: "ca-chip", type: "button", onclick: () => this.#choose(value) }, name, " ", number);
      this.#chips.set(value, chip);
    }
    const found = this.#facets === null ? undefined : count?.(this.#facets, value);
    chip.setAttribute("aria-pressed", String(isChosen));
    chip.classList.toggle("ca-dimmed", found === 0 && !isChosen);
    const number = chip.lastElementChild;
    if (number) number.textContent = found === undefined ? "" : format.number(found, this.#context.language);
    return chip;
  }

  /** @param {string} value */
  #choose(value) {
    const { name, isMultiple, replaces = [] } = this.#filter;
    const before = this.#chosen;
    const isChosen = before.includes(value);
    const others = isMultiple ? before.filter((each) => each !== value) : [];
    const after = isChosen ? others : [...others, value];
    const replaced = Object.fromEntries(replaces.map((each) => [each, null]));
    this.#store.setFilters({ ...replaced, [name]: after.length > 0 ? joined(name, after) : null });
  }

  /** @param {number} hidden */
  #showMore(hidden) {
    const { t, language } = this.#context;
    this.#more.textContent = this.#isExpanded
      ? t("library.fewerTags")
      : t("library.moreTags", { count: format.number(hidden, language) });
    this.#more.setAttribute("aria-expanded", String(this.#isExpanded));
  }

  #toggleExpanded() {
    this.#isExpanded = !this.#isExpanded;
    this.show(this.#facets);
  }
}
