/** An asset in the grid or in the list. */

/** @import { Asset } from "../api.d.ts" */
/** @import { HostPage, Translate } from "../types.d.ts" */

import { RECONNECTED } from "../shared/connection.mjs";
import { h } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import * as format from "../shared/format.mjs";
import {
  baseModel,
  dimensions,
  isFavourite,
  isMissing,
  mediaKind,
  modelCategories,
  rating,
  thumbnailUrl,
  trainedWords,
} from "./asset.mjs";
import { stackSize } from "./stacks.mjs";

/**
 * A cell with its parts, and the asset that it shows.
 * @typedef {HTMLDivElement & {
 *   parts: CellParts,
 *   asset: Asset | null,
 *   hasDay: boolean,
 * }} GridCell
 */

/** @typedef {ReturnType<typeof createParts>} CellParts */

const RETRY_MS = 60_000;
const MAX_FAILED = 1000;
/**
 * When images could last not be loaded, by address. Otherwise they would be requested whenever they come into sight,
 * as the list that is on display still names them.
 * @type {Map<string, number>}
 */
const failed = new Map();
document.addEventListener(RECONNECTED, () => failed.clear());

function createParts() {
  const image = h("img", { alt: "", decoding: "async", draggable: "false" });
  const mediaIcon = h("span", { class: "ca-media-icon" });
  const length = h("span", { class: "ca-length" }); // of a video or a sound
  const stackCount = h("span", {});
  return {
    image,
    mediaIcon,
    length,
    stackCount,
    thumbnail: h(
      "div",
      { class: "ca-thumb" },
      mediaIcon,
      image,
      length,
      h("span", { class: "ca-stack-count" }, icon("stack"), stackCount),
    ),
    name: h("div", { class: "ca-name" }),
    words: h("span", { class: "ca-copy-words", dataset: { copyWords: "" } }, icon("copy")),
    summary: h("div", { class: "ca-summary" }),
  };
}

/**
 * Create an empty cell, to be filled again and again.
 *
 * @returns {GridCell}
 */
export function createCell() {
  const parts = createParts();
  const { image, thumbnail } = parts;
  image.addEventListener("error", () => {
    thumbnail.classList.add("ca-no-thumbnail");
    rememberFailure(image.getAttribute("src"));
  });
  image.addEventListener("load", () => {
    thumbnail.classList.remove("ca-no-thumbnail"); // it may have failed before
    image.classList.add("ca-loaded");
  });
  const card = h(
    "div",
    { class: "ca-card" },
    thumbnail,
    h("span", { class: "ca-check", dataset: { check: "" } }, icon("check")),
    h("span", { class: "ca-favourite-icon" }, icon("heart")),
    parts.words,
    parts.name,
    parts.summary,
  );
  return Object.assign(h("div", { draggable: "true" }, card), { parts, asset: null, hasDay: true });
}

/**
 * Show an asset in a cell, or nothing while it is loading. While the view moves fast, its thumbnail is left out. `hasDay`
 * shows the day of an asset, unless a heading does.
 *
 * @param {GridCell} cell
 * @param {Asset | undefined} asset
 * @param {{ page: HostPage, t: Translate, language: string, isSelected: boolean, isMoving: boolean, hasDay: boolean }} options
 */
export function fillCell(cell, asset, { page, t, language, isSelected, isMoving, hasDay }) {
  cell.setAttribute("aria-selected", String(isSelected));
  if (asset === undefined) {
    clearCell(cell);
    return;
  }
  const isKnown = cell.asset?.id === asset.id;
  // Not by the time of the last change: copies, stacks and what was read of the file change without it.
  if (cell.asset !== asset || cell.hasDay !== hasDay) {
    cell.hasDay = hasDay;
    showAsset(cell, asset, t, language);
  }
  const url = isMoving && !isKnown ? null : thumbnailUrl(page, asset);
  showThumbnail(cell.parts, url !== null && hasFailed(url) ? null : url);
}

/** @param {string | null} url */
function rememberFailure(url) {
  if (url === null) return;
  if (failed.size >= MAX_FAILED) failed.clear();
  failed.set(url, Date.now());
}

/** @param {string} url */
function hasFailed(url) {
  const since = failed.get(url);
  return since !== undefined && Date.now() - since < RETRY_MS;
}

/** @param {GridCell} cell */
function clearCell(cell) {
  cell.asset = null;
  cell.classList.remove("ca-stacked");
  cell.removeAttribute("aria-label");
  cell.parts.name.textContent = cell.parts.summary.textContent = "";
  cell.parts.mediaIcon.replaceChildren();
  cell.parts.length.textContent = "";
  cell.parts.words.hidden = true;
  showThumbnail(cell.parts, null);
}

/**
 * @param {GridCell} cell
 * @param {Asset} asset
 * @param {Translate} t
 * @param {string} language
 */
function showAsset(cell, asset, t, language) {
  const count = stackSize(asset);
  cell.asset = asset;
  cell.classList.toggle("ca-stacked", count > 1);
  cell.parts.stackCount.textContent = format.number(count, language);
  cell.classList.toggle("ca-missing", isMissing(asset));
  cell.classList.toggle("ca-favourite", isFavourite(asset));
  cell.setAttribute("aria-label", accessibleName(asset, t, language));
  cell.title = asset.name;
  cell.parts.name.textContent = asset.name;
  cell.parts.summary.textContent = summaryText(asset, t, language, cell.hasDay);
  cell.parts.mediaIcon.replaceChildren(icon(mediaKind(asset)));
  cell.parts.length.textContent = lengthText(asset);
  cell.parts.words.hidden = trainedWords(asset).length === 0;
  cell.parts.words.title = t("asset.copyTriggerWords");
}

/**
 * @param {CellParts} parts
 * @param {string | null} url
 */
function showThumbnail({ image, thumbnail }, url) {
  if (url !== null && image.getAttribute("src") === url) return; // the same image would be decoded again
  image.classList.remove("ca-loaded");
  thumbnail.classList.toggle("ca-no-thumbnail", url === null);
  if (url === null) image.removeAttribute("src");
  else image.src = url;
}

/**
 * @param {Asset} asset
 * @param {Translate} t
 * @param {string} language
 * @param {boolean} hasDay
 */
function summaryText(asset, t, language, hasDay) {
  const stars = "★".repeat(rating(asset));
  const size = format.bytes(asset.size, language);
  const copies = asset.copies === undefined ? "" : t("asset.copies", { count: asset.copies });
  const parts = modelCategories(asset).length > 0
    ? [stars, copies, baseModel(asset), size]
    : [stars, copies, dimensions(asset), size, hasDay && format.day(asset.created_at, language)];
  return format.line(parts, language);
}

/** @param {Asset} asset */
function lengthText(asset) {
  const { duration } = asset.metadata ?? {};
  const isPlayed = mediaKind(asset) === "video" || mediaKind(asset) === "audio";
  return isPlayed && typeof duration === "number" ? format.clock(duration) : "";
}

/**
 * @param {Asset} asset
 * @param {Translate} t
 * @param {string} language
 */
function accessibleName(asset, t, language) {
  const parts = [asset.name, t(`mediaKind.${mediaKind(asset)}`), format.bytes(asset.size, language)];
  if (isFavourite(asset)) parts.push(t("asset.favourite"));
  if (asset.copies !== undefined) parts.push(t("asset.copies", { count: asset.copies }));
  if (rating(asset) > 0) parts.push(t("asset.stars", { count: rating(asset) }));
  if (isMissing(asset)) parts.push(t("asset.missing"));
  if (stackSize(asset) > 1) parts.push(t("stack.size", { count: stackSize(asset) }));
  return parts.join(", ");
}
