/** The section with the filters of the list, each with the number of assets of every choice. */

/** @import { Facets } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { ChoiceFilter } from "./filter_choices.mjs" */
/** @import { RangeFilter } from "./filter_range.mjs" */
/** @import { QueryStore } from "./query.mjs" */

import { iconButton } from "../shared/buttons.mjs";
import { isAborted } from "../shared/client.mjs";
import { h, uniqueId } from "../shared/dom.mjs";
import { FilterChoices } from "./filter_choices.mjs";
import { filterText } from "./filter_texts.mjs";
import { FilterRange } from "./filter_range.mjs";
import { filterParams } from "./query.mjs";

const KINDS = /** @type {const} */ (["image", "video", "audio", "3d", "model", "text", "other"]);
const STARS = ["1..", "2..", "3..", "4..", "5..", "none"];
const RECENT_DAYS = ["1", "7", "30"];
const BYTES_PER_MB = 1_000_000;

export class FilterSection {
  #context;
  #store;
  #onToggle;
  /** @type {Facets | null} */
  #facets = null;
  /** @type {AbortController | null} */
  #request = null;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {(isOpen: boolean) => void} onToggle called when it opens or closes
   */
  constructor(context, store, onToggle) {
    const { t } = context;
    this.#context = context;
    this.#store = store;
    this.#onToggle = onToggle;
    this.choices = choiceFilters(context).map((filter) => new FilterChoices(context, store, filter));
    this.ranges = rangeFilters(context).map((filter) => new FilterRange(context, store, filter));
    const close = iconButton("close", t("filter.close"), () => this.toggle(false));
    this.element = h(
      "section",
      { class: "ca-filter-section", id: uniqueId("filters"), "aria-label": t("filter.title"), tabindex: "-1" },
      h("div", { class: "ca-filter-head" }, h("h3", {}, t("filter.title")), close),
      h("div", { class: "ca-filter-body" }, this.#rows()),
    );
    this.element.hidden = true;
    this.element.addEventListener("keydown", (event) => this.#onKeyDown(event));
    store.subscribe(() => this.#show());
  }

  get isOpen() {
    return !this.element.hidden;
  }

  /**
   * Open or close the section.
   *
   * @param {boolean} isOpen
   */
  toggle(isOpen = !this.isOpen) {
    this.element.hidden = !isOpen;
    this.#onToggle(isOpen);
    if (!isOpen) return;
    this.#show();
    this.refresh();
    this.element.focus({ preventScroll: true });
  }

  /** Load the numbers for the current query, while the section is open. Errors are left to the list, which fails too. */
  async refresh() {
    this.#request?.abort();
    if (!this.isOpen) return;
    const { signal } = (this.#request = new AbortController());
    try {
      this.#facets = await this.#context.client.get("/assets/facets", {
        query: filterParams(this.#store.state),
        signal,
      });
    } catch (error) {
      if (isAborted(error)) return;
      this.#facets = null;
    }
    this.#show();
  }

  #show() {
    if (!this.isOpen) return;
    for (const choices of this.choices) choices.show(this.#facets);
    for (const range of this.ranges) range.show();
  }

  /** Return the rows: the range of days below the choices of days, the other ranges after the orientation. */
  #rows() {
    const [days, ...ranges] = this.ranges.map((range) => range.element);
    return this.choices.flatMap((choices) => {
      const { filter } = choices.element.dataset;
      if (filter === "created_days") return [choices.element, days];
      return filter === "orientation" ? [choices.element, ...ranges] : [choices.element];
    });
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    this.toggle(false);
  }
}

/**
 * Return the filters with choices, in the order in which they are shown.
 *
 * @param {PanelContext} context
 * @returns {ChoiceFilter[]}
 */
function choiceFilters(context) {
  const { t } = context;
  /**
   * @param {string} name
   * @param {readonly string[]} values
   * @param {Partial<ChoiceFilter>} [more]
   */
  const choice = (name, values, more = {}) => ({
    name,
    label: t(`filter.${name}`),
    values: () => values,
    text: (/** @type {string} */ value) => filterText(context, name, value),
    ...more,
  });
  /** @type {(flag: string) => "true" | "false"} */
  const key = (flag) => flag === "true" ? "true" : "false";
  return [
    choice("kind", KINDS, {
      isMultiple: true,
      count: ({ kinds }, kind) => Object.entries(kinds).find(([name]) => name === kind)?.[1] ?? 0,
    }),
    choice("rating", STARS, { count: ({ ratings }, stars) => countOfStars(ratings, stars) }),
    choice("favorite", ["true", "false"], { count: ({ favorites }, flag) => favorites[key(flag)] }),
    choice("created_days", RECENT_DAYS, { replaces: ["created_from", "created_to"] }),
    choice("base_model", [], {
      isMultiple: true,
      text: (name) => name,
      values: (facets) => facets?.base_models.map(({ name }) => name) ?? [],
      count: ({ base_models: models }, model) => models.find(({ name }) => name === model)?.count ?? 0,
    }),
    choice("orientation", ["landscape", "portrait", "square"], {
      count: ({ orientations }, name) => Object.entries(orientations).find(([each]) => each === name)?.[1] ?? 0,
    }),
    choice("has_workflow", ["true", "false"], { count: ({ has_workflow: counts }, flag) => counts?.[key(flag)] }),
    choice("used", ["true", "false"]),
    choice("missing", ["include", "only"]),
  ];
}

/**
 * Return the filters with ranges; that of days is the first.
 *
 * @param {PanelContext} context
 * @returns {RangeFilter[]}
 */
function rangeFilters({ t }) {
  return [
    { label: t("filter.days"), from: "created_from", to: "created_to", type: "date", replaces: ["created_days"] },
    { label: t("filter.size"), from: "size_min", to: "size_max", type: "number", unit: "MB", factor: BYTES_PER_MB },
    { label: t("filter.width"), from: "width_min", to: "width_max", type: "number", unit: "px" },
    { label: t("filter.height"), from: "height_min", to: "height_max", type: "number", unit: "px" },
  ];
}

/**
 * Return the number of assets with at least so many stars ("4.."), or without any ("none").
 *
 * @param {Facets["ratings"]} ratings
 * @param {string} stars
 */
function countOfStars(ratings, stars) {
  if (stars === "none") return ratings.none;
  const { none: _, ...rated } = ratings;
  return Object.entries(rated).reduce((sum, [each, count]) => Number(each) >= parseInt(stars) ? sum + count : sum, 0);
}
