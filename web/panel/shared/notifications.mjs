/** Short notifications, one at a time. They are part of the layout, so that they cover nothing. */

/** @import { Translate, Undo } from "../types.d.ts" */

import { h } from "./dom.mjs";
import { button, iconButton } from "./buttons.mjs";
import { errorText } from "./error_text.mjs";

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
  /** @type {Set<HTMLElement>} */
  #progress = new Set();

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
    for (const each of [this.#shown, ...this.#progress]) if (each && slot.contains(each)) this.#slot().append(each);
  }

  /**
   * Show a text, a button that takes the change back, and one that shows what went wrong with a part of it.
   *
   * @param {string} text
   * @param {Undo | null} [undo]
   * @param {Undo | null} [failures]
   * @param {boolean} [hasFailed] whether the text says that something went wrong
   */
  show(text, undo = null, failures = null, hasFailed = failures !== null) {
    this.#put(hasFailed ? "ca-failure" : "", text, undo, failures);
  }

  /**
   * Show the progress of something that takes long, beside other notifications and until it is closed.
   *
   * @param {string} text
   * @param {{ label: string, action: () => Promise<boolean> }} cancel returns whether it will be cancelled
   * @returns {{ show: (text: string, part: number) => void, close: () => void }} `part` is from 0 to 1
   */
  progress(text, cancel) {
    const bar = h("progress", { max: 1, "aria-label": text });
    const label = h("span", { class: "ca-notification-text", "aria-live": "off" }, text);
    const stop = button("close", cancel.label, async () => {
      stop.disabled = true;
      stop.disabled = await cancel.action();
    });
    const element = h("div", { class: "ca-notification ca-progress" }, label, stop, bar);
    this.#progress.add(element);
    this.#slot().append(element);
    return {
      show: (text, part) => {
        label.textContent = text;
        bar.value = part;
      },
      close: () => {
        this.#progress.delete(element);
        element.remove();
      },
    };
  }

  /**
   * Show that an action failed, and why.
   *
   * @param {string} summary
   * @param {unknown} error
   */
  error(summary, error) {
    console.warn("comfy-assets:", error);
    this.#put("ca-failure", `${summary} ${errorText(this.#t, error)}`);
  }

  /**
   * @param {string} kind
   * @param {string} text
   * @param {...(Undo | null)} actions
   */
  #put(kind, text, ...actions) {
    this.#close();
    const buttons = actions.map((each) =>
      each && button(each.icon ?? "undo", each.label, () => {
        close();
        each.action();
      })
    );
    const notification = h(
      "div",
      { class: `ca-notification ${kind}`.trim() },
      h("span", { class: "ca-notification-text" }, text),
      buttons,
      iconButton("close", this.#t("common.close"), () => close()),
    );
    const stop = closeInTime(notification, this.#visibleMs, () => close());
    /** @type {EventTarget | null} */
    let cameFrom = null;
    notification.addEventListener("focusin", ({ relatedTarget }) => {
      if (!(relatedTarget instanceof Node && notification.contains(relatedTarget))) cameFrom = relatedTarget;
    });
    const close = () => {
      stop();
      const hadFocus = notification.contains(document.activeElement);
      notification.remove();
      if (hadFocus && cameFrom instanceof HTMLElement) cameFrom.focus({ preventScroll: true });
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
  const isHeld = () => isPointedAt || notification.contains(document.activeElement);
  // Looks again and again: no event says that a pointer has left what has moved from under it.
  const closeUnlessHeld = () => {
    isPointedAt &&= notification.matches(":hover");
    if (isHeld()) timer = setTimeout(closeUnlessHeld, LEFT_MS);
    else close();
  };
  let timer = setTimeout(closeUnlessHeld, milliseconds);
  // Not `:hover` alone: a notification that comes to lie under a pointer at rest is not pointed at.
  notification.addEventListener("pointermove", () => (isPointedAt = true));
  notification.addEventListener("pointerleave", () => (isPointedAt = false));
  return () => clearTimeout(timer);
}
