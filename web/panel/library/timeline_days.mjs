/** The days of a list and where they begin in it, as pure arithmetic. */

/** @import { DayPage } from "../api.d.ts" */

const LABEL_PX = 18;
const DOT_PX = 5;

export class TimelineDays {
  #days;
  /** @type {number[]} the index of the first item of each day */
  starts = [];
  total = 0;

  /** @param {DayPage["days"]} days in the order of the list */
  constructor(days) {
    this.#days = days;
    for (const { count } of days) {
      this.starts.push(this.total);
      this.total += count;
    }
  }

  get length() {
    return this.#days.length;
  }

  /**
   * Return a day by its index.
   *
   * @param {number} day
   */
  at(day) {
    return this.#days[day];
  }

  /**
   * Return the index of the first item of a day.
   *
   * @param {number} day
   */
  startOf(day) {
    return this.starts[day];
  }

  /**
   * Return the index of the day of an item: of the last one for items that came since.
   *
   * @param {number} item
   */
  indexAt(item) {
    let [low, high] = [0, this.starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= item) low = middle;
      else high = middle - 1;
    }
    return Math.max(low, 0);
  }

  /**
   * Return the index of the first day of the next month in a direction, or of the last day there.
   *
   * @param {number} day
   * @param {number} step 1 down the list, -1 up
   */
  monthFrom(day, step) {
    const isSameMonth = (/** @type {number} */ one, /** @type {number} */ other) =>
      this.#days[one]?.date.slice(0, 7) === this.#days[other]?.date.slice(0, 7);
    let index = day;
    if (step > 0) {
      while (index < this.length - 1 && isSameMonth(index, day)) index += 1;
      return index;
    }
    while (index > 0 && isSameMonth(index - 1, day)) index -= 1;
    if (index < day || index === 0) return index; // the beginning of this month
    const before = index - 1;
    for (index = before; index > 0 && isSameMonth(index - 1, before);) index -= 1;
    return index;
  }
}

/**
 * Return the marks of a scale of some height: years and, where there is room, months as texts, others as dots.
 *
 * @param {TimelineDays} days
 * @param {(item: number) => number} shareOf returns how far down the list an item is, from 0 to 1
 * @param {number} height in px
 * @param {string} language
 */
export function marksOf(days, shareOf, height, language) {
  const months = new Intl.DateTimeFormat(language, { month: "short" });
  /** @type {{ y: number, text: string, kind: "ca-timeline-year" | "ca-timeline-month" | "ca-timeline-dot" }[]} */
  const marks = [];
  const isFree = (/** @type {number} */ y, /** @type {number} */ distance) =>
    marks.every((mark) =>
      Math.abs(mark.y - y) >= (mark.kind === "ca-timeline-dot" ? Math.min(distance, DOT_PX) : distance)
    );
  /** @type {{ y: number, date: string }[]} */
  const others = [];
  let last = "";
  for (let day = 0; day < days.length; day += 1) {
    const { date } = days.at(day);
    const month = date.slice(0, 7);
    if (month === last) continue;
    const isYear = month.slice(0, 4) !== last.slice(0, 4);
    last = month;
    // Texts at the ends are shown as a whole.
    const y = Math.min(Math.max(shareOf(days.startOf(day)) * height, LABEL_PX / 2), height - LABEL_PX / 2);
    if (isYear && isFree(y, LABEL_PX)) marks.push({ y, text: month.slice(0, 4), kind: "ca-timeline-year" });
    else others.push({ y, date });
  }
  for (const { y, date } of others) {
    if (isFree(y, LABEL_PX)) {
      marks.push({ y, text: months.format(new Date(`${date}T00:00`)), kind: "ca-timeline-month" });
    }
  }
  for (const { y } of others) if (isFree(y, DOT_PX * 2)) marks.push({ y, text: "", kind: "ca-timeline-dot" });
  return marks;
}
