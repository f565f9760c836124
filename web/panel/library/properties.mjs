/** What is known of an asset, as a list of terms. */

import { h } from "../shared/dom.mjs";
import { button, iconButton } from "../shared/buttons.mjs";
import * as format from "../shared/format.mjs";
import { dimensions } from "./asset.mjs";

/** Embedded documents have a place of their own, and so have these. */
const SHOWN_ELSEWHERE = new Set(["prompt", "workflow", "parameters", "header", "width", "height", "documents"]);

/** The list. */
export function properties(context, asset) {
  const { t, language } = context;
  const rows = [
    [t("property.location"), asset.file_path],
    [t("property.loader"), asset.loader_path],
    [t("property.dimensions"), dimensions(asset)],
    [t("property.size"), format.bytes(asset.size, language)],
    [t("property.type"), asset.mime_type],
    [t("property.created"), format.time(asset.created_at, language)],
    ...scalars(asset.metadata ?? {}),
  ];
  const known = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h(
    "section",
    { class: "ca-section" },
    h("h4", {}, t("detail.properties")),
    h("dl", {}, known.map(([term, value]) => row(term, String(value))), hash(context, asset), job(context, asset)),
  );
}

function scalars(metadata) {
  return Object.entries(metadata)
    .filter(([name, value]) => !SHOWN_ELSEWHERE.has(name) && (typeof value !== "object" || Array.isArray(value)))
    .map(([name, value]) => [name.replaceAll("_", " "), Array.isArray(value) ? value.join(", ") : value]);
}

function row(term, ...value) {
  return h("div", { class: "ca-property" }, h("dt", {}, term), h("dd", {}, ...value));
}

function hash({ t, notifications }, asset) {
  if (!asset.hash) return row(t("property.hash"), t("property.hashPending"));
  const copy = async () => {
    await navigator.clipboard.writeText(asset.hash);
    notifications.show(t("property.hashCopied"));
  };
  return row(
    t("property.hash"),
    h("code", { title: asset.hash }, shortened(asset.hash)),
    iconButton("copy", t("property.copyHash"), copy),
  );
}

function job({ t, openJob }, asset) {
  if (!asset.job_id) return null;
  return row(
    t("property.job"),
    button("history", t("property.showJob"), () => openJob(asset.job_id), { kind: "ca-plain" }),
  );
}

function shortened(hash) {
  const digits = hash.split(":").at(-1);
  return `${digits.slice(0, 8)}…${digits.slice(-8)}`;
}
