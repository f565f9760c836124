/** An asset in the grid or in the list. */

import { h } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import * as format from "../shared/format.mjs";
import { dimensions, isFavourite, isMissing, mediumOf, rating, thumbnailUrl } from "./asset.mjs";

/** An empty cell; it is filled again and again. */
export function createCell() {
  const picture = h("img", { alt: "", decoding: "async", draggable: "false" });
  picture.addEventListener("error", () => picture.parentElement.classList.add("ca-no-picture"));
  picture.addEventListener("load", () => picture.classList.add("ca-loaded"));
  const cell = h(
    "div",
    { draggable: "true" },
    h(
      "div",
      { class: "ca-card" },
      h("div", { class: "ca-thumb" }, h("span", { class: "ca-medium" }), picture),
      h("span", { class: "ca-check", dataset: { check: "" } }, icon("check")),
      h("span", { class: "ca-mark" }, icon("heart")),
      h("div", { class: "ca-name" }),
      h("div", { class: "ca-facts" }),
    ),
  );
  cell.parts = {
    picture,
    thumb: cell.querySelector(".ca-thumb"),
    medium: cell.querySelector(".ca-medium"),
    name: cell.querySelector(".ca-name"),
    facts: cell.querySelector(".ca-facts"),
  };
  return cell;
}

/** Show an asset, or that it is on its way. While the view moves fast, its picture waits. */
export function fillCell(cell, asset, { page, t, language, isSelected, isMoving }) {
  cell.setAttribute("aria-selected", String(isSelected));
  if (asset === undefined) {
    showNothing(cell);
    return;
  }
  const isSame = cell.assetId === asset.id && cell.updatedAt === asset.updated_at;
  if (!isSame) showAsset(cell, asset, t, language);
  const url = isMoving && !isSame ? null : thumbnailUrl(page, asset);
  showPicture(cell.parts, url);
}

function showNothing(cell) {
  cell.assetId = null;
  cell.classList.add("ca-waiting");
  cell.removeAttribute("aria-label");
  cell.parts.name.textContent = cell.parts.facts.textContent = "";
  cell.parts.medium.replaceChildren();
  showPicture(cell.parts, null);
}

function showAsset(cell, asset, t, language) {
  cell.assetId = asset.id;
  cell.updatedAt = asset.updated_at;
  cell.classList.remove("ca-waiting");
  cell.classList.toggle("ca-missing", isMissing(asset));
  cell.classList.toggle("ca-favourite", isFavourite(asset));
  cell.setAttribute("aria-label", label(asset, t, language));
  cell.title = asset.name;
  cell.parts.name.textContent = asset.name;
  cell.parts.facts.textContent = facts(asset, language);
  cell.parts.medium.replaceChildren(icon(mediumOf(asset)));
}

function showPicture({ picture, thumb }, url) {
  if (picture.getAttribute("src") === url) return;
  picture.classList.remove("ca-loaded");
  thumb.classList.toggle("ca-no-picture", url === null);
  if (url === null) picture.removeAttribute("src");
  else picture.src = url;
}

function facts(asset, language) {
  const stars = "★".repeat(rating(asset));
  const parts = [stars, dimensions(asset), format.bytes(asset.size, language), format.day(asset.created_at, language)];
  return parts.filter(Boolean).join(" · ");
}

function label(asset, t, language) {
  const parts = [asset.name, t(`medium.${mediumOf(asset)}`), format.bytes(asset.size, language)];
  if (isFavourite(asset)) parts.push(t("asset.favourite"));
  if (rating(asset) > 0) parts.push(t("asset.stars", { count: rating(asset) }));
  if (isMissing(asset)) parts.push(t("asset.missing"));
  return parts.join(", ");
}
