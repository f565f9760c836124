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
 *   extra?: HTMLElement,
 *   focusAfter: HTMLElement,
 *   save: (value: string) => unknown,
 * }} options `extra` is shown below the field and belongs to it; `save` is called only for a text that is new and not
 *   empty
 */
export function editInPlace(element, { label, value, selectionEnd = value.length, extra, focusAfter, save }) {
  const input = h("input", { class: "ca-input", type: "text", "aria-label": label, value });
  const editor = h("div", { class: "ca-edit" }, input, extra);
  // Its controls take no focus from the field by the pointer, as leaving the field saves.
  extra?.addEventListener("pointerdown", (event) => event.preventDefault());
  extra?.addEventListener("mousedown", (event) => event.preventDefault());
  let isLeft = false;
  editor.addEventListener("focusout", ({ relatedTarget }) => {
    if (isLeft || (relatedTarget instanceof Node && editor.contains(relatedTarget))) return;
    isLeft = true; // the event comes again when the field leaves the page
    editor.replaceWith(element);
    const edited = input.value.trim();
    if (edited !== "" && edited !== value) save(edited);
  });
  editor.addEventListener("keydown", (event) => {
    event.stopPropagation(); // arrows move the cursor, Escape leaves the field alone
    if (event.key !== "Enter" && event.key !== "Escape") return;
    if (event.key === "Escape") input.value = value;
    event.preventDefault();
    focusAfter.focus({ preventScroll: true }); // leaves the field
  });
  element.replaceWith(editor);
  input.focus();
  input.setSelectionRange(0, selectionEnd);
}
