/** The row of buttons in the details: the usual commands, and a menu with all of them. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { AssetCommands } from "./asset_commands.mjs" */

import { h } from "../shared/dom.mjs";
import { button, iconButton } from "../shared/buttons.mjs";

/**
 * Create the row for an asset, as far as it is known yet.
 *
 * @param {PanelContext} context
 * @param {AssetCommands} commands
 * @param {Asset} asset
 */
export function detailActions({ t }, commands, asset) {
  const buttons = commands.main(asset).map(({ icon, label, run, isDanger }, index) =>
    button(icon, label, run, { kind: isDanger ? "ca-danger" : index === 0 ? "ca-primary" : "" })
  );
  const more = iconButton("more", t("asset.more"), () => {
    const { left, bottom } = more.getBoundingClientRect();
    commands.showMenu([asset], { x: left, y: bottom });
  }, { "aria-haspopup": "menu" });
  return h("div", { class: "ca-actions" }, buttons, more);
}
