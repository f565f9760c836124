/** The search box of the library: the text as it was typed or pasted, help with it, and what is wrong with it. */

/** @import { PanelContext } from "../types.d.ts" */
/** @import { QueryStore } from "./query.mjs" */

import { iconButton, searchBox } from "../shared/buttons.mjs";
import { RequestError } from "../shared/client.mjs";
import { debounce, h, uniqueId } from "../shared/dom.mjs";

const SEARCH_DELAY_MS = 180;
/** Fields whose wrong values have a text of their own. */
const FIELDS = ["seed", "type", "has", "rating"];

export class SearchBox {
  #t;
  #store;
  #leave;
  #pasted = ""; // with its line breaks, which tell the parts of parameters; the field has spaces instead

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {{ help: () => void, leave: () => void, released: () => Promise<void> }} callbacks open or close the help, move
   *   the focus to the list, and wait until nothing in the list is pressed
   */
  constructor({ t }, store, { help, leave, released }) {
    this.#t = t;
    this.#store = store;
    this.#leave = leave;
    const errorId = uniqueId("search-error");
    const attributes = { id: uniqueId("search"), spellcheck: "false", "aria-describedby": errorId };
    const { element, input } = searchBox(t("library.search"), t("library.searchHint"), attributes);
    this.input = input;
    this.help = iconButton("help", t("searchHelp.title"), help, { "aria-expanded": "false" });
    this.error = h("p", { class: "ca-search-error", id: errorId, role: "alert" });
    this.error.hidden = true;
    this.element = element;
    input.addEventListener("input", debounce(() => released().then(() => this.apply()), SEARCH_DELAY_MS));
    input.addEventListener("paste", (event) => this.#paste(event));
    input.addEventListener("keydown", (event) => this.#onKeyDown(event));
    store.subscribe(() => this.#show());
    this.#show();
  }

  /** Search for the text of the field. */
  apply() {
    const { value } = this.input;
    this.#store.set({ text: value === oneLine(this.#pasted) ? this.#pasted : value });
  }

  /**
   * Tell what is wrong with the search, if that is why the list could not be loaded.
   *
   * @param {unknown} error of the list, or null
   */
  showError(error) {
    const text = isSearchError(error) ? this.#textOf(error) : "";
    if (this.error.textContent !== text) this.error.textContent = text; // a text that is set again is read again
    this.error.hidden = text === "";
    this.input.setAttribute("aria-invalid", String(text !== ""));
  }

  /** @param {RequestError} error */
  #textOf({ message, details }) {
    const reason = message.replace(/^q cannot be used\. /, "");
    if (typeof details.term !== "string") return this.#t("searchError.general", { reason });
    const field = details.term.split(":")[0];
    const why = FIELDS.includes(field) ? this.#t(`searchError.${field}`) : reason;
    return this.#t("searchError.term", { term: details.term, reason: why });
  }

  #show() {
    const { text } = this.#store.state;
    if (document.activeElement === this.input) return; // not while the user types
    this.#pasted = text;
    this.input.value = oneLine(text);
  }

  /** @param {ClipboardEvent} event */
  #paste(event) {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (!/[\r\n]/.test(text)) return;
    event.preventDefault();
    const { value, selectionStart, selectionEnd } = this.input;
    const [start, end] = [selectionStart ?? value.length, selectionEnd ?? value.length];
    this.#pasted = value.slice(0, start) + text + value.slice(end);
    this.input.setRangeText(oneLine(text), start, end, "end");
    this.input.value = oneLine(this.#pasted);
    this.apply();
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    if (event.key === "Escape" && this.input.value !== "") {
      this.input.value = "";
      this.#store.set({ text: "" });
    } else if ((event.key === "ArrowDown" || event.key === "Enter") && !event.isComposing) {
      if (event.key === "Enter") this.apply();
      this.#leave();
      event.preventDefault();
    } else return;
    event.stopPropagation();
  }
}

/**
 * Return whether an error says that the text of a search cannot be looked for.
 *
 * @param {unknown} error
 * @returns {error is RequestError}
 */
export function isSearchError(error) {
  return error instanceof RequestError && error.code === "INVALID_QUERY" && error.details.field === "q";
}

/** @param {string} text */
function oneLine(text) {
  return text.replace(/\s*[\r\n]+\s*/g, " ");
}
