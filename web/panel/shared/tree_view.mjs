/**
 * A tree of any size, after the ARIA pattern: only the rows near the view are in the page. The element itself has the
 * focus and names the active row.
 */

/** @import { ScreenPoint } from "../types.d.ts" */
/** @import { TreeRow } from "./tree_row.mjs" */

import { onMenu } from "./context_menu.mjs";
import { h, setChildren, uniqueId } from "./dom.mjs";
import { acceptDrops } from "./tree_drops.mjs";
import { rowElement } from "./tree_row.mjs";

const ROW_PX = 28;
const OVERSCAN = 8; // rows above and below the view
const TYPE_AHEAD_MS = 700;

/**
 * `place` is null if the keyboard asked for the menu, and the button's place if that did.
 * @typedef {{
 *   open: (key: string) => unknown,
 *   toggle: (key: string, isExpanded: boolean) => unknown,
 *   menu: (key: string, at: ScreenPoint) => boolean,
 *   press: (key: string, at: ScreenPoint) => unknown,
 *   key: (event: KeyboardEvent, key: string) => boolean,
 *   needed: (key: string) => unknown,
 *   drop: (key: string) => unknown,
 * }} TreeCallbacks
 */

export class TreeView {
  #callbacks;
  /** @type {TreeRow[]} */
  #rows = [];
  /** @type {Map<string, number>} */
  #places = new Map();
  #active = "";
  #frame = 0;
  #typed = { text: "", at: 0 };
  #id = uniqueId("tree");

  /**
   * @param {string} label
   * @param {TreeCallbacks} callbacks
   */
  constructor(label, callbacks) {
    this.#callbacks = callbacks;
    this.canvas = h("div", { class: "ca-tree-canvas", role: "presentation" });
    this.element = h("div", { class: "ca-tree", role: "tree", "aria-label": label, tabindex: "0" }, this.canvas);
    this.element.addEventListener("scroll", () => this.#scheduleDraw(), { passive: true });
    this.element.addEventListener("keydown", (event) => this.#onKeyDown(event));
    this.element.addEventListener("click", (event) => this.#onClick(event));
    acceptDrops(this.element, ({ target }) => {
      const row = this.#rowOf(target);
      return row?.acceptsDrop ? () => this.#callbacks.drop(row.key) : null;
    });
    onMenu(this.element, (target, at) => this.#showMenu(target, at));
    new ResizeObserver(() => this.#draw()).observe(this.element);
  }

  /**
   * Show these rows. The active row stays active as long as it is there.
   *
   * @param {TreeRow[]} rows
   */
  show(rows) {
    this.#rows = rows;
    this.#places = new Map(rows.map(({ key }, index) => [key, index]));
    if (!this.#places.has(this.#active)) this.#active = (rows.find(({ isCurrent }) => isCurrent) ?? rows[0])?.key ?? "";
    this.canvas.style.height = `${rows.length * ROW_PX}px`;
    this.#draw();
  }

  focus() {
    this.element.focus({ preventScroll: true });
  }

  /**
   * Make a row the active one and scroll it into view.
   *
   * @param {string} key
   */
  activate(key) {
    const place = this.#places.get(key);
    if (place === undefined) return;
    this.#active = key;
    const { scrollTop, clientHeight } = this.element;
    const top = place * ROW_PX;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + ROW_PX > scrollTop + clientHeight) this.element.scrollTop = top + ROW_PX - clientHeight;
    this.#draw();
  }

  #scheduleDraw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  /** Put the rows near the view into the page. */
  #draw() {
    const { scrollTop, clientHeight } = this.element;
    if (clientHeight === 0) return; // not in the page
    const first = Math.max(Math.floor(scrollTop / ROW_PX) - OVERSCAN, 0);
    const last = Math.min(Math.ceil((scrollTop + clientHeight) / ROW_PX) + OVERSCAN, this.#rows.length);
    const shown = this.#rows.slice(first, last);
    setChildren(this.canvas, shown.map((row, index) => this.#element(row, first + index)));
    const place = this.#places.get(this.#active);
    if (place !== undefined && place >= first && place < last) {
      this.element.setAttribute("aria-activedescendant", `${this.#id}-${place}`);
    } else this.element.removeAttribute("aria-activedescendant");
    for (const { key, isPending } of shown) if (isPending) this.#callbacks.needed(key);
  }

  /**
   * @param {TreeRow} row
   * @param {number} index
   */
  #element(row, index) {
    const element = rowElement(row, `${this.#id}-${index}`, row.key === this.#active);
    element.style.transform = `translateY(${index * ROW_PX}px)`;
    return element;
  }

  /**
   * @param {EventTarget | null} target
   * @returns {TreeRow | undefined}
   */
  #rowOf(target) {
    const element = target instanceof Element ? target.closest(".ca-tree-row") : null;
    const place = element instanceof HTMLElement ? this.#places.get(element.dataset.key ?? "") : undefined;
    return place === undefined ? undefined : this.#rows[place];
  }

  /** @param {MouseEvent} event */
  #onClick({ target }) {
    const row = this.#rowOf(target);
    if (row === undefined || !(target instanceof Element)) return;
    this.#active = row.key;
    this.#draw();
    const pressed = target.closest(".ca-tree-button");
    if (pressed !== null) this.#callbacks.press(row.key, below(pressed));
    else if (row.isExpanded !== null && (row.isHeading || target.closest(".ca-tree-toggle"))) {
      this.#callbacks.toggle(row.key, !row.isExpanded);
    } else if (!row.isPending) this.#callbacks.open(row.key);
  }

  /**
   * @param {Element} target
   * @param {ScreenPoint | null} at
   */
  #showMenu(target, at) {
    const row = at === null ? this.#activeRow() : this.#rowOf(target);
    if (row === undefined) return false;
    this.activate(row.key);
    const element = document.getElementById(`${this.#id}-${this.#places.get(row.key)}`);
    return this.#callbacks.menu(row.key, at ?? below(element ?? this.element));
  }

  #activeRow() {
    const place = this.#places.get(this.#active);
    return place === undefined ? undefined : this.#rows[place];
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    const row = this.#activeRow();
    if (row === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    const place = this.#places.get(row.key) ?? 0;
    const key = this.#readingKey(event.key);
    const target = this.#keyTarget(key, place, row);
    if (target !== null) this.activate(this.#rows[target].key);
    else if (key === "ArrowRight" && row.isExpanded === false) this.#callbacks.toggle(row.key, true);
    else if (key === "ArrowLeft" && row.isExpanded === true) this.#callbacks.toggle(row.key, false);
    else if ((event.key === "Enter" || event.key === " ") && !row.isPending) {
      if (row.isHeading && row.isExpanded !== null) this.#callbacks.toggle(row.key, !row.isExpanded);
      else this.#callbacks.open(row.key);
    } else if (!this.#callbacks.key(event, row.key) && !this.#typeAhead(event, place)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /**
   * Return a key as it works from left to right: elsewhere the tree opens to the left.
   *
   * @param {string} key
   */
  #readingKey(key) {
    if (!(key === "ArrowLeft" || key === "ArrowRight") || getComputedStyle(this.element).direction === "ltr") {
      return key;
    }
    return key === "ArrowLeft" ? "ArrowRight" : "ArrowLeft";
  }

  /**
   * Return the place that a key moves to, or null.
   *
   * @param {string} key
   * @param {number} place
   * @param {TreeRow} row
   */
  #keyTarget(key, place, row) {
    const end = this.#rows.length - 1;
    const page = Math.max(Math.floor(this.element.clientHeight / ROW_PX) - 1, 1);
    /** @type {Record<string, number>} */
    const targets = {
      ArrowDown: place + 1,
      ArrowUp: place - 1,
      PageDown: place + page,
      PageUp: place - page,
      Home: 0,
      End: end,
    };
    if (key in targets) return Math.min(Math.max(targets[key], 0), end);
    if (key === "ArrowRight" && row.isExpanded === true) return Math.min(place + 1, end);
    if (key === "ArrowLeft" && row.isExpanded !== true && row.level > 1) {
      for (let above = place - 1; above >= 0; above -= 1) if (this.#rows[above].level < row.level) return above;
    }
    return null;
  }

  /**
   * Move to the next row that begins with what is typed.
   *
   * @param {KeyboardEvent} event
   * @param {number} place
   */
  #typeAhead({ key, timeStamp }, place) {
    if ([...key].length !== 1 || key === " " || key === "/" || key === "?") return false;
    const isNew = timeStamp - this.#typed.at > TYPE_AHEAD_MS;
    const text = (isNew ? "" : this.#typed.text) + key.toLowerCase();
    this.#typed = { text, at: timeStamp };
    for (let step = isNew ? 1 : 0; step <= this.#rows.length; step += 1) {
      const row = this.#rows[(place + step) % this.#rows.length];
      if (!row.label.toLowerCase().startsWith(text)) continue;
      this.activate(row.key);
      break;
    }
    return true;
  }
}

/** @param {Element} element */
function below(element) {
  const { left, bottom } = element.getBoundingClientRect();
  return { x: left, y: bottom };
}
