/** The difference between two versions, for people. */

import { h } from "../shared/dom.mjs";
import { difference } from "./graph_diff.mjs";

const LONGEST = 300; // characters of a value

/** What changed from one graph to another. */
export function changes({ t }, before, after) {
  const { added, removed, changed } = difference(before, after);
  if (added.length + removed.length + changed.length === 0) return h("p", { class: "ca-quiet" }, t("diff.nothing"));
  const summary = [
    added.length > 0 && t("diff.added", { count: added.length }),
    removed.length > 0 && t("diff.removed", { count: removed.length }),
    changed.length > 0 && t("diff.changed", { count: changed.length }),
  ];
  return h(
    "div",
    { class: "ca-diff" },
    h("p", { class: "ca-quiet" }, summary.filter(Boolean).join(" · ")),
    added.map((node) => h("div", { class: "ca-diff-node ca-added" }, sign("+"), title(node))),
    removed.map((node) => h("div", { class: "ca-diff-node ca-removed" }, sign("−"), title(node))),
    changed.map((node) => h("div", { class: "ca-diff-node" }, sign("~"), title(node), node.changes.map((each) => change(t, each)))),
  );
}

function sign(character) {
  return h("span", { class: "ca-diff-sign", "aria-hidden": "true" }, character);
}

function title({ id, name }) {
  return h("strong", {}, `${name} `, h("span", { class: "ca-quiet" }, `#${id}`));
}

function change(t, { what, before, after }) {
  return h(
    "div",
    { class: "ca-diff-change" },
    h("span", { class: "ca-quiet" }, t("diff.value", { name: what })),
    before !== undefined && h("del", {}, shown(before)),
    after !== undefined && h("ins", {}, shown(after)),
  );
}

function shown(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}
