/** The dialog that asks the user of an open page to sign in again, over the page, which stays as it is. */

/** @import { Child } from "../shared/dom.mjs" */
/** @import { HostPage } from "../types.d.ts" */
/** @import { Translations } from "../shared/translations.mjs" */
/** @import { SessionWatch, SignedIn } from "./session_watch.mjs" */

import { button } from "../shared/buttons.mjs";
import { Client } from "../shared/client.mjs";
import { createDialog } from "../shared/dialog.mjs";
import { h, setChildren } from "../shared/dom.mjs";
import { errorText } from "../shared/error_text.mjs";
import { icon } from "../shared/icons.mjs";
import { loadStyles } from "../shared/styles.mjs";
import { loadTranslations } from "../shared/translations.mjs";
import { field, form, passwordInput } from "./account_parts.mjs";

const LOOK_MS = 3000; // the user may sign in in another tab
const STYLES = ["shared/shared.css", "login/login.css"];

export class SignInAgain {
  #page;
  #watch;
  #client;
  #texts;

  /**
   * Load the texts and the styles.
   *
   * @param {HostPage} page
   * @param {SessionWatch} watch
   */
  static async create(page, watch) {
    const [texts] = await Promise.all([loadTranslations(page), loadStyles(STYLES)]);
    return new SignInAgain(page, watch, texts);
  }

  /**
   * @param {HostPage} page
   * @param {SessionWatch} watch
   * @param {Translations} texts
   */
  constructor(page, watch, texts) {
    this.#page = page;
    this.#watch = watch;
    this.#client = new Client(page);
    this.#texts = texts;
  }

  /**
   * Show the dialog until the user has signed in again, or puts it off. Returns whether they have signed in.
   *
   * @param {SignedIn | null} login the user of the page; null if the login was off when the page was loaded
   * @returns {Promise<boolean>}
   */
  ask(login) {
    const { t, language, direction } = this.#texts;
    const focused = document.activeElement;
    const content = h("div", { class: "ca-account-section" });
    const dialog = createDialog("ca-session", t("session.ended"), h("h3", {}, t("session.ended")), content);
    dialog.lang = language;
    dialog.dir = direction;
    return new Promise((resolve) => {
      let isSignedIn = false;
      const goOn = () => {
        isSignedIn = true;
        dialog.close();
      };
      const timer = setInterval(() => this.#look(login, content, goOn), LOOK_MS);
      dialog.addEventListener("close", () => {
        clearInterval(timer);
        if (focused instanceof HTMLElement && focused.isConnected) focused.focus({ preventScroll: true });
        resolve(isSignedIn);
      });
      setChildren(content, ...this.#questions(login, goOn));
      dialog.showModal();
      const password = content.querySelector("input[type=password]");
      if (password instanceof HTMLElement) password.focus();
      this.#look(login, content, goOn); // another tab may have signed in already, as another user perhaps
    });
  }

  /**
   * @param {SignedIn | null} login
   * @param {() => void} goOn
   * @returns {Child[]}
   */
  #questions(login, goOn) {
    const { t } = this.#texts;
    const href = this.#page.url("/login").replace(/\/api\/login$/, "/login");
    const elsewhere = h("a", { class: "ca-button", href, target: "_blank" }, icon("expand"), t("session.openSignIn"));
    if (login === null || !login.has_password) {
      return [h("p", {}, t("session.elsewhere")), h("div", { class: "ca-account-buttons" }, elsewhere)];
    }
    const user = h("input", { type: "text", autocomplete: "username", value: login.user, readonly: true });
    user.hidden = true; // for password managers
    const password = passwordInput("current-password");
    const send = async () => {
      await this.#client.post("/login", { name: login.user, password: password.value });
      goOn();
    };
    const refused = (/** @type {unknown} */ error) => {
      password.value = "";
      password.focus();
      return errorText(t, error);
    };
    const submit = button("check", t("account.signIn"), () => {}, { kind: "ca-primary" });
    return [
      h("p", {}, t("session.again", { name: login.user })),
      form([user, field(t("account.password"), password)], submit, send, refused),
      h("p", { class: "ca-muted" }, t("session.elsewhere")),
      h("div", { class: "ca-account-buttons" }, elsewhere),
    ];
  }

  /**
   * Look whether somebody has signed in in another tab. If it is another user, this page cannot go on.
   *
   * @param {SignedIn | null} login
   * @param {HTMLElement} content
   * @param {() => void} goOn
   */
  async #look(login, content, goOn) {
    let now = null;
    try {
      now = await this.#watch.who();
    } catch {
      return; // the server cannot be reached: the next look may tell
    }
    if (now === null) return;
    if (login === null || now.user === login.user) return goOn();
    if (content.dataset.user === now.user) return; // is shown already
    content.dataset.user = now.user;
    const { t } = this.#texts;
    setChildren(
      content,
      h("p", {}, t("session.otherUser", { name: login.user, other: now.user })),
      h(
        "div",
        { class: "ca-account-buttons" },
        button("refresh", t("session.reload"), () => location.reload(), { kind: "ca-primary" }),
      ),
    );
  }
}
