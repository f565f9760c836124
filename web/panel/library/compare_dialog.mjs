/** Two pictures over each other, with a divider to move between them. */

import { h } from "../shared/dom.mjs";
import { iconButton } from "../shared/buttons.mjs";
import * as format from "../shared/format.mjs";
import { contentUrl, dimensions } from "./asset.mjs";

/** Open the comparison over the whole page; Escape closes it. */
export function showCompareDialog(context, [left, right]) {
  const { t } = context;
  const slider = h("input", {
    class: "ca-compare-slider",
    type: "range",
    min: "0",
    max: "100",
    step: "0.5",
    value: "50",
  });
  slider.setAttribute("aria-label", t("compare.slider"));
  const stage = h(
    "div",
    { class: "ca-compare-stage" },
    image(context, right),
    image(context, left, "ca-compare-left"),
    slider,
  );
  const move = () => stage.style.setProperty("--ca-split", `${slider.value}%`);
  slider.addEventListener("input", move);
  move();
  const dialog = h("dialog", { class: "ca-root ca-compare", "aria-label": t("compare.title") });
  const close = iconButton("close", t("common.close"), () => dialog.close());
  dialog.append(
    h(
      "div",
      { class: "ca-compare-header" },
      caption(context, left),
      h("span", { class: "ca-spacer" }),
      caption(context, right),
      close,
    ),
    stage,
  );
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  slider.focus();
}

function image({ page }, asset, kind = "") {
  return h("img", { class: kind, src: contentUrl(page, asset), alt: asset.name, draggable: "false" });
}

function caption({ language }, asset) {
  const summary = [dimensions(asset), format.bytes(asset.size, language)].filter(Boolean).join(" · ");
  return h("div", { class: "ca-compare-caption" }, h("strong", {}, asset.name), h("span", {}, summary));
}
