/** Short notifications at the foot of the panel, one at a time. */

/** @import { Translate, Undo } from "../types.d.ts" */

import { h } from "./dom.mjs";
import { button, iconButton } from "./buttons.mjs";

const VISIBLE_MS = 8000;

export class Notifications {
  #t;
  #timer = 0;

  /** @param {Translate} t */
  constructor(t) {
    this.#t = t;
    this.element = h("div", { class: "ca-notifications", role: "status", "aria-live": "polite" });
  }

  /**
   * Show a text, and a button that takes the change back.
   *
   * @param {string} text
   * @param {Undo | null} [undo]
   */
  show(text, undo = null) {
    this.#put("", text, undo);
  }

  /**
   * Show that an action failed, and why.
   *
   * @param {string} summary
   * @param {unknown} error
   */
  error(summary, error) {
    console.warn("comfy-assets:", error);
    this.#put("ca-failure", `${summary} ${error instanceof Error ? error.message : error}`, null);
  }

  /**
   * @param {string} kind
   * @param {string} text
   * @param {Undo | null} undo
   */
  #put(kind, text, undo) {
    clearTimeout(this.#timer);
    const close = () => this.element.replaceChildren();
    const undoButton = undo &&
      button("undo", undo.label, () => {
        close();
        undo.action();
      });
    const notification = h(
      "div",
      { class: `ca-notification ${kind}`.trim() },
      h("span", { class: "ca-notification-text" }, text),
      undoButton,
      iconButton("close", this.#t("common.close"), close),
    );
    this.element.replaceChildren(notification);
    this.#timer = setTimeout(() => {
      // The user may be about to press the button.
      if (!notification.matches(":hover, :focus-within")) close();
    }, VISIBLE_MS);
  }
}
