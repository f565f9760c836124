/**
 * Where the items of a grid of any length lie, as pure arithmetic.
 *
 * Items can be in groups: each begins a row of its own, below a heading. Places are in px from the top of the whole.
 */

const OVERSCAN_ROWS = 2;
const MAX_HEIGHT = 12_000_000; // in px; browsers do not lay out elements that are much higher

export class GridGeometry {
  #count = 0;
  #columns = 1;
  #rowHeight = 1;
  #lead = 0;
  #headingHeight = 0;
  /** @type {readonly number[]} the index of the first item of each group; without headings, there is one group */
  #starts = [0];
  /** @type {number[] | null} the place of each group with its heading, and of the end; null until it is asked for */
  #tops = null;
  /** Of the view. */
  height = 0;

  get count() {
    return this.#count;
  }

  set count(count) {
    this.#count = count;
    this.#tops = null;
  }

  get columns() {
    return this.#columns;
  }

  get rowHeight() {
    return this.#rowHeight;
  }

  /** Empty places before the first item, so that items keep their columns when others come before them. */
  get lead() {
    return this.#lead;
  }

  set lead(lead) {
    this.#lead = lead;
    this.#tops = null;
  }

  /**
   * @param {number} columns
   * @param {number} rowHeight
   */
  setShape(columns, rowHeight) {
    if (columns === this.#columns && rowHeight === this.#rowHeight) return;
    this.#columns = columns;
    this.#rowHeight = rowHeight;
    this.lead = 0;
  }

  /**
   * @param {readonly number[]} starts the index of the first item of each group, in order and without repetition; none
   *   for a grid without groups
   * @param {number} headingHeight in px
   */
  setGroups(starts, headingHeight) {
    this.#starts = starts.length > 0 ? starts : [0];
    this.#headingHeight = starts.length > 0 ? headingHeight : 0;
    this.#tops = null;
  }

  /** How many groups with headings there are. */
  get headings() {
    return this.#headingHeight > 0 && this.#count > 0 ? this.#groups : 0;
  }

  /** How many groups there are: those that begin behind the last item do not count. */
  get #groups() {
    return this.#places.length - 1;
  }

  get #places() {
    this.#tops ??= this.#arrange();
    return this.#tops;
  }

  #arrange() {
    const tops = [0];
    for (let group = 0; group < this.#starts.length; group += 1) {
      if (group > 0 && this.#starts[group] >= this.#count) break;
      tops.push(tops[group] + this.#headingHeight + this.#rowsOf(group) * this.#rowHeight);
    }
    return tops;
  }

  /** @param {number} group */
  #rowsOf(group) {
    return Math.ceil((this.#endOf(group) - this.startOf(group) + this.#leadOf(group)) / this.#columns);
  }

  /** @param {number} group */
  #endOf(group) {
    return Math.min(this.#starts[group + 1] ?? this.#count, this.#count);
  }

  /** @param {number} group */
  #leadOf(group) {
    return group === 0 ? this.#lead : 0;
  }

  /** @param {number} group */
  startOf(group) {
    return this.#starts[group];
  }

  /**
   * Return the place of a group's heading.
   *
   * @param {number} group
   */
  headingTop(group) {
    return this.#places[group];
  }

  /**
   * Return the group of an item.
   *
   * @param {number} index
   */
  groupOf(index) {
    return lastAtMost(this.#starts, index, this.#groups);
  }

  /** The height of all rows and headings. */
  get fullHeight() {
    return this.#places[this.#groups];
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
   * Return the place of an item.
   *
   * @param {number} index
   */
  topOf(index) {
    const group = this.groupOf(index);
    return this.#places[group] + this.#headingHeight + this.#rowOf(index, group) * this.#rowHeight;
  }

  /**
   * Return the place from which on an item is in view: that of its group's heading, if it is in the first row.
   *
   * @param {number} index
   */
  viewTopOf(index) {
    const group = this.groupOf(index);
    return this.#rowOf(index, group) === 0 ? this.#places[group] : this.topOf(index);
  }

  /**
   * Return the column of an item.
   *
   * @param {number} index
   */
  columnOf(index) {
    const group = this.groupOf(index);
    return (index - this.startOf(group) + this.#leadOf(group)) % this.#columns;
  }

  /**
   * Return the first item of the row at a place, or of the row below a heading there. 0 if the row is empty.
   *
   * @param {number} place
   */
  firstAt(place) {
    const group = lastAtMost(this.#places, place, this.#groups);
    return this.#firstOf(group, this.#rowAt(place, group));
  }

  /**
   * Return the first and last index to show at an offset, with some rows around the view.
   *
   * @param {number} offset
   */
  range(offset) {
    const around = OVERSCAN_ROWS * this.#rowHeight;
    const end = offset + this.height + around;
    const group = lastAtMost(this.#places, end, this.#groups);
    const last = Math.min(this.#firstOf(group, this.#rowAt(end, group) + 1), this.#endOf(group)) - 1;
    return [this.firstAt(offset - around), last];
  }

  /**
   * Set the lead so that items of the first group that have moved in the list keep their columns.
   *
   * @param {number} by
   */
  moveFirstGroup(by) {
    this.lead = (((this.#lead - by) % this.#columns) + this.#columns) % this.#columns;
  }

  /**
   * Return the index that a key moves to from an item, or null for any other key.
   *
   * @param {string} key
   * @param {number} from
   */
  keyTarget(key, from) {
    const page = Math.max(Math.floor(this.height / this.#rowHeight), 1);
    /** @type {Record<string, () => number>} */
    const targets = {
      ArrowLeft: () => from - 1,
      ArrowRight: () => from + 1,
      ArrowUp: () => this.#rowsAway(from, -1),
      ArrowDown: () => this.#rowsAway(from, 1),
      PageUp: () => this.#rowsAway(from, -page),
      PageDown: () => this.#rowsAway(from, page),
      Home: () => 0,
      End: () => this.#count - 1,
    };
    if (!(key in targets)) return null;
    return Math.min(Math.max(targets[key](), 0), Math.max(this.#count - 1, 0));
  }

  /**
   * Return the item some rows away in the same column, or the last of a row that is too short. Beyond the rows it is the
   * first item, or the last.
   *
   * @param {number} from
   * @param {number} rows
   */
  #rowsAway(from, rows) {
    const column = this.columnOf(from);
    let group = this.groupOf(from);
    let row = this.#rowOf(from, group) + rows;
    while (row < 0) {
      group -= 1;
      if (group < 0) return 0;
      row += this.#rowsOf(group);
    }
    while (row >= this.#rowsOf(group)) {
      row -= this.#rowsOf(group);
      group += 1;
      if (group >= this.#groups) return this.#count - 1;
    }
    const index = this.startOf(group) - this.#leadOf(group) + row * this.#columns + column;
    return Math.min(Math.max(index, this.startOf(group)), this.#endOf(group) - 1);
  }

  /**
   * @param {number} index
   * @param {number} group that of the item
   */
  #rowOf(index, group) {
    return Math.floor((index - this.startOf(group) + this.#leadOf(group)) / this.#columns);
  }

  /**
   * @param {number} place
   * @param {number} group that at the place
   */
  #rowAt(place, group) {
    const row = Math.floor((place - this.#places[group] - this.#headingHeight) / this.#rowHeight);
    return Math.min(Math.max(row, 0), Math.max(this.#rowsOf(group) - 1, 0));
  }

  /**
   * @param {number} group
   * @param {number} row
   */
  #firstOf(group, row) {
    return this.startOf(group) + Math.max(row * this.#columns - this.#leadOf(group), 0);
  }
}

/**
 * Return the index of the last of the first `count` ascending numbers that is not greater than another, or 0.
 *
 * @param {readonly number[]} numbers
 * @param {number} value
 * @param {number} count
 */
function lastAtMost(numbers, value, count) {
  let [low, high] = [0, Math.max(count - 1, 0)];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (numbers[middle] <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}
