/** A rating of none to five stars, as radio buttons: the browser brings keyboard and names. */

import { h, uniqueId } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import { rating } from "./asset.mjs";

/** Five stars; choosing the present one again takes the rating away. */
export function starRating(t, asset, rate) {
  const name = uniqueId("stars");
  let current = rating(asset);
  const group = h("div", { class: "ca-star-rating", role: "radiogroup", "aria-label": t("asset.rating") });
  const show = () => {
    for (const [index, label] of [...group.children].entries()) {
      label.classList.toggle("ca-filled", index < current);
      label.firstElementChild.checked = index + 1 === current;
    }
  };
  const choose = (count) => {
    current = count;
    show();
    rate(count);
  };
  for (let count = 1; count <= 5; count += 1) {
    const input = h("input", { type: "radio", name, value: count, "aria-label": t("asset.stars", { count }) });
    input.addEventListener("change", () => choose(count));
    input.addEventListener("click", () => {
      if (current === count && input.dataset.wasChosen) choose(0);
    });
    input.addEventListener("pointerdown", () => (input.dataset.wasChosen = current === count ? "1" : ""));
    group.append(h("label", { class: "ca-star" }, input, icon("star")));
  }
  show();
  return group;
}
