/** Placeholders for content that is loading, empty or failed to load. */

/** @import { IconName } from "./icons.mjs" */
/** @import { PagedList } from "./paged_list.mjs" */
/** @import { Translate } from "../types.d.ts" */

import { button } from "./buttons.mjs";
import { mayPass, RequestError } from "./client.mjs";
import { whenReconnected } from "./connection.mjs";
import { h, setChildren } from "./dom.mjs";
import { errorText } from "./error_text.mjs";
import { icon } from "./icons.mjs";

const SLOW_MS = 3000;

/**
 * Create a spinner; after a while its text says that loading takes long.
 *
 * @param {Translate} t
 */
export function loadingPlaceholder(t) {
  const text = h("p", {}, t("placeholder.loading"));
  const placeholder = h("div", { class: "ca-placeholder", role: "status" }, h("div", { class: "ca-spinner" }), text);
  setTimeout(() => {
    if (placeholder.isConnected) text.textContent = t("placeholder.slow");
  }, SLOW_MS);
  return placeholder;
}

/**
 * Create a placeholder for an empty list, with a hint what to do.
 *
 * @param {IconName} iconName
 * @param {string} title
 * @param {string} [hint]
 */
export function emptyPlaceholder(iconName, title, hint) {
  return h(
    "div",
    { class: "ca-placeholder" },
    icon(iconName),
    h("p", { class: "ca-placeholder-title" }, title),
    hint && h("p", {}, hint),
  );
}

/**
 * Create a placeholder that says what went wrong, with a button to try again. It tries again by itself once a lost
 * connection is there again.
 *
 * @param {Translate} t
 * @param {unknown} error
 * @param {() => unknown} retry
 */
export function errorPlaceholder(t, error, retry) {
  const kind = error instanceof RequestError ? error.kind : "panel";
  const [title, text] = [t(`failure.${kind}`), errorText(t, error)];
  const placeholder = h(
    "div",
    { class: "ca-placeholder ca-failure", role: "alert" },
    icon("warning"),
    h("p", { class: "ca-placeholder-title" }, title),
    text !== title && h("p", {}, text),
    button("refresh", t("common.retry"), retry, { kind: "ca-primary" }),
  );
  if (mayPass(error)) whenReconnected(placeholder, retry);
  return placeholder;
}

/** @typedef {{ element: HTMLElement, setCount: (count: number) => void }} Grid */

/**
 * Show a list's grid, or a placeholder while the list is loading, failed or empty.
 *
 * @template Item
 * @param {{ list: PagedList<Item>, grid: Grid, placeholder: HTMLElement }} view
 * @param {Translate} t
 * @param {() => HTMLElement} whenEmpty
 * @param {(error: unknown) => HTMLElement | null} [whenFailed] returns a placeholder in place of the usual one, or null
 */
export function showListOrPlaceholder({ list, grid, placeholder }, t, whenEmpty, whenFailed = () => null) {
  const { total, error } = list;
  grid.element.hidden = !total || error !== null;
  placeholder.hidden = !grid.element.hidden;
  if (error !== null) {
    setChildren(placeholder, whenFailed(error) ?? errorPlaceholder(t, error, () => list.refresh()));
  } else if (total === null) {
    // A spinner that is there already goes on turning.
    if (!placeholder.querySelector(".ca-spinner")) setChildren(placeholder, loadingPlaceholder(t));
  } else if (total === 0) setChildren(placeholder, whenEmpty());
  grid.setCount(total ?? 0); // last, since a hidden element has no size
}
