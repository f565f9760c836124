/** What the graph in a file says: the texts of its nodes first, then all that is embedded. */

import { h } from "../shared/dom.mjs";

const MIN_TEXT_LENGTH = 12; // characters; shorter ones are names and choices
const MAX_TEXTS = 12;

/** Blocks for the prompt's texts and for each embedded document. */
export function embeddedMetadata({ t }, asset) {
  const { prompt, workflow, parameters, header } = asset.metadata ?? {};
  const texts = promptTexts(prompt);
  const blocks = [];
  if (texts.length > 0) {
    blocks.push(
      h(
        "section",
        { class: "ca-section" },
        h("h4", {}, t("detail.texts")),
        texts.map((text) => h("p", { class: "ca-text" }, text)),
      ),
    );
  }
  if (typeof parameters === "string") blocks.push(collapsedDocument(t("detail.parameters"), parameters));
  for (const [name, value] of Object.entries({ prompt, workflow, header, userMetadata: asset.user_metadata })) {
    if (value && typeof value === "object" && Object.keys(value).length > 0) {
      blocks.push(collapsedDocument(t(`detail.${name}`), () => JSON.stringify(value, null, 2)));
    }
  }
  return blocks;
}

/** The long texts of a graph in the form that is executed, each once. */
function promptTexts(prompt) {
  if (!prompt || typeof prompt !== "object") return [];
  const texts = new Set();
  for (const node of Object.values(prompt)) {
    for (const value of Object.values(node?.inputs ?? {})) {
      if (typeof value === "string" && value.length > MIN_TEXT_LENGTH && /\s/.test(value)) texts.add(value);
    }
  }
  return [...texts].slice(0, MAX_TEXTS);
}

/** A document that unfolds; its text is made when it does, as it can be megabytes. */
function collapsedDocument(title, text) {
  const content = h("pre", { class: "ca-document", tabindex: "0" });
  const block = h("details", { class: "ca-section" }, h("summary", {}, title), content);
  block.addEventListener("toggle", () => {
    if (block.open && content.textContent === "") content.textContent = typeof text === "function" ? text() : text;
  });
  return block;
}
