/**
 * The tags of the listed assets, with counts, in two rows; a button shows all. Choosing tags narrows the list, and the
 * counts with it.
 */

/** @import { PanelContext } from "../types.d.ts" */
/** @import { QueryStore } from "./query.mjs" */

import { h, setChildren } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { isAborted } from "../shared/client.mjs";
import { icon } from "../shared/icons.mjs";
import { filterParams, KINDS } from "./query.mjs";

const FETCH_LIMIT = 60;
const COLLAPSED_ROWS = 2;

export class TagFacets {
  #context;
  #store;
  #more;
  /** @type {[tag: string, count: number][]} most frequent first */
  #counts = [];
  /** @type {AbortController | null} */
  #request = null;
  #isExpanded = false;
  #width = 0;
  /** @type {HTMLElement[]} tags that are not chosen */
  #others = [];

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   */
  constructor(context, store) {
    this.#context = context;
    this.#store = store;
    const label = context.t("library.tags");
    this.element = h("div", { class: "ca-tag-facets", role: "group", "aria-label": label });
    this.#more = h("button", { class: "ca-chip ca-more", type: "button", onclick: () => this.#toggleExpanded() });
    new ResizeObserver(([{ contentRect }]) => this.#onWidth(contentRect.width)).observe(this.element);
  }

  /** Load the counts for the current query. Errors are left to the list, which fails for the same reason. */
  async refresh() {
    this.#request?.abort();
    const { signal } = (this.#request = new AbortController());
    const query = filterParams(this.#store.state);
    query.set("limit", String(FETCH_LIMIT));
    try {
      const { tag_counts: counts } = await this.#context.client.get("/assets/tags/refine", { query, signal });
      this.#counts = Object.entries(counts).filter(([tag]) => isFacet(tag));
    } catch (error) {
      if (isAborted(error)) return;
      this.#counts = [];
    }
    this.#show();
  }

  #show() {
    const { tags } = this.#store.state;
    const counts = new Map(this.#counts);
    const others = this.#counts.filter(([tag]) => !tags.includes(tag));
    const { activeElement } = document;
    const focusedTag = activeElement instanceof HTMLElement ? activeElement.dataset.tag : undefined;
    const chosen = tags.map((tag) => this.#chip(tag, counts.get(tag) ?? 0, true));
    this.#others = others.map(([tag, count]) => this.#chip(tag, count, false));
    const chips = [...chosen, ...this.#others];
    setChildren(this.element, chips, this.#more);
    this.element.hidden = chips.length === 0;
    this.#fit();
    if (focusedTag !== undefined) chips.find((chip) => chip.dataset.tag === focusedTag)?.focus();
  }

  /** @param {number} width */
  #onWidth(width) {
    if (width === this.#width) return; // the height changes with the chips
    this.#width = width;
    this.#fit();
  }

  /** Hide the tags beyond the collapsed rows. Chosen tags always show. */
  #fit() {
    if (this.#width === 0) return; // not displayed, so nothing can be measured
    const others = this.#others;
    for (const chip of others) chip.hidden = false;
    const [last] = others.slice(-1);
    const end = this.#lastTop();
    this.#more.hidden = !last || last.offsetTop <= end;
    if (this.#more.hidden || this.#isExpanded) return this.#labelMore(0);
    let shown = others.filter((chip) => chip.offsetTop <= end).length;
    for (const chip of others.slice(shown)) chip.hidden = true;
    this.#labelMore(others.length - shown);
    while (shown > 0 && this.#more.offsetTop > end) { // until there is room for the button
      others[--shown].hidden = true;
      this.#labelMore(others.length - shown);
    }
  }

  /** Return the top of the last row while collapsed. */
  #lastTop() {
    const chips = /** @type {NodeListOf<HTMLElement>} */ (this.element.querySelectorAll("[data-tag]"));
    const tops = new Set(Array.from(chips, (chip) => chip.offsetTop));
    return [...tops].slice(0, COLLAPSED_ROWS).pop() ?? 0;
  }

  /** @param {number} count of the tags that are hidden, 0 while expanded */
  #labelMore(count) {
    const { t, language } = this.#context;
    this.#more.setAttribute("aria-expanded", String(this.#isExpanded));
    this.#more.textContent = this.#isExpanded
      ? t("library.fewerTags")
      : t("library.moreTags", { count: format.number(count, language) });
  }

  /**
   * @param {string} tag
   * @param {number} count
   * @param {boolean} isChosen
   */
  #chip(tag, count, isChosen) {
    const attributes = { class: "ca-chip", type: "button", "aria-pressed": String(isChosen), dataset: { tag } };
    return h(
      "button",
      { ...attributes, onclick: () => this.#choose(tag, !isChosen) },
      isChosen && icon("check"),
      h("span", { class: "ca-chip-name" }, tag),
      h("span", { class: "ca-chip-count" }, format.number(count, this.#context.language)),
    );
  }

  /**
   * @param {string} tag
   * @param {boolean} isChosen
   */
  #choose(tag, isChosen) {
    const { tags } = this.#store.state;
    this.#store.set({ tags: isChosen ? [...tags, tag] : tags.filter((each) => each !== tag) });
  }

  #toggleExpanded() {
    this.#isExpanded = !this.#isExpanded;
    this.#fit();
  }
}

/**
 * Return whether a tag is shown: kinds have a select box of their own, and model types repeat the categories.
 *
 * @param {string} tag
 */
export function isFacet(tag) {
  return !(/** @type {readonly string[]} */ (KINDS).includes(tag)) && !tag.startsWith("model_type:") &&
    tag !== "missing";
}
