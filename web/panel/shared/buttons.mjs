/** Buttons of the panel. */

import { h } from "./dom.mjs";
import { icon } from "./icons.mjs";

/** A button with an icon and a label. */
export function button(iconName, label, onclick, { kind = "", ...attributes } = {}) {
  return h(
    "button",
    { class: `ca-button ${kind}`.trim(), type: "button", onclick, ...attributes },
    icon(iconName),
    label,
  );
}

/** A button with an icon alone; the label is its name for screen readers and its tooltip. */
export function iconButton(iconName, label, onclick, attributes = {}) {
  const about = { class: "ca-icon-button", type: "button", "aria-label": label, title: label, onclick };
  return h("button", { ...about, ...attributes }, icon(iconName));
}

/** Show whether a toggle is on. */
export function setPressed(element, isOn) {
  element.setAttribute("aria-pressed", String(isOn));
}

/** A choice of one, as the browser's own select. `options` are pairs of value and label. */
export function select(label, options, value, onchange) {
  const element = h(
    "select",
    { class: "ca-select", "aria-label": label, title: label, onchange: () => onchange(element.value) },
    options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)),
  );
  return element;
}
