/** The row above the library: search, kind, order, view, upload. */

/** @import { PanelContext } from "../types.d.ts" */
/** @import { Query, QueryStore } from "./query.mjs" */

import { debounce, h, uniqueId } from "../shared/dom.mjs";
import { iconButton, searchBox, select, setPressed } from "../shared/buttons.mjs";
import { KINDS, SORTS } from "./query.mjs";

const SEARCH_DELAY_MS = 180;

export class Toolbar {
  #store;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {() => void} upload lets the user choose files
   */
  constructor({ t }, store, upload) {
    this.#store = store;
    const { state } = store;
    const attributes = { id: uniqueId("search"), spellcheck: "false" };
    const { element, input } = searchBox(t("library.search"), t("library.searchHint"), attributes);
    this.search = input;
    input.addEventListener("input", debounce(() => store.set({ text: input.value }), SEARCH_DELAY_MS));
    input.addEventListener("keydown", (event) => this.#clearOnEscape(event));
    this.favourites = iconButton("heart", t("library.favourites"), () => this.#toggleFavourites());
    this.view = iconButton("list", t("library.asList"), () => this.#toggleView());
    const kinds = KINDS.map((kind) => /** @type {const} */ ([kind, t(`kind.${kind}`)]));
    const sortNames = /** @type {Query["sort"][]} */ (Object.keys(SORTS).filter((sort) => sort !== "collection"));
    const sorts = sortNames.map((sort) => /** @type {const} */ ([sort, t(`sort.${sort}`)]));
    this.element = h(
      "div",
      { class: "ca-toolbar", role: "search" },
      element,
      h(
        "div",
        { class: "ca-toolbar-row" },
        // Tags of one kind are rarely tags of another.
        select(t("library.kind"), kinds, state.kind, (kind) => store.set({ kind, tags: [] })),
        select(t("library.sort"), sorts, state.sort, (sort) => store.set({ sort })),
        h("span", { class: "ca-spacer" }),
        this.favourites,
        this.view,
        iconButton("upload", t("library.upload"), upload),
      ),
    );
    store.subscribe(() => this.#show());
    this.#show();
  }

  #show() {
    const { filters, view, text } = this.#store.state;
    setPressed(this.favourites, filters.favorite === "true");
    setPressed(this.view, view === "list");
    if (document.activeElement !== this.search) this.search.value = text; // not while the user types
  }

  #toggleFavourites() {
    this.#store.setFilters({ favorite: this.#store.state.filters.favorite === "true" ? null : "true" });
  }

  #toggleView() {
    this.#store.set({ view: this.#store.state.view === "list" ? "grid" : "list" });
  }

  /** @param {KeyboardEvent} event */
  #clearOnEscape(event) {
    if (event.key !== "Escape" || this.search.value === "") return;
    event.stopPropagation();
    this.search.value = "";
    this.#store.set({ text: "" });
  }
}
