/** The section of the user's sessions: the browsers in which they are signed in. */

/** @import { LoginSession } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { button } from "../shared/buttons.mjs";
import { h } from "../shared/dom.mjs";
import { line, time } from "../shared/format.mjs";
import { attempt, row, showLoaded } from "./account_parts.mjs";
import { browserName } from "./browser_names.mjs";
import { signOut } from "./own_account.mjs";

/**
 * Create the section.
 *
 * @param {PanelContext} context
 */
export function sessionsSection(context) {
  const element = h("div", { class: "ca-account-section" });
  const load = () => context.client.get("/login/sessions");
  const refresh = () =>
    showLoaded(context, element, load, ({ sessions }) => [
      h("ul", { class: "ca-account-list" }, sessions.map((session) => sessionRow(context, session, refresh))),
    ]);
  refresh();
  return element;
}

/**
 * @param {PanelContext} context
 * @param {LoginSession} session
 * @param {() => unknown} refresh
 */
function sessionRow(context, session, refresh) {
  const { client, language, t } = context;
  const name = browserName(t, session.browser);
  const end = async () => {
    if (session.is_current) return signOut(context, "/login");
    if (await attempt(context, () => client.request("DELETE", `/login/sessions/${session.id}`))) refresh();
  };
  const endButton = button("signOut", t("account.signOut"), end);
  endButton.setAttribute("aria-label", `${t("account.signOut")}: ${name}`);
  return row(
    name,
    [
      line([session.is_current && t("account.thisBrowser"), session.address], language),
      line(
        [
          t("account.signedInAt", { time: time(session.created_at, language) }),
          !session.is_current && t("account.lastUsed", { time: time(session.last_used_at, language) }),
        ],
        language,
      ),
    ],
    endButton,
  );
}
