/** Deleting what is selected or on display, and going on to what comes next. */

/** @import { Asset, DeletionAction } from "../api.d.ts" */
/** @import { Viewer } from "../viewer/viewer.mjs" */
/** @import { AssetActions } from "./asset_actions.mjs" */
/** @import { AssetDetail } from "./asset_detail.mjs" */
/** @import { AssetGrid } from "./asset_grid.mjs" */
/** @import { SelectedAssets } from "./search_results.mjs" */
/** @import { Selection } from "./selection.mjs" */

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
  const viewed = viewer?.goOn(assets) ?? null;
  const { ids, isAll } = await actions.delete(selected, action);
  if (isAll) selection.clear();
  selection.remove(ids);
  if (viewed !== null && !ids.has(viewed.id)) viewer?.open(viewed, grid.indexOf(viewed));
  else if (left !== null && assets.length === 1 && !ids.has(left.id)) detail.open(left, grid.indexOf(left));
  else if (detail.shown === null && !viewer?.isOpen) grid.focus();
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
