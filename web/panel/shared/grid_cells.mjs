/** The cells of a grid near the view: elements of those that leave it are used again for those that enter it. */

/**
 * `create` makes an empty cell. `fill` shows an item in a cell; while `isMoving`, the view moves fast and images can wait.
 *
 * @template {HTMLElement} Cell
 * @typedef {{ create: () => Cell, fill: (cell: Cell, index: number, isMoving: boolean) => void }} CellRenderer
 */

/** @template {HTMLElement} Cell */
export class GridCells {
  #canvas;
  #renderer;
  #place;
  /** @type {Map<number, Cell>} by index */
  #visible = new Map();
  /** @type {Cell[]} hidden, to be used again */
  #recycled = [];

  /**
   * @param {HTMLElement} canvas
   * @param {CellRenderer<Cell>} renderer
   * @param {(cell: Cell, index: number) => void} place puts a cell where its item is
   */
  constructor(canvas, renderer, place) {
    this.#canvas = canvas;
    this.#renderer = renderer;
    this.#place = place;
  }

  /** @param {number} index */
  has(index) {
    return this.#visible.has(index);
  }

  /**
   * Follow items that have moved in the list: with other cells, each image would be loaded by another element.
   *
   * @param {number} by
   */
  move(by) {
    this.#visible = new Map([...this.#visible].map(([index, cell]) => [index + by, cell]));
  }

  /**
   * Show the cells of a range, and no others.
   *
   * @param {number} first
   * @param {number} last
   * @param {{ isMoving: boolean, isForced: boolean }} options `isForced` fills those that are visible already as well
   */
  show(first, last, { isMoving, isForced }) {
    this.#recycle(first, last);
    for (let index = first; index <= last; index += 1) {
      const cell = this.#visible.get(index);
      if (cell === undefined) this.#fill(this.#take(index), index, isMoving);
      else if (isForced) this.#fill(cell, index, false);
    }
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

  /** @param {number} index */
  #take(index) {
    // The one that had the place before, if there is one: after a search it often shows the same, with its image.
    const before = this.#recycled.findIndex(({ dataset }) => dataset.index === String(index));
    const [cell = this.#create()] = this.#recycled.splice(before, 1); // the last, without such a one
    cell.hidden = false;
    this.#visible.set(index, cell);
    return cell;
  }

  #create() {
    const cell = this.#renderer.create();
    cell.classList.add("ca-cell");
    cell.setAttribute("role", "option");
    this.#canvas.append(cell);
    return cell;
  }

  /**
   * @param {Cell} cell
   * @param {number} index
   * @param {boolean} isMoving
   */
  #fill(cell, index, isMoving) {
    this.#place(cell, index);
    this.#renderer.fill(cell, index, isMoving);
  }
}
