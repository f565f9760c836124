/** Downloads of assets' files. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { allowsAnonymous, contentPath, contentUrl } from "./asset.mjs";

const BLOB_URL_MS = 60_000; // until a slow browser has certainly begun to save it

/**
 * Download the file: by a link, so that the browser streams it to the disk; or by a request that names the user, where
 * the server demands that.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 */
export async function download({ page, notifications, t }, asset) {
  if (allowsAnonymous(page, asset)) {
    saveAs(contentUrl(page, asset, "attachment"), asset.name);
    return;
  }
  notifications.show(t("asset.downloading", { name: asset.name }));
  try {
    const response = await page.fetch(contentPath(asset, "attachment"));
    if (!response.ok) throw new Error(t("asset.serverError", { status: response.status }));
    const url = URL.createObjectURL(await response.blob());
    saveAs(url, asset.name);
    setTimeout(() => URL.revokeObjectURL(url), BLOB_URL_MS);
    notifications.show(t("asset.downloaded", { name: asset.name }));
  } catch (error) {
    notifications.error(t("asset.downloadFailed"), error);
  }
}

/**
 * @param {string} url
 * @param {string} name
 */
function saveAs(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}
