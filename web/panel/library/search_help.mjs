/** The help with the search box: examples, which a click tries out. */

/** @import { PanelContext } from "../types.d.ts" */
/** @import { QueryStore } from "./query.mjs" */

import { iconButton } from "../shared/buttons.mjs";
import { h, uniqueId } from "../shared/dom.mjs";

/** Examples by the text that explains them. */
const EXAMPLES = /** @type {const} */ ({
  words: ["red dragon"],
  whole: ['"red" dragon'],
  without: ["castle -blurry"],
  prompt: ["prompt:castle", "negative:people"],
  model: ["model:flux", "lora:ink", "<lora:ink:0.8>"],
  seed: ["seed:42"],
  node: ["node:KSampler"],
  type: ["type:video", "type:png"],
  has: ["has:workflow", "has:rating"],
  folder: ["folder:2026-01"],
  tag: ["tag:portrait"],
  rating: ["rating:>=4", "rating:3..5"],
});

export class SearchHelp {
  #onToggle;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {(isOpen: boolean) => void} onToggle called when it opens or closes
   */
  constructor({ t }, store, onToggle) {
    this.#onToggle = onToggle;
    /** @param {string} text */
    const example = (text) =>
      h("button", { class: "ca-chip", type: "button", onclick: () => store.set({ text }) }, h("code", {}, text));
    /** @param {keyof typeof EXAMPLES} name */
    const row = (name) => [h("dt", {}, EXAMPLES[name].map(example)), h("dd", {}, t(`searchHelp.${name}`))];
    this.element = h(
      "section",
      { class: "ca-filter-section", id: uniqueId("search-help"), "aria-label": t("searchHelp.title"), tabindex: "-1" },
      h(
        "div",
        { class: "ca-filter-head" },
        h("h3", {}, t("searchHelp.title")),
        iconButton("close", t("common.close"), () => this.toggle(false)),
      ),
      h(
        "div",
        { class: "ca-search-help" },
        h("p", {}, t("searchHelp.all")),
        h("dl", {}, /** @type {(keyof typeof EXAMPLES)[]} */ (Object.keys(EXAMPLES)).flatMap(row)),
        h("p", {}, t("searchHelp.pasted")),
      ),
    );
    this.element.hidden = true;
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      this.toggle(false);
    });
  }

  /**
   * Open or close the help.
   *
   * @param {boolean} isOpen
   */
  toggle(isOpen = this.element.hidden === true) {
    if (this.element.hidden !== isOpen) return;
    this.element.hidden = !isOpen;
    this.#onToggle(isOpen);
    if (isOpen) this.element.focus({ preventScroll: true });
  }
}
