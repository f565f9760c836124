/** The sections of the details that need a request of their own, in their order. */

/** @import { Asset } from "../api.d.ts" */
/** @import { Child } from "../shared/dom.mjs" */
/** @import { PanelContext } from "../types.d.ts" */

import { embeddedMetadata } from "./embedded_metadata.mjs";
import { generationCard } from "./generation_card.mjs";
import { modelCard } from "./model_card.mjs";
import { properties } from "./properties.mjs";
import { relatedAssets } from "./related_assets.mjs";

/**
 * @param {PanelContext} context
 * @param {Asset} asset with its embedded documents
 * @param {Child} copies the section with its copies
 * @param {AbortSignal} signal stops further requests
 * @returns {Child[]}
 */
export function detailSections(context, asset, copies, signal) {
  return [
    ...generationCard(context, asset),
    modelCard(context, asset),
    copies,
    relatedAssets(context, asset, signal),
    properties(context, asset),
    ...embeddedMetadata(context, asset),
  ];
}
