/** The days of the list, as a scale at the edge of the grid that scrolls to them. */

/** @import { PanelContext } from "../types.d.ts" */
/** @import { AssetGrid } from "./asset_grid.mjs" */

import { h, setChildren } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { marksOf } from "./timeline_days.mjs";

const LABEL_MS = 1200; // for which the day is shown after the view has moved
const DRAG_PX = 4; // of a pointer that does more than click

export class Timeline {
  #context;
  #list;
  #grid;
  #labelTimer = 0;
  #frame = 0;
  /** The item that was scrolled to, and where the view was then: it may share its row with the day before. */
  #chosen = { item: 0, top: -1 };
  /** @type {{ y: number, isMoved: boolean } | null} while the pointer is down */
  #drag = null;

  /**
   * @param {PanelContext} context
   * @param {AssetGrid} list whose element gets the scale
   */
  constructor(context, list) {
    this.#context = context;
    this.#list = list;
    this.#grid = list.grid;
    list.grid.element.id = list.grid.id; // for aria-controls
    this.thumb = h("div", { class: "ca-timeline-thumb" });
    this.marks = h("div", { class: "ca-timeline-marks", "aria-hidden": "true" });
    this.label = h("div", { class: "ca-timeline-label", "aria-hidden": "true" });
    this.label.hidden = true;
    this.element = h(
      "div",
      {
        class: "ca-timeline",
        role: "slider",
        tabindex: "0",
        "aria-label": context.t("timeline.title"),
        "aria-orientation": "vertical",
        "aria-controls": this.#grid.id,
        "aria-valuemin": 1,
      },
      this.marks,
      this.thumb,
    );
    this.element.hidden = true;
    list.element.append(this.element, this.label);
    list.addEventListener("change", () => this.#show());
    new ResizeObserver(() => this.#show()).observe(list.element);
    this.#grid.element.addEventListener("scroll", () => this.#followSoon(), { passive: true });
    this.#listen();
  }

  get #days() {
    return this.#list.days.days;
  }

  /** The index of the item whose day is shown. */
  get #item() {
    const { element, firstInView } = this.#grid;
    return this.#chosen.top === element.scrollTop ? this.#chosen.item : firstInView;
  }

  #show() {
    const { total } = this.#list.list;
    const { scrollHeight, clientHeight } = this.#grid.element;
    const isShown = this.#days.length > 1 && total !== null && scrollHeight > clientHeight * 2;
    if (this.element.hidden === isShown) {
      this.element.hidden = !isShown;
      this.#list.element.classList.toggle("ca-has-timeline", isShown);
    }
    if (!isShown) {
      this.label.hidden = true;
      return;
    }
    const height = this.element.clientHeight;
    const shareOf = (/** @type {number} */ item) => this.#grid.shareOf(item);
    const marks = marksOf(this.#days, shareOf, height, this.#context.language).map(({ y, text, kind }) => {
      const mark = h("span", { class: kind }, text);
      mark.style.insetBlockStart = `${y}px`;
      return mark;
    });
    setChildren(this.marks, marks);
    this.element.setAttribute("aria-valuemax", String(this.#days.length));
    this.#follow();
  }

  #followSoon() {
    if (this.element.hidden) return;
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.element.hidden) return; // by now, as another list is loading
      this.#follow();
      this.#showLabel(this.#item, this.thumb.offsetTop);
    });
  }

  /** Show where the view is. */
  #follow() {
    const { scrollTop, scrollHeight, clientHeight } = this.#grid.element;
    const day = this.#days.indexAt(this.#item);
    this.thumb.style.insetBlockStart = `${scrollTop / scrollHeight * 100}%`;
    this.thumb.style.blockSize = `${clientHeight / scrollHeight * 100}%`;
    this.element.setAttribute("aria-valuenow", String(day + 1));
    this.element.setAttribute("aria-valuetext", this.#textOf(day));
  }

  /** @param {number} day its index */
  #textOf(day) {
    const { t, language } = this.#context;
    const { date, count } = this.#days.at(day);
    const number = format.number(count, language);
    return t("timeline.day", { day: format.day(`${date}T00:00`, language), count, number });
  }

  /**
   * Show the day of an item beside the scale, for a while.
   *
   * @param {number} index of the item
   * @param {number} y
   */
  #showLabel(index, y) {
    this.label.textContent = this.#textOf(this.#days.indexAt(index));
    this.label.hidden = false;
    this.label.style.insetBlockStart = `${Math.min(y, Math.max(this.element.clientHeight - 28, 0))}px`;
    clearTimeout(this.#labelTimer);
    this.#labelTimer = setTimeout(() => (this.label.hidden = true), LABEL_MS);
  }

  #listen() {
    const { element } = this;
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      element.setPointerCapture(event.pointerId);
      this.#drag = { y: event.clientY, isMoved: false };
      this.#scrollTo(this.#days.startOf(this.#days.indexAt(this.#itemAt(event))));
    });
    element.addEventListener("pointermove", (event) => {
      const index = this.#itemAt(event);
      if (this.#drag !== null && Math.abs(event.clientY - this.#drag.y) > DRAG_PX) this.#drag.isMoved = true;
      if (this.#drag?.isMoved) this.#scrollTo(index);
      this.#showLabel(index, event.clientY - element.getBoundingClientRect().top);
    });
    for (const type of ["pointerup", "pointercancel"]) element.addEventListener(type, () => (this.#drag = null));
    element.addEventListener("wheel", ({ deltaY }) => (this.#grid.element.scrollTop += deltaY), { passive: true });
    element.addEventListener("keydown", (event) => this.#onKeyDown(event));
  }

  /**
   * Return the index of the item that a place on the scale stands for.
   *
   * @param {PointerEvent} event
   */
  #itemAt({ clientY }) {
    const { top, height } = this.element.getBoundingClientRect();
    return this.#grid.firstAtShare(Math.min(Math.max((clientY - top) / Math.max(height, 1), 0), 1));
  }

  /** @param {number} index */
  #scrollTo(index) {
    this.#grid.activate(index, true);
    this.#chosen = { item: index, top: this.#grid.element.scrollTop };
    this.#follow();
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    const day = this.#days.indexAt(this.#item);
    const month = (/** @type {number} */ step) => this.#days.monthFrom(day, step);
    /** @type {Record<string, number>} */
    const targets = {
      ArrowUp: day - 1,
      ArrowLeft: day - 1,
      ArrowDown: day + 1,
      ArrowRight: day + 1,
      PageUp: month(-1),
      PageDown: month(1),
      Home: 0,
      End: this.#days.length - 1,
    };
    if (event.key === "Enter") this.#list.focus();
    else if (event.key in targets && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const target = Math.min(Math.max(targets[event.key], 0), this.#days.length - 1);
      this.#scrollTo(this.#days.startOf(target));
      this.#showLabel(this.#days.startOf(target), this.thumb.offsetTop);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
