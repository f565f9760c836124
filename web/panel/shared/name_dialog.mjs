/** A dialog that asks for a name. It stays open, with what was typed, while the server refuses that. */

/** @import { IconName } from "./icons.mjs" */
/** @import { Translate } from "../types.d.ts" */

import { button } from "./buttons.mjs";
import { createDialog } from "./dialog.mjs";
import { debounce, h, setChildren, uniqueId } from "./dom.mjs";
import { errorText } from "./error_text.mjs";

const MAX_NAME = 255; // characters, as the API takes them
const SUGGEST_DELAY_MS = 150;

/**
 * Ask for a name. Resolves when the dialog is closed.
 *
 * @param {Translate} t
 * @param {{
 *   title: string,
 *   accept: string,
 *   icon: IconName,
 *   value?: string,
 *   save: (name: string) => Promise<unknown>,
 *   suggest?: (text: string) => Promise<string[]>,
 * }} options `save` throws what is wrong with the name
 */
export function askForName(t, { title, accept, icon, value = "", save, suggest }) {
  const focused = document.activeElement;
  const listId = uniqueId("names");
  const failure = h("p", { class: "ca-failure", role: "alert", id: uniqueId("failure") });
  failure.hidden = true;
  const input = h("input", {
    class: "ca-input",
    type: "text",
    value,
    maxlength: MAX_NAME,
    "aria-label": t("common.name"),
    autocomplete: "off",
    spellcheck: "false",
    list: suggest && listId,
  });
  const acceptButton = button(icon, accept, () => {}, { kind: "ca-primary" });
  acceptButton.type = "submit";
  const form = h(
    "form",
    { class: "ca-name-form" },
    h("h3", {}, title),
    input,
    suggest && h("datalist", { id: listId }),
    failure,
    h(
      "div",
      { class: "ca-name-buttons" },
      button("close", t("common.cancel"), () => dialog.close()),
      acceptButton,
    ),
  );
  const dialog = createDialog("ca-name-dialog", title, form);
  const onInput = suggest && debounce(() => showSuggestions(form, input, suggest), SUGGEST_DELAY_MS);
  if (onInput !== undefined) input.addEventListener("input", onInput);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = input.value.trim();
    if (name === "" || acceptButton.disabled) return input.focus();
    acceptButton.disabled = true;
    try {
      await save(name);
      dialog.close();
    } catch (error) {
      failure.textContent = errorText(t, error);
      failure.hidden = false;
      input.setAttribute("aria-invalid", "true");
      input.setAttribute("aria-describedby", failure.id);
      input.focus();
    }
    acceptButton.disabled = false;
  });
  dialog.showModal();
  onInput?.();
  input.select();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => {
      if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
      resolve(undefined);
    })
  );
}

/**
 * @param {HTMLElement} form
 * @param {HTMLInputElement} input
 * @param {(text: string) => Promise<string[]>} suggest
 */
async function showSuggestions(form, input, suggest) {
  try {
    const names = await suggest(input.value.trim());
    const list = form.querySelector("datalist");
    if (list !== null) setChildren(list, names.map((value) => h("option", { value })));
  } catch {
    // Names can be typed without suggestions.
  }
}
