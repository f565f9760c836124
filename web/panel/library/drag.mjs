/** Dragging assets out of the panel: onto the canvas, a loader node, or into another program. */

/** @import { Asset } from "../api.d.ts" */
/** @import { HostPage } from "../types.d.ts" */

import { viewParams, viewUrl } from "./asset.mjs";
import { embeddingText } from "./loader_nodes.mjs";

/**
 * Set the data of a drag. A loader node takes the asset info, without a new upload. The canvas takes the address, opens
 * the workflow of that file, or adds a loader node. Models have neither: their text is what prompts or loaders take, for
 * fields of any page; drops on the canvas are up to the caller.
 *
 * @param {DragEvent} event
 * @param {HostPage} page
 * @param {Asset} asset
 */
export function startDrag({ dataTransfer }, page, asset) {
  if (dataTransfer === null) return;
  const params = viewParams(asset);
  const url = viewUrl(page, asset);
  dataTransfer.effectAllowed = "copy";
  if (params === null || url === null) {
    dataTransfer.setData("text/plain", embeddingText(asset) ?? asset.loader_path ?? asset.name);
    return;
  }
  dataTransfer.setData("application/x-comfy-asset-info", JSON.stringify({ ...params, display_name: asset.name }));
  dataTransfer.setData("text/uri-list", url);
}
