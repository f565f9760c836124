/**
 * A grid, or a list of one column, of any length, of which only what is near the view is in the page.
 *
 * Cells have a fixed height, so that their places follow from their numbers. The elements of cells that leave the view
 * are used again for those that come into it. It is a listbox for screen readers: the element itself has the focus and
 * names the active cell.
 */

import { h, uniqueId } from "./dom.mjs";

const OVERSCAN_ROWS = 2;
const MAX_HEIGHT = 12_000_000; // browsers draw no elements that are much higher
const IDLE_MS = 90;

export class VirtualGrid {
  #cells;
  #shape;
  #count = 0;
  #columns = 1;
  #rowHeight = 1;
  #width = 0;
  #height = 0; // of the view
  #visible = new Map(); // index -> cell element
  #recycled = [];
  #frame = 0;
  #idleTimer = 0;
  #lastTop = 0;
  #shift = 0; // of cells against their places in the whole; 0 unless that is scaled
  #active = 0;

  /**
   * `cells.create()` makes an element, `cells.fill(element, index, isMoving)` shows an item in it; while the view moves
   * fast, pictures can wait. `shape(width)` answers `{ columns, rowHeight }`. `onVisibleRange(first, last)` tells what is in view.
   */
  constructor({ label, cells, shape, onVisibleRange }) {
    this.#cells = cells;
    this.#shape = shape;
    this.onVisibleRange = onVisibleRange;
    this.id = uniqueId("grid");
    this.canvas = h("div", { class: "ca-grid-canvas", role: "presentation" });
    this.element = h(
      "div",
      { class: "ca-grid", role: "listbox", "aria-multiselectable": "true", "aria-label": label, tabindex: "0" },
      this.canvas,
    );
    this.element.addEventListener("scroll", () => this.#schedule(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(this.element);
  }

  get count() {
    return this.#count;
  }

  get active() {
    return this.#active;
  }

  setCount(count) {
    this.#count = count;
    this.#active = Math.min(this.#active, Math.max(count - 1, 0));
    this.layout();
  }

  /** Measure again: after a change of size or shape. */
  layout() {
    const width = this.canvas.clientWidth;
    if (width === 0) return;
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

  /** Show the items anew. */
  refresh() {
    this.#draw(true);
  }

  scrollToTop() {
    this.element.scrollTop = 0;
    this.#active = 0;
    this.#draw(true);
  }

  /** Make a cell the active one, and bring it into view. */
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

  /** The number of the cell that a key leads to from the active one, or null for a key that moves nothing. */
  keyTarget(key) {
    const page = this.#columns * Math.max(Math.floor(this.#height / this.#rowHeight), 1);
    const moves = {
      ArrowLeft: this.#active - 1,
      ArrowRight: this.#active + 1,
      ArrowUp: this.#active - this.#columns,
      ArrowDown: this.#active + this.#columns,
      PageUp: this.#active - page,
      PageDown: this.#active + page,
      Home: 0,
      End: this.#count - 1,
    };
    if (!(key in moves)) return null;
    return Math.min(Math.max(moves[key], 0), Math.max(this.#count - 1, 0));
  }

  /** The number of the cell that an element lies in, or -1. */
  indexOf(element) {
    const cell = element.closest?.(".ca-cell");
    return cell && this.canvas.contains(cell) ? Number(cell.dataset.index) : -1;
  }

  #fullHeight() {
    return Math.ceil(this.#count / this.#columns) * this.#rowHeight;
  }

  /** How far the view is into the whole, which is scaled down where no element can be that high. */
  #offset() {
    return this.element.scrollTop * this.#scale();
  }

  #scale() {
    const full = this.#fullHeight();
    return full <= MAX_HEIGHT ? 1 : (full - this.#height) / (MAX_HEIGHT - this.#height);
  }

  #scrollTo(offset) {
    this.element.scrollTop = offset / this.#scale();
  }

  #scrollToRow(row) {
    this.#scrollTo(row * this.#rowHeight);
  }

  #indexAtTop() {
    return Math.floor(this.#offset() / this.#rowHeight) * this.#columns;
  }

  #schedule() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw(false);
    });
  }

  /** Measures first and changes afterwards: in turns, each measuring would lay out the page anew. */
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
    if (this.#count > 0) this.onVisibleRange(first, last);
  }

  /** When the view has come to rest, show what was left out on the way. */
  #drawWhenIdle() {
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => this.#draw(true), IDLE_MS);
  }

  #range(offset) {
    const firstRow = Math.max(Math.floor(offset / this.#rowHeight) - OVERSCAN_ROWS, 0);
    const lastRow = Math.floor((offset + this.#height) / this.#rowHeight) + OVERSCAN_ROWS;
    return [firstRow * this.#columns, Math.min((lastRow + 1) * this.#columns, this.#count) - 1];
  }

  #recycle(first, last) {
    for (const [index, cell] of this.#visible) {
      if (index >= first && index <= last) continue;
      this.#visible.delete(index);
      cell.hidden = true;
      this.#recycled.push(cell);
    }
  }

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

  #fillCell(cell, index, isMoving) {
    const row = Math.floor(index / this.#columns);
    const width = this.#width / this.#columns;
    cell.style.width = `${width}px`;
    cell.style.height = `${this.#rowHeight}px`;
    cell.style.transform = `translate(${(index % this.#columns) * width}px, ${row * this.#rowHeight + this.#shift}px)`;
    cell.dataset.index = index;
    cell.id = `${this.id}-${index}`;
    cell.setAttribute("aria-setsize", this.#count);
    cell.setAttribute("aria-posinset", index + 1);
    cell.classList.toggle("ca-active", index === this.#active);
    this.#cells.fill(cell, index, isMoving);
  }

  #markActive() {
    if (this.#visible.has(this.#active)) {
      this.element.setAttribute("aria-activedescendant", `${this.id}-${this.#active}`);
    } else this.element.removeAttribute("aria-activedescendant");
  }
}
