/** The line that says that others can reach the server, which has no login; until the user closes it. */

import { h } from "../shared/dom.mjs";
import { iconButton } from "../shared/buttons.mjs";
import { icon } from "../shared/icons.mjs";

const PERSISTED = ["isRead"];

export class NetworkWarning {
  #context;

  constructor(context) {
    this.#context = context;
    const { t } = context;
    this.element = h(
      "div",
      { class: "ca-notification ca-warning", role: "note", hidden: true },
      icon("warning"),
      h("span", { class: "ca-notification-text" }, t("status.openToNetwork")),
      iconButton("close", t("common.close"), () => this.#close()),
    );
  }

  /** Ask the server, and show the line where it is so. */
  async refresh() {
    const { client, preferences } = this.#context;
    if (preferences.read("network", PERSISTED).isRead) return;
    try {
      const features = await client.get("/features");
      this.element.hidden = !features?.open_to_network;
    } catch {
      // The tabs say what is wrong with the server.
    }
  }

  #close() {
    this.element.hidden = true;
    this.#context.preferences.write("network", { isRead: true }, PERSISTED);
  }
}
