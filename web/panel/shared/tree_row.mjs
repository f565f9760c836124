/** The rows of a tree. */

/** @import { IconName } from "./icons.mjs" */

import { h } from "./dom.mjs";
import { icon } from "./icons.mjs";

/**
 * A row. `key` stays the same when the tree is built again. `isExpanded` is null for a row without children. A row with
 * `isPending` stands for others that are loaded once it comes into view. `buttonLabel` gives it a button.
 * @typedef {{
 *   key: string,
 *   level: number,
 *   position: number,
 *   size: number,
 *   label: string,
 *   icon: IconName | null,
 *   count: string,
 *   title?: string,
 *   isExpanded: boolean | null,
 *   isCurrent: boolean,
 *   isPending?: boolean,
 *   isHeading?: boolean,
 *   button?: { icon: IconName, label: string },
 *   acceptsDrop?: boolean,
 * }} TreeRow
 */

/**
 * Create the element of a row.
 *
 * @param {TreeRow} row
 * @param {string} id
 * @param {boolean} isActive
 */
export function rowElement(row, id, isActive) {
  const classes = ["ca-tree-row"];
  if (row.isHeading) classes.push("ca-tree-heading");
  if (isActive) classes.push("ca-active");
  const element = h(
    "div",
    {
      class: classes.join(" "),
      id,
      role: "treeitem",
      title: row.title,
      "aria-label": row.count === "" ? row.label : `${row.label}, ${row.count}`, // without the button in it
      "aria-level": row.level,
      "aria-setsize": row.size,
      "aria-posinset": row.position,
      "aria-expanded": row.isExpanded === null ? null : String(row.isExpanded),
      "aria-selected": String(row.isCurrent),
      dataset: { key: row.key },
    },
    h("span", { class: "ca-tree-toggle" }, row.isExpanded !== null && icon("forward")),
    row.icon && icon(row.icon),
    h("span", { class: "ca-tree-label" }, row.label),
    row.button && rowButton(row.button),
    row.count !== "" && h("span", { class: "ca-tree-count" }, row.count),
  );
  element.style.setProperty("--ca-level", String(row.level - 1));
  return element;
}

/**
 * Return a button in a row. The keyboard has the menu, and keys, for what it does.
 *
 * @param {{ icon: IconName, label: string }} options
 */
function rowButton({ icon: name, label }) {
  const attributes = { class: "ca-icon-button ca-tree-button", type: "button", tabindex: "-1" };
  return h("button", { ...attributes, "aria-label": label, title: label }, icon(name));
}
