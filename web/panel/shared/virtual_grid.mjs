/**
 * A grid, or a list of one column, of any length: only the cells near the view are in the page.
 *
 * Cells have a fixed height, so their positions follow from their indexes, and from the sizes of the groups that they may
 * be in. Elements of cells that leave the view are used again for those that enter it. For screen readers it is a
 * listbox: the element itself has the focus and names the active cell.
 */

/** @import { CellRenderer } from "./grid_cells.mjs" */
/** @import { GridGroups } from "./grid_headings.mjs" */

import { h, uniqueId } from "./dom.mjs";
import { GridCells } from "./grid_cells.mjs";
import { GridGeometry } from "./grid_geometry.mjs";
import { GridHeadings, HEADING_PX, NO_GROUPS } from "./grid_headings.mjs";
import { Press } from "./press.mjs";

const IDLE_MS = 90;

/** @typedef {{ columns: number, rowHeight: number }} GridShape */

/** @template {HTMLElement} [Cell=HTMLElement] */
export class VirtualGrid {
  #cells;
  #shape;
  #onVisibleRange;
  #geometry = new GridGeometry();
  #groups = NO_GROUPS;
  #width = 0; // 0 until the grid is in the page
  #frame = 0;
  #idleTimer = 0;
  #lastTop = 0;
  #shift = 0; // from a cell's position in the whole to that in the canvas; 0 unless the canvas is scaled down
  #active = 0;
  #isToTop = false; // as soon as the element is in the page: until then, browsers keep the place that it had

  /**
   * @param {{
   *   label: string,
   *   cells: CellRenderer<Cell>,
   *   shape: (width: number) => GridShape,
   *   onVisibleRange: (first: number, last: number) => void,
   * }} options
   */
  constructor({ label, cells, shape, onVisibleRange }) {
    this.#shape = shape;
    this.#onVisibleRange = onVisibleRange;
    this.id = uniqueId("grid");
    this.canvas = h("div", { class: "ca-grid-canvas", role: "presentation" });
    this.#cells = new GridCells(this.canvas, cells, (cell, index) => this.#placeCell(cell, index));
    this.headings = new GridHeadings(this.canvas);
    this.element = h(
      "div",
      { class: "ca-grid", role: "listbox", "aria-multiselectable": "true", "aria-label": label, tabindex: "0" },
      this.canvas,
    );
    this.press = new Press(this.element); // meanwhile the items must stay where they are
    this.element.addEventListener("scroll", () => this.#scheduleDraw(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(this.element);
  }

  get count() {
    return this.#geometry.count;
  }

  get active() {
    return this.#active;
  }

  /** Whether the view is anywhere but at the top. */
  get isScrolled() {
    return this.element.scrollTop > 0;
  }

  /** The index of the first item of which at least the half is in view. */
  get firstInView() {
    return this.#geometry.firstAt(this.#offset() + this.#geometry.rowHeight / 2);
  }

  /**
   * @param {number} count
   * @param {GridGroups} [groups] other ones than before move the items, of which those in view stay there
   */
  setCount(count, groups = NO_GROUPS) {
    this.#active = Math.min(this.#active, Math.max(count - 1, 0));
    this.#rearrange(0, count, groups);
    this.layout();
  }

  /**
   * Return how far down the whole an item is, from 0 to 1.
   *
   * @param {number} index
   */
  shareOf(index) {
    return this.#geometry.viewTopOf(index) / Math.max(this.#geometry.fullHeight, 1);
  }

  /**
   * Return the index of the first item of the row that is so far down the whole.
   *
   * @param {number} share from 0 to 1
   */
  firstAtShare(share) {
    return Math.min(this.#geometry.firstAt(share * this.#geometry.fullHeight), Math.max(this.count - 1, 0));
  }

  /** Measure and draw again, after a change of size or shape. The first item in view stays in view. */
  layout() {
    const width = this.canvas.clientWidth;
    if (width === 0) return; // not in the page
    this.#goToTop();
    const geometry = this.#geometry;
    const first = geometry.firstAt(this.#offset());
    const { columns, rowHeight } = this.#shape(width);
    const isChanged = columns !== geometry.columns || rowHeight !== geometry.rowHeight;
    this.#width = width;
    geometry.height = this.element.clientHeight;
    geometry.setShape(columns, rowHeight);
    this.#setHeight();
    if (isChanged && first > 0) this.#scrollTo(geometry.viewTopOf(first));
    this.#draw(true);
  }

  /**
   * Follow items that have moved in the list. Unless the view is at the top, it moves along and so shows the same.
   *
   * @param {number} by
   * @param {number} active the new index of the active item
   * @param {number} count
   * @param {GridGroups} [groups]
   */
  moveItems(by, active, count, groups = NO_GROUPS) {
    this.#cells.move(by);
    this.#active = Math.min(active, Math.max(count - 1, 0));
    this.#rearrange(by, count, groups);
    this.layout();
  }

  /**
   * Change how many items there are, and their groups. Unless the view is at the top, it shows the same as before.
   *
   * @param {number} by how far the items in view move in the list
   * @param {number} count
   * @param {GridGroups} groups
   */
  #rearrange(by, count, groups) {
    const geometry = this.#geometry;
    this.#goToTop();
    const { isScrolled, firstInView: anchor } = this;
    const [offset, place, isInFirst] = [this.#offset(), geometry.topOf(anchor), geometry.groupOf(anchor) === 0];
    this.#groups = groups;
    geometry.count = count;
    geometry.setGroups(groups.starts, HEADING_PX);
    if (!isScrolled) return;
    const moved = Math.max(anchor + by, 0);
    if (by !== 0 && isInFirst && geometry.groupOf(moved) === 0) geometry.moveFirstGroup(by);
    this.#setHeight();
    const way = geometry.topOf(moved) - place;
    if (way !== 0) this.#scrollTo(offset + way);
  }

  /** Fill the visible cells again. */
  refresh() {
    this.#draw(true);
  }

  scrollToTop() {
    this.#isToTop = true;
    this.#goToTop();
    this.#active = 0;
    this.#geometry.lead = 0;
    this.#draw(true);
  }

  #goToTop() {
    if (!this.#isToTop || this.canvas.clientWidth === 0) return;
    this.#isToTop = false;
    this.element.scrollTop = 0;
  }

  /**
   * Make a cell the active one and scroll it into view.
   *
   * @param {number} index
   * @param {boolean} [isAtTop] scroll its row to the top of the view, below the heading if it has one
   */
  activate(index, isAtTop = false) {
    const { count, rowHeight, height } = this.#geometry;
    if (count === 0) return;
    this.#active = Math.min(Math.max(index, 0), count - 1);
    const top = this.#geometry.viewTopOf(this.#active);
    const bottom = this.#geometry.topOf(this.#active) + rowHeight;
    const offset = this.#offset();
    if (isAtTop || top < offset) this.#scrollTo(top);
    else if (bottom > offset + height) this.#scrollTo(bottom - height);
    this.#draw(true);
  }

  /**
   * Return the index that a key moves to from the active cell, or null for any other key.
   *
   * @param {string} key
   */
  keyTarget(key) {
    return this.#geometry.keyTarget(key, this.#active);
  }

  /**
   * Return the index of the cell that holds the target of an event, or -1.
   *
   * @param {EventTarget | null} target
   */
  indexOf(target) {
    const cell = target instanceof Element ? target.closest(".ca-cell") : null;
    return cell instanceof HTMLElement && this.canvas.contains(cell) ? Number(cell.dataset.index) : -1;
  }

  #setHeight() {
    this.canvas.style.height = `${this.#geometry.canvasHeight}px`;
  }

  /** Return the position of the view in the whole, in px. */
  #offset() {
    return this.element.scrollTop * this.#geometry.scale;
  }

  /** @param {number} offset in the whole */
  #scrollTo(offset) {
    this.element.scrollTop = offset / this.#geometry.scale;
  }

  #scheduleDraw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw(false);
    });
  }

  /**
   * Show the cells of the view. Reads sizes before it writes styles: in turns, each read would lay out the page again.
   *
   * @param {boolean} isForced fill the cells that are visible already as well
   */
  #draw(isForced) {
    if (this.#width === 0) return;
    const geometry = this.#geometry;
    const top = this.element.scrollTop;
    const isRealigned = top === 0 && geometry.lead > 0; // no empty places at the top
    if (isRealigned) geometry.lead = 0;
    const offset = top * geometry.scale;
    const isMoving = !isForced && !isRealigned && Math.abs(top - this.#lastTop) > geometry.height / 2;
    this.#lastTop = top;
    this.#shift = top - offset;
    const [first, last] = geometry.range(offset);
    if (isRealigned) this.#setHeight();
    this.#cells.show(first, last, { isMoving, isForced: isForced || isRealigned });
    this.headings.show(geometry, this.#groups, first, last, this.#shift);
    this.#markActive();
    if (isMoving) this.#drawWhenIdle();
    if (geometry.count > 0) this.#onVisibleRange(first, last);
  }

  /** Fill the cells again, with images, once the view no longer moves. */
  #drawWhenIdle() {
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => this.#draw(true), IDLE_MS);
  }

  /**
   * @param {Cell} cell
   * @param {number} index
   */
  #placeCell(cell, index) {
    const geometry = this.#geometry;
    const { columns, rowHeight, count } = geometry;
    const width = this.#width / columns;
    const left = geometry.columnOf(index) * width;
    const top = geometry.topOf(index) + this.#shift;
    cell.style.width = `${width}px`;
    cell.style.height = `${rowHeight}px`;
    cell.style.transform = `translate(${left}px, ${top}px)`;
    cell.dataset.index = String(index);
    cell.id = `${this.id}-${index}`;
    cell.setAttribute("aria-setsize", String(count));
    cell.setAttribute("aria-posinset", String(index + 1));
    cell.classList.toggle("ca-active", index === this.#active);
    const group = geometry.headings > 0 ? geometry.groupOf(index) : -1;
    if (group >= 0 && geometry.startOf(group) === index) {
      cell.setAttribute("aria-description", this.#groups.text(group));
    } else cell.removeAttribute("aria-description");
  }

  #markActive() {
    if (this.#cells.has(this.#active)) {
      this.element.setAttribute("aria-activedescendant", `${this.id}-${this.#active}`);
    } else this.element.removeAttribute("aria-activedescendant");
  }
}
