/** An asset in the grid or in the list. */

import { h } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import * as format from "../shared/format.mjs";
import { dimensions, isFavourite, isMissing, mediaKind, rating, thumbnailUrl } from "./asset.mjs";

/** An empty cell; it is filled again and again. */
export function createCell() {
  const image = h("img", { alt: "", decoding: "async", draggable: "false" });
  image.addEventListener("error", () => image.parentElement.classList.add("ca-no-thumbnail"));
  image.addEventListener("load", () => image.classList.add("ca-loaded"));
  const cell = h(
    "div",
    { draggable: "true" },
    h(
      "div",
      { class: "ca-card" },
      h("div", { class: "ca-thumb" }, h("span", { class: "ca-media-icon" }), image),
      h("span", { class: "ca-check", dataset: { check: "" } }, icon("check")),
      h("span", { class: "ca-favourite-icon" }, icon("heart")),
      h("div", { class: "ca-name" }),
      h("div", { class: "ca-summary" }),
    ),
  );
  cell.parts = {
    image,
    thumb: cell.querySelector(".ca-thumb"),
    mediaIcon: cell.querySelector(".ca-media-icon"),
    name: cell.querySelector(".ca-name"),
    summary: cell.querySelector(".ca-summary"),
  };
  return cell;
}

/** Show an asset, or that it is on its way. While the view moves fast, its image waits. */
export function fillCell(cell, asset, { page, t, language, isSelected, isMoving }) {
  cell.setAttribute("aria-selected", String(isSelected));
  if (asset === undefined) {
    showLoading(cell);
    return;
  }
  const isSame = cell.assetId === asset.id && cell.updatedAt === asset.updated_at;
  if (!isSame) showAsset(cell, asset, t, language);
  const url = isMoving && !isSame ? null : thumbnailUrl(page, asset);
  showThumbnail(cell.parts, url);
}

function showLoading(cell) {
  cell.assetId = null;
  cell.removeAttribute("aria-label");
  cell.parts.name.textContent = cell.parts.summary.textContent = "";
  cell.parts.mediaIcon.replaceChildren();
  showThumbnail(cell.parts, null);
}

function showAsset(cell, asset, t, language) {
  cell.assetId = asset.id;
  cell.updatedAt = asset.updated_at;
  cell.classList.toggle("ca-missing", isMissing(asset));
  cell.classList.toggle("ca-favourite", isFavourite(asset));
  cell.setAttribute("aria-label", accessibleName(asset, t, language));
  cell.title = asset.name;
  cell.parts.name.textContent = asset.name;
  cell.parts.summary.textContent = summaryText(asset, language);
  cell.parts.mediaIcon.replaceChildren(icon(mediaKind(asset)));
}

function showThumbnail({ image, thumb }, url) {
  if (image.getAttribute("src") === url) return;
  image.classList.remove("ca-loaded");
  thumb.classList.toggle("ca-no-thumbnail", url === null);
  if (url === null) image.removeAttribute("src");
  else image.src = url;
}

function summaryText(asset, language) {
  const stars = "★".repeat(rating(asset));
  const parts = [stars, dimensions(asset), format.bytes(asset.size, language), format.day(asset.created_at, language)];
  return parts.filter(Boolean).join(" · ");
}

function accessibleName(asset, t, language) {
  const parts = [asset.name, t(`mediaKind.${mediaKind(asset)}`), format.bytes(asset.size, language)];
  if (isFavourite(asset)) parts.push(t("asset.favourite"));
  if (rating(asset) > 0) parts.push(t("asset.stars", { count: rating(asset) }));
  if (isMissing(asset)) parts.push(t("asset.missing"));
  return parts.join(", ");
}
