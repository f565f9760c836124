/** What is shown in place of content: that it is on its way, that there is none, or why it did not come. */

import { fill, h } from "./dom.mjs";
import { icon } from "./icons.mjs";

const SLOW_MS = 3000;

/** A sign that something is on its way; after a while it says that this takes long. */
export function loading(t) {
  const text = h("p", {}, t("state.loading"));
  const sign = h("div", { class: "ca-state", role: "status" }, h("div", { class: "ca-spinner" }), text);
  setTimeout(() => {
    if (sign.isConnected) text.textContent = t("state.slow");
  }, SLOW_MS);
  return sign;
}

/** Nothing here, and what to do about it. */
export function empty(iconName, title, hint) {
  return h("div", { class: "ca-state" }, icon(iconName), h("p", { class: "ca-state-title" }, title), hint && h("p", {}, hint));
}

/** What went wrong, in words for people, with a way to try again. */
export function failure(t, error, retry) {
  const kind = error?.kind ?? "panel";
  return h(
    "div",
    { class: "ca-state ca-failure", role: "alert" },
    icon("warning"),
    h("p", { class: "ca-state-title" }, t(`failure.${kind}`)),
    h("p", {}, error?.message ?? String(error)),
    h("button", { class: "ca-button ca-primary", type: "button", onclick: retry }, icon("refresh"), t("state.retry")),
  );
}

/** Show a list's grid; or in its place that it is on its way, why it did not come, or what `nothing()` answers. */
export function showList({ list, grid, state }, t, nothing) {
  const { total, error } = list;
  grid.element.hidden = !total || error !== null;
  state.hidden = !grid.element.hidden;
  if (error !== null) fill(state, failure(t, error, () => list.refresh()));
  else if (total === null) {
    if (!state.querySelector(".ca-spinner")) fill(state, loading(t));
  } else if (total === 0) fill(state, nothing());
  grid.setCount(total ?? 0); // only what is in the page can be measured
}
