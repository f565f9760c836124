/** The metadata embedded in an asset's file: the texts of its prompt first, then each document as a whole. */

/** @import { Asset, Prompt } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { h } from "../shared/dom.mjs";
import { modelCategories } from "./asset.mjs";

const MIN_TEXT_LENGTH = 12; // characters; shorter values are names and choices
const MAX_TEXTS = 12;

/**
 * Create the sections for an asset's embedded metadata, and for what the user has stored.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 */
export function embeddedMetadata({ t }, asset) {
  const { prompt, workflow, parameters, description, generation, header } = asset.metadata ?? {};
  /** @type {HTMLElement[]} */
  const sections = [];
  const texts = asset.generation?.positive ? [] : promptTexts(prompt); // else they have a section of their own
  if (texts.length > 0) {
    const paragraphs = texts.map((text) => h("p", { class: "ca-text" }, text));
    sections.push(h("section", { class: "ca-section" }, h("h4", {}, t("detail.texts")), paragraphs));
  }
  for (const [name, value] of Object.entries({ parameters, description })) {
    if (typeof value === "string" && modelCategories(asset).length === 0) {
      sections.push(collapsedDocument(t(`detail.${name}`), () => value));
    }
  }
  const documents = { prompt, workflow, generation, header, userMetadata: asset.user_metadata };
  for (const [name, value] of Object.entries(documents)) {
    if (value && typeof value === "object" && Object.keys(value).length > 0) {
      sections.push(collapsedDocument(t(`detail.${name}`), () => JSON.stringify(value, null, 2)));
    }
  }
  return sections;
}

/**
 * Return the distinct long texts among the inputs of a prompt's nodes. Files may hold anything under its name.
 *
 * @param {Prompt | undefined} prompt
 */
function promptTexts(prompt) {
  if (!prompt || typeof prompt !== "object") return [];
  /** @type {Set<string>} */
  const texts = new Set();
  for (const node of Object.values(prompt)) {
    for (const value of Object.values(node?.inputs ?? {})) {
      if (typeof value === "string" && value.length > MIN_TEXT_LENGTH && /\s/.test(value)) texts.add(value);
    }
  }
  return [...texts].slice(0, MAX_TEXTS);
}

/**
 * Create a section that unfolds. Its text is created only when it does, as it can be megabytes long.
 *
 * @param {string} title
 * @param {() => string} text
 */
function collapsedDocument(title, text) {
  const content = h("pre", { class: "ca-document", tabindex: "0" });
  const section = h("details", { class: "ca-section" }, h("summary", {}, title), content);
  section.addEventListener("toggle", () => {
    if (section.open && content.textContent === "") content.textContent = text();
  });
  return section;
}
