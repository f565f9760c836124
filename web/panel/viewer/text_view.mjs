/** Text files, made readable: a part of long ones, JSON with line breaks. */

/** @import { Asset, PageGraph } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { button } from "../shared/buttons.mjs";
import { h, setChildren } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { errorPlaceholder, loadingPlaceholder } from "../shared/placeholders.mjs";
import { contentPath } from "../library/asset.mjs";

const MAX_BYTES = 256 * 1024;
const TEXT_TYPES = /^text\/|^application\/(?:[\w.-]+\+)?(?:json|yaml|x-yaml|toml|xml|javascript)$/;
const TEXT_NAMES = /\.(?:txt|md|json|jsonl|ya?ml|toml|csv|log|srt|vtt|ini|cfg|py|xml)$/i;

/**
 * Return whether an asset is a text, by its type or its name.
 *
 * @param {Asset} asset
 */
export function isText({ mime_type, name }) {
  return TEXT_TYPES.test(mime_type) || (mime_type === "application/octet-stream" && TEXT_NAMES.test(name));
}

/**
 * Create the view of a text file, which is loaded by it. A workflow can be opened.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {AbortSignal} signal ends the download
 */
export function textView(context, asset, signal) {
  const { t } = context;
  const element = h("div", { class: "ca-text-view" }, loadingPlaceholder(t));
  const load = async () => {
    try {
      const { text, isWhole } = await readStart(context, asset, signal);
      const json = isWhole ? parsed(text) : undefined;
      const content = h("pre", { class: "ca-document", tabindex: "0", "aria-label": asset.name });
      content.textContent = json === undefined ? text : JSON.stringify(json, null, 2);
      setChildren(element, openButton(context, asset, json), content, isWhole ? null : note(context, asset));
    } catch (error) {
      if (!signal.aborted) setChildren(element, errorPlaceholder(t, error, load));
    }
  };
  load();
  return element;
}

/**
 * Return the beginning of a file. Servers that know no ranges send all of it, of which the rest is not read.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {AbortSignal} signal
 */
async function readStart({ page, t }, asset, signal) {
  const headers = { Range: `bytes=0-${MAX_BYTES - 1}` };
  const response = await page.fetch(contentPath(asset, "inline"), { signal, headers });
  if (!response.ok && asset.size > 0) throw new Error(t("asset.serverError", { status: response.status }));
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  while (reader !== undefined && response.ok && length < MAX_BYTES) {
    const { done, value } = await reader.read();
    if (done) break;
    text += decoder.decode(value.subarray(0, MAX_BYTES - length), { stream: true });
    length += value.length;
  }
  await reader?.cancel();
  return { text, isWhole: asset.size <= MAX_BYTES };
}

/**
 * Return the value of a JSON text, undefined for any other text.
 *
 * @param {string} text
 */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {unknown} json
 */
function openButton({ t, page, notifications }, asset, json) {
  if (!isGraph(json)) return null;
  return button("graph", t("asset.openWorkflow"), async () => {
    try {
      await page.openWorkflow(json, asset.name.replace(/\.[^.]+$/, ""));
      notifications.show(t("viewer.workflowOpened", { name: asset.name }));
    } catch (error) {
      notifications.error(t("workflow.openFailed"), error);
    }
  }, { kind: "ca-primary" });
}

/**
 * @param {unknown} json
 * @returns {json is PageGraph}
 */
function isGraph(json) {
  return typeof json === "object" && json !== null && "nodes" in json && Array.isArray(json.nodes);
}

/**
 * @param {PanelContext} context
 * @param {Asset} asset
 */
function note({ t, language }, { size }) {
  const values = { shown: format.bytes(MAX_BYTES, language), size: format.bytes(size, language) };
  return h("p", { class: "ca-muted" }, t("viewer.textCut", values));
}
