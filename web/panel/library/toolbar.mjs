/** The row above the library: search, kind, sort, view. */

import { debounce, h, uniqueId } from "../shared/dom.mjs";
import { iconButton, select, setPressed } from "../shared/buttons.mjs";
import { icon } from "../shared/icons.mjs";
import { KINDS, SORTS } from "./query.mjs";

const SEARCH_DELAY_MS = 180;

export class Toolbar {
  #store;

  /** `store` holds the query and the view; `upload` is called when files are to be chosen. */
  constructor({ t }, store, upload) {
    this.#store = store;
    const { state } = store;
    this.search = h("input", {
      class: "ca-search-input",
      id: uniqueId("search"),
      type: "search",
      placeholder: t("library.searchHint"),
      "aria-label": t("library.search"),
      autocomplete: "off",
      spellcheck: "false",
    });
    const search = debounce(() => store.set({ text: this.search.value }), SEARCH_DELAY_MS);
    this.search.addEventListener("input", search);
    this.search.addEventListener("keydown", (event) => this.#clearOnEscape(event));
    this.favourites = iconButton("heart", t("library.favourites"), () => this.#toggleFavourites());
    this.view = iconButton("list", t("library.asList"), () => this.#toggleView());
    const kinds = KINDS.map((kind) => [kind, t(`kind.${kind}`)]);
    const sorts = Object.keys(SORTS).map((sort) => [sort, t(`sort.${sort}`)]);
    this.element = h(
      "div",
      { class: "ca-toolbar", role: "search" },
      h("div", { class: "ca-search" }, icon("search"), this.search),
      h(
        "div",
        { class: "ca-toolbar-row" },
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
    const { favourites, view, text } = this.#store.state;
    setPressed(this.favourites, favourites);
    setPressed(this.view, view === "list");
    if (document.activeElement !== this.search) this.search.value = text;
  }

  #toggleFavourites() {
    this.#store.set({ favourites: !this.#store.state.favourites });
  }

  #toggleView() {
    this.#store.set({ view: this.#store.state.view === "list" ? "grid" : "list" });
  }

  #clearOnEscape(event) {
    if (event.key !== "Escape" || this.search.value === "") return;
    event.stopPropagation();
    this.search.value = "";
    this.#store.set({ text: "" });
  }
}
