/** What an asset is connected with: what was made with it, the workflows that name it, and what made it. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { h, setChildren } from "../shared/dom.mjs";
import { button } from "../shared/buttons.mjs";
import { isAborted, RequestError } from "../shared/client.mjs";
import { errorText } from "../shared/error_text.mjs";
import * as format from "../shared/format.mjs";
import { icon } from "../shared/icons.mjs";
import { PROVIDER } from "../workflows/workflow_actions.mjs";
import { mediaKind, modelCategories, thumbnailUrl } from "./asset.mjs";
import { searchFor } from "./generation_card.mjs";
import { isLora } from "./loader_nodes.mjs";

const MAX_PICTURES = 12;
const MAX_WORKFLOWS = 20;

/**
 * Create an element that fills itself with the sections of an asset. Those without content are left out.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {AbortSignal} signal
 */
export function relatedAssets(context, asset, signal) {
  const element = h("div");
  const isModel = modelCategories(asset).length > 0;
  const isInput = asset.tags.includes("input");
  const parts = [
    asset.job_id ? workflowOfJob(context, asset.job_id, signal) : null,
    isModel ? madeWithModel(context, asset, signal) : isInput ? madeWithInput(context, asset, signal) : null,
    isModel || isInput || asset.tags.includes("output") ? usedInWorkflows(context, asset, signal) : null,
  ];
  Promise.all(parts.map((part) => part?.catch((error) => failure(context, error)))).then((sections) => {
    if (!signal.aborted) setChildren(element, sections);
  });
  return element;
}

/**
 * @param {PanelContext} context
 * @param {unknown} error
 */
function failure({ t }, error) {
  if (isAborted(error)) return null;
  return h("p", { class: "ca-section ca-failure" }, `${t("related.failed")} ${errorText(t, error)}`);
}

/**
 * Link to the workflow that an asset's job was submitted from, if it is a saved one.
 *
 * @param {PanelContext} context
 * @param {string} jobId
 * @param {AbortSignal} signal
 */
async function workflowOfJob(context, jobId, signal) {
  const { client, t } = context;
  try {
    const { workflow_id: id } = await client.get(`/jobs/${jobId}`, { signal });
    if (!id) return null;
    const workflow = await client.get(`/workflows/${id}`, { signal });
    return section(t("related.madeBy"), [workflowButton(context, workflow)]);
  } catch (error) {
    if (error instanceof RequestError && error.kind === "refused") return null; // it was deleted, or is another user's
    throw error;
  }
}

/**
 * Show what was made with a model, by its name: pictures keep it even if no job of theirs is known.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {AbortSignal} signal
 */
async function madeWithModel(context, asset, signal) {
  const name = asset.loader_path ?? asset.name;
  const search = searchFor(isLora(asset) ? "lora" : "model", name);
  const query = { q: search, exclude_tags: "missing,models", limit: String(MAX_PICTURES) };
  const { assets, total } = await context.client.get("/assets", { query, signal });
  return pictures(context, assets, total, search);
}

/**
 * Show what jobs made that loaded a file.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {AbortSignal} signal
 */
async function madeWithInput(context, asset, signal) {
  const query = { made_with: asset.id, exclude_tags: "missing", limit: String(MAX_PICTURES) };
  const { assets, total } = await context.client.get("/assets", { query, signal });
  return pictures(context, assets, total, null);
}

/**
 * @param {PanelContext} context
 * @param {Asset[]} assets
 * @param {number} total
 * @param {string | null} search that finds all of them
 */
function pictures(context, assets, total, search) {
  if (assets.length === 0) return null;
  const { t, language, searchLibrary } = context;
  const number = format.number(total, language);
  return section(t("related.madeWith", { count: total, number }), [
    h("ul", { class: "ca-related-pictures" }, assets.map((asset) => h("li", {}, picture(context, asset)))),
    search !== null && total > assets.length && button("search", t("related.showAll"), () => searchLibrary(search)),
  ]);
}

/**
 * @param {PanelContext} context
 * @param {Asset} asset
 */
function picture({ page, openAsset }, asset) {
  const url = thumbnailUrl(page, asset);
  const content = url === null ? icon(mediaKind(asset)) : h("img", { src: url, alt: "", decoding: "async" });
  const attributes = { class: "ca-related-picture", type: "button", title: asset.name, "aria-label": asset.name };
  return h("button", { ...attributes, onclick: () => openAsset(asset.id) }, content);
}

/**
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {AbortSignal} signal
 */
async function usedInWorkflows(context, asset, signal) {
  const { client, t } = context;
  const query = { asset_id: asset.id, ...PROVIDER, sort: "update_time", order: "desc", limit: String(MAX_WORKFLOWS) };
  const { data, pagination } = await client.get("/workflows", { query, signal });
  if (data.length === 0) return null;
  const buttons = data.map((workflow) => h("li", {}, workflowButton(context, workflow)));
  return section(t("related.usedIn", { count: pagination.total }), [h("ul", {}, buttons)]);
}

/**
 * @param {PanelContext} context
 * @param {import("../api.d.ts").Workflow} workflow
 */
function workflowButton({ t, openWorkflow }, { id, name }) {
  return button("graph", name ?? t("workflow.unnamed"), () => openWorkflow(id), { kind: "ca-plain" });
}

/**
 * @param {string} title
 * @param {(HTMLElement | false)[]} content
 */
function section(title, content) {
  return h("section", { class: "ca-section" }, h("h4", {}, title), content);
}
