/** Short notifications at the foot of the panel: what was done, with a way back; what failed. */

import { h } from "./dom.mjs";
import { button, iconButton } from "./buttons.mjs";

const VISIBLE_MS = 8000;

export class Notifications {
  #t;
  #timer = 0;

  constructor(t) {
    this.#t = t;
    this.element = h("div", { class: "ca-notifications", role: "status", "aria-live": "polite" });
  }

  /** Show a notice; with an action it offers a button for it. */
  show(text, undo = null) {
    this.#put("", text, undo);
  }

  /** Say that something failed, and why. */
  error(summary, error) {
    console.warn("comfy-assets:", error);
    this.#put("ca-failure", `${summary} ${error.message}`, null);
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
      { class: `ca-notification ${kind}`.trim() },
      h("span", { class: "ca-notification-text" }, text),
      undo && button("undo", undo.label, act),
      iconButton("close", this.#t("common.close"), close),
    );
    this.element.replaceChildren(notice);
    this.#timer = setTimeout(() => {
      if (!notice.matches(":hover, :focus-within")) close();
    }, VISIBLE_MS);
  }
}
