/** What the sections of the account have in common: loading, rows, fields, and changes that may fail. */

/** @import { Child } from "../shared/dom.mjs" */
/** @import { PanelContext } from "../types.d.ts" */

import { h, setChildren } from "../shared/dom.mjs";
import { errorPlaceholder, loadingPlaceholder } from "../shared/placeholders.mjs";

/**
 * Show what is loaded in an element, in place of a spinner, or what went wrong.
 *
 * @template Content
 * @param {PanelContext} context
 * @param {HTMLElement} element
 * @param {() => Promise<Content>} load
 * @param {(content: Content) => Child[]} show
 */
export async function showLoaded(context, element, load, show) {
  const { t } = context;
  if (element.childElementCount === 0) setChildren(element, loadingPlaceholder(t));
  try {
    setChildren(element, ...show(await load()));
  } catch (error) {
    setChildren(element, errorPlaceholder(t, error, () => showLoaded(context, element, load, show)));
  }
}

/**
 * Make a change, and tell if it fails. Returns whether it succeeded.
 *
 * @param {PanelContext} context
 * @param {() => Promise<unknown>} change
 */
export async function attempt({ notifications, t }, change) {
  try {
    await change();
    return true;
  } catch (error) {
    notifications.error(t("status.changeFailed"), error);
    return false;
  }
}

/**
 * Create a row of a list: a name, facts below it, and buttons.
 *
 * @param {string} name
 * @param {Child[]} facts
 * @param {...Child} controls
 */
export function row(name, facts, ...controls) {
  return h(
    "li",
    { class: "ca-account-row" },
    h(
      "div",
      { class: "ca-account-texts" },
      h("div", { class: "ca-account-name" }, name),
      facts.map((fact) => fact && h("div", { class: "ca-muted" }, fact)),
    ),
    controls,
  );
}

/**
 * Create a field with its label above it.
 *
 * @param {string} label
 * @param {HTMLElement} control
 */
export function field(label, control) {
  return h("label", { class: "ca-account-field" }, h("span", {}, label), control);
}

/**
 * Create a field for a password.
 *
 * @param {"current-password" | "new-password"} kind
 * @param {{ isRequired?: boolean }} [options]
 */
export function passwordInput(kind, { isRequired = true } = {}) {
  const shortest = kind === "new-password" ? { minlength: "8" } : {};
  return h("input", {
    class: "ca-input",
    type: "password",
    autocomplete: kind,
    maxlength: "1024",
    required: isRequired,
    ...shortest,
  });
}

/**
 * Create a form whose button is disabled while it is sent, and which shows what the server refuses.
 *
 * @param {Child[]} fields
 * @param {HTMLButtonElement} submit
 * @param {() => Promise<unknown>} send
 * @param {(error: unknown) => string} textOf
 */
export function form(fields, submit, send, textOf) {
  const failure = h("p", { class: "ca-failure", role: "alert" });
  failure.hidden = true;
  submit.type = "submit";
  const element = h(
    "form",
    { class: "ca-account-form" },
    ...fields,
    failure,
    h("div", { class: "ca-account-buttons" }, submit),
  );
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (submit.disabled) return;
    submit.disabled = true;
    failure.hidden = true;
    try {
      await send();
    } catch (error) {
      failure.textContent = textOf(error);
      failure.hidden = false;
    }
    submit.disabled = false;
  });
  return element;
}
