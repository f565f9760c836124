/** The section of the user's tokens, with which programs use the server. */

/** @import { Login, LoginToken, Scope } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { button, select } from "../shared/buttons.mjs";
import { copyText } from "../shared/clipboard.mjs";
import { confirmButton } from "../shared/confirm_button.mjs";
import { h, setChildren } from "../shared/dom.mjs";
import { errorText } from "../shared/error_text.mjs";
import { line, time } from "../shared/format.mjs";
import { attempt, field, form, row, showLoaded } from "./account_parts.mjs";

/** @type {readonly Scope[]} */
const SCOPES = ["read", "write", "run", "admin"];
const NEVER = "";
const DAYS = ["7", "30", "90", "365", NEVER];
const USUAL_DAYS = "90";

/**
 * Create the section.
 *
 * @param {PanelContext} context
 * @param {Login} login
 */
export function tokensSection(context, login) {
  const { client, t } = context;
  const list = h("div", {});
  const created = h("div", { role: "status" });
  const refresh = () =>
    showLoaded(context, list, () => client.get("/login/tokens"), ({ tokens }) => [
      tokens.length === 0
        ? h("p", { class: "ca-muted" }, t("account.noTokens"))
        : h("ul", { class: "ca-account-list" }, tokens.map((token) => tokenRow(context, token, refresh))),
    ]);
  refresh();
  return h(
    "div",
    { class: "ca-account-section" },
    h("p", { class: "ca-muted" }, t("account.tokensHint")),
    created,
    tokenForm(context, login, (token) => {
      setChildren(created, newToken(context, token));
      refresh();
    }),
    list,
  );
}

/**
 * @param {PanelContext} context
 * @param {Login} login
 * @param {(token: string) => void} onCreated
 */
function tokenForm({ client, t }, login, onCreated) {
  const name = h("input", { class: "ca-input", type: "text", maxlength: "100", required: true, autocomplete: "off" });
  const boxes = SCOPES.filter((scope) => login.scopes.includes(scope)).map((scope) => {
    const box = h("input", { type: "checkbox", value: scope, checked: scope === "read" });
    return { scope, box, element: h("label", { class: "ca-account-choice" }, box, t(`account.scope.${scope}`)) };
  });
  const days = select(
    t("account.expiry"),
    DAYS.map((each) => [each, each === NEVER ? t("account.never") : t("account.days", { count: Number(each) })]),
    USUAL_DAYS,
    () => {},
  );
  const send = async () => {
    const scopes = boxes.filter(({ box }) => box.checked).map(({ scope }) => scope);
    const expires = days.value === NEVER ? null : Number(days.value);
    const { token } = await client.post("/login/tokens", { name: name.value, scopes, expires_in_days: expires });
    name.value = "";
    details.open = false;
    onCreated(token);
  };
  const submit = button("plus", t("account.createToken"), () => {}, { kind: "ca-primary" });
  // Without a permission there is nothing to create.
  const check = () => (submit.disabled = boxes.every(({ box }) => !box.checked));
  for (const { box } of boxes) box.addEventListener("change", check);
  const details = h(
    "details",
    { class: "ca-account-block ca-account-details" },
    h("summary", {}, t("account.newToken")),
    form(
      [
        field(t("common.name"), name),
        h(
          "fieldset",
          { class: "ca-account-choices" },
          h("legend", {}, t("account.permissions")),
          boxes.map(({ element }) => element),
        ),
        field(t("account.expiry"), days),
      ],
      submit,
      send,
      (error) => errorText(t, error),
    ),
  );
  return details;
}

/**
 * Show a new token, which cannot be shown again.
 *
 * @param {PanelContext} context
 * @param {string} token
 */
function newToken(context, token) {
  const { t } = context;
  return h(
    "div",
    { class: "ca-account-block ca-account-secret" },
    h("p", {}, t("account.tokenOnce")),
    h("code", { class: "ca-login-address" }, token),
    h(
      "div",
      { class: "ca-account-buttons" },
      button("copy", t("account.copyToken"), () => copyText(context, token, t("account.tokenCopied")), {
        kind: "ca-primary",
      }),
    ),
  );
}

/**
 * @param {PanelContext} context
 * @param {LoginToken} token
 * @param {() => unknown} refresh
 */
function tokenRow(context, token, refresh) {
  const { client, language, t } = context;
  const isOver = token.expires_at !== null && Date.parse(token.expires_at) <= Date.now();
  const until = token.expires_at === null
    ? t("account.expiresNever")
    : t(isOver ? "account.expired" : "account.expires", { time: time(token.expires_at, language) });
  const used = token.last_used_at === null
    ? t("account.neverUsed")
    : t("account.lastUsed", { time: time(token.last_used_at, language) });
  return row(
    token.name,
    [line(token.scopes.map((scope) => t(`account.scope.${scope}`)), language), line([until, used], language)],
    confirmButton("trash", t("account.revoke"), {
      ask: () => t("account.revokeConfirm", { name: token.name }),
      action: async () => {
        if (await attempt(context, () => client.request("DELETE", `/login/tokens/${token.id}`))) refresh();
      },
    }),
  );
}
