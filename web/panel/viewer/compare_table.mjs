/** What differs in the making of several assets, as a table. */

/** @import { Asset } from "../api.d.ts" */
/** @import { Translate } from "../types.d.ts" */

import { h } from "../shared/dom.mjs";
import { dimensions } from "../library/asset.mjs";
import { GENERATION_ROWS, generationLabel, generationTexts } from "../library/generation.mjs";

const PROSE = new Set(["positive", "negative"]); // where single words differ

/** @typedef {{ label: string, texts: (string | undefined)[], isProse: boolean }} Row */

/**
 * Create the table of what differs, and below it what is the same.
 *
 * @param {Translate} t
 * @param {Asset[]} assets with their details
 */
export function compareTable(t, assets) {
  const rows = comparedRows(t, assets);
  const different = rows.filter(({ texts }) => new Set(texts).size > 1);
  const equal = rows.filter(({ texts }) => new Set(texts).size === 1);
  const head = h("tr", {}, h("th", { scope: "col" }, t("compare.what")), assets.map(({ name }) => columnHead(name)));
  return h(
    "div",
    { class: "ca-compare-table", tabindex: "0", role: "region", "aria-label": t("compare.table") },
    different.length === 0 && h("p", { class: "ca-muted" }, t("compare.noDifference")),
    different.length > 0 && h("table", {}, h("thead", {}, head), h("tbody", {}, different.map(differentRow))),
    equal.length > 0 && h(
      "details",
      { class: "ca-section" },
      h("summary", {}, t("compare.same")),
      h(
        "dl",
        {},
        equal.map(({ label, texts: [text] }) =>
          h("div", { class: "ca-property" }, h("dt", {}, label), h("dd", {}, text))
        ),
      ),
    ),
  );
}

/**
 * Return the rows that say something of at least one asset.
 *
 * @param {Translate} t
 * @param {Asset[]} assets
 * @returns {Row[]}
 */
function comparedRows(t, assets) {
  const made = assets.map(generationTexts);
  const rows = GENERATION_ROWS.map((name) => ({
    label: generationLabel(t, name),
    texts: made.map((texts) => texts[name]),
    isProse: PROSE.has(name),
  }));
  const sizes = assets.map((asset) => dimensions(asset) ?? undefined);
  rows.push({ label: t("property.dimensions"), texts: sizes, isProse: false });
  return rows.filter(({ texts }) => texts.some((text) => text !== undefined));
}

/** @param {string} name */
function columnHead(name) {
  return h("th", { scope: "col", title: name }, name);
}

/** @param {Row} row */
function differentRow({ label, texts, isProse }) {
  const shared = isProse ? sharedWords(texts) : null;
  const cells = texts.map((text) => h("td", {}, shared === null ? text ?? "–" : markedText(text ?? "–", shared)));
  return h("tr", {}, h("th", { scope: "row" }, label), cells);
}

/**
 * Return the words that all texts have.
 *
 * @param {(string | undefined)[]} texts
 */
function sharedWords(texts) {
  const [first, ...others] = texts.map((text) => new Set((text ?? "").split(/\s+/).map(bareWord)));
  return new Set([...first].filter((word) => others.every((words) => words.has(word))));
}

/** @param {string} word */
function bareWord(word) {
  return word.toLowerCase().replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "");
}

/**
 * Return a text with marks at the words that others lack.
 *
 * @param {string} text
 * @param {Set<string>} shared
 * @returns {(string | HTMLElement)[]}
 */
function markedText(text, shared) {
  return text.split(/(\s+)/).map((part) => {
    const word = bareWord(part);
    return word === "" || shared.has(word) ? part : h("mark", {}, part);
  });
}
