/** The properties of an asset, as a list of terms. */

/** @import { Asset } from "../api.d.ts" */
/** @import { Child } from "../shared/dom.mjs" */
/** @import { PanelContext } from "../types.d.ts" */

import { h } from "../shared/dom.mjs";
import { button, iconButton } from "../shared/buttons.mjs";
import { copyText } from "../shared/clipboard.mjs";
import * as format from "../shared/format.mjs";
import { dimensions, MODEL_FACTS } from "./asset.mjs";
import { factLabel, factValue } from "./facts.mjs";

/** Metadata that has a section or a row of its own. */
const SHOWN_ELSEWHERE = new Set([
  ...["prompt", "workflow", "parameters", "generation", "description", "header", "width", "height", "documents"],
  ...["embedded", "sidecars", ...MODEL_FACTS],
]);
const OF_TYPE = new Set(["kind", "format"]);

/**
 * Return the names that loaders use, with the categories where they differ.
 *
 * @param {Asset} asset
 */
function loaderNames({ loader_path, loader_paths }) {
  if (!loader_paths) return loader_path;
  return Object.entries(loader_paths).map(([category, path]) => `${path} (${category})`).join(", ");
}

/**
 * Create the section with an asset's properties. Unknown values are left out.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 */
export function properties(context, asset) {
  const { t, language } = context;
  /** @type {[term: string, value: unknown][]} */
  const rows = [
    [t("property.location"), asset.file_path],
    [t("property.loader"), loaderNames(asset)],
    [t("property.dimensions"), dimensions(asset)],
    [t("property.size"), format.bytes(asset.size, language)],
    [t("property.type"), asset.mime_type],
    [t("property.created"), format.time(asset.created_at, language)],
    ...scalars(context, asset),
  ];
  const known = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h(
    "section",
    { class: "ca-section" },
    h("h4", {}, t("detail.properties")),
    h(
      "dl",
      {},
      known.map(([term, value]) => propertyRow(term, String(value))),
      hashRow(context, asset),
      asset.job_id && jobRow(context, asset.job_id),
    ),
  );
}

/**
 * Return labels and values of metadata that fit into a row, and that the media type does not tell.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 * @returns {[label: string, value: unknown][]}
 */
function scalars(context, { metadata, mime_type }) {
  const told = mime_type.split("/");
  return Object.entries(metadata ?? {})
    .filter(([name, value]) => !SHOWN_ELSEWHERE.has(name) && (typeof value !== "object" || Array.isArray(value)))
    .filter(([name, value]) => !OF_TYPE.has(name) || !told.includes(String(value)))
    .map(([name, value]) => [factLabel(context, name), factValue(context, name, value)]);
}

/**
 * Create a row of a list of properties.
 *
 * @param {Child | Child[]} term
 * @param {...(Child | Child[])} value
 */
export function propertyRow(term, ...value) {
  return h("div", { class: "ca-property" }, h("dt", {}, term), h("dd", {}, ...value));
}

/**
 * @param {PanelContext} context
 * @param {Asset} asset
 */
function hashRow(context, { hash }) {
  const { t } = context;
  if (!hash) return propertyRow(t("property.hash"), t("property.hashPending"));
  const copy = () => copyText(context, hash, t("property.hashCopied"));
  const code = h("code", { title: hash }, shortened(hash));
  return propertyRow(t("property.hash"), code, iconButton("copy", t("property.copyHash"), copy));
}

/**
 * @param {PanelContext} context
 * @param {string} jobId
 */
function jobRow({ t, openJob }, jobId) {
  const show = button("history", t("property.showJob"), () => openJob(jobId), { kind: "ca-plain" });
  return propertyRow(t("property.job"), show);
}

/**
 * Return the first and last digits of a hash, without the name of the algorithm.
 *
 * @param {string} hash
 */
function shortened(hash) {
  const digits = hash.slice(hash.lastIndexOf(":") + 1);
  return `${digits.slice(0, 8)}…${digits.slice(-8)}`;
}
