/** What is shown in place of content: that it is on its way, that there is none, or why it did not come. */

import { h, setChildren } from "./dom.mjs";
import { icon } from "./icons.mjs";

const SLOW_MS = 3000;

/** A sign that something is on its way; after a while it says that this takes long. */
export function loadingPlaceholder(t) {
  const text = h("p", {}, t("placeholder.loading"));
  const sign = h("div", { class: "ca-placeholder", role: "status" }, h("div", { class: "ca-spinner" }), text);
  setTimeout(() => {
    if (sign.isConnected) text.textContent = t("placeholder.slow");
  }, SLOW_MS);
  return sign;
}

/** Nothing here, and what to do about it. */
export function emptyPlaceholder(iconName, title, hint) {
  return h(
    "div",
    { class: "ca-placeholder" },
    icon(iconName),
    h("p", { class: "ca-placeholder-title" }, title),
    hint && h("p", {}, hint),
  );
}

/** What went wrong, in words for people, with a way to try again. */
export function errorPlaceholder(t, error, retry) {
  const kind = error?.kind ?? "panel";
  return h(
    "div",
    { class: "ca-placeholder ca-failure", role: "alert" },
    icon("warning"),
    h("p", { class: "ca-placeholder-title" }, t(`failure.${kind}`)),
    h("p", {}, error?.message ?? String(error)),
    h("button", { class: "ca-button ca-primary", type: "button", onclick: retry }, icon("refresh"), t("common.retry")),
  );
}

/** Show a list's grid; or in its place that it is on its way, why it did not come, or what `nothing()` answers. */
export function showListOrPlaceholder({ list, grid, state }, t, nothing) {
  const { total, error } = list;
  grid.element.hidden = !total || error !== null;
  state.hidden = !grid.element.hidden;
  if (error !== null) setChildren(state, errorPlaceholder(t, error, () => list.refresh()));
  else if (total === null) {
    if (!state.querySelector(".ca-spinner")) setChildren(state, loadingPlaceholder(t));
  } else if (total === 0) setChildren(state, nothing());
  grid.setCount(total ?? 0); // only what is in the page can be measured
}
