/**
 * A grid, or a list of one column, of any length: only the cells near the view are in the page.
 *
 * Cells have a fixed height, so their positions follow from their indexes. Elements of cells that leave the view are
 * used again for those that enter it. For screen readers it is a listbox: the element itself has the focus and names the
 * active cell.
 */

import { h, uniqueId } from "./dom.mjs";
import { GridGeometry } from "./grid_geometry.mjs";

const IDLE_MS = 90;

/**
 * `create` makes an empty cell. `fill` shows an item in a cell; while `isMoving`, the view moves fast and images can wait.
 *
 * @template {HTMLElement} Cell
 * @typedef {{ create: () => Cell, fill: (cell: Cell, index: number, isMoving: boolean) => void }} CellRenderer
 */

/** @typedef {{ columns: number, rowHeight: number }} GridShape */

/** @template {HTMLElement} [Cell=HTMLElement] */
export class VirtualGrid {
  #cells;
  #shape;
  #onVisibleRange;
  #geometry = new GridGeometry();
  #width = 0; // 0 until the grid is in the page
  /** @type {Map<number, Cell>} by index */
  #visible = new Map();
  /** @type {Cell[]} hidden, to be used again */
  #recycled = [];
  #frame = 0;
  #idleTimer = 0;
  #lastTop = 0;
  #shift = 0; // from a cell's position in the whole to that in the canvas; 0 unless the canvas is scaled down
  #active = 0;

  /**
   * @param {{
   *   label: string,
   *   cells: CellRenderer<Cell>,
   *   shape: (width: number) => GridShape,
   *   onVisibleRange: (first: number, last: number) => void,
   * }} options
   */
  constructor({ label, cells, shape, onVisibleRange }) {
    this.#cells = cells;
    this.#shape = shape;
    this.#onVisibleRange = onVisibleRange;
    this.id = uniqueId("grid");
    this.canvas = h("div", { class: "ca-grid-canvas", role: "presentation" });
    this.element = h(
      "div",
      { class: "ca-grid", role: "listbox", "aria-multiselectable": "true", "aria-label": label, tabindex: "0" },
      this.canvas,
    );
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
    return this.#geometry.firstOf(Math.ceil(this.#offset() / this.#geometry.rowHeight - 0.5));
  }

  /** @param {number} count */
  setCount(count) {
    this.#geometry.count = count;
    this.#active = Math.min(this.#active, Math.max(count - 1, 0));
    this.layout();
  }

  /** Measure and draw again, after a change of size or shape. The first item in view stays in view. */
  layout() {
    const width = this.canvas.clientWidth;
    if (width === 0) return; // not in the page
    const geometry = this.#geometry;
    const first = geometry.firstOf(Math.floor(this.#offset() / geometry.rowHeight));
    const { columns, rowHeight } = this.#shape(width);
    const isChanged = columns !== geometry.columns || rowHeight !== geometry.rowHeight;
    this.#width = width;
    Object.assign(geometry, { columns, rowHeight, height: this.element.clientHeight });
    if (isChanged) geometry.lead = 0;
    this.#setHeight();
    if (isChanged && first > 0) this.#scrollToRow(geometry.rowOf(first));
    this.#draw(true);
  }

  /**
   * Follow items that have moved in the list. Unless the view is at the top, it moves along and so shows the same.
   *
   * @param {number} by
   * @param {number} active the new index of the active item
   * @param {number} count
   */
  moveItems(by, active, count) {
    const offset = this.#offset();
    const { isScrolled } = this;
    // The cells move with their items, or each image would be loaded by another element.
    this.#visible = new Map([...this.#visible].map(([index, cell]) => [index + by, cell]));
    this.#geometry.count = count;
    this.#active = Math.min(active, Math.max(count - 1, 0));
    if (isScrolled && by !== 0) {
      const rows = this.#geometry.moveItems(by);
      this.#setHeight();
      this.#scrollTo(offset + rows * this.#geometry.rowHeight);
    }
    this.layout();
  }

  /** Fill the visible cells again. */
  refresh() {
    this.#draw(true);
  }

  scrollToTop() {
    this.element.scrollTop = 0;
    this.#active = 0;
    this.#geometry.lead = 0;
    this.#draw(true);
  }

  /**
   * Make a cell the active one and scroll it into view.
   *
   * @param {number} index
   * @param {boolean} [isAtTop] scroll its row to the top of the view
   */
  activate(index, isAtTop = false) {
    const { count, rowHeight, height } = this.#geometry;
    if (count === 0) return;
    this.#active = Math.min(Math.max(index, 0), count - 1);
    const row = this.#geometry.rowOf(this.#active);
    const top = row * rowHeight;
    const offset = this.#offset();
    if (isAtTop || top < offset) this.#scrollToRow(row);
    else if (top + rowHeight > offset + height) this.#scrollTo(top + rowHeight - height);
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

  /** @param {number} row */
  #scrollToRow(row) {
    this.#scrollTo(row * this.#geometry.rowHeight);
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
    this.#recycle(first, last);
    for (let index = first; index <= last; index += 1) {
      const cell = this.#visible.get(index);
      if (cell === undefined) this.#showCell(index, isMoving);
      else if (isForced || isRealigned) this.#fillCell(cell, index, false);
    }
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
   * @param {number} first
   * @param {number} last
   */
  #recycle(first, last) {
    for (const [index, cell] of this.#visible) {
      if (index >= first && index <= last) continue;
      this.#visible.delete(index);
      cell.hidden = true;
      this.#recycled.push(cell);
    }
  }

  /**
   * @param {number} index
   * @param {boolean} isMoving
   */
  #showCell(index, isMoving) {
    const cell = this.#recycled.pop() ?? this.#createCell();
    cell.hidden = false;
    this.#visible.set(index, cell);
    this.#fillCell(cell, index, isMoving);
  }

  #createCell() {
    const cell = this.#cells.create();
    cell.classList.add("ca-cell");
    cell.setAttribute("role", "option");
    this.canvas.append(cell);
    return cell;
  }

  /**
   * @param {Cell} cell
   * @param {number} index
   * @param {boolean} isMoving
   */
  #fillCell(cell, index, isMoving) {
    const { columns, rowHeight, count } = this.#geometry;
    const width = this.#width / columns;
    const left = this.#geometry.columnOf(index) * width;
    const top = this.#geometry.rowOf(index) * rowHeight + this.#shift;
    cell.style.width = `${width}px`;
    cell.style.height = `${rowHeight}px`;
    cell.style.transform = `translate(${left}px, ${top}px)`;
    cell.dataset.index = String(index);
    cell.id = `${this.id}-${index}`;
    cell.setAttribute("aria-setsize", String(count));
    cell.setAttribute("aria-posinset", String(index + 1));
    cell.classList.toggle("ca-active", index === this.#active);
    this.#cells.fill(cell, index, isMoving);
  }

  #markActive() {
    if (this.#visible.has(this.#active)) {
      this.element.setAttribute("aria-activedescendant", `${this.id}-${this.#active}`);
    } else this.element.removeAttribute("aria-activedescendant");
  }
}
