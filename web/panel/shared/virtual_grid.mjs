/**
 * A grid, or a list of one column, of any length: only the cells near the view are in the page.
 *
 * Cells have a fixed height, so their positions follow from their indexes. Elements of cells that leave the view are
 * used again for those that enter it. For screen readers it is a listbox: the element itself has the focus and names the
 * active cell.
 */

import { h, uniqueId } from "./dom.mjs";

const OVERSCAN_ROWS = 2;
const MAX_HEIGHT = 12_000_000; // in px; browsers do not lay out elements that are much higher
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
  #count = 0;
  #columns = 1;
  #rowHeight = 1;
  #width = 0; // 0 until the grid is in the page
  #height = 0; // of the view
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
    return this.#count;
  }

  get active() {
    return this.#active;
  }

  /** @param {number} count */
  setCount(count) {
    this.#count = count;
    this.#active = Math.min(this.#active, Math.max(count - 1, 0));
    this.layout();
  }

  /** Measure and draw again, after a change of size or shape. The first item in view stays in view. */
  layout() {
    const width = this.canvas.clientWidth;
    if (width === 0) return; // not in the page
    const first = this.#indexAtTop();
    const { columns, rowHeight } = this.#shape(width);
    const isChanged = columns !== this.#columns || rowHeight !== this.#rowHeight;
    this.#columns = columns;
    this.#rowHeight = rowHeight;
    this.#width = width;
    this.#height = this.element.clientHeight;
    this.canvas.style.height = `${Math.min(this.#fullHeight(), MAX_HEIGHT)}px`;
    if (isChanged && first > 0) this.#scrollToRow(Math.floor(first / columns));
    this.#draw(true);
  }

  /** Fill the visible cells again. */
  refresh() {
    this.#draw(true);
  }

  scrollToTop() {
    this.element.scrollTop = 0;
    this.#active = 0;
    this.#draw(true);
  }

  /**
   * Make a cell the active one and scroll it into view.
   *
   * @param {number} index
   */
  activate(index) {
    if (this.#count === 0) return;
    this.#active = Math.min(Math.max(index, 0), this.#count - 1);
    const row = Math.floor(this.#active / this.#columns);
    const top = row * this.#rowHeight;
    const offset = this.#offset();
    if (top < offset) this.#scrollToRow(row);
    else if (top + this.#rowHeight > offset + this.#height) this.#scrollTo(top + this.#rowHeight - this.#height);
    this.#draw(true);
  }

  /**
   * Return the index that a key moves to from the active cell, or null for any other key.
   *
   * @param {string} key
   */
  keyTarget(key) {
    const page = this.#columns * Math.max(Math.floor(this.#height / this.#rowHeight), 1);
    /** @type {Record<string, number>} */
    const targets = {
      ArrowLeft: this.#active - 1,
      ArrowRight: this.#active + 1,
      ArrowUp: this.#active - this.#columns,
      ArrowDown: this.#active + this.#columns,
      PageUp: this.#active - page,
      PageDown: this.#active + page,
      Home: 0,
      End: this.#count - 1,
    };
    if (!(key in targets)) return null;
    return Math.min(Math.max(targets[key], 0), Math.max(this.#count - 1, 0));
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

  #fullHeight() {
    return Math.ceil(this.#count / this.#columns) * this.#rowHeight;
  }

  /** Return the position of the view in the whole, in px. */
  #offset() {
    return this.element.scrollTop * this.#scale();
  }

  /** Return how many px of the whole one px of the canvas stands for: 1 unless the whole is higher than MAX_HEIGHT. */
  #scale() {
    const full = this.#fullHeight();
    return full <= MAX_HEIGHT ? 1 : (full - this.#height) / (MAX_HEIGHT - this.#height);
  }

  /** @param {number} offset in the whole */
  #scrollTo(offset) {
    this.element.scrollTop = offset / this.#scale();
  }

  /** @param {number} row */
  #scrollToRow(row) {
    this.#scrollTo(row * this.#rowHeight);
  }

  #indexAtTop() {
    return Math.floor(this.#offset() / this.#rowHeight) * this.#columns;
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
    const top = this.element.scrollTop;
    const offset = top * this.#scale();
    const isMoving = !isForced && Math.abs(top - this.#lastTop) > this.#height / 2;
    this.#lastTop = top;
    this.#shift = top - offset;
    const [first, last] = this.#range(offset);
    this.#recycle(first, last);
    for (let index = first; index <= last; index += 1) {
      const cell = this.#visible.get(index);
      if (cell === undefined) this.#showCell(index, isMoving);
      else if (isForced) this.#fillCell(cell, index, false);
    }
    this.#markActive();
    if (isMoving) this.#drawWhenIdle();
    if (this.#count > 0) this.#onVisibleRange(first, last);
  }

  /** Fill the cells again, with images, once the view no longer moves. */
  #drawWhenIdle() {
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => this.#draw(true), IDLE_MS);
  }

  /** @param {number} offset */
  #range(offset) {
    const firstRow = Math.max(Math.floor(offset / this.#rowHeight) - OVERSCAN_ROWS, 0);
    const lastRow = Math.floor((offset + this.#height) / this.#rowHeight) + OVERSCAN_ROWS;
    return [firstRow * this.#columns, Math.min((lastRow + 1) * this.#columns, this.#count) - 1];
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
    const row = Math.floor(index / this.#columns);
    const width = this.#width / this.#columns;
    const left = (index % this.#columns) * width;
    cell.style.width = `${width}px`;
    cell.style.height = `${this.#rowHeight}px`;
    cell.style.transform = `translate(${left}px, ${row * this.#rowHeight + this.#shift}px)`;
    cell.dataset.index = String(index);
    cell.id = `${this.id}-${index}`;
    cell.setAttribute("aria-setsize", String(this.#count));
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
