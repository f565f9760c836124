/** A sheet over a tab's list that shows one of its entries; Escape and the back button close it. */

import { fill, h } from "./dom.mjs";
import { button } from "./buttons.mjs";

export class Drawer {
  #t;

  /** `closed()` is called when it has been closed: the list takes the focus again. */
  constructor(t, label, closed) {
    this.#t = t;
    this.closed = closed;
    this.element = h("div", { class: "ca-detail", role: "dialog", "aria-label": label, tabindex: "-1" });
    this.element.hidden = true;
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented) return;
      event.preventDefault();
      event.stopPropagation();
      this.close();
    });
  }

  get isOpen() {
    return !this.element.hidden;
  }

  /** Show content; `tools` are put beside the back button. */
  show(content, tools = []) {
    const back = button("back", this.#t("detail.back"), () => this.close(), { kind: "ca-plain" });
    const head = h("div", { class: "ca-detail-head" }, back, h("span", { class: "ca-gap" }), tools);
    const wasOpen = this.isOpen;
    fill(this.element, head, h("div", { class: "ca-detail-body" }, content));
    this.element.hidden = false;
    if (!wasOpen || !this.element.contains(document.activeElement)) this.element.focus({ preventScroll: true });
  }

  close() {
    if (!this.isOpen) return;
    this.element.hidden = true;
    this.element.replaceChildren(); // videos stop
    this.closed();
  }
}
