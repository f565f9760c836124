/** A warning that other machines can use the server, which has no login. Shown until the user closes it. */

/** @import { PanelContext } from "../types.d.ts" */

import { h } from "../shared/dom.mjs";
import { iconButton } from "../shared/buttons.mjs";
import { icon } from "../shared/icons.mjs";

const PERSISTED = ["isRead"];

export class NetworkWarning {
  #context;

  /** @param {PanelContext} context */
  constructor(context) {
    this.#context = context;
    const { t } = context;
    this.element = h(
      "div",
      { class: "ca-notification ca-network-warning", role: "note", hidden: true },
      icon("warning"),
      h(
        "span",
        { class: "ca-notification-text" },
        t("status.openToNetwork"),
        " ",
        h("code", {}, "comfy-assets login enable"),
      ),
      iconButton("close", t("common.close"), () => this.#close()),
    );
  }

  /** Ask the server, and show the warning if other machines can use it. */
  async refresh() {
    const { client, preferences } = this.#context;
    if (preferences.read("network", PERSISTED).isRead) return;
    try {
      const features = await client.get("/features");
      this.element.hidden = !features?.open_to_network;
    } catch {
      // The tabs show the error.
    }
  }

  #close() {
    this.element.hidden = true;
    this.#context.preferences.write("network", { isRead: true }, PERSISTED);
  }
}
