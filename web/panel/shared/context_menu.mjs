/** Menus at the pointer or at a control, after the ARIA pattern. */

/** @import { IconName } from "./icons.mjs" */
/** @import { ScreenPoint } from "../types.d.ts" */

import { h, panelLanguage } from "./dom.mjs";
import { icon } from "./icons.mjs";

const LONG_PRESS_MS = 500;
const MOVE_PX = 10; // a finger that moves farther scrolls
const MARGIN_PX = 4;

/** @typedef {{ icon: IconName, label: string, run: () => unknown, isDanger?: boolean }} MenuItem */

let close = () => {};

/**
 * Show a menu, with a line between groups. A choice, Escape, Tab, and anything outside close it; the focus returns.
 *
 * @param {string} label the name for screen readers
 * @param {MenuItem[][]} groups
 * @param {ScreenPoint} at
 */
export function showMenu(label, groups, at) {
  close();
  const shown = groups.filter((group) => group.length > 0);
  if (shown.length === 0) return;
  const focused = document.activeElement;
  const attributes = { class: "ca-root ca-menu", "aria-label": label, role: "menu", tabindex: "-1" };
  const menu = h("div", { ...attributes, ...panelLanguage() });
  const listeners = new AbortController();
  const closeThis = () => {
    listeners.abort();
    menu.remove();
    close = () => {};
  };
  close = closeThis;
  const leave = () => {
    closeThis();
    if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
  };
  for (const [index, group] of shown.entries()) {
    if (index > 0) menu.append(h("div", { class: "ca-menu-line", role: "separator" }));
    for (const item of group) menu.append(menuItem(item, leave));
  }
  menu.addEventListener("keydown", (event) => onKeyDown(event, menu, leave));
  menu.addEventListener("contextmenu", (event) => event.preventDefault());
  const options = { capture: true, signal: listeners.signal };
  for (const type of ["pointerdown", "wheel"]) {
    document.addEventListener(type, (event) => {
      if (!(event.target instanceof Node && menu.contains(event.target))) closeThis();
    }, { ...options, passive: true });
  }
  for (const type of ["blur", "resize"]) globalThis.addEventListener(type, closeThis, { signal: listeners.signal });
  place(menu, at);
}

/**
 * Call `show` where a menu is asked for: by the right button, the menu key, or a long press.
 *
 * @param {HTMLElement} element
 * @param {(target: Element, at: ScreenPoint | null) => boolean} show gets no place from the keyboard; returns whether a
 *   menu was shown, else the browser's appears
 */
export function onMenu(element, show) {
  element.addEventListener("contextmenu", (event) => {
    const { target, clientX, clientY, button } = event;
    // The menu key's event has the place of the focused element, and no button.
    const isByPointer = button === 2 || (event instanceof PointerEvent && event.pointerType !== "");
    if (!(target instanceof Element) || !show(target, isByPointer ? { x: clientX, y: clientY } : null)) return;
    event.preventDefault();
    event.stopPropagation();
  });
  // Safari on iOS has no such event.
  let timer = 0;
  let start = { x: 0, y: 0 };
  element.addEventListener("pointerdown", ({ pointerType, target, clientX: x, clientY: y }) => {
    clearTimeout(timer);
    if (pointerType !== "touch" || !(target instanceof Element)) return;
    start = { x, y };
    timer = setTimeout(() => show(target, start) && ignoreNextClick(), LONG_PRESS_MS);
  });
  element.addEventListener("pointermove", ({ clientX, clientY }) => {
    if (Math.hypot(clientX - start.x, clientY - start.y) > MOVE_PX) clearTimeout(timer);
  });
  for (const type of ["pointerup", "pointercancel", "contextmenu"]) {
    element.addEventListener(type, () => clearTimeout(timer));
  }
}

/**
 * Return the middle of an element on the screen, for a menu that was not asked for by the pointer.
 *
 * @param {string} id
 */
export function middleOf(id) {
  const { left, top, width, height } = (document.getElementById(id) ?? document.body).getBoundingClientRect();
  return { x: left + width / 2, y: top + height / 2 };
}

/** Ignore the click that ends a long press. */
function ignoreNextClick() {
  const ended = new AbortController();
  const options = { capture: true, signal: ended.signal };
  document.addEventListener("click", (event) => {
    event.stopPropagation();
    event.preventDefault();
    ended.abort();
  }, options);
  document.addEventListener("pointerdown", () => ended.abort(), options);
}

/**
 * @param {MenuItem} item
 * @param {() => void} leave
 */
function menuItem({ icon: name, label, run, isDanger = false }, leave) {
  const onclick = () => {
    leave();
    run();
  };
  const attributes = { class: `ca-menu-item ${isDanger ? "ca-danger" : ""}`.trim(), type: "button", tabindex: "-1" };
  return h("button", { ...attributes, role: "menuitem", onclick }, icon(name), label);
}

/**
 * Put a menu into the page, as a whole within the window, with the focus on its first item.
 *
 * @param {HTMLElement} menu
 * @param {ScreenPoint} at
 */
function place(menu, { x, y }) {
  const dialogs = document.querySelectorAll("dialog:modal"); // nothing outside of the last one can be used
  (dialogs[dialogs.length - 1] ?? document.body).append(menu);
  const { width, height } = menu.getBoundingClientRect();
  const left = x + width + MARGIN_PX > innerWidth ? x - width : x;
  const top = Math.min(y, innerHeight - height - MARGIN_PX);
  menu.style.left = `${Math.max(left, MARGIN_PX)}px`;
  menu.style.top = `${Math.max(top, MARGIN_PX)}px`;
  itemsOf(menu)[0].focus({ preventScroll: true });
}

/**
 * @param {HTMLElement} menu
 * @returns {HTMLElement[]}
 */
function itemsOf(menu) {
  return [...menu.querySelectorAll(".ca-menu-item")].filter((each) => each instanceof HTMLElement);
}

/**
 * @param {KeyboardEvent} event
 * @param {HTMLElement} menu
 * @param {() => void} leave
 */
function onKeyDown(event, menu, leave) {
  event.stopPropagation(); // the page's own keys
  if (event.key === "Enter" || event.key === " ") return; // press the item
  event.preventDefault();
  if (event.key === "Escape" || event.key === "Tab") {
    leave();
    return;
  }
  const items = itemsOf(menu);
  const at = items.findIndex((item) => item === document.activeElement);
  /** @type {Record<string, number>} */
  const targets = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 };
  const target = event.key in targets ? targets[event.key] : nextWithLetter(items, at, event.key);
  items[(target + items.length) % items.length].focus();
}

/**
 * Return the index of the next item that begins with a letter, or the current one.
 *
 * @param {HTMLElement[]} items
 * @param {number} at
 * @param {string} letter
 */
function nextWithLetter(items, at, letter) {
  for (let step = 1; step <= items.length; step += 1) {
    const index = (at + step) % items.length;
    if (items[index].innerText.toLowerCase().startsWith(letter.toLowerCase())) return index;
  }
  return at;
}
