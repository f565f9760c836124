/** The line that says that others can reach the server, which has no login; until the user closes it. */

import { h } from "../shared/dom.mjs";
import { iconButton } from "../shared/buttons.mjs";
import { icon } from "../shared/icons.mjs";

const KEPT = ["isRead"];

export class NetworkWarning {
  #context;

  constructor(context) {
    this.#context = context;
    const { t } = context;
    this.element = h(
      "div",
      { class: "ca-notice ca-warning", role: "note", hidden: true },
      icon("warning"),
      h("span", { class: "ca-notice-text" }, t("status.openToNetwork")),
      iconButton("close", t("state.close"), () => this.#close()),
    );
  }

  /** Ask the server, and show the line where it is so. */
  async ask() {
    const { client, memory } = this.#context;
    if (memory.read("network", KEPT).isRead) return;
    try {
      const features = await client.get("/features");
      this.element.hidden = !features?.open_to_network;
    } catch {
      // The tabs say what is wrong with the server.
    }
  }

  #close() {
    this.element.hidden = true;
    this.#context.memory.write("network", { isRead: true }, KEPT);
  }
}
