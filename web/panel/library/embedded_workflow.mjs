/** The workflows embedded in assets' files: opening them in the page, and saving them as files of their own. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { saveJson } from "../shared/save_file.mjs";

/**
 * Open the workflow of an asset, or its prompt if there is no workflow.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 */
export async function openWorkflow(context, asset) {
  const { t, page, notifications } = context;
  try {
    const { workflow, prompt } = await graphs(context, asset);
    if (workflow) await page.openWorkflow(workflow, stem(asset));
    else if (prompt) await page.openPrompt(prompt, stem(asset));
    else notifications.show(t("asset.noWorkflow", { name: asset.name }));
  } catch (error) {
    notifications.error(t("workflow.openFailed"), error);
  }
}

/**
 * Save the workflow of an asset, or its prompt if there is no workflow.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 */
export async function exportWorkflow(context, asset) {
  const { t, notifications } = context;
  try {
    const { workflow, prompt } = await graphs(context, asset);
    if (workflow ?? prompt) saveJson(workflow ?? prompt, `${stem(asset)}.json`);
    else notifications.show(t("asset.noWorkflow", { name: asset.name }));
  } catch (error) {
    notifications.error(t("asset.exportFailed"), error);
  }
}

/**
 * Return the embedded graphs, which lists leave out.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 */
async function graphs({ client }, asset) {
  if (asset.metadata?.workflow) return asset.metadata;
  return (await client.get(`/assets/${asset.id}`)).metadata ?? {};
}

/**
 * Return an asset's name without its suffix.
 *
 * @param {Asset} asset
 */
function stem({ name }) {
  return name.replace(/\.[^.]+$/, "");
}
