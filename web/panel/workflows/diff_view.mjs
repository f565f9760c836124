/** The difference between two versions, for people. */

import { h } from "../shared/dom.mjs";
import { diffGraphs } from "./graph_diff.mjs";

const MAX_VALUE_LENGTH = 300; // characters of a value

/** What changed from one graph to another. */
export function diffView({ t }, before, after) {
  const { added, removed, changed } = diffGraphs(before, after);
  if (added.length + removed.length + changed.length === 0) return h("p", { class: "ca-muted" }, t("diff.nothing"));
  const summary = [
    added.length > 0 && t("diff.added", { count: added.length }),
    removed.length > 0 && t("diff.removed", { count: removed.length }),
    changed.length > 0 && t("diff.changed", { count: changed.length }),
  ];
  return h(
    "div",
    { class: "ca-diff" },
    h("p", { class: "ca-muted" }, summary.filter(Boolean).join(" · ")),
    added.map((node) => h("div", { class: "ca-diff-node ca-added" }, marker("+"), nodeTitle(node))),
    removed.map((node) => h("div", { class: "ca-diff-node ca-removed" }, marker("−"), nodeTitle(node))),
    changed.map((node) =>
      h("div", { class: "ca-diff-node" }, marker("~"), nodeTitle(node), node.changes.map((each) => changeRow(t, each)))
    ),
  );
}

function marker(character) {
  return h("span", { class: "ca-diff-marker", "aria-hidden": "true" }, character);
}

function nodeTitle({ id, name }) {
  return h("strong", {}, `${name} `, h("span", { class: "ca-muted" }, `#${id}`));
}

function changeRow(t, { property, before, after }) {
  return h(
    "div",
    { class: "ca-diff-change" },
    h("span", { class: "ca-muted" }, t("diff.value", { name: property })),
    before !== undefined && h("del", {}, valueText(before)),
    after !== undefined && h("ins", {}, valueText(after)),
  );
}

function valueText(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > MAX_VALUE_LENGTH ? `${text.slice(0, MAX_VALUE_LENGTH)}…` : text;
}
