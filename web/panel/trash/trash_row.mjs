/** A deleted asset in the list of the trash. */

/** @import { TrashEntry } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { h } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { icon } from "../shared/icons.mjs";

const THUMBNAIL_PX = 128;
const SOLE_USER = "default";

/** @typedef {HTMLDivElement & { parts: ReturnType<typeof createParts> }} TrashRow */

function createParts() {
  return {
    image: h("img", { alt: "", decoding: "async", draggable: "false" }),
    kind: h("span", { class: "ca-media-icon" }),
    name: h("div", { class: "ca-name" }),
    place: h("div", { class: "ca-summary ca-trash-place" }),
    summary: h("div", { class: "ca-summary" }),
    restore: h("span", { class: "ca-trash-restore", dataset: { restore: "" } }, icon("undo")),
  };
}

/**
 * Create an empty row, to be filled again and again.
 *
 * @returns {TrashRow}
 */
export function createRow() {
  const parts = createParts();
  const thumbnail = h("div", { class: "ca-thumb" }, parts.kind, parts.image);
  parts.image.addEventListener("error", () => thumbnail.classList.add("ca-no-thumbnail"));
  parts.image.addEventListener("load", () => {
    thumbnail.classList.remove("ca-no-thumbnail"); // it may have failed before
    parts.image.classList.add("ca-loaded");
  });
  const check = h("span", { class: "ca-check" }, icon("check"));
  const texts = h("div", { class: "ca-trash-texts" }, parts.name, parts.place, parts.summary);
  const card = h("div", { class: "ca-card ca-trash-entry" }, thumbnail, check, texts, parts.restore);
  return Object.assign(h("div", {}, card), { parts });
}

/**
 * Show a deleted asset in a row, or nothing while it is loading.
 *
 * @param {TrashRow} row
 * @param {TrashEntry | undefined} entry
 * @param {PanelContext} context
 * @param {{ isSelected: boolean, isMoving: boolean }} options
 */
export function fillRow(row, entry, context, { isSelected, isMoving }) {
  const { t } = context;
  const { name, place, summary, kind, restore } = row.parts;
  row.setAttribute("aria-selected", String(isSelected));
  name.textContent = entry?.name ?? "";
  place.textContent = entry === undefined ? "" : placeOf(entry, context);
  summary.textContent = entry === undefined ? "" : summaryOf(entry, context);
  row.title = entry?.file_path ?? "";
  row.setAttribute("aria-label", [name, place, summary].map((part) => part.textContent).join(", "));
  kind.replaceChildren(...(entry === undefined ? [] : [icon(entry.kind === "trashed" ? "trash" : "minus")]));
  restore.hidden = entry === undefined;
  restore.title = t("trash.restore");
  showImage(row.parts, isMoving ? undefined : entry?.thumbnail_url, context);
}

/**
 * @param {TrashRow["parts"]} parts
 * @param {string | undefined} url
 * @param {PanelContext} context
 */
function showImage({ image }, url, { page }) {
  const source = url && page.url(url.replace(/^\/api(?=\/)/, "").replace(/([?&]res=)\d+/, `$1${THUMBNAIL_PX}`));
  if (source && image.getAttribute("src") === source) return;
  image.classList.remove("ca-loaded");
  image.parentElement?.classList.toggle("ca-no-thumbnail", !source);
  if (source) image.src = source;
  else image.removeAttribute("src");
}

/**
 * @param {TrashEntry} entry
 * @param {PanelContext} context
 */
function placeOf({ kind, file_path: path = "", is_missing: isMissing }, { t }) {
  if (path === "") return t("trash.noFile");
  if (isMissing) return t("trash.gone", { path });
  return t(kind === "trashed" ? "trash.was" : "trash.is", { path });
}

/**
 * @param {TrashEntry} entry
 * @param {PanelContext} context
 */
function summaryOf({ size, deleted_at: time, deleted_by: user }, { t, language }) {
  const when = format.time(time, language);
  const deleted = user && user !== SOLE_USER ? t("trash.deletedBy", { time: when, user }) : when;
  return format.line([deleted, format.bytes(size, language)], language);
}
