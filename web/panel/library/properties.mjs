/** What is known of an asset, as a list of terms. */

import { h } from "../shared/dom.mjs";
import { button, iconButton } from "../shared/buttons.mjs";
import * as format from "../shared/format.mjs";
import { dimensions } from "./asset.mjs";

/** Embedded documents have a place of their own, and so have these. */
const ELSEWHERE = new Set(["prompt", "workflow", "parameters", "header", "width", "height", "documents"]);

/** The list. */
export function facts(context, asset) {
  const { t, language } = context;
  const rows = [
    [t("fact.place"), asset.file_path],
    [t("fact.loader"), asset.loader_path],
    [t("fact.dimensions"), dimensions(asset)],
    [t("fact.size"), format.bytes(asset.size, language)],
    [t("fact.type"), asset.mime_type],
    [t("fact.created"), format.time(asset.created_at, language)],
    ...scalars(asset.metadata ?? {}),
  ];
  const known = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h(
    "section",
    { class: "ca-block" },
    h("h4", {}, t("detail.facts")),
    h("dl", { class: "ca-facts-list" }, known.map(([term, value]) => row(term, String(value))), hash(context, asset), job(context, asset)),
  );
}

function scalars(metadata) {
  return Object.entries(metadata)
    .filter(([name, value]) => !ELSEWHERE.has(name) && (typeof value !== "object" || Array.isArray(value)))
    .map(([name, value]) => [name.replaceAll("_", " "), Array.isArray(value) ? value.join(", ") : value]);
}

function row(term, ...value) {
  return h("div", { class: "ca-fact" }, h("dt", {}, term), h("dd", {}, ...value));
}

function hash({ t, notices }, asset) {
  if (!asset.hash) return row(t("fact.hash"), t("fact.hashPending"));
  const copy = async () => {
    await navigator.clipboard.writeText(asset.hash);
    notices.show(t("fact.hashCopied"));
  };
  return row(t("fact.hash"), h("code", { title: asset.hash }, shortened(asset.hash)), iconButton("copy", t("fact.copyHash"), copy));
}

function job({ t, openJob }, asset) {
  if (!asset.job_id) return null;
  return row(t("fact.job"), button("history", t("fact.showJob"), () => openJob(asset.job_id), { kind: "ca-plain" }));
}

function shortened(hash) {
  const digits = hash.split(":").at(-1);
  return `${digits.slice(0, 8)}…${digits.slice(-8)}`;
}
