/** The assets that are being dragged. Browsers tell a page nothing of a drag's data until it ends. */

/** @import { Asset } from "../api.d.ts" */

/** @type {readonly Asset[]} */
let assets = [];

/**
 * Remember what is dragged, until the drag ends.
 *
 * @param {Asset[]} dragged
 */
export function beginDrag(dragged) {
  assets = dragged;
  document.addEventListener("dragend", () => (assets = []), { once: true, capture: true });
}

/** Return the assets of the panel that are being dragged; none while something else is. */
export function draggedAssets() {
  return [...assets];
}
