/** Editing a text in place. */

import { h } from "./dom.mjs";

/**
 * Replace an element with a field for its text. Enter saves, and so does leaving the field; Escape does not.
 *
 * @param {HTMLElement} element
 * @param {{
 *   label: string,
 *   value: string,
 *   selectionEnd?: number,
 *   focusAfter: HTMLElement,
 *   save: (value: string) => unknown,
 * }} options `save` is called only for a text that is new and not empty
 */
export function editInPlace(element, { label, value, selectionEnd = value.length, focusAfter, save }) {
  const input = h("input", { class: "ca-input", type: "text", "aria-label": label, value });
  input.addEventListener("blur", () => {
    input.replaceWith(element);
    const edited = input.value.trim();
    if (edited !== "" && edited !== value) save(edited);
  }, { once: true });
  input.addEventListener("keydown", (event) => {
    event.stopPropagation(); // arrows move the cursor, Escape leaves the field alone
    if (event.key !== "Enter" && event.key !== "Escape") return;
    if (event.key === "Escape") input.value = value;
    event.preventDefault();
    focusAfter.focus({ preventScroll: true }); // leaves the field
  });
  element.replaceWith(input);
  input.focus();
  input.setSelectionRange(0, selectionEnd);
}
