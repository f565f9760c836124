/** Dragging assets out of the panel: onto the canvas, a loader node, or another program. */

import { viewParams, viewUrl } from "./asset.mjs";

/**
 * Say what is dragged. A loader node takes the first kind of data without a new upload; the canvas opens the workflow
 * in the second, or makes a loader node of it. Models are dragged by their loader's name.
 */
export function startDrag(event, page, asset) {
  const params = viewParams(asset);
  event.dataTransfer.effectAllowed = "copy";
  if (params === null) {
    event.dataTransfer.setData("text/plain", asset.loader_path ?? asset.name);
    return;
  }
  const info = { ...params, display_name: asset.name };
  event.dataTransfer.setData("application/x-comfy-asset-info", JSON.stringify(info));
  event.dataTransfer.setData("text/uri-list", viewUrl(page, asset));
}
