/** Words for filters: of a choice, and of a filter on its own. */

/** @import { PanelContext } from "../types.d.ts" */

import * as format from "../shared/format.mjs";
import { valuesOf } from "./listed_values.mjs";

/** Parameters whose values have texts. */
const WITH_TEXTS = ["kind", "favorite", "orientation", "has_workflow", "used", "missing"];

/**
 * Return the text of one value of a filter: "Videos", "★ 4+", "7 days".
 *
 * @param {PanelContext} context
 * @param {string} name of the parameter
 * @param {string} value
 */
export function filterText({ t }, name, value) {
  if (name === "rating") return ratingText(t, value, "+");
  if (name === "created_days") {
    return value === "1" ? t("filter.today") : t("filter.lastDays", { count: Number(value) });
  }
  return WITH_TEXTS.includes(name) ? t(`filterValue.${name}_${value}`) : value;
}

/**
 * Return the text of a filter for a chip that stands alone: "Images, Videos", "At least 2 MB".
 *
 * @param {PanelContext} context
 * @param {string} name of the parameter
 * @param {string | readonly string[]} value
 */
export function activeFilterText(context, name, value) {
  const { t, language } = context;
  if (name === "base_model") return valuesOf(name, value).join(", ");
  const text = [value].flat().join(",");
  if (name === "kind") return text.split(",").map((each) => filterText(context, name, each)).join(", ");
  if (name === "rating") return ratingText(t, text, null);
  if (name === "created_days" && text !== "1") return t("filter.active.created_days", { count: Number(text) });
  if (name === "created_days" || WITH_TEXTS.includes(name)) return filterText(context, name, text);
  if (name === "created_from" || name === "created_to") return t(`filter.active.${name}`, { day: day(text, language) });
  if (name === "size_min" || name === "size_max") {
    return t(`filter.active.${name}`, { size: format.bytes(Number(text), language) });
  }
  if (["width_min", "width_max", "height_min", "height_max"].includes(name)) {
    return t(`filter.active.${name}`, { pixels: format.number(Number(text), language) });
  }
  if (name === "job_id") return t("filter.active.job_id", { id: text.slice(0, 8) });
  return `${name}: ${text}`; // of a saved search that another program made
}

/**
 * @param {PanelContext["t"]} t
 * @param {string} value as in the API
 * @param {string | null} orMore a short form of "or more"
 */
function ratingText(t, value, orMore) {
  if (value === "none") return t("filter.unrated");
  const least = /^([1-5])\.\.$/.exec(value)?.[1];
  if (least === undefined) return `★ ${value}`;
  if (least === "5") return "★ 5";
  return orMore === null ? t("filter.stars", { count: Number(least) }) : `★ ${least}${orMore}`;
}

/**
 * Format a day ("2026-01-31") or time of a parameter. A day alone would be read as one of UTC.
 *
 * @param {string} text
 * @param {string} language
 */
function day(text, language) {
  const when = new Date(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00` : text);
  return Number.isNaN(when.getTime()) ? text : format.day(when.getTime(), language);
}
