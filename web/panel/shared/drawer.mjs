/** A sheet over a tab's list that shows one of its entries; Escape and the back button close it. */

import { h, setChildren } from "./dom.mjs";
import { button } from "./buttons.mjs";
import { errorPlaceholder, loadingPlaceholder } from "./placeholders.mjs";

export class Drawer {
  #t;
  #load;
  #closed;
  #id = null;

  /** `load(id)` answers what shows an entry. `closed()` is called when it has been closed: the list takes the focus again. */
  constructor(t, label, load, closed) {
    this.#t = t;
    this.#load = load;
    this.#closed = closed;
    this.element = h("div", { class: "ca-detail", role: "dialog", "aria-label": label, tabindex: "-1" });
    this.element.hidden = true;
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented) return;
      event.preventDefault();
      event.stopPropagation();
      this.close();
    });
  }

  /** Show an entry, known by its id. */
  async open(id) {
    this.#id = id;
    this.#show(loadingPlaceholder(this.#t));
    await this.refresh();
  }

  /** Show how it is now, if one is shown. An answer that comes when it is no longer shows nothing. */
  async refresh() {
    const id = this.#id;
    if (id === null) return;
    try {
      const content = await this.#load(id);
      if (id === this.#id) this.#show(content);
    } catch (error) {
      if (id === this.#id) this.#show(errorPlaceholder(this.#t, error, () => this.refresh()));
    }
  }

  close() {
    if (this.#id === null) return;
    this.#id = null;
    this.element.hidden = true;
    this.element.replaceChildren(); // videos stop
    this.#closed();
  }

  #show(content) {
    const back = button("back", this.#t("detail.back"), () => this.close(), { kind: "ca-plain" });
    const wasOpen = !this.element.hidden;
    setChildren(
      this.element,
      h("div", { class: "ca-detail-header" }, back),
      h("div", { class: "ca-detail-body" }, content),
    );
    this.element.hidden = false;
    if (!wasOpen || !this.element.contains(document.activeElement)) this.element.focus({ preventScroll: true });
  }
}
