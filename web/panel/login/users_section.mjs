/** The section of the users of the server, for administrators. */

/** @import { LoginUser, QuotaLimit, Role } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { button, select } from "../shared/buttons.mjs";
import { confirmButton } from "../shared/confirm_button.mjs";
import { h, setChildren } from "../shared/dom.mjs";
import { errorText } from "../shared/error_text.mjs";
import { line, time } from "../shared/format.mjs";
import { attempt, field, form, passwordInput, showLoaded } from "./account_parts.mjs";
import { loginLink, validUntil } from "./login_link.mjs";
import { UserQuotas } from "./user_quotas.mjs";

/** @type {readonly Role[]} */
const ROLES = ["member", "guest", "admin"];

export class UsersSection {
  #context;
  #list = h("div", {});
  /** The user whose controls are shown. */
  #open = "";

  /** @param {PanelContext} context */
  constructor(context) {
    this.#context = context;
    this.element = h("div", { class: "ca-account-section" }, this.#addForm(), this.#list);
    this.refresh();
  }

  refresh() {
    const { client } = this.#context;
    return showLoaded(this.#context, this.#list, () => client.get("/login/users"), ({ users }) => [
      h("ul", { class: "ca-account-list" }, users.map((user) => h("li", {}, this.#row(user)))),
    ]);
  }

  /** @param {Role} role */
  #roleSelect(role, onchange = (/** @type {Role} */ _) => {}) {
    const { t } = this.#context;
    return select(t("account.roleLabel"), ROLES.map((each) => [each, t(`account.role.${each}`)]), role, onchange);
  }

  #addForm() {
    const { client, notifications, t } = this.#context;
    const name = h("input", {
      class: "ca-input",
      type: "text",
      maxlength: "100",
      required: true,
      autocomplete: "off",
      spellcheck: "false",
    });
    const role = this.#roleSelect("member");
    const password = passwordInput("new-password", { isRequired: false });
    const link = h("div", {});
    const send = async () => {
      const body = { name: name.value, role: role.value, password: password.value || null };
      const user = await client.post("/login/users", body);
      name.value = password.value = "";
      notifications.show(t("account.userAdded", { name: user.name }));
      setChildren(link);
      if (!user.has_password) await this.#showLink(user, link);
      await this.refresh();
    };
    const submit = button("plus", t("account.addUser"), () => {}, { kind: "ca-primary" });
    return h(
      "details",
      { class: "ca-account-block ca-account-details" },
      h("summary", {}, t("account.newUser")),
      form(
        [
          field(t("common.name"), name),
          field(t("account.roleLabel"), role),
          field(t("account.password"), password),
          h("p", { class: "ca-muted" }, t("account.passwordOptional")),
        ],
        submit,
        send,
        (error) => errorText(t, error),
      ),
      link,
    );
  }

  /**
   * @param {LoginUser} user
   * @param {HTMLElement} place
   */
  async #showLink(user, place) {
    const { client, network, t } = this.#context;
    await attempt(this.#context, async () => {
      const [link] = await Promise.all([client.post(`/login/users/${user.id}/links`), network.ready]);
      const until = validUntil(this.#context, link);
      setChildren(place, loginLink(this.#context, link, t("account.linkHint", { name: user.name, time: until })));
    });
  }

  /**
   * A user, with controls that appear when the row is opened.
   *
   * @param {LoginUser} user
   */
  #row(user) {
    const { language, t } = this.#context;
    const facts = [
      user.is_current && t("account.you"),
      t(`account.role.${user.role}`),
      user.is_disabled && t("account.disabled"),
      !user.has_password && t("account.noPassword"),
      user.last_used_at === null
        ? t("account.notSignedIn")
        : t("account.lastUsed", { time: time(user.last_used_at, language) }),
    ];
    const summary = h(
      "summary",
      {},
      h("span", { class: "ca-account-name" }, user.name),
      h("span", { class: "ca-muted" }, line(facts, language)),
    );
    const details = h("details", { class: "ca-account-user", open: this.#open === user.id }, summary);
    // One's own account is changed in its own section, and never taken away from oneself by a slip.
    if (!user.is_current) details.append(this.#controls(user));
    else details.append(h("p", {}, t("account.ownHint")));
    const quotas = new UserQuotas(this.#context, user, (change) => this.#setQuotas(user, change));
    details.append(quotas.element);
    details.addEventListener("toggle", () => {
      if (details.open) {
        this.#open = user.id;
        quotas.show();
      } else if (this.#open === user.id) this.#open = "";
    });
    return details;
  }

  /**
   * @param {LoginUser} user
   * @param {{ max_jobs: QuotaLimit, max_bytes: QuotaLimit }} change
   */
  async #setQuotas(user, change) {
    const { client, notifications, t } = this.#context;
    await client.request("PATCH", `/login/users/${user.id}`, { body: change });
    notifications.show(t("account.limitsSaved"));
    await this.refresh();
  }

  /** @param {LoginUser} user */
  #controls(user) {
    const { client, notifications, t } = this.#context;
    const path = /** @type {const} */ (`/login/users/${user.id}`);
    const change = async (/** @type {Partial<LoginUser> & { password?: string }} */ body) => {
      const isChanged = await attempt(this.#context, () => client.request("PATCH", path, { body }));
      await this.refresh();
      return isChanged;
    };
    const link = h("div", {});
    const password = passwordInput("new-password");
    const setPassword = async () => {
      await client.request("PATCH", path, { body: { password: password.value } });
      notifications.show(t("account.passwordSaved"));
      await this.refresh();
    };
    const remove = async () => {
      await attempt(this.#context, () => client.request("DELETE", path));
      await this.refresh();
    };
    return h(
      "div",
      { class: "ca-account-controls" },
      h(
        "div",
        { class: "ca-account-buttons" },
        this.#roleSelect(user.role, (role) => change({ role })),
        user.is_disabled
          ? button("check", t("account.enable"), () => change({ is_disabled: false }))
          : button("minus", t("account.disable"), () => change({ is_disabled: true })),
        !user.is_disabled && button("phone", t("account.signInLink"), () => this.#showLink(user, link)),
        confirmButton("trash", t("account.removeUser"), {
          ask: () => t("account.removeConfirm", { name: user.name }),
          action: remove,
        }),
      ),
      link,
      form(
        [field(t("account.newPassword"), password), h("p", { class: "ca-muted" }, t("account.othersPasswordNote"))],
        button("check", t("account.setPassword"), () => {}),
        setPassword,
        (error) => errorText(t, error),
      ),
    );
  }
}
