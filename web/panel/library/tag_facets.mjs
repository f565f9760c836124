/** The tags of the listed assets, with counts. Choosing tags narrows the list, and the counts with it. */

/** @import { PanelContext } from "../types.d.ts" */
/** @import { QueryStore } from "./query.mjs" */

import { h, setChildren } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { isAborted } from "../shared/client.mjs";
import { icon } from "../shared/icons.mjs";
import { filterParams, KINDS } from "./query.mjs";

const FETCH_LIMIT = 60;
const COLLAPSED_COUNT = 10;

export class TagFacets {
  #context;
  #store;
  /** @type {[tag: string, count: number][]} most frequent first */
  #counts = [];
  /** @type {AbortController | null} */
  #request = null;
  #isExpanded = false;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   */
  constructor(context, store) {
    this.#context = context;
    this.#store = store;
    const label = context.t("library.tags");
    this.element = h("div", { class: "ca-tag-facets", role: "group", "aria-label": label });
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
    const visible = this.#isExpanded ? others : others.slice(0, COLLAPSED_COUNT);
    const { activeElement } = document;
    const focusedTag = activeElement instanceof HTMLElement ? activeElement.dataset.tag : undefined;
    const chips = [
      ...tags.map((tag) => this.#chip(tag, counts.get(tag) ?? 0, true)),
      ...visible.map(([tag, count]) => this.#chip(tag, count, false)),
    ];
    const more = others.length > COLLAPSED_COUNT && this.#expandButton(others.length - COLLAPSED_COUNT);
    setChildren(this.element, chips, more);
    this.element.hidden = chips.length === 0;
    if (focusedTag !== undefined) chips.find((chip) => chip.dataset.tag === focusedTag)?.focus();
  }

  /** @param {number} count of the tags that are not shown while collapsed */
  #expandButton(count) {
    const { t, language } = this.#context;
    const label = this.#isExpanded
      ? t("library.fewerTags")
      : t("library.moreTags", { count: format.number(count, language) });
    const attributes = { class: "ca-chip ca-more", type: "button", "aria-expanded": String(this.#isExpanded) };
    return h("button", { ...attributes, onclick: () => this.#toggleExpanded() }, label);
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
    this.#show();
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
