/** The tags of what is listed, with counts. Each that is chosen narrows the list, and the counts with it. */

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
  #counts = [];
  #request = null;
  #isOpen = false;

  constructor(context, store) {
    this.#context = context;
    this.#store = store;
    const label = context.t("library.tags");
    this.element = h("div", { class: "ca-tag-facets", role: "group", "aria-label": label });
  }

  /** Count anew for the query as it is. What could not be counted is not shown: the list tells what is wrong. */
  async refresh() {
    this.#request?.abort();
    const request = (this.#request = new AbortController());
    const query = filterParams(this.#store.state);
    query.set("limit", FETCH_LIMIT);
    try {
      const answer = await this.#context.client.get("/assets/tags/refine", { query, signal: request.signal });
      this.#counts = Object.entries(answer.tag_counts).filter(([tag]) => isFacet(tag));
    } catch (error) {
      if (isAborted(error)) return;
      this.#counts = [];
    }
    this.#show();
  }

  #show() {
    const { t, language } = this.#context;
    const { tags } = this.#store.state;
    const counts = new Map(this.#counts);
    const others = this.#counts.filter(([tag]) => !tags.includes(tag));
    const shown = this.#isOpen ? others : others.slice(0, COLLAPSED_COUNT);
    const focused = document.activeElement?.dataset?.tag;
    setChildren(
      this.element,
      tags.map((tag) => this.#chip(tag, counts.get(tag) ?? 0, true)),
      shown.map(([tag, count]) => this.#chip(tag, count, false)),
      others.length > COLLAPSED_COUNT &&
        h(
          "button",
          {
            class: "ca-chip ca-more",
            type: "button",
            "aria-expanded": String(this.#isOpen),
            onclick: () => this.#toggle(),
          },
          this.#isOpen
            ? t("library.fewerTags")
            : t("library.moreTags", { count: format.number(others.length - COLLAPSED_COUNT, language) }),
        ),
    );
    this.element.hidden = this.element.childElementCount === 0;
    if (focused !== undefined) this.#chips().find((chip) => chip.dataset.tag === focused)?.focus();
  }

  #chips() {
    return [...this.element.querySelectorAll(".ca-chip")];
  }

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

  #choose(tag, isChosen) {
    const { tags } = this.#store.state;
    this.#store.set({ tags: isChosen ? [...tags, tag] : tags.filter((each) => each !== tag) });
  }

  #toggle() {
    this.#isOpen = !this.#isOpen;
    this.#show();
  }
}

/** Kinds have their own switch, and the loaders' types say what the categories say. */
function isFacet(tag) {
  return !KINDS.includes(tag) && !tag.startsWith("model_type:") && tag !== "missing";
}
