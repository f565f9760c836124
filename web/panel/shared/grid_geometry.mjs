/** Where the items of a grid of any length lie, as pure arithmetic. */

const OVERSCAN_ROWS = 2;
const MAX_HEIGHT = 12_000_000; // in px; browsers do not lay out elements that are much higher

export class GridGeometry {
  count = 0;
  columns = 1;
  rowHeight = 1;
  /** Of the view. */
  height = 0;
  /** Empty places before the first item, so that items keep their columns when others come before them. */
  lead = 0;

  /** The height of all rows, in px. */
  get fullHeight() {
    return Math.ceil((this.count + this.lead) / this.columns) * this.rowHeight;
  }

  /** The height of the canvas that stands for all rows. */
  get canvasHeight() {
    return Math.min(this.fullHeight, MAX_HEIGHT);
  }

  /** How many px of the whole one px of the canvas stands for: 1 unless the whole is higher than a canvas can be. */
  get scale() {
    return this.fullHeight <= MAX_HEIGHT ? 1 : (this.fullHeight - this.height) / (MAX_HEIGHT - this.height);
  }

  /**
   * Return the row of an item.
   *
   * @param {number} index
   */
  rowOf(index) {
    return Math.floor((index + this.lead) / this.columns);
  }

  /**
   * Return the column of an item.
   *
   * @param {number} index
   */
  columnOf(index) {
    return (index + this.lead) % this.columns;
  }

  /**
   * Return the index of the first item of a row, 0 if the row is empty.
   *
   * @param {number} row
   */
  firstOf(row) {
    return Math.max(row * this.columns - this.lead, 0);
  }

  /**
   * Return the first and last index to show at an offset in the whole, with some rows around the view.
   *
   * @param {number} offset
   */
  range(offset) {
    const firstRow = Math.max(Math.floor(offset / this.rowHeight) - OVERSCAN_ROWS, 0);
    const lastRow = Math.floor((offset + this.height) / this.rowHeight) + OVERSCAN_ROWS;
    return [this.firstOf(firstRow), Math.min(this.firstOf(lastRow + 1), this.count) - 1];
  }

  /**
   * Set the lead so that items which have moved in the list keep their columns. Returns how many rows they have moved.
   *
   * @param {number} by
   */
  moveItems(by) {
    const before = this.lead;
    this.lead = (((before - by) % this.columns) + this.columns) % this.columns;
    return (by + this.lead - before) / this.columns;
  }

  /**
   * Return the index that a key moves to from an item, or null for any other key.
   *
   * @param {string} key
   * @param {number} from
   */
  keyTarget(key, from) {
    const page = this.columns * Math.max(Math.floor(this.height / this.rowHeight), 1);
    /** @type {Record<string, number>} */
    const targets = {
      ArrowLeft: from - 1,
      ArrowRight: from + 1,
      ArrowUp: from - this.columns,
      ArrowDown: from + this.columns,
      PageUp: from - page,
      PageDown: from + page,
      Home: 0,
      End: this.count - 1,
    };
    if (!(key in targets)) return null;
    return Math.min(Math.max(targets[key], 0), Math.max(this.count - 1, 0));
  }
}
