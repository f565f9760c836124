/** A filter by a range: a least and a most value, numbers or days. */

/** @import { PanelContext } from "../types.d.ts" */
/** @import { QueryStore } from "./query.mjs" */

import { h, uniqueId } from "../shared/dom.mjs";

/**
 * The parameters of both ends. Numbers are shown in `unit`, of which one is `factor` of the parameter's. `replaces` are
 * parameters that a range removes.
 * @typedef {{
 *   label: string,
 *   from: string,
 *   to: string,
 *   type: "number" | "date",
 *   unit?: string,
 *   factor?: number,
 *   replaces?: readonly string[],
 * }} RangeFilter
 */

export class FilterRange {
  #context;
  #store;
  #filter;
  #shownParameters = ""; // the ones of the fields, to tell a change from elsewhere

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {RangeFilter} filter
   */
  constructor(context, store, filter) {
    const { t } = context;
    this.#context = context;
    this.#store = store;
    this.#filter = filter;
    const { label, type, unit } = filter;
    const id = uniqueId("range-error");
    /** @param {string} end the text of this end */
    const field = (end) =>
      h("input", {
        class: "ca-input",
        type,
        ...(type === "number" ? { min: "0", step: "any", inputmode: "decimal" } : {}),
        "aria-label": `${label}: ${end}`,
        "aria-describedby": id,
        placeholder: end,
        onchange: () => this.#apply(),
      });
    this.from = field(t("filter.least"));
    this.to = field(t("filter.most"));
    this.error = h("p", { class: "ca-failure", role: "alert", id });
    this.error.hidden = true;
    this.fields = h("div", { class: "ca-filter-range" }, this.from, "–", this.to, unit && h("span", {}, unit));
    this.element = h(
      "div",
      { class: "ca-filter", role: "group", "aria-label": label, dataset: { filter: filter.from } },
      h("div", { class: "ca-filter-label", "aria-hidden": "true" }, label),
      h("div", {}, this.fields, this.error),
    );
  }

  /** Show the values of the query if they have changed. Others stay, also wrong ones, until the user corrects them. */
  show() {
    const { filters } = this.#store.state;
    const parameters = [filters[this.#filter.from], filters[this.#filter.to]];
    if (this.#shownParameters === String(parameters)) return;
    this.#shownParameters = String(parameters);
    this.from.value = this.#shown(parameters[0]);
    this.to.value = this.#shown(parameters[1]);
    this.#showError("");
  }

  #apply() {
    const { from, to, replaces = [] } = this.#filter;
    const { t } = this.#context;
    // A value that a browser cannot read is empty.
    if (this.from.validity.badInput || this.to.validity.badInput) return this.#showError(t("filter.unreadable"));
    const [least, most] = [this.#parameter(this.from.value), this.#parameter(this.to.value)];
    if (this.from.validity.rangeUnderflow || this.to.validity.rangeUnderflow) {
      return this.#showError(t("filter.negative"));
    }
    if (least !== null && most !== null && this.#isBefore(most, least)) return this.#showError(t("filter.reversed"));
    this.#showError("");
    const replaced = least === null && most === null ? [] : replaces.map((name) => [name, null]);
    this.#store.setFilters({ ...Object.fromEntries(replaced), [from]: least, [to]: most });
  }

  /** @param {string} text */
  #showError(text) {
    this.error.textContent = text;
    this.error.hidden = text === "";
    for (const field of [this.from, this.to]) field.setAttribute("aria-invalid", String(text !== ""));
  }

  /**
   * @param {string} one
   * @param {string} other
   */
  #isBefore(one, other) {
    return this.#filter.type === "date" ? one < other : Number(one) < Number(other);
  }

  /** @param {string} value of a field */
  #parameter(value) {
    const { type, factor = 1 } = this.#filter;
    if (value === "") return null;
    return type === "date" ? value : String(Math.round(Number(value) * factor));
  }

  /** @param {string | readonly string[] | undefined} parameter */
  #shown(parameter) {
    const { type, factor = 1 } = this.#filter;
    if (parameter === undefined) return "";
    const text = String(parameter);
    return type === "date" ? text.slice(0, 10) : String(Number(text) / factor);
  }
}
