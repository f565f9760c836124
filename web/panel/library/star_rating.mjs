/** A rating as five radio buttons: the browser brings the keyboard and the names for screen readers. */

/** @import { Translate } from "../types.d.ts" */

import { h, uniqueId } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";

const STARS = [1, 2, 3, 4, 5];

/**
 * Create the five stars.
 *
 * @param {Translate} t
 * @param {number} rating 0 to 5
 * @param {(rating: number) => unknown} onChange choosing the current star again sets 0
 */
export function starRating(t, rating, onChange) {
  const name = uniqueId("stars");
  let current = rating;
  const stars = STARS.map((count) => {
    const input = h("input", { type: "radio", name, value: count, "aria-label": t("asset.stars", { count }) });
    // A click on the current star fires no change event, and by then the browser has checked it either way.
    let wasCurrent = false;
    input.addEventListener("pointerdown", () => (wasCurrent = current === count));
    input.addEventListener("click", () => {
      if (current === count && wasCurrent) choose(0);
    });
    input.addEventListener("change", () => choose(count));
    return { count, input, label: h("label", { class: "ca-star" }, input, icon("star")) };
  });
  const show = () => {
    for (const { count, input, label } of stars) {
      label.classList.toggle("ca-filled", count <= current);
      input.checked = count === current;
    }
  };
  /** @param {number} count */
  const choose = (count) => {
    current = count;
    show();
    onChange(count);
  };
  show();
  const attributes = { class: "ca-star-rating", role: "radiogroup", "aria-label": t("asset.rating") };
  return h("div", attributes, stars.map(({ label }) => label));
}
