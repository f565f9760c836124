/** A dialog that shows two images on top of each other, with a divider to move between them. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { h } from "../shared/dom.mjs";
import { iconButton } from "../shared/buttons.mjs";
import * as format from "../shared/format.mjs";
import { contentUrl, dimensions } from "./asset.mjs";

/**
 * Open the dialog over the whole page. Escape closes it.
 *
 * @param {PanelContext} context
 * @param {Asset} left
 * @param {Asset} right
 */
export function showCompareDialog(context, left, right) {
  const { t } = context;
  const range = { type: "range", min: "0", max: "100", step: "0.5", value: "50" };
  const slider = h("input", { ...range, class: "ca-compare-slider", "aria-label": t("compare.slider") });
  const images = [image(context, right), image(context, left, "ca-compare-left")];
  const stage = h("div", { class: "ca-compare-stage" }, images, slider);
  const move = () => stage.style.setProperty("--ca-split", `${slider.value}%`);
  slider.addEventListener("input", move);
  move();
  const dialog = h("dialog", { class: "ca-root ca-compare", "aria-label": t("compare.title") });
  const close = iconButton("close", t("common.close"), () => dialog.close());
  const captions = [caption(context, left), h("span", { class: "ca-spacer" }), caption(context, right)];
  dialog.append(h("div", { class: "ca-compare-header" }, captions, close), stage);
  dialog.addEventListener("keydown", (event) => event.stopPropagation()); // arrow keys would move the page's canvas
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog); // within the panel, the page's sidebar could cut it off
  dialog.showModal();
  slider.focus();
}

/**
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {string} [kind]
 */
function image({ page }, asset, kind = "") {
  return h("img", { class: kind, src: contentUrl(page, asset), alt: asset.name, draggable: "false" });
}

/**
 * @param {PanelContext} context
 * @param {Asset} asset
 */
function caption({ language }, asset) {
  const summary = [dimensions(asset), format.bytes(asset.size, language)].filter(Boolean).join(" · ");
  return h("div", { class: "ca-compare-caption" }, h("strong", {}, asset.name), h("span", {}, summary));
}
