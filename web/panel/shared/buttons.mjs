/** Buttons and other small controls. */

/** @import { Attributes } from "./dom.mjs" */
/** @import { IconName } from "./icons.mjs" */

import { h } from "./dom.mjs";
import { icon } from "./icons.mjs";

/**
 * Create a button with an icon and a label. `kind` is a class in addition, such as "ca-primary" or "ca-danger".
 *
 * @param {IconName} iconName
 * @param {string} label
 * @param {() => unknown} onclick
 * @param {{ kind?: string }} [options]
 */
export function button(iconName, label, onclick, { kind = "" } = {}) {
  return h("button", { class: `ca-button ${kind}`.trim(), type: "button", onclick }, icon(iconName), label);
}

/**
 * Create a button that shows only an icon; the label is its tooltip and its name for screen readers.
 *
 * @param {IconName} iconName
 * @param {string} label
 * @param {() => unknown} onclick
 * @param {Attributes} [attributes]
 */
export function iconButton(iconName, label, onclick, attributes = {}) {
  const common = { class: "ca-icon-button", type: "button", "aria-label": label, title: label, onclick };
  return h("button", { ...common, ...attributes }, icon(iconName));
}

/**
 * Set whether a toggle button is on.
 *
 * @param {Element} element
 * @param {boolean} isOn
 */
export function setPressed(element, isOn) {
  element.setAttribute("aria-pressed", String(isOn));
}

/**
 * Create a select box.
 *
 * @template {string} Value
 * @param {string} label
 * @param {(readonly [value: Value, text: string])[]} options
 * @param {Value} value the selected one
 * @param {(value: Value) => unknown} onchange
 */
export function select(label, options, value, onchange) {
  /** @type {HTMLSelectElement} */
  const element = h(
    "select",
    {
      class: "ca-select",
      "aria-label": label,
      title: label,
      onchange: () => onchange(/** @type {Value} */ (element.value)),
    },
    options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)),
  );
  return element;
}

/**
 * Create a search box: the field, and the box with the icon around it.
 *
 * @param {string} label
 * @param {string} placeholder
 * @param {Attributes} [attributes]
 */
export function searchBox(label, placeholder, attributes = {}) {
  const common = { class: "ca-search-input", type: "search", placeholder, "aria-label": label, autocomplete: "off" };
  const input = h("input", { ...common, ...attributes });
  return { input, element: h("div", { class: "ca-search" }, icon("search"), input) };
}
