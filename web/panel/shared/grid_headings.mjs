/** The headings of the groups of a grid, as far as they are near the view. Screen readers hear them with the first items. */

/** @import { GridGeometry } from "./grid_geometry.mjs" */

import { h } from "./dom.mjs";

/** The groups of a grid: the index of the first item of each, and its heading. */
/** @typedef {{ starts: readonly number[], text: (group: number) => string }} GridGroups */

/** @type {GridGroups} */
export const NO_GROUPS = Object.freeze({ starts: Object.freeze([]), text: () => "" });
export const HEADING_PX = 32;

export class GridHeadings {
  #canvas;
  /** @type {HTMLElement[]} */
  #elements = [];

  /** @param {HTMLElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
  }

  /**
   * Show the headings of the groups that begin within a range of items.
   *
   * @param {GridGeometry} geometry
   * @param {GridGroups} groups
   * @param {number} first
   * @param {number} last
   * @param {number} shift from the place in the whole to that in the canvas
   */
  show(geometry, { text }, first, last, shift) {
    const shown = [];
    const end = geometry.headings > 0 ? geometry.groupOf(last) : -1;
    for (let group = geometry.groupOf(first); group <= end; group += 1) {
      if (geometry.startOf(group) < first) continue; // above the view
      shown.push({ text: text(group), top: geometry.headingTop(group) + shift });
    }
    this.#put(shown);
  }

  /** @param {{ text: string, top: number }[]} headings */
  #put(headings) {
    while (this.#elements.length < headings.length) {
      const element = h("div", { class: "ca-grid-heading", "aria-hidden": "true" });
      this.#elements.push(element);
      this.#canvas.append(element);
    }
    for (const [at, element] of this.#elements.entries()) {
      element.hidden = at >= headings.length;
      if (element.hidden) continue;
      const { text, top } = headings[at];
      if (element.textContent !== text) element.textContent = text;
      element.style.transform = `translateY(${top}px)`;
    }
  }
}
