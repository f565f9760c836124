/** The prompts and settings that made an asset, whichever program wrote them into its file. */

/** @import { Asset, Generation } from "../api.d.ts" */
/** @import { Child } from "../shared/dom.mjs" */
/** @import { PanelContext } from "../types.d.ts" */

import { h } from "../shared/dom.mjs";
import { button, iconButton } from "../shared/buttons.mjs";
import { copyText } from "../shared/clipboard.mjs";
import { propertyRow } from "./properties.mjs";

/**
 * Create the sections for the prompt, the negative prompt, and the settings; none for what is not known.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 */
export function generationCard(context, { generation }) {
  if (generation === undefined) return [];
  const { t } = context;
  const { positive, negative } = generation;
  return [
    positive &&
    textSection(context, t("generation.positive"), positive, t("asset.copyPrompt"), t("generation.promptCopied")),
    negative &&
    textSection(
      context,
      t("generation.negative"),
      negative,
      t("generation.copyNegative"),
      t("generation.negativeCopied"),
    ),
    settings(context, generation),
  ];
}

/**
 * @param {PanelContext} context
 * @param {string} title
 * @param {string} text
 * @param {string} copyLabel
 * @param {string} copied
 */
function textSection(context, title, text, copyLabel, copied) {
  const copy = iconButton("copy", copyLabel, () => copyText(context, text, copied));
  return h(
    "section",
    { class: "ca-section" },
    h("div", { class: "ca-section-title" }, h("h4", {}, title), copy),
    h("p", { class: "ca-text ca-prompt", tabindex: "0", "aria-label": title }, text),
  );
}

/**
 * @param {PanelContext} context
 * @param {Generation} generation
 */
function settings(context, generation) {
  const { t } = context;
  const { models = [], loras = [], seed, steps, sampler, scheduler, cfg, width, height, tool } = generation;
  /** @type {[term: string, value: Child | Child[]][]} */
  const rows = [
    [t("generation.models"), models.map((name) => searchLink(context, "model", name, name))],
    [t("generation.loras"), loras.map((lora) => searchLink(context, "lora", lora.name, loraText(lora)))],
    [t("generation.seed"), seed === undefined ? null : seedValue(context, seed)],
    [t("generation.steps"), steps === undefined ? null : String(steps)],
    [t("generation.sampler"), sampler],
    [t("generation.scheduler"), scheduler],
    [t("generation.cfg"), cfg === undefined ? null : String(cfg)],
    [t("generation.generatedSize"), width && height ? `${width} × ${height}` : null],
    [t("generation.tool"), tool],
  ];
  const known = rows.filter(([, value]) => Array.isArray(value) ? value.length > 0 : value);
  if (known.length === 0) return null;
  return h(
    "section",
    { class: "ca-section ca-generation" },
    h("h4", {}, t("generation.title")),
    h("dl", {}, known.map(([term, value]) => propertyRow(term, value))),
  );
}

/** @param {NonNullable<Generation["loras"]>[number]} lora */
function loraText({ name, weight }) {
  return weight === undefined ? name : `${name} × ${Number(weight.toFixed(3))}`;
}

/**
 * Create a button that looks for everything made with a model.
 *
 * @param {PanelContext} context
 * @param {"model" | "lora"} field of the search
 * @param {string} name
 * @param {string} label
 */
function searchLink({ t, searchLibrary }, field, name, label) {
  const link = button("search", label, () => searchLibrary(searchFor(field, name)), { kind: "ca-plain ca-link" });
  link.title = t("generation.findModel", { name });
  return link;
}

/**
 * Return the search for what was made with a model. Folders are left out: programs that are not ComfyUI do not store
 * them.
 *
 * @param {"model" | "lora"} field
 * @param {string} name
 */
export function searchFor(field, name) {
  const file = name.slice(name.replaceAll("\\", "/").lastIndexOf("/") + 1);
  return `${field}:"${file.replace(/\.(safetensors|sft|ckpt|pt|pth|bin|gguf|onnx)$/i, "").replaceAll('"', " ")}"`;
}

/**
 * @param {PanelContext} context
 * @param {string} seed
 */
function seedValue(context, seed) {
  const { t } = context;
  const copy = () => copyText(context, seed, t("generation.seedCopied"));
  return [seed, iconButton("copy", t("generation.copySeed"), copy)];
}
