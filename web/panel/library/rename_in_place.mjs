/** Renaming an asset in place, with its file where nothing refers to the file's name. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { editInPlace } from "../shared/edit_in_place.mjs";
import { h, setChildren } from "../shared/dom.mjs";
import { isMissing } from "./asset.mjs";
import { usesFor, usesText } from "./uses.mjs";

/**
 * Replace the name of an asset with a field for it, and offer to rename the file as well, or say why not.
 *
 * @param {PanelContext} context
 * @param {HTMLElement} title
 * @param {Asset} asset
 * @param {{ focusAfter: HTMLElement, save: (name: string, withFile: boolean) => unknown }} options
 */
export function renameInPlace(context, title, asset, { focusAfter, save }) {
  const { name } = asset;
  const stem = name.lastIndexOf(".");
  const box = h("input", { type: "checkbox" });
  const hasFile = asset.file_path !== undefined && !isMissing(asset);
  const extra = hasFile ? h("div", { class: "ca-edit-extra" }) : undefined;
  editInPlace(title, {
    label: context.t("asset.name"),
    value: name,
    selectionEnd: stem > 0 ? stem : name.length,
    extra,
    focusAfter,
    save: (edited) => save(edited, box.checked),
  });
  if (extra !== undefined) offer(context, asset, extra, box);
}

/**
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {HTMLElement} extra
 * @param {HTMLInputElement} box
 */
async function offer({ client, t }, asset, extra, box) {
  try {
    const { uses } = await client.get(`/assets/${asset.id}/uses`);
    const byName = usesFor(uses, "rename");
    if (byName.length > 0) setChildren(extra, t("asset.fileKeepsName", { uses: usesText(t, byName) }));
    else setChildren(extra, h("label", {}, box, t("asset.renameFile")));
  } catch (error) {
    console.warn("comfy-assets:", error); // the asset can be renamed without its file
    setChildren(extra, t("asset.fileUsesUnknown"));
  }
}
