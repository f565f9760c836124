/** Downloads of assets' files. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { saveBlob, saveUrl } from "../shared/save_file.mjs";
import { allowsAnonymous, contentPath, contentUrl } from "./asset.mjs";

/**
 * Download the file: by a link, so that the browser streams it to the disk; or by a request that names the user, where
 * the server demands that.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 */
export async function download({ page, notifications, t }, asset) {
  if (allowsAnonymous(page, asset)) {
    saveUrl(contentUrl(page, asset, "attachment"), asset.name);
    return;
  }
  notifications.show(t("asset.downloading", { name: asset.name }));
  try {
    const response = await page.fetch(contentPath(asset, "attachment"));
    if (!response.ok) throw new Error(t("asset.serverError", { status: response.status }));
    saveBlob(await response.blob(), asset.name);
    notifications.show(t("asset.downloaded", { name: asset.name }));
  } catch (error) {
    notifications.error(t("asset.downloadFailed"), error);
  }
}
