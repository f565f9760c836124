/** A sheet over a tab's list that shows one of its entries. Escape and the back button close it. */

/** @import { Child } from "./dom.mjs" */
/** @import { Translate } from "../types.d.ts" */

import { h, setChildren } from "./dom.mjs";
import { button } from "./buttons.mjs";
import { errorPlaceholder, loadingPlaceholder } from "./placeholders.mjs";
import { Press } from "./press.mjs";

export class Drawer {
  #t;
  #load;
  #onClose;
  #press;
  /** @type {string | null} */
  #id = null;
  #loads = 0; // the last of which counts

  /**
   * @param {Translate} t
   * @param {string} label the name for screen readers
   * @param {(id: string) => Promise<Child[]>} load returns the content for an entry
   * @param {() => void} onClose returns the focus to the list
   */
  constructor(t, label, load, onClose) {
    this.#t = t;
    this.#load = load;
    this.#onClose = onClose;
    this.element = h("div", { class: "ca-detail", role: "dialog", "aria-label": label, tabindex: "-1" });
    this.element.hidden = true;
    this.#press = new Press(this.element);
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented) return;
      event.preventDefault();
      event.stopPropagation();
      this.close();
    });
  }

  /**
   * Show an entry.
   *
   * @param {string} id
   */
  async open(id) {
    this.#id = id;
    this.#show(loadingPlaceholder(this.#t));
    await this.refresh();
  }

  /** Load the entry again, if one is shown. A response that arrives after a later request or the end is dropped. */
  async refresh() {
    const id = this.#id;
    if (id === null) return;
    const load = (this.#loads += 1);
    const content = await this.#contentOf(id);
    await this.#press.released(); // a click must reach the button on which it began
    if (load === this.#loads && id === this.#id) this.#show(content);
  }

  /** @param {string} id */
  async #contentOf(id) {
    try {
      return await this.#load(id);
    } catch (error) {
      return errorPlaceholder(this.#t, error, () => this.refresh());
    }
  }

  close() {
    if (this.#id === null) return;
    this.#id = null;
    this.element.hidden = true;
    this.element.replaceChildren(); // videos stop
    this.#onClose();
  }

  /** @param {Child | Child[]} content */
  #show(content) {
    const back = button("back", this.#t("detail.back"), () => this.close(), { kind: "ca-plain" });
    const wasOpen = !this.element.hidden;
    setChildren(
      this.element,
      h("div", { class: "ca-detail-header" }, back),
      h("div", { class: "ca-detail-body" }, content),
    );
    this.element.hidden = false;
    // A refresh must not take the focus from a field in the drawer.
    if (!wasOpen || !this.element.contains(document.activeElement)) this.element.focus({ preventScroll: true });
  }
}
