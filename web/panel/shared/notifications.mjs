/** Short notifications, one at a time. They are part of the layout, so that they cover nothing. */

/** @import { Translate, Undo } from "../types.d.ts" */

import { h } from "./dom.mjs";
import { button, iconButton } from "./buttons.mjs";

const VISIBLE_MS = 8000;
const LEFT_MS = 1500; // after the pointer or the focus has left a notification whose time is over

export class Notifications {
  #t;
  #visibleMs;
  /** @type {HTMLElement[]} */
  #slots = [];
  #close = () => {};
  /** @type {HTMLElement | null} */
  #shown = null;

  /**
   * @param {Translate} t
   * @param {{ visibleMs?: number }} [options]
   */
  constructor(t, { visibleMs = VISIBLE_MS } = {}) {
    this.#t = t;
    this.#visibleMs = visibleMs;
    this.element = this.createSlot();
  }

  /**
   * Create a place for notifications, used while it is visible. The one that was created last has precedence.
   *
   * Its neighbours above become smaller by a notification, so controls that must not move belong below it.
   */
  createSlot() {
    const slot = h("div", { class: "ca-notifications", role: "status", "aria-live": "polite" });
    this.#slots.unshift(slot);
    return slot;
  }

  /**
   * Remove a place. A notification in it moves to another.
   *
   * @param {HTMLElement} slot
   */
  removeSlot(slot) {
    slot.remove();
    this.#slots = this.#slots.filter((each) => each !== slot);
    if (this.#shown !== null && slot.contains(this.#shown)) this.#slot().append(this.#shown);
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
    this.#close();
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
      iconButton("close", this.#t("common.close"), () => close()),
    );
    const stop = closeInTime(notification, this.#visibleMs, () => close());
    const close = () => {
      stop();
      notification.remove();
    };
    this.#close = close;
    this.#shown = notification;
    this.#slot().append(notification);
  }

  #slot() {
    return this.#slots.find((slot) => slot.getClientRects().length > 0) ?? this.element;
  }
}

/**
 * Call `close` when the time is over; later if the user points at the notification, perhaps to press its button, or has
 * the focus in it: then soon after leaving it. Returns a function that stops this.
 *
 * @param {HTMLElement} notification
 * @param {number} milliseconds
 * @param {() => void} close
 */
function closeInTime(notification, milliseconds, close) {
  let isPointedAt = false;
  let isOver = false;
  let timer = setTimeout(() => {
    isOver = true;
    if (!isHeld()) close();
  }, milliseconds);
  const isHeld = () => isPointedAt || notification.contains(document.activeElement);
  const closeSoon = () => {
    clearTimeout(isOver ? timer : 0);
    if (isOver) timer = setTimeout(() => isHeld() || close(), LEFT_MS);
  };
  // Not `:hover`: a notification that comes to lie under a pointer at rest is not pointed at.
  notification.addEventListener("pointermove", () => (isPointedAt = true));
  notification.addEventListener("pointerleave", () => {
    isPointedAt = false;
    closeSoon();
  });
  notification.addEventListener("focusout", closeSoon);
  return () => clearTimeout(timer);
}
