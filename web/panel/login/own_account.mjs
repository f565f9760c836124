/** The section of the signed-in user: who that is, signing out, a link for another device, and the password. */

/** @import { Login } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { button } from "../shared/buttons.mjs";
import { confirmButton } from "../shared/confirm_button.mjs";
import { h, setChildren } from "../shared/dom.mjs";
import { errorText } from "../shared/error_text.mjs";
import { attempt, field, form, passwordInput } from "./account_parts.mjs";
import { loginLink, validUntil } from "./login_link.mjs";

/**
 * Create the section.
 *
 * @param {PanelContext} context
 * @param {Login} login
 */
export function ownAccount(context, login) {
  const { t } = context;
  return h(
    "div",
    { class: "ca-account-section" },
    h(
      "div",
      { class: "ca-account-block" },
      h("p", { class: "ca-account-name" }, t("account.signedIn", { name: login.user })),
      h("p", { class: "ca-muted" }, t(`account.role.${login.role}`)),
      login.kind === "proxy" ? h("p", {}, t("account.byProxy")) : signOutButtons(context),
    ),
    otherDevice(context),
    ownPassword(context, login),
  );
}

/** @param {PanelContext} context */
function signOutButtons(context) {
  const { t } = context;
  return h(
    "div",
    { class: "ca-account-buttons" },
    button("signOut", t("account.signOut"), () => signOut(context, "/login")),
    confirmButton("signOut", t("account.signOutAll"), {
      ask: () => t("account.signOutAllConfirm"),
      action: () => signOut(context, "/login/sessions"),
    }),
  );
}

/**
 * End sessions, and load the page again, which is then the page to sign in.
 *
 * @param {PanelContext} context
 * @param {string} path
 */
export async function signOut(context, path) {
  if (await attempt(context, () => context.client.request("DELETE", path))) location.reload();
}

/** @param {PanelContext} context */
function otherDevice(context) {
  const { client, network, t } = context;
  const place = h("div", {});
  const show = async () => {
    await attempt(context, async () => {
      const [link] = await Promise.all([client.post("/login/links"), network.ready]);
      setChildren(place, loginLink(context, link, t("account.codeHint", { time: validUntil(context, link) })));
    });
  };
  return h(
    "div",
    { class: "ca-account-block" },
    h("h4", {}, t("account.otherDevice")),
    h("div", { class: "ca-account-buttons" }, button("phone", t("account.showCode"), show)),
    place,
  );
}

/**
 * @param {PanelContext} context
 * @param {Login} login
 */
function ownPassword({ client, notifications, t }, login) {
  const before = passwordInput("current-password");
  const after = passwordInput("new-password");
  const beforeField = field(t("account.oldPassword"), before);
  const showWhether = (/** @type {boolean} */ hasPassword) => {
    beforeField.hidden = !hasPassword;
    before.required = hasPassword;
  };
  showWhether(login.has_password);
  // For password managers, which want to know whose password it is.
  const user = h("input", { type: "text", autocomplete: "username", value: login.user, readonly: true });
  user.hidden = true;
  const send = async () => {
    await client.request("PUT", "/login/password", { body: { old_password: before.value, new_password: after.value } });
    before.value = after.value = "";
    showWhether(true);
    details.open = false;
    notifications.show(t("account.passwordSaved"));
  };
  const submit = button("check", t("account.setPassword"), () => {}, { kind: "ca-primary" });
  const details = h(
    "details",
    { class: "ca-account-block ca-account-details" },
    h("summary", {}, t("account.changePassword")),
    form(
      [
        user,
        beforeField,
        field(t("account.newPassword"), after),
        h("p", { class: "ca-muted" }, t("account.passwordNote")),
      ],
      submit,
      send,
      (error) => errorText(t, error),
    ),
  );
  return details;
}
