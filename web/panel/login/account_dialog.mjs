/** The dialog of the account: the signed-in user, their sessions and tokens, and for administrators the users. */

/** @import { Login } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { iconButton } from "../shared/buttons.mjs";
import { createDialog, hostNotifications } from "../shared/dialog.mjs";
import { h, setChildren, uniqueId } from "../shared/dom.mjs";
import { isRightToLeft } from "../shared/format.mjs";
import { showLoaded } from "./account_parts.mjs";
import { ownAccount } from "./own_account.mjs";
import { sessionsSection } from "./sessions_section.mjs";
import { tokensSection } from "./tokens_section.mjs";
import { UsersSection } from "./users_section.mjs";

const COMMANDS = "comfy-assets users add Ada --role admin\ncomfy-assets login enable";

/**
 * Show the dialog.
 *
 * @param {PanelContext} context
 */
export function showAccount(context) {
  const { language, notifications, t } = context;
  const focused = document.activeElement;
  const body = h("div", { class: "ca-account-body" });
  const closeButton = iconButton("close", t("common.close"), () => dialog.close());
  const title = h("div", { class: "ca-dialog-title" }, h("h3", {}, t("account.title")), closeButton);
  const dialog = createDialog("ca-account", t("account.title"), title, body);
  // The panel, which has these otherwise, need not be in the page.
  dialog.lang = language;
  dialog.dir = isRightToLeft(language) ? "rtl" : "ltr";
  hostNotifications(dialog, notifications, body);
  dialog.addEventListener("close", () => {
    if (focused instanceof HTMLElement && focused.isConnected) focused.focus({ preventScroll: true });
  });
  dialog.showModal();
  showLoaded(
    context,
    body,
    () => signedIn(context),
    (login) => login === null ? [off(context)] : sections(context, login),
  );
}

/**
 * Return who is signed in, null while the login is off.
 *
 * @param {PanelContext} context
 */
async function signedIn({ client }) {
  const features = await client.get("/features");
  return features?.login_enabled ? await client.get("/login") : null;
}

/** @param {PanelContext} context */
function off({ t }) {
  return h(
    "div",
    { class: "ca-account-section" },
    h("p", {}, t("account.off")),
    h("pre", { class: "ca-account-commands", tabindex: "0", dir: "ltr" }, COMMANDS),
  );
}

/**
 * Create the sections as tabs after the ARIA pattern.
 *
 * @param {PanelContext} context
 * @param {Login} login
 */
function sections(context, login) {
  const { t } = context;
  /** @type {[label: string, create: () => HTMLElement][]} */
  const all = [
    [t("account.title"), () => ownAccount(context, login)],
    [t("account.sessions"), () => sessionsSection(context)],
    [t("account.tokens"), () => tokensSection(context, login)],
  ];
  if (login.role === "admin") all.push([t("account.users"), () => new UsersSection(context).element]);
  const panel = h("div", { class: "ca-account-panel", role: "tabpanel", id: uniqueId("account"), tabindex: "0" });
  const tabs = all.map(([label, create]) => {
    const attributes = { class: "ca-tab", type: "button", role: "tab", id: uniqueId("account-tab") };
    return { tab: h("button", { ...attributes, "aria-controls": panel.id }, label), create };
  });
  const show = (/** @type {HTMLButtonElement} */ shown, /** @type {() => HTMLElement} */ create) => {
    for (const { tab } of tabs) {
      tab.setAttribute("aria-selected", String(tab === shown));
      tab.tabIndex = tab === shown ? 0 : -1;
    }
    panel.setAttribute("aria-labelledby", shown.id);
    setChildren(panel, create()); // anew, so that a section shows what is so now
  };
  const bar = h(
    "div",
    { class: "ca-tabs", role: "tablist", "aria-label": t("account.title") },
    tabs.map(({ tab }) => tab),
  );
  for (const { tab, create } of tabs) tab.addEventListener("click", () => show(tab, create));
  bar.addEventListener("keydown", (event) => {
    const at = tabs.findIndex(({ tab }) => tab === document.activeElement);
    const right = getComputedStyle(bar).direction === "rtl" ? -1 : 1;
    /** @type {Record<string, number>} */
    const targets = { ArrowLeft: at - right, ArrowRight: at + right, Home: 0, End: tabs.length - 1 };
    if (at < 0 || !(event.key in targets)) return;
    event.preventDefault();
    const { tab, create } = tabs[(targets[event.key] + tabs.length) % tabs.length];
    show(tab, create);
    tab.focus();
  });
  show(tabs[0].tab, tabs[0].create);
  return [bar, panel];
}
