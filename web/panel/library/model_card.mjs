/** What a model's file, and the descriptions beside it, say about the model. */

/** @import { Asset } from "../api.d.ts" */
/** @import { Child } from "../shared/dom.mjs" */
/** @import { PanelContext } from "../types.d.ts" */

import { h } from "../shared/dom.mjs";
import { button, iconButton } from "../shared/buttons.mjs";
import { copyText } from "../shared/clipboard.mjs";
import { baseModel, modelCategories, trainedWords } from "./asset.mjs";
import { embeddingText, triggerText } from "./loader_nodes.mjs";
import { propertyRow } from "./properties.mjs";

/**
 * Create the section of a model; null for other assets, and for models of which nothing is known.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 */
export function modelCard(context, asset) {
  if (modelCategories(asset).length === 0) return null;
  const { t } = context;
  const { name, author, description, repo_url: page, architecture } = asset.metadata ?? {};
  const embedding = embeddingText(asset);
  /** @type {[term: string, value: Child | Child[]][]} */
  const rows = [
    [t("model.title"), text(name)],
    [t("model.base"), baseModel(asset)],
    [t("model.architecture"), text(architecture)],
    [t("model.author"), text(author)],
    [t("model.page"), typeof page === "string" ? link(page) : null],
    [t("model.inPrompts"), embedding && copied(context, embedding)],
  ];
  const known = rows.filter(([, value]) => value);
  const words = trainedWords(asset);
  if (known.length === 0 && words.length === 0 && !text(description)) return null;
  return h(
    "section",
    { class: "ca-section" },
    h("h4", {}, t("model.card")),
    known.length > 0 && h("dl", {}, known.map(([term, value]) => propertyRow(term, value))),
    words.length > 0 && triggerWords(context, asset, words),
    text(description) && h("p", { class: "ca-text ca-prompt", tabindex: "0" }, text(description)),
  );
}

/** @param {unknown} value */
function text(value) {
  return typeof value === "string" ? value : null;
}

/** @param {string} address */
function link(address) {
  if (!/^https?:\/\//i.test(address)) return address;
  return h("a", { class: "ca-link", href: address, target: "_blank", rel: "noopener noreferrer" }, address);
}

/**
 * @param {PanelContext} context
 * @param {string} value
 */
function copied(context, value) {
  const { t } = context;
  const copy = () => copyText(context, value, t("model.inPromptsCopied"));
  return [h("code", {}, value), iconButton("copy", t("model.copyInPrompts"), copy)];
}

/**
 * Create the list of trigger words: a click copies one, or all.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {string[]} words
 */
function triggerWords(context, asset, words) {
  const { t } = context;
  /** @param {string} word */
  const wordButton = (word) => {
    const copy = () => copyText(context, word, t("model.wordCopied", { word }));
    return h("button", { class: "ca-chip", type: "button", title: t("model.copyWord", { word }), onclick: copy }, word);
  };
  const copyAll = () => copyText(context, triggerText(asset), t("asset.triggerWordsCopied"));
  return h(
    "div",
    { class: "ca-trigger-words" },
    h("span", { class: "ca-muted" }, t("model.triggerWords")),
    words.map(wordButton),
    words.length > 1 && button("copy", t("asset.copyTriggerWords"), copyAll, { kind: "ca-plain" }),
  );
}
