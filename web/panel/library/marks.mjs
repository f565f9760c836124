/** The marks that a user gives an asset: favourite and rating. */

/** @import { Asset } from "../api.d.ts" */
/** @import { Translate } from "../types.d.ts" */

import { iconButton, setPressed } from "../shared/buttons.mjs";
import { h } from "../shared/dom.mjs";
import { isFavourite, rating } from "./asset.mjs";
import { starRating } from "./star_rating.mjs";

/**
 * Create the heart and the stars of an asset.
 *
 * @param {Translate} t
 * @param {Asset} asset
 * @param {{ favour: (isOn: boolean) => unknown, rate: (stars: number) => unknown }} callbacks
 */
export function marks(t, asset, { favour, rate }) {
  const favourite = iconButton("heart", t("asset.favourite"), () => {
    const isOn = favourite.getAttribute("aria-pressed") !== "true";
    setPressed(favourite, isOn);
    favour(isOn);
  });
  setPressed(favourite, isFavourite(asset));
  return h("div", { class: "ca-rating-row" }, favourite, starRating(t, rating(asset), rate));
}
