/** Short notices at the foot of the panel: what was done, with a way back; what failed. */

import { h } from "./dom.mjs";
import { button, iconButton } from "./buttons.mjs";

const SHOWN_MS = 8000;

export class Notices {
  #t;
  #timer = 0;

  constructor(t) {
    this.#t = t;
    this.element = h("div", { class: "ca-notices", role: "status", "aria-live": "polite" });
  }

  /** Show a notice; with an action it offers a button for it. */
  show(text, undo = null) {
    this.#put("", text, undo);
  }

  /** Say that something failed, and why. */
  failed(what, error) {
    console.warn("comfy-assets:", error);
    this.#put("ca-failure", `${what} ${error.message}`, null);
  }

  #put(kind, text, undo) {
    clearTimeout(this.#timer);
    const close = () => this.element.replaceChildren();
    const act = () => {
      close();
      undo.action();
    };
    const notice = h(
      "div",
      { class: `ca-notice ${kind}`.trim() },
      h("span", { class: "ca-notice-text" }, text),
      undo && button("undo", undo.label, act),
      iconButton("close", this.#t("state.close"), close),
    );
    this.element.replaceChildren(notice);
    this.#timer = setTimeout(() => {
      if (!notice.matches(":hover, :focus-within")) close();
    }, SHOWN_MS);
  }
}
