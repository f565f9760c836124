/** Other assets with the same content as an asset. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { button } from "../shared/buttons.mjs";
import { h } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";

const MAX_COPIES = 20;

/**
 * Return the other assets with the same content.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {AbortSignal} signal
 */
export async function fetchCopies({ client }, { id, hash }, signal) {
  if (!hash) return [];
  const { assets } = await client.get("/assets", { query: { hash, limit: String(MAX_COPIES) }, signal });
  return assets.filter((copy) => copy.id !== id);
}

/**
 * Create the section that lists copies.
 *
 * @param {PanelContext} context
 * @param {Asset[]} assets
 * @param {(asset: Asset) => unknown} open
 */
export function copiesSection({ t, language }, assets, open) {
  const size = assets.reduce((sum, copy) => sum + copy.size, 0);
  /** @param {Asset} copy */
  const openButton = (copy) => button("file", copy.file_path ?? copy.name, () => open(copy), { kind: "ca-plain" });
  return h(
    "section",
    { class: "ca-section" },
    h("h4", {}, t("detail.copies", { count: assets.length })),
    h("p", { class: "ca-muted" }, t("detail.copiesSize", { size: format.bytes(size, language) })),
    h("ul", { class: "ca-copies" }, assets.map((copy) => h("li", {}, openButton(copy)))),
  );
}
