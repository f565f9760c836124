/** Going on to what comes next when assets on display are deleted, by the user or by others. */

/** @import { Asset, DeletionAction } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { Viewer } from "../viewer/viewer.mjs" */
/** @import { AssetActions } from "./asset_actions.mjs" */
/** @import { AssetDetail } from "./asset_detail.mjs" */
/** @import { AssetGrid } from "./asset_grid.mjs" */
/** @import { SelectedAssets } from "./search_results.mjs" */
/** @import { Selection } from "./selection.mjs" */

import { RequestError } from "../shared/client.mjs";

/**
 * What shows assets. `viewer` is null until it is first opened.
 * @typedef {{
 *   actions: AssetActions,
 *   grid: AssetGrid,
 *   detail: AssetDetail,
 *   selection: Selection,
 *   viewer: Viewer | null,
 * }} AssetViews
 */

/**
 * Delete assets. The details and the viewer go on to the next asset, and come back to one that stays after all.
 *
 * @param {AssetViews} views
 * @param {SelectedAssets} selected
 * @param {DeletionAction} action
 */
export async function removeAndGoOn({ actions, grid, detail, selection, viewer }, selected, action) {
  if (!await actions.mayDelete(selected, action)) return;
  const assets = Array.isArray(selected) ? selected : [];
  const left = leaveDetail(grid, detail, assets);
  const viewed = leaveViewer(grid, viewer, assets);
  const { ids, isAll } = await actions.delete(selected, action);
  if (isAll) selection.clear();
  selection.remove(ids);
  if (viewed !== null && !ids.has(viewed.id)) viewer?.open(viewed, grid.indexOf(viewed));
  else if (left !== null && assets.length === 1 && !ids.has(left.id)) detail.open(left, grid.indexOf(left));
  else if (detail.shown === null && !viewer?.shown) grid.focus();
}

/**
 * Show what others have changed of the assets in the details and in the viewer. If one was deleted, the details close, the
 * viewer goes on to the next, and a notification tells.
 *
 * @param {PanelContext} context
 * @param {AssetViews} views
 */
export async function followChanges({ client, notifications, t }, { grid, detail, viewer }) {
  const shown = [detail.shown, viewer?.shown ?? null].filter((asset) => asset !== null);
  for (const before of new Map(shown.map((asset) => [asset.id, asset])).values()) {
    try {
      const { id, name, tags, user_metadata } = await client.get(`/assets/${before.id}`);
      const isChanged = JSON.stringify([name, tags, user_metadata]) !==
        JSON.stringify([before.name, before.tags, before.user_metadata]);
      if (!isChanged) continue;
      detail.update({ id, name, tags, user_metadata });
      viewer?.update({ id, name, tags, user_metadata });
    } catch (error) {
      if (!(error instanceof RequestError && error.code === "ASSET_NOT_FOUND")) return; // the grid shows what is wrong
      if (detail.shown?.id === before.id) detail.close();
      leaveViewer(grid, viewer, [before]);
      notifications.show(`${before.name}: ${t("error.assetGone")}`);
    }
  }
}

/**
 * Go on from the asset in the details if it is deleted: to the next one, or back to the list if others are deleted as
 * well. Returns the asset, or null if another one is shown.
 *
 * @param {AssetGrid} grid
 * @param {AssetDetail} detail
 * @param {Asset[]} deleted
 */
function leaveDetail(grid, detail, deleted) {
  const shown = deleted.find(({ id }) => id === detail.shown?.id);
  if (shown === undefined) return null;
  const index = grid.indexOf(shown);
  const next = deleted.length > 1 ? undefined : grid.list.at(index + 1) ?? grid.list.at(index - 1);
  if (index >= 0 && next !== undefined) detail.open(next, grid.indexOf(next));
  else detail.close();
  return shown;
}

/**
 * Go on from the asset in the viewer if it is deleted. Returns the asset, or null if another one or none is shown.
 *
 * @param {AssetGrid} grid
 * @param {Viewer | null} viewer
 * @param {Asset[]} deleted
 */
function leaveViewer(grid, viewer, deleted) {
  const shown = deleted.find(({ id }) => id === viewer?.shown?.id);
  if (shown === undefined) return null;
  viewer?.goOn(nextTo(grid, shown));
  return shown;
}

/**
 * Return the asset to go on to from one that is deleted. Once that has left the list, the active item is in its place.
 *
 * @param {AssetGrid} grid
 * @param {Asset} asset
 */
function nextTo(grid, asset) {
  const index = grid.indexOf(asset);
  const [next, previous] = index >= 0 ? [index + 1, index - 1] : [grid.grid.active, grid.grid.active - 1];
  return grid.list.at(next) ?? grid.list.at(previous);
}
