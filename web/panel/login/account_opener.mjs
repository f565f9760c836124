/** The button of the account in the panel's header, and the dialog behind it, which is loaded when it is first opened. */

/** @import { PanelContext } from "../types.d.ts" */

import { iconButton } from "../shared/buttons.mjs";

export class AccountOpener {
  #context;

  /** @param {PanelContext} context */
  constructor(context) {
    this.#context = context;
    this.element = iconButton("user", context.t("account.title"), () => this.open());
    this.element.hidden = true;
  }

  /** Show the button if the login is on. */
  async refresh() {
    try {
      this.element.hidden = !(await this.#context.client.get("/features"))?.login_enabled;
    } catch {
      // The tabs show the error.
    }
  }

  async open() {
    const { notifications, t } = this.#context;
    try {
      const { showAccount } = await import("./account_dialog.mjs");
      showAccount(this.#context);
    } catch (error) {
      notifications.error(t("account.openFailed"), error);
    }
  }
}
