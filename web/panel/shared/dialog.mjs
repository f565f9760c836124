/** Dialogs over the whole page. */

/** @import { Child } from "./dom.mjs" */
/** @import { Notifications } from "./notifications.mjs" */

import { h, panelLanguage } from "./dom.mjs";

/** Events that the page handles wherever they come from: its canvas would take the keys and the clipboard. */
const KEPT = ["keydown", "copy", "cut", "paste"];

/**
 * Create a modal dialog and add it to the page; Escape closes it, and closing removes it. Show it with `showModal`.
 *
 * @param {string} kind the class
 * @param {string} label the name for screen readers
 * @param {...(Child | Child[])} children
 */
export function createDialog(kind, label, ...children) {
  const attributes = { class: `ca-root ca-dialog ${kind}`, "aria-label": label, ...panelLanguage() };
  const dialog = h("dialog", attributes, ...children);
  for (const type of KEPT) dialog.addEventListener(type, (event) => event.stopPropagation());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog); // within the panel, the page's sidebar could cut it off
  return dialog;
}

/**
 * Return whether an element takes the keys itself: a field, or the editor of a page.
 *
 * @param {EventTarget | null} target
 */
export function takesText(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) {
    return !["radio", "checkbox", "button", "range", "file"].includes(target.type);
  }
  return target.matches("textarea, select") || target.isContentEditable;
}

/**
 * Show notifications in a dialog until it closes. Under it, they would neither be seen nor take a click. They lie over
 * the top of what is on display, so that no control moves.
 *
 * @param {HTMLDialogElement} dialog
 * @param {Notifications} notifications
 * @param {HTMLElement} display without controls at its top
 */
export function hostNotifications(dialog, notifications, display) {
  const slot = notifications.createSlot();
  display.before(slot);
  dialog.addEventListener("close", () => notifications.removeSlot(slot));
}
