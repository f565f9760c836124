/** The assets that are being dragged. Browsers tell a page nothing of a drag's data until it ends. */

/** @import { SelectedAssets } from "./search_results.mjs" */

/** @type {SelectedAssets} */
let dragged = [];

/**
 * Remember what is dragged, until the drag ends.
 *
 * @param {SelectedAssets} selected
 */
export function beginDrag(selected) {
  dragged = selected;
  document.addEventListener("dragend", () => (dragged = []), { once: true, capture: true });
}

/** Return the assets of the panel that are being dragged; none while something else is. */
export function draggedAssets() {
  return dragged;
}
