/** Copying texts, also at plain http addresses of other hosts, where browsers have no `navigator.clipboard`. */

/** @import { PanelContext } from "../types.d.ts" */

import { h } from "./dom.mjs";

/**
 * Copy a text, and show a notification: `copied`, or that it failed. Returns whether it succeeded.
 *
 * @param {PanelContext} context
 * @param {string} text
 * @param {string} copied
 */
export async function copyText({ t, notifications }, text, copied) {
  const isCopied = await writeText(text) || copySelection(text);
  if (isCopied) notifications.show(copied);
  else notifications.error(t("common.copyFailed"), new Error(t("common.copyHint")));
  return isCopied;
}

/** @param {string} text */
async function writeText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // there is none, or the user has denied it: the older way may still work
  }
}

/**
 * Copy a text by selecting it in a field that nobody sees.
 *
 * @param {string} text
 */
function copySelection(text) {
  const focused = document.activeElement;
  const field = h("textarea", { readonly: true, tabindex: "-1", "aria-hidden": "true" });
  field.value = text;
  field.style.cssText = "position: fixed; inset: 0 auto auto 0; width: 1px; height: 1px; opacity: 0;";
  field.addEventListener("copy", (event) => event.stopPropagation()); // the page would copy nodes of the canvas
  const dialogs = document.querySelectorAll("dialog:modal"); // nothing outside of the last one can have the focus
  (dialogs[dialogs.length - 1] ?? document.body).append(field);
  field.focus({ preventScroll: true });
  field.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    field.remove();
    if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
  }
}
