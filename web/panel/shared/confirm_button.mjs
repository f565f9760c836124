/** A button that asks before it acts: the first click replaces it with another one, which says what it will do. */

/** @import { IconName } from "./icons.mjs" */

import { button } from "./buttons.mjs";

/**
 * Create the button.
 *
 * @param {IconName} iconName
 * @param {string} label
 * @param {{ ask: () => string | Promise<string>, action: () => unknown }} options `ask` returns the label of the button
 *   that acts
 */
export function confirmButton(iconName, label, { ask, action }) {
  const kind = "ca-danger";
  const first = button(iconName, label, async () => {
    const act = () => {
      leave();
      action();
    };
    const second = button(iconName, await ask(), act, { kind });
    const restore = () => {
      second.removeEventListener("blur", restore); // which comes again when the element leaves the page
      second.replaceWith(first);
    };
    const leave = () => {
      restore();
      first.focus({ preventScroll: true });
    };
    second.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation(); // which closes what the button is in
      leave();
    });
    first.replaceWith(second);
    second.focus();
    second.addEventListener("blur", restore);
  }, { kind });
  return first;
}
