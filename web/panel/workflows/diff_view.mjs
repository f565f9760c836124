/** The difference between two versions of a workflow, for people. */

/** @import { Graph } from "../api.d.ts" */
/** @import { PanelContext, Translate } from "../types.d.ts" */
/** @import { NodeName, PropertyChange, WidgetNames } from "./graph_diff.mjs" */
/** @import { TextPart } from "./word_diff.mjs" */

import { h } from "../shared/dom.mjs";
import { diffGraphs } from "./graph_diff.mjs";
import { diffWords } from "./word_diff.mjs";

const MAX_VALUE_LENGTH = 300; // characters

/**
 * Create a list of the nodes that differ.
 *
 * @param {PanelContext} context
 * @param {Graph} before
 * @param {Graph} after
 * @param {WidgetNames} widgetNames
 */
export function diffView({ t }, before, after, widgetNames) {
  const { added, removed, changed } = diffGraphs(before, after, widgetNames);
  const summary = [
    added.length > 0 && t("diff.added", { count: added.length }),
    removed.length > 0 && t("diff.removed", { count: removed.length }),
    changed.length > 0 && t("diff.changed", { count: changed.length }),
  ].filter(Boolean);
  if (summary.length === 0) return h("p", { class: "ca-muted" }, t("diff.nothing"));
  return h(
    "div",
    { class: "ca-diff" },
    h("p", { class: "ca-muted" }, summary.join(" · ")),
    added.map((node) => h("div", { class: "ca-diff-node ca-added" }, marker("+"), nodeTitle(node))),
    removed.map((node) => h("div", { class: "ca-diff-node ca-removed" }, marker("−"), nodeTitle(node))),
    changed.map((node) => {
      const changes = node.changes.map((change) => changeRow(t, change));
      return h("div", { class: "ca-diff-node" }, marker("~"), nodeTitle(node), changes);
    }),
  );
}

/** @param {string} character */
function marker(character) {
  return h("span", { class: "ca-diff-marker", "aria-hidden": "true" }, character);
}

/** @param {NodeName} node */
function nodeTitle({ id, name }) {
  return h("strong", {}, `${name} `, h("span", { class: "ca-muted" }, `#${id}`));
}

/**
 * @param {Translate} t
 * @param {PropertyChange} change
 */
function changeRow(t, { property, before, after }) {
  return h(
    "div",
    { class: "ca-diff-change" },
    h("span", { class: "ca-muted" }, t("diff.value", { name: propertyName(property) })),
    ...changedValue(before, after),
  );
}

/**
 * Return a property as people call it: without the mark of widgets, unless only their position is known.
 *
 * @param {string} property
 */
function propertyName(property) {
  return property.replace(/^widget (?!\d+$)/, "");
}

/**
 * @param {unknown} before
 * @param {unknown} after
 */
function changedValue(before, after) {
  const parts = typeof before === "string" && typeof after === "string" ? diffWords(before, after) : null;
  if (parts !== null) return [h("span", { class: "ca-diff-text" }, parts.map(textPart))];
  const isChanged = before !== undefined && after !== undefined;
  return [
    before !== undefined && h("del", {}, valueText(before)),
    isChanged && h("span", { class: "ca-muted", "aria-hidden": "true" }, "→"),
    after !== undefined && h("ins", {}, valueText(after)),
  ];
}

/** @param {TextPart} part */
function textPart({ kind, text }) {
  if (kind === "same") return text;
  return h(kind === "removed" ? "del" : "ins", {}, text);
}

/** @param {unknown} value */
function valueText(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > MAX_VALUE_LENGTH ? `${text.slice(0, MAX_VALUE_LENGTH)}…` : text;
}
