/** The report of unused models: their number and size, by category, above the list of models. */

/** @import { Facets } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { Query, QueryStore } from "./query.mjs" */

import { setPressed } from "../shared/buttons.mjs";
import { isAborted } from "../shared/client.mjs";
import { h, setChildren } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";

const MODEL_TYPE = "model_type:";
const UNUSED = { include_tags: "models", used: "false", missing: "exclude" };

export class UnusedModels {
  #context;
  #store;
  /** @type {AbortController | null} */
  #request = null;
  /** @type {Facets | null} */
  #found = null;
  /** @type {Query["sort"] | null} the order of the list before the report */
  #sortBefore = null;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   */
  constructor(context, store) {
    this.#context = context;
    this.#store = store;
    this.element = h("div", { class: "ca-unused", hidden: true });
  }

  /** Show the report for the query, and count the unused models again while the list shows models. */
  async refresh() {
    this.#request?.abort();
    this.#show();
    if (this.#store.state.kind !== "models") return;
    const { signal } = (this.#request = new AbortController());
    try {
      this.#found = await this.#context.client.get("/assets/facets", { query: UNUSED, signal });
      this.#show();
    } catch (error) {
      if (isAborted(error)) return;
      this.#found = null; // the list shows that the server cannot be reached
      this.#show();
    }
  }

  #show() {
    const { state } = this.#store;
    const found = this.#found;
    this.element.hidden = state.kind !== "models" || found === null || found.total === 0;
    if (found === null || this.element.hidden) return;
    if (state.filters.used === "false") this.#showReport(found);
    else this.#showSummary(found);
  }

  /** @param {Facets} found */
  #showSummary(found) {
    const open = () => {
      this.#sortBefore = this.#store.state.sort;
      this.#store.set({ text: "", tags: [], filters: Object.freeze({ used: "false" }), sort: "largest" });
    };
    setChildren(this.element, this.#chip(this.#context.t("unused.summary", this.#values(found)), open));
  }

  /** @param {Facets} found */
  #showReport(found) {
    const { t } = this.#context;
    const { tags } = this.#store.state;
    const chips = found.categories.map((category) => {
      const tag = MODEL_TYPE + category.name;
      const isOn = tags.includes(tag);
      const label = t("unused.category", { name: category.name, ...this.#values(category) });
      const chip = this.#chip(label, () => this.#store.set({ tags: isOn ? [] : [tag] }));
      setPressed(chip, isOn);
      return chip;
    });
    const leave = () => {
      const { used: _, ...filters } = this.#store.state.filters;
      this.#store.set({ filters: Object.freeze(filters), tags: [], sort: this.#sortBefore ?? this.#store.state.sort });
    };
    setChildren(
      this.element,
      h("p", {}, t("unused.report", this.#values(found)), " ", h("span", { class: "ca-muted" }, t("unused.hint"))),
      h("div", { class: "ca-filters" }, chips, this.#chip(t("unused.leave"), leave)),
    );
  }

  /** @param {{ total?: number, count?: number, total_size?: number, size?: number }} found */
  #values({ total, count = total ?? 0, total_size: totalSize, size = totalSize ?? 0 }) {
    const { language } = this.#context;
    return { count, number: format.number(count, language), size: format.bytes(size, language) };
  }

  /**
   * @param {string} label
   * @param {() => void} onclick
   */
  #chip(label, onclick) {
    return h("button", { class: "ca-chip", type: "button", onclick }, label);
  }
}
