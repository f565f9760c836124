/** What is shown in place of content: that it is on its way, that there is none, or why it did not come. */

import { h } from "./dom.mjs";
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
